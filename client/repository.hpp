// What a job with this workspace lacks of the git repository it lies in.
#pragma once

#include <string>

#include "cloister/request.hpp"

namespace cloister::command {

// One line for a person; empty where nothing is missing, or where `effective`, the
// request as the service completed it (JSON), has no workspace. git(1) looks for .git in
// the directory and in those above it, and the box has of these only what the
// profile shows: nothing below a home, and nothing writable anywhere.
std::string repository_note(const Request& request, const std::string& effective);
// The same of a request whose workspace the profile leaves alone.
std::string repository_note(const Request& request);

}  // namespace cloister::command
