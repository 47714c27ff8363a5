// Landlock as this kernel has it, landlock(7). What a request names and the
// kernel cannot govern is refused; nothing is left out.
#pragma once

#include "resolve/draft.hpp"

namespace cloister::front {

// The kernel's ABI version, from 1 on; a negated errno where there is none.
int landlock_abi();

// As resolve_landlock(), on a kernel with that ABI.
MaybeProblem resolve_landlock(Draft& draft, int abi);

}  // namespace cloister::front
