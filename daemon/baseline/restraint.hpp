// The filters of plan::Restraint: what a job must not leave behind.
#pragma once

#include <vector>

#include "plan/order.hpp"

namespace cloister::baseline {

std::vector<plan::Instruction> restraint_program(plan::Restraint restraint);

}  // namespace cloister::baseline
