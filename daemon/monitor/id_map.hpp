// Writing the id maps of an init in a new user namespace; user_namespaces(7).
#pragma once

#include <sys/types.h>

#include <vector>

#include "plan/record.hpp"
#include "plan/plan.hpp"

namespace cloister::monitor {

// `init` is our own unreaped child, so its pid cannot have been reused.
plan::Failure write_id_maps(pid_t init, const std::vector<plan::IdMap>& uids,
                            const std::vector<plan::IdMap>& gids, bool deny_setgroups);

}  // namespace cloister::monitor
