// Programs of the host that the service runs or counts on.
#pragma once

#include "sys/unique_fd.hpp"

namespace cloister::sys {

// O_PATH and close-on-exec, from the first of the system's directories that has
// an executable of this name: never from a PATH, which may be anybody's. Empty
// where none has.
UniqueFd open_program(const char* name);

}  // namespace cloister::sys
