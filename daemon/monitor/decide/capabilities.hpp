// Which capabilities a job may be given: numbers against what its caller holds.
#pragma once

#include "decide/policy.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::monitor {

// Fills in `out`, what init is told; `kind == none`: allowed. `rootless`: we
// have no powers ourselves, and the only user namespace that holds any is a
// nested one.
//
// In the host's user namespace a payload gets at most what its caller holds,
// or a rule grants. In
// one of the job's own any set will do: it counts only there, and the mounts
// were made before it and are locked, user_namespaces(7).
plan::Refusal authorise_capabilities(const Peer& peer, const Rule& rule, plan::View plan,
                                     bool rootless, plan::Capabilities& out);

}  // namespace cloister::monitor
