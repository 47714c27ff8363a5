// Landlock as this kernel has it, landlock(7). What a request names and the
// kernel cannot govern is refused; nothing is left out.
#pragma once

#include "resolve/draft.hpp"

namespace cloister::front {

// As resolve_landlock(), on a kernel with that ABI.
MaybeProblem resolve_landlock(Draft& draft, int abi);

// Says of a box what stays open on a kernel with that ABI, and would be closed on
// a newer one.
void note_open_ways(Draft& draft, int abi);

}  // namespace cloister::front
