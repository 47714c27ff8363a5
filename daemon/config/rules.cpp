// The rules of cloisterd.json(5): who may have what.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "plan/namespaces.hpp"
#include "sys/words.hpp"
#include "values.hpp"

namespace cloister::config {
namespace {

using plan::IdRange;
using plan::Namespace;
using plan::Network;
using plan::Quota;

constexpr const char* kNetworks[] = {"none", "outbound", "host"};
static_assert(std::size(kNetworks) == static_cast<size_t>(Network::count_));

// An array of these words, as bits in their order.
template <size_t n>
uint32_t bits(const std::string& member, const json& value, const char* const (&words)[n]) {
  if (!value.is_array()) wrong(member, "must be an array");
  uint32_t bits = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    const auto word = std::find(std::begin(words), std::end(words), value[i]);
    if (word == std::end(words)) {
      std::string all;
      for (const char* each : words) all += (all.empty() ? "" : ", ") + std::string(each);
      wrong(member + "[" + std::to_string(i) + "]", "must be one of " + all);
    }
    bits |= 1u << (word - std::begin(words));
  }
  return bits;
}

int64_t word(const std::string& member, const json& value, std::span<const sys::Word> words) {
  if (const auto known = sys::value_of(words, text(member, value, "a string"))) return *known;
  wrong(member, "must be a name such as " + std::string(words[0].name));
}

plan::DeviceNode device(const std::string& member, const json& value) {
  struct stat info {};
  if (::stat(text(member, value, "the path of a device").c_str(), &info) < 0)
    wrong(member, std::strerror(errno));
  if (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode)) wrong(member, "is not a device");
  return {info.st_rdev, S_ISBLK(info.st_mode), 0};
}

uint64_t capability(const std::string& member, const json& value) {
  return uint64_t{1} << word(member, value, sys::capabilities());
}

void read_rlimits(const std::string& member, const json& value, Rule& rule) {
  if (!value.is_object()) wrong(member, "must be an object");
  for (const auto& [key, limit] : value.items()) {
    const std::string at = member + "." + key;
    const auto resource = static_cast<size_t>(word(at, key, sys::rlimits()));
    rule.row.rlimits_said |= 1u << resource;
    rule.row.rlimits[resource] =
        limit == "unlimited" ? UINT64_MAX : static_cast<uint64_t>(whole(at, limit, 0, INT64_MAX));
  }
}

// As plan::Limits has them.
uint64_t processors(const std::string& member, const json& value) {
  const double number = value.is_number() ? value.get<double>() : 0;
  if (!(number >= 0.001 && number <= 65536)) wrong(member, "must be a number from 0.001 to 65536");
  return static_cast<uint64_t>(std::llround(number * plan::kCpuPeriodUs));
}

constexpr Member<plan::Limits> kLimits[] = {
    {"memory",
     [](auto& at, auto& value, plan::Limits& limits) {
       limits.memory = std::max(size(at, value), uint64_t{1});
     }},
    {"swap",
     [](auto& at, auto& value, plan::Limits& limits) { limits.swap = size(at, value) + 1; }},
    {"pids",
     [](auto& at, auto& value, plan::Limits& limits) {
       limits.pids = static_cast<uint64_t>(whole(at, value, 1, plan::kMaxPids));
     }},
    {"cpus",
     [](auto& at, auto& value, plan::Limits& limits) { limits.cpu_us = processors(at, value); }},
    {"wall_time", [](auto& at, auto& value,
                     plan::Limits& limits) { limits.wall_time_ms = duration(at, value); }},
    {"cpu_time",
     [](auto& at, auto& value, plan::Limits& limits) { limits.cpu_time_ms = duration(at, value); }},
};

// Whoever is in a user namespace of another's is that other.
void read_joined(const std::string& member, const json& value, Rule& rule) {
  rule.row.namespaces_joined = bits(member, value, plan::kNamespaceWords);
  if (rule.row.namespaces_joined & plan::bit(Namespace::user))
    wrong(member, "user cannot be granted, see cloisterd.json(5)");
}

