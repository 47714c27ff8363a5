// The lines of both maps of one user namespace, user_namespaces(7).
#pragma once

#include <vector>

#include "plan/plan.hpp"

namespace cloister::monitor {

struct IdMaps {
  std::vector<plan::IdMap> uids, gids;
};

}  // namespace cloister::monitor
