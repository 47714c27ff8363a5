// The part of the decision that is about mounts: ids that a bind shows as
// others, and descriptors that are layers or devices. Numbers against numbers.
#pragma once

#include "admit/peer.hpp"
#include "decide/authorise_ids.hpp"
#include "decide/policy.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::monitor {

// Whether the peer may be each id from low to high.
using MayBe = bool (*)(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);
bool may_be_user(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);
bool may_be_group(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);

// The payload is nobody but the peer itself, and opens what the peer could open.
bool has_own_ids(const Peer& peer, const Rule& rule, plan::View plan, const IdDecision& ids);

// Who rules the host is covered by init from what the kernel shows of itself: a
// payload that is, or can come to be, uid 0 of the host,
bool is_hosts_root(const Peer& peer, const Rule& rule, plan::View plan, const IdDecision& ids);
// or that has powers in the host's user namespace.
bool has_host_powers(plan::View plan, const plan::Capabilities& sets);
uint64_t any_of_sets(const plan::Capabilities& sets);
// A peer that rules it is lent nothing, and has nothing open that it could not open.
bool rules_host_itself(const Peer& peer);
// `kind == none`: allowed. `lent`: it rules the host and its peer does not, in a
// mount namespace of its own.
plan::Refusal authorise_mounts(const Peer& peer, const Rule& rule, plan::View plan,
                               const IdDecision& ids, bool lent = false);
plan::Refusal authorise_device(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                               plan::Mode mode);
plan::Refusal authorise_layer(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                              plan::Mode mode);

}  // namespace cloister::monitor
