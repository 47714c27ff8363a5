// A system call filter: from a profile in words to the program that the kernel
// runs. All of libseccomp is behind this.
//
// Runs in the front, as the client, and in the nursery for the profiles that
// are shipped.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "request/seccomp.hpp"

namespace cloister::front {

struct Filter {
  std::vector<plan::Instruction> program;  // empty: there is none
  uint32_t flags = 0;                      // plan::kFilter*
  std::vector<std::string> notes;          // what the client should know of it
};

// What the profile's conditions are about.
struct FilterSetting {
  uint64_t capabilities = 0;  // that the payload can come to hold: its bounding set
  uint32_t kernel_major = 0, kernel_minor = 0;
};

// Problems name fields below `seccomp`.
request::Result<Filter> compile_filter(const request::SeccompProfile& profile,
                                       const FilterSetting& setting);

// Our own filter: everything is allowed but this (standard_filter.cpp).
std::vector<request::SeccompRule> standard_rules(const request::SeccompProfile& changes);

// The answer of a filter to a call of the native ABI; nothing: not to be known.
std::optional<uint32_t> native_answer(const Filter& filter, int number, uint64_t argument);

}  // namespace cloister::front
