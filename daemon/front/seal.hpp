// The last that a front does with a Plan, before it asks for it.
#pragma once

#include "resolve/resolve.hpp"

namespace cloister::front {

// Writes the Plan into `memfd`, which nobody can change from then on. False:
// errno. What the monitor and init get is what this leaves in `plan`, so that
// tests/hostile needs another seal() and nothing else.
bool seal(Resolved& plan, int memfd);

}  // namespace cloister::front
