// The filters of plan::Restraint: they refuse the calls by which a job could leave set-uid
// or set-gid programs, or keys, behind.
#pragma once

#include <vector>

#include "plan/order.hpp"

namespace cloister::baseline {

std::vector<plan::Instruction> restraint_program(plan::Restraint restraint);

}  // namespace cloister::baseline
