// What the generators of filters share: out of libseccomp, and into a header.
#pragma once

#include <seccomp.h>

#include <vector>

#include "plan/plan.hpp"

namespace cloister::baseline {

// 0 or an errno. The program of `filter`, which stays the caller's.
int export_program(scmp_filter_ctx filter, std::vector<plan::Instruction>& program);

// To stdout: an array of plan::Instruction with this name.
void write_program(const char* name, const std::vector<plan::Instruction>& program);

}  // namespace cloister::baseline
