#include "policy.hpp"

#include <initializer_list>

namespace cloister::plan {
namespace {

bool is_plain(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

void check_quota(Checker& is, const Quota& quota) {
  for (uint32_t most : {quota.jobs, quota.connections, quota.spawns_per_s, quota.fds_in_flight})
    is.range(most, 0, kMaxQuota);
  is.that(quota.request_bytes <= kMaxQuotaBytes && quota.output_bytes <= kMaxQuotaBytes,
          Flaw::range);
}

void check_pool(Checker& is, const Pool& pool) {
  is.range(pool.block, 1, kMaxLeaseBlock);
  if (pool.count == 0) {
    is.range(pool.first, 0, 0);
    return;
  }
  is.range(pool.first, kLowestLease, kHighestId);
  is.that(pool.count <= UINT32_MAX - pool.first, Flaw::range);
  if (is.flaw() == Flaw::none) is.that(pool.count % pool.block == 0, Flaw::range);
}

void check_settings(Checker& is, const Settings& all) {
  is.range(all.connections, 1, kMaxQuota);
  is.range(all.kept_per_uid, 1, kMaxQuota);
  is.range(all.keep_s, 1, kMaxKeepS);
  is.range(all.spare_fronts, 1, kMaxSpareFronts);
  is.range(all.confined_callers, 0, 1);
  is.one_of(all.cgroup);
  check_pool(is, all.lease);
}

void check_path(Checker& is, const PolicyView& policy, Text path) {
  if (is.text(path, kMaxPolicyFile - 1) && path.length > 0)
    is.that(policy.c_str(path)[0] == '/', Flaw::text);
}

void check_name(Checker& is, const char (&name)[kMaxRuleName]) {
  uint32_t length = 0;
  while (length < kMaxRuleName && is_plain(name[length])) ++length;
  is.that(length > 0 && length < kMaxRuleName, Flaw::text);
  if (length < kMaxRuleName) is.that(name[length] == 0, Flaw::text);
}

// All lists together are bounded, so that what is read from a block is, even
// where its lists lie over each other.
class Lists {
 public:
  Lists(Checker& is, const PolicyView& policy) : is_(is), policy_(policy) {}

  void ids(Span<uint32_t> list) {
    if (!count(list)) return;
    for (uint32_t i = 0; i < list.count; ++i) is_.range(policy_.at(list, i), 0, kHighestId);
  }
  void ranges(Span<IdRange> list) {
    if (!count(list)) return;
    for (uint32_t i = 0; i < list.count; ++i) {
      const IdRange& ids = policy_.at(list, i);
      is_.that(ids.first <= ids.last && ids.last <= kHighestId, Flaw::range);
    }
  }
  void devices(Span<DeviceNode> list) {
    if (!count(list)) return;
    for (uint32_t i = 0; i < list.count; ++i) is_.range(policy_.at(list, i).block, 0, 1);
  }

 private:
  template <class T>
  bool count(Span<T> list) {
    if (!is_.span(list, kMaxRuleElements - elements_)) return false;
    elements_ += list.count;
    return true;
  }

  Checker& is_;
  const PolicyView& policy_;
  uint32_t elements_ = 0;
};

void check_rule(Checker& is, Lists& lists, const RuleRow& rule) {
  check_name(is, rule.name);
  is.range(rule.said, 0, kSaysEverything);
  lists.ids(rule.users);
  lists.ids(rule.groups);
  lists.ranges(rule.uids);
  lists.ranges(rule.gids);
  lists.devices(rule.devices);
  for (uint32_t bits : {rule.namespaces_joined, rule.namespaces_host, rule.required_namespaces})
    is.range(bits, 0, kAllNamespaces);
  // Whoever is in a user namespace of another's is that other.
  is.that((rule.namespaces_joined & bit(Namespace::user)) == 0, Flaw::range);
  is.range(rule.networks, 0, kAllNetworks);
  for (uint32_t truth : {rule.set_uid_files, rule.real_time, rule.unfiltered_seccomp, rule.detach,
                         rule.require_no_new_privs, rule.require_baseline})
    is.range(truth, 0, 1);
  is.that(rule.capabilities >> kCapabilities == 0, Flaw::range);
  is.range(rule.nice, -20, 19);
  is.that(rule.rlimits_said >> kRlimits == 0, Flaw::range);
  for (const Member& member : schema::kLimitsMembers)
    if (member.holds == Holds::number)
      is.that(is_within(member, value_of(member, &rule.limits)), Flaw::range);
  check_quota(is, rule.quota);
}

void check_subordinates(Checker& is, const PolicyView& policy, Span<SubordinateLine> lines) {
  if (!is.span(lines, kMaxSubordinates)) return;
  for (uint32_t i = 0; i < lines.count; ++i) {
    const SubordinateLine& line = policy.at(lines, i);
    is.that(line.owner <= kHighestId && line.first > 0 && line.count > 0 &&
                line.count <= UINT32_MAX - line.first,
            Flaw::range);
  }
}

}  // namespace

Flaw check_policy(const void* block, size_t bytes) noexcept {
  if (bytes < sizeof(PolicyHeader) || bytes > kMaxPolicyBytes) return Flaw::size;
  const PolicyView policy(block);
  if (policy->magic != kPolicyMagic) return Flaw::magic;
  if (policy->version != kPolicyVersion) return Flaw::version;
  if (policy->bytes != bytes) return Flaw::size;
  Checker is(block, policy->bytes, sizeof(PolicyHeader));
  for (Text text : {policy->wrong_file, policy->wrong_place, policy->wrong_reason})
    is.text(text, kMaxPolicyText - 1);
  check_path(is, policy, policy->pasta);
  check_path(is, policy, policy->scratch);
  check_settings(is, policy->settings);
  check_quota(is, policy->quota);
  Lists lists(is, policy);
  if (is.span(policy->rules, kMaxRules))
    for (uint32_t i = 0; i < policy->rules.count && is.flaw() == Flaw::none; ++i)
      check_rule(is, lists, policy.at(policy->rules, i));
  check_subordinates(is, policy, policy->subuids);
  check_subordinates(is, policy, policy->subgids);
  return is.flaw();
}

}  // namespace cloister::plan
