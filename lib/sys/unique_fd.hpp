// The library's public UniqueFd, under the name that the programs use.
#pragma once

#include "cloister/unique_fd.hpp"

namespace cloister::sys {

using cloister::UniqueFd;

}  // namespace cloister::sys
