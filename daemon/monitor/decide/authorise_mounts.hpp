// The part of the decision that is about mounts: the ids of idmapped binds, and
// descriptors that are overlay layers or devices. It compares numbers, and resolves
// neither names nor paths.
#pragma once

#include "admit/peer.hpp"
#include "decide/authorise_ids.hpp"
#include "decide/policy.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::monitor {

// Whether the peer may take each id from low to high.
using MayBe = bool (*)(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);
bool may_be_user(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);
bool may_be_group(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high);

// Whether all ids of the payload are the peer's own, so that it opens no file that the
// peer could not open.
bool has_own_ids(const Peer& peer, const Rule& rule, plan::View plan, const IdDecision& ids);

// A payload rules the host if it is, or can become, uid 0 of the host,
bool is_hosts_root(const Peer& peer, const Rule& rule, plan::View plan, const IdDecision& ids);
// or if it has capabilities in the host's user namespace. Init covers the files in which
// the kernel shows itself (plan/kernel_files.hpp) for such a payload.
bool has_host_powers(plan::View plan, const plan::Capabilities& sets);
uint64_t any_of_sets(const plan::Capabilities& sets);
// Whether the peer itself rules the host. Then its payload gets no power that the peer
// lacks, and no descriptor that the peer could not open.
bool rules_host_itself(const Peer& peer);
// `kind == none`: allowed. `lent`: the payload rules the host, its peer does not, and the
// job has a mount namespace of its own.
plan::Refusal authorise_mounts(const Peer& peer, const Rule& rule, plan::View plan,
                               const IdDecision& ids, bool lent = false);
plan::Refusal authorise_device(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                               plan::Mode mode);
plan::Refusal authorise_layer(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                              plan::Mode mode);

}  // namespace cloister::monitor
