// Pasta: the program that connects outbound networks, opened once, at start.
#pragma once

#include <sys/types.h>

#include <string>

#include "plan/refusals.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

struct Pasta {
  sys::UniqueFd program;
  plan::Reason why_not = plan::Reason::none;  // there is none to be trusted
};

// Only root's or `owner`'s own, and nobody else may write it: it is run with
// power over networks of jobs.
Pasta open_pasta(const std::string& path, uid_t owner);

}  // namespace cloister::monitor
