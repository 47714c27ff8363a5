// Doing once, for nobody, what the first call of a client would do, so that no
// client waits for pages, the heap and the user database to be set up.
#pragma once

#include "resolve/profiles.hpp"

namespace cloister::front {

void warm_up(const Profiles& profiles);

}  // namespace cloister::front
