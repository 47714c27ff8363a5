// Runs a filter in our own program, to know its answer without loading it.
//
// Classic BPF as seccomp(2) takes it: no memory but struct seccomp_data, no jump
// backwards, so that every program ends. Used by the front before a Plan goes
// out, and by tests.
#pragma once

#include <linux/seccomp.h>

#include <cstdint>
#include <optional>
#include <span>

#include "plan/plan.hpp"

namespace cloister::front {

// SECCOMP_RET_* | data; nothing where the program has an instruction that no
// compiler of filters makes, or leaves its own end.
std::optional<uint32_t> answer_of(std::span<const plan::Instruction> program,
                                  const seccomp_data& call);

}  // namespace cloister::front
