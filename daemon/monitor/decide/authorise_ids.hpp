// The part of the decision that is about ids: the maps of user namespaces,
// subordinate ids, leases. Numbers against numbers, as all of authorise().
#pragma once

#include <vector>

#include "admit/peer.hpp"
#include "decide/policy.hpp"
#include "decide/subordinate.hpp"
#include "host/id_maps.hpp"
#include "host/lease.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::monitor {

struct IdDecision {
  IdMaps job;     // of the user namespace that the job asked for; empty: none
  IdMaps birth;   // rootless: of the one that init is born in
  IdMaps client;  // of what acts for the client, client_ids.hpp; empty: nothing does
  // setgroups(2) is switched off in the new user namespace, so that nobody sheds
  // a group that is there to keep them out (user_namespaces(7)).
  bool fixed_groups = false;
  Leases::Held lease;      // kept as long as a process of the job lives
  uint32_t leased_id = 0;  // what the payload runs as, uid and gid
  // All uids of the job are subordinate or leased ones, and nothing that can be
  // written shows a file of others as theirs: no mount of its own, and it has no
  // others'.
  bool apart = false;
};

// The Landlock ABI without which no id is leased: files of a leased id must not
// outlast its job, and before ABI 2 (Linux 5.19) none could move between directories.
inline constexpr int kLeasableAbi = 2;

// The kernel takes that many lines, and less than a page of text.
bool fits_a_map(const std::vector<plan::IdMap>& map);

// Where the ids come from that are not in the Plan.
struct IdSources {
  const SubordinateIds* subordinate = nullptr;
  Leases* leases = nullptr;       // null: there are none, as in user mode
  bool jobs_have_cgroup = false;  // whose removal proves that a job's processes are gone
};

// plan::kSubuids | ...: what this user may ask for.
uint32_t ids_of(const IdSources& sources, uid_t uid);

// `kind == none`: `out` is complete.
plan::Refusal decide_ids(const Peer& peer, const Rule& rule, plan::View plan,
                         const IdSources& sources, bool rootless, IdDecision& out);

// A passed descriptor of a job that has a lease, beside authorise_fact().
plan::Refusal authorise_leased_fact(const Rule& rule, const plan::Fact& fact);

}  // namespace cloister::monitor
