// What the tests with a hostile front share.
#pragma once

#include "ruled.hpp"
#include "script.hpp"

namespace cloister::security_test {

// Of a service of which the front is hostile.
inline std::vector<std::string> hostile_front() {
  return {"--front", World::get().program("hostile-front")};
}

}  // namespace cloister::security_test
