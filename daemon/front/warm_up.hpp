// Does in advance what the first call of a client would do, so that no client waits
// for page faults, growth of the heap or the first use of the user database.
#pragma once

#include "resolve/profiles.hpp"

namespace cloister::front {

void warm_up(const Profiles& profiles);

}  // namespace cloister::front
