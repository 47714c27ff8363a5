// Policy: root's word on who may have what, as numbers.
//
// cloister-config makes the numbers of cloisterd.json(5), `authorise` and the job
// table consult them; nothing here asks a database or opens a file. What a process
// could do for itself needs no rule. A member of `allow` grants beyond that,
// or sets a bound below it; `require` is what nobody whom the rule speaks of
// goes below. What breaks a rule is refused by name, never lowered.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admit/peer.hpp"
#include "plan/messages.hpp"
#include "plan/policy.hpp"

namespace cloister::monitor {

using plan::IdRange;

struct Device {
  bool block;
  dev_t number;
  bool operator==(const Device&) const = default;
};

using plan::bit;
using plan::kAllNamespaces;
using plan::kAllNetworks;
using plan::Network;
using plan::Quota;

class Rule {
 public:
  std::string name = "default";  // at most kMaxRuleName - 1 bytes
  // Whom it speaks of: one of these, or everybody when both are absent.
  std::optional<std::vector<uid_t>> users;
  std::optional<std::vector<gid_t>> groups;

  // allow: grants
  std::vector<IdRange> uids, gids;
  uint32_t namespaces_joined = 0;  // bits: whoever owns it; one's own need no grant
  uint64_t capabilities = 0;       // 1 << CAP_*, beyond those that the peer holds
  bool set_uid_files = false;      // boxes may leave set-uid programs of the peer's
  // allow: bounds, in place of what the peer could do for itself
  std::optional<bool> real_time;
  std::optional<int> nice;                                      // the lowest
  std::array<std::optional<uint64_t>, plan::kRlimits> rlimits;  // the highest hard limit
  plan::Limits limits{};  // the highest amounts; 0: any, or none
  std::optional<std::vector<Device>> devices;
  uint32_t namespaces_host = kAllNamespaces;  // bits: may be left as the host's
  uint32_t networks = kAllNetworks;
  bool unfiltered_seccomp = false;  // without the baseline filter, whatever the profile
  bool detach = true;

  // require
  uint32_t required_namespaces = 0;  // bits: new ones
  bool require_no_new_privs = false;
  bool require_baseline = false;

  Quota quota;

  bool speaks_of(const Peer& peer) const;
  bool grants_uids(uint32_t low, uint32_t high) const;
  bool grants_gids(uint32_t low, uint32_t high) const;
  bool grants_join(plan::Namespace which) const { return namespaces_joined & bit(which); }
  bool may_share(plan::Namespace which) const { return namespaces_host & bit(which); }
  bool requires_new(plan::Namespace which) const { return required_namespaces & bit(which); }
  bool allows_network(Network kind) const { return networks & bit(kind); }
  bool allows_any_network() const { return networks == kAllNetworks; }
  // The nodes that every box has, terminals, and those of the list. Without a
  // list: any character device, since the peer opened it with its own rights.
  bool allows_device(Device device) const;
  // `held`: what the peer itself has.
  bool allows_capabilities(uint64_t mask, uint64_t held) const {
    return (mask & ~(held | capabilities)) == 0;
  }
  bool allows_unfiltered_seccomp() const { return unfiltered_seccomp && !require_baseline; }
  bool requires_baseline() const { return require_baseline; }
  bool requires_no_new_privs() const { return require_no_new_privs; }
};

class Policy {
 public:
  // The first that speaks of the peer, or the one without a name of root's.
  std::shared_ptr<const Rule> rule_for(const Peer& peer) const;

  std::vector<std::shared_ptr<const Rule>> rules;
  std::shared_ptr<const Rule> otherwise = std::make_shared<Rule>();
};

}  // namespace cloister::monitor
