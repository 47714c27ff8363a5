// Giving up what root can do beyond what a program needs.
#pragma once

#include <cstdint>

namespace cloister::sys {

// Of the capabilities that this process has, those stay which are in `powers`
// (1 << CAP_*); none is inheritable. False with errno.
bool keep_only(uint64_t powers);

}  // namespace cloister::sys
