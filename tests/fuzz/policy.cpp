// cloisterd.json(5): what is accepted of it is in its bounds, and answers for
// every caller.
#include <unistd.h>

#include <set>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "fuzz.hpp"

namespace cloister::fuzz {
namespace {

using monitor::Config;
using monitor::Policy;
using monitor::Rule;

void in_bounds(const Rule& rule) {
  require(rule.name.find_first_of("/\n\"\\ ") == std::string::npos && !rule.name.empty() &&
              rule.name.size() < plan::kMaxRuleName,
          "a rule's name can stand in a record");
  for (const auto* ranges : {&rule.uids, &rule.gids})
    for (const monitor::IdRange& range : *ranges)
      require(range.first <= range.last && range.last != UINT32_MAX, "a range is one of ids");
  require(!rule.nice || (*rule.nice >= -20 && *rule.nice <= 19), "a nice value is one");
  require(rule.capabilities >> 41 == 0, "capabilities have names");
  require(!rule.grants_join(plan::Namespace::user), "nobody is granted a user namespace");
  for (const uint32_t bits :
       {rule.namespaces_joined, rule.namespaces_host, rule.required_namespaces})
    require((bits & ~monitor::kAllNamespaces) == 0, "namespaces are of those there are");
  require((rule.networks & ~monitor::kAllNetworks) == 0, "networks are of those there are");
  require(!rule.allows_unfiltered_seccomp() || !rule.requires_baseline(), "a floor is kept");
  for (const uint32_t most :
       {rule.quota.jobs, rule.quota.connections, rule.quota.spawns_per_s, rule.quota.fds_in_flight})
    require(most <= 1u << 20, "a quota is a number one can count to");
}

void answers(const Policy& policy) {
  std::set<std::string> names = {policy.otherwise->name};
  in_bounds(*policy.otherwise);
  for (const auto& rule : policy.rules) {
    in_bounds(*rule);
    require(names.insert(rule->name).second, "a name is one rule's");
  }
  for (const uint32_t id : {0u, 1000u, UINT32_MAX}) {
    monitor::Peer peer;
    peer.uid = peer.gid = id;
    const auto rule = policy.rule_for(peer);
    require(rule && (rule == policy.otherwise || rule->speaks_of(peer)), "somebody speaks");
    for (const auto& earlier : policy.rules) {
      if (earlier == rule) break;
      require(!earlier->speaks_of(peer), "the first one does");
    }
  }
}

}  // namespace

void policy(Bytes input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  Config config;
  config.connections = 7;
  if (const auto wrong = monitor::parse_config(text, config)) {
    require(!wrong.text().empty(), "what is refused has a reason");
    require(config.connections == 7 && config.policy.rules.empty(),
            "what is refused changes nothing");
    return;
  }
  answers(config.policy);
  Config again;
  require(!monitor::parse_config(text, again) &&
              again.policy.rules.size() == config.policy.rules.size(),
          "what is accepted is accepted again");
}

}  // namespace cloister::fuzz