constexpr Member<Rule> kAllow[] = {
    {"uids",
     [](auto& at, auto& value, Rule& rule) { rule.uids = list<IdRange>(at, value, range); }},
    {"gids",
     [](auto& at, auto& value, Rule& rule) { rule.gids = list<IdRange>(at, value, range); }},
    {"namespaces_joined", read_joined},
    {"namespaces_host",
     [](auto& at, auto& value, Rule& rule) {
       rule.row.namespaces_host = bits(at, value, plan::kNamespaceWords);
     }},
    {"network",
     [](auto& at, auto& value, Rule& rule) { rule.row.networks = bits(at, value, kNetworks); }},
    {"devices",
     [](auto& at, auto& value, Rule& rule) {
       rule.devices = list<plan::DeviceNode>(at, value, device);
       rule.row.said |= plan::kSaysDevices;
     }},
    {"capabilities",
     [](auto& at, auto& value, Rule& rule) {
       for (uint64_t bit : list<uint64_t>(at, value, capability)) rule.row.capabilities |= bit;
     }},
    {"set_uid_files",
     [](auto& at, auto& value, Rule& rule) { rule.row.set_uid_files = truth(at, value); }},
    {"real_time",
     [](auto& at, auto& value, Rule& rule) {
       rule.row.real_time = truth(at, value);
       rule.row.said |= plan::kSaysRealTime;
     }},
    {"nice",
     [](auto& at, auto& value, Rule& rule) {
       rule.row.nice = static_cast<int32_t>(whole(at, value, -20, 19));
       rule.row.said |= plan::kSaysNice;
     }},
    {"rlimits", read_rlimits},
    {"limits",
     [](auto& at, auto& value, Rule& rule) { read_members(at, value, kLimits, rule.row.limits); }},
    {"unfiltered_seccomp",
     [](auto& at, auto& value, Rule& rule) { rule.row.unfiltered_seccomp = truth(at, value); }},
    {"detach", [](auto& at, auto& value, Rule& rule) { rule.row.detach = truth(at, value); }},
};

constexpr Member<Rule> kRequire[] = {
    {"namespaces",
     [](auto& at, auto& value, Rule& rule) {
       rule.row.required_namespaces = bits(at, value, plan::kNamespaceWords);
     }},
    {"no_new_privs",
     [](auto& at, auto& value, Rule& rule) { rule.row.require_no_new_privs = truth(at, value); }},
    {"seccomp_baseline",
     [](auto& at, auto& value, Rule& rule) { rule.row.require_baseline = truth(at, value); }},
};

constexpr Member<Quota> kQuota[] = {
    {"jobs", [](auto& at, auto& value, Quota& quota) { quota.jobs = count(at, value, 0); }},
    {"connections",
     [](auto& at, auto& value, Quota& quota) { quota.connections = count(at, value, 0); }},
    {"spawns_per_s",
     [](auto& at, auto& value, Quota& quota) { quota.spawns_per_s = count(at, value, 0); }},
    {"request_bytes",
     [](auto& at, auto& value, Quota& quota) {
       quota.request_bytes =
           static_cast<uint64_t>(whole(at, value, 0, static_cast<int64_t>(plan::kMaxQuotaBytes)));
     }},
    {"output_bytes",
     [](auto& at, auto& value, Quota& quota) {
       quota.output_bytes =
           static_cast<uint64_t>(whole(at, value, 0, static_cast<int64_t>(plan::kMaxQuotaBytes)));
     }},
    {"fds_in_flight",
     [](auto& at, auto& value, Quota& quota) { quota.fds_in_flight = count(at, value, 0); }},
};

// What holds where no rule does is called so.
constexpr std::string_view kOfNoRule = "default";

// Stands in records and refusals, "NAME/require.no_new_privs" among them.
void read_name(const std::string& member, const json& value, Rule& rule) {
  constexpr const char kPlain[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
  const std::string& name = text(member, value, "a string");
  if (name.empty() || name.size() >= plan::kMaxRuleName ||
      name.find_first_not_of(kPlain) != std::string::npos)
    wrong(member, "must be 1 to " + std::to_string(plan::kMaxRuleName - 1) +
                      " letters, digits, '-', '_' and '.'");
  if (name == kOfNoRule) wrong(member, "\"default\" is the rule that holds where no other does");
  name.copy(rule.row.name, sizeof rule.row.name - 1);
}

constexpr Member<Rule> kRule[] = {
    {"name", read_name},
    {"users",
     [](auto& at, auto& value, Rule& rule) {
       rule.users = list<uint32_t>(at, value, user);
       rule.row.said |= plan::kSaysUsers;
     }},
    {"groups",
     [](auto& at, auto& value, Rule& rule) {
       rule.groups = list<uint32_t>(at, value, group);
       rule.row.said |= plan::kSaysGroups;
     }},
    {"allow", [](auto& at, auto& value, Rule& rule) { read_members(at, value, kAllow, rule); }},
    {"require", [](auto& at, auto& value, Rule& rule) { read_members(at, value, kRequire, rule); }},
    {"quota",
     [](auto& at, auto& value, Rule& rule) { rule.row.quota = quota(at, value, rule.row.quota); }},
};

}  // namespace

Quota quota(const std::string& member, const json& value, Quota unless_said) {
  read_members(member, value, kQuota, unless_said);
  return unless_said;
}

std::vector<Rule> rules(const json& list, const Quota& unless_said) {
  if (!list.is_array()) wrong("rules", "must be an array");
  std::vector<Rule> rules;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string member = "rules[" + std::to_string(i) + "]";
    Rule rule{};
    rule.row.quota = unless_said;
    read_members(member, list[i], kRule, rule);
    const std::string name = rule.row.name;
    if (name.empty()) wrong(member + ".name", "is missing");
    for (const Rule& other : rules)
      if (name == other.row.name)
        wrong(member + ".name", "\"" + name + "\" is the name of another rule too");
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace cloister::config
