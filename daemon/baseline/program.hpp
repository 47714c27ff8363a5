// Shared by the generators of filters: takes a program from libseccomp and writes it
// as C++.
#pragma once

#include <seccomp.h>

#include <vector>

#include "plan/plan.hpp"

namespace cloister::baseline {

// Stores the BPF program of `filter`, which the caller still has to release. Returns
// 0 or an errno.
int export_program(scmp_filter_ctx filter, std::vector<plan::Instruction>& program);

// Writes the definition of an array of plan::Instruction with this name to stdout.
void write_program(const char* name, const std::vector<plan::Instruction>& program);

}  // namespace cloister::baseline
