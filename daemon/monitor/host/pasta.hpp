// Pasta: the program that connects outbound networks, opened once, at start.
#pragma once

#include <sys/types.h>

#include <string>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {

struct Pasta {
  sys::UniqueFd program;
  const char* why_not = nullptr;  // there is none to be trusted: the reason, in words
};

// Only root's or `owner`'s own, and nobody else may write it: it is run with
// power over networks of jobs.
Pasta open_pasta(const std::string& path, uid_t owner);

}  // namespace cloister::monitor
