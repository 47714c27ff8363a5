// The payload's environment as the command line composes it.
//
// A pure function of the caller's environment and the options: nothing else of
// the caller's gets through.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "options.hpp"

namespace cloister::command {

using Variables = std::map<std::string, std::string, std::less<>>;

struct Environment {
  Variables implied;  // the caller's own PATH, HOME, ..., or all: a request's env goes before it
  Variables asked;    // -e and --env-file: before a request's env
};

// PATH HOME USER LOGNAME SHELL LANG LC_* TERM TZ. Those that describe a user
// are left out where the payload is `another_user`: they would be wrong.
bool is_implied(std::string_view name, bool another_user);

// `own` are NAME=VALUE strings. Throws Trouble. Reads the env files.
Environment compose_environment(const CommandLine& line, std::span<const char* const> own,
                                bool another_user);

// The variables of a file: NAME=VALUE lines, bare names for the caller's own
// value, # comments and empty lines; no quoting. Throws Trouble.
void read_env_file(const std::string& path, const Variables& own, Variables& out);

}  // namespace cloister::command
