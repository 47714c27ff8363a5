// The part of the decision that is about mounts: ids that a bind shows as
// others, and descriptors that are layers or devices. Numbers against numbers.
#pragma once

#include "authorise_ids.hpp"
#include "peer.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"
#include "policy.hpp"

namespace cloister::monitor {

// Whether the peer may be each id from low to high.
using MayBe = bool (*)(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);
bool may_be_user(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);
bool may_be_group(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);

// `kind == none`: allowed.
plan::Refusal authorise_mounts(const Peer& peer, const Rule& rule, plan::View plan,
                               const IdDecision& ids);
plan::Refusal authorise_device(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                               plan::Mode mode);
plan::Refusal authorise_layer(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                              plan::Mode mode);

}  // namespace cloister::monitor
