#include "life/quota.hpp"

#include <algorithm>
#include <cmath>

namespace cloister::monitor {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSoon{100};
constexpr std::chrono::seconds kBurst{1};  // a bucket holds the spawns of this time

}  // namespace

std::optional<Quotas::Over> Quotas::connect(uid_t user, const Quota& quota) {
  const uint32_t in_use = ++users_[user].connections;
  if (quota.connections == 0 || in_use <= quota.connections) return {};
  return Over{plan::Reason::rule_quota_connections, quota.connections, in_use - 1, kSoon};
}

void Quotas::disconnect(uid_t user) {
  --users_[user].connections;
  forget_idle(user);
}

std::optional<Quotas::Over> Quotas::may_launch(uid_t user, const Quota& quota, uint32_t descriptors,
                                               Clock::time_point now) {
  Use& use = users_[user];
  if (quota.jobs != 0 && use.jobs >= quota.jobs)
    return Over{plan::Reason::rule_quota_jobs, quota.jobs, use.jobs, kSoon};
  // Alone and too many they would never fit: 64 bits, so that the sum is right.
  if (quota.fds_in_flight != 0 && uint64_t{use.descriptors} + descriptors > quota.fds_in_flight)
    return Over{plan::Reason::rule_quota_fds_in_flight, quota.fds_in_flight, use.descriptors,
                kSoon};
  if (quota.spawns_per_s == 0) return {};
  const double rate = quota.spawns_per_s;
  const std::chrono::duration<double> since =
      use.counted == Clock::time_point{} ? kBurst : now - use.counted;
  use.spawns = std::min(rate, use.spawns + since.count() * rate);
  use.counted = now;
  if (use.spawns < 1)
    return Over{plan::Reason::rule_quota_spawns_per_s, quota.spawns_per_s, quota.spawns_per_s,
                milliseconds(std::lround(std::ceil((1 - use.spawns) * 1000 / rate)))};
  use.spawns -= 1;
  return {};
}

void Quotas::begin(uid_t user, uint32_t descriptors) {
  Use& use = users_[user];
  ++use.jobs;
  use.descriptors += descriptors;
}

void Quotas::arrived(uid_t user, uint32_t descriptors) { users_[user].descriptors -= descriptors; }

void Quotas::end(uid_t user) {
  --users_[user].jobs;
  forget_idle(user);
}

uint32_t Quotas::jobs(uid_t user) const {
  const auto found = users_.find(user);
  return found == users_.end() ? 0 : found->second.jobs;
}

// With an empty bucket it stays: a new one would be full.
void Quotas::forget_idle(uid_t user) {
  const auto found = users_.find(user);
  const Use& use = found->second;
  if (use.connections == 0 && use.jobs == 0 && Clock::now() - use.counted >= kBurst)
    users_.erase(found);
}

}  // namespace cloister::monitor
