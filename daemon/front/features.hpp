// What this host offers to this caller: probed, not guessed from versions.
#pragma once

#include <nlohmann/json.hpp>

#include "plan/messages.hpp"
#include "resolve/caller.hpp"
#include "resolve/profiles.hpp"

namespace cloister::front {

nlohmann::json features(const plan::Host& host, const Caller& caller, const Profiles& profiles);

}  // namespace cloister::front
