// Ids that root gives away: the pool of leases, subuid(5) and subgid(5).
#include <pwd.h>

#include <cstdio>

#include "config/config.hpp"
#include "config/config_values.hpp"

namespace cloister::monitor {
namespace {

// Those below are the system's and its users'; 65534 and 65535 are nobody's.
constexpr int64_t kLowest = 65536;
constexpr int64_t kEnd = UINT32_MAX;  // (uid_t)-1 is no id

constexpr Member<Pool> kPool[] = {
    {"first",
     [](auto& at, auto& value, Pool& pool) {
       pool.first = static_cast<uint32_t>(whole(at, value, kLowest, kEnd - 1));
     }},
    {"count",
     [](auto& at, auto& value, Pool& pool) {
       pool.count = static_cast<uint32_t>(whole(at, value, 1, kEnd - kLowest));
     }},
    {"block", [](auto& at, auto& value,
                 Pool& pool) { pool.block = static_cast<uint32_t>(whole(at, value, 1, 1 << 24)); }},
};

std::optional<uid_t> find_user(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  return entry ? std::optional(entry->pw_uid) : std::nullopt;
}

}  // namespace

Pool pool(const std::string& member, const json& value) {
  Pool pool;
  read_members(member, value, kPool, pool);
  if (pool.first == 0 || pool.count == 0) wrong(member, "needs first and count");
  if (pool.count % pool.block != 0) wrong(member + ".count", "is not a multiple of block");
  if (pool.count > kEnd - pool.first) wrong(member, "reaches past the last id");
  return pool;
}

Misconfiguration read_subordinate(bool of_root, Config& config) {
  std::vector<std::string> complaints;
  Misconfiguration wrong = config.subordinate.read_files(of_root, find_user, complaints);
  for (const std::string& complaint : complaints)
    std::fprintf(stderr, "cloisterd: passed over %s\n", complaint.c_str());
  if (wrong || config.lease.count == 0) return wrong;
  for (const SubordinateFile* file : {&config.subordinate.uids, &config.subordinate.gids})
    if (const auto owner = file->owner_within(config.lease.first, config.lease.count))
      return {{},
              "lease",
              "has ids that are subordinate to uid " + std::to_string(*owner) +
                  ", see subuid(5) and subgid(5)"};
  return {};
}

}  // namespace cloister::monitor
