// cloisterd.json(5): what cloister-config accepts of it is a block that the monitor
// accepts, is in its bounds, and answers for every caller. And such a block with
// bytes of a stranger's in it: what the monitor accepts is in the bounds all the same.
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config_files.hpp"
#include "fuzz.hpp"
#include "plan/policy.hpp"

namespace cloister::fuzz {
namespace {

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
  in_bounds(*policy.otherwise);
  for (const auto& rule : policy.rules) in_bounds(*rule);
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

void names_differ(const Policy& policy) {
  std::set<std::string> names = {policy.otherwise->name};
  for (const auto& rule : policy.rules)
    require(names.insert(rule->name).second, "a name is one rule's");
}

using Words = std::vector<uint64_t>;

Words aligned(std::string_view block) {
  Words words(block.size() / sizeof(uint64_t) + 1);
  block.copy(reinterpret_cast<char*>(words.data()), block.size());
  return words;
}

// A rule with everything, subordinate ids, and then offset and byte, again and again.
void spoilt(Bytes input) {
  config::Config said;
  require(!config::parse_config(
              R"({"rules": [{"name": "all", "users": [1, 2], "groups": [3],
                  "allow": {"uids": ["1-9"], "gids": [4], "devices": ["/dev/null"]}}]})",
              said),
          "the block to spoil is sound");
  said.subuids = said.subgids = {{1, 100000, 10}, {2, 200000, 10}};
  std::string block = config::block_of(said, {});
  for (size_t i = 0; i + 2 < input.size(); i += 3)
    block[(input[i] | size_t{input[i + 1]} << 8) % block.size()] = static_cast<char>(input[i + 2]);
  const Words words = aligned(block);
  if (plan::check_policy(words.data(), block.size()) != plan::Flaw::none) return;
  answers(monitor::config_of(plan::PolicyView(words.data())).policy);
}

}  // namespace

void policy(Bytes input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  spoilt(input);
  config::Config said;
  said.settings.connections = 7;
  if (const auto wrong = config::parse_config(text, said)) {
    require(!wrong.text().empty(), "what is refused has a reason");
    require(said.settings.connections == 7 && said.rules.empty(),
            "what is refused changes nothing");
    return;
  }
  const std::string block = config::block_of(said, {});
  const Words words = aligned(block);
  require(plan::check_policy(words.data(), block.size()) == plan::Flaw::none,
          "what is accepted is a block that is accepted");
  const monitor::Config read = monitor::config_of(plan::PolicyView(words.data()));
  require(!read.wrong && read.policy.rules.size() == said.rules.size(), "and arrives whole");
  names_differ(read.policy);
  answers(read.policy);
}

}  // namespace cloister::fuzz
