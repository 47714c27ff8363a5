#include "config/config.hpp"

namespace cloister::monitor {
namespace {

template <class T>
std::vector<T> list(const plan::PolicyView& said, plan::Span<T> span) {
  if (span.count == 0) return {};
  return {said.begin(span), said.begin(span) + span.count};
}

std::shared_ptr<const Rule> rule_of(const plan::PolicyView& said, const plan::RuleRow& row) {
  Rule rule;
  const auto says = [&](uint32_t member) { return (row.said & member) != 0; };
  rule.name = row.name;
  if (says(plan::kSaysUsers)) rule.users = list(said, row.users);
  if (says(plan::kSaysGroups)) rule.groups = list(said, row.groups);
  rule.uids = list(said, row.uids);
  rule.gids = list(said, row.gids);
  rule.namespaces_joined = row.namespaces_joined;
  rule.capabilities = row.capabilities;
  rule.set_uid_files = row.set_uid_files != 0;
  if (says(plan::kSaysRealTime)) rule.real_time = row.real_time != 0;
  if (says(plan::kSaysNice)) rule.nice = row.nice;
  for (uint32_t i = 0; i < plan::kRlimits; ++i)
    if (row.rlimits_said >> i & 1) rule.rlimits[i] = row.rlimits[i];
  rule.limits = row.limits;
  if (says(plan::kSaysDevices)) {
    rule.devices.emplace();
    for (const plan::DeviceNode& node : list(said, row.devices))
      rule.devices->push_back({node.block != 0, node.number});
  }
  rule.namespaces_host = row.namespaces_host;
  rule.networks = row.networks;
  rule.unfiltered_seccomp = row.unfiltered_seccomp != 0;
  rule.detach = row.detach != 0;
  rule.required_namespaces = row.required_namespaces;
  rule.require_no_new_privs = row.require_no_new_privs != 0;
  rule.require_baseline = row.require_baseline != 0;
  rule.quota = row.quota;
  return std::make_shared<Rule>(std::move(rule));
}

SubordinateFile file_of(const plan::PolicyView& said, plan::Span<plan::SubordinateLine> lines) {
  SubordinateFile file;
  for (uint32_t i = 0; i < lines.count; ++i) {
    const plan::SubordinateLine& line = said.at(lines, i);
    file.add(line.owner, {line.first, line.count});
  }
  return file;
}

}  // namespace

Config config_of(const plan::PolicyView& said) {
  Misconfiguration wrong{said.c_str(said->wrong_file), said.c_str(said->wrong_place),
                         said.c_str(said->wrong_reason)};
  if (wrong) {
    Config config;
    config.socket_group = said->settings.socket_group;
    config.wrong = std::move(wrong);
    return config;
  }
  Config config{said->settings};
  if (said->pasta.length > 0) config.pasta = said.c_str(said->pasta);
  config.scratch = said.c_str(said->scratch);
  Rule otherwise;
  otherwise.quota = said->quota;
  config.policy.otherwise = std::make_shared<Rule>(std::move(otherwise));
  for (uint32_t i = 0; i < said->rules.count; ++i)
    config.policy.rules.push_back(rule_of(said, said.at(said->rules, i)));
  config.subordinate = {file_of(said, said->subuids), file_of(said, said->subgids)};
  return config;
}

}  // namespace cloister::monitor
