// Quotas: what each user has under way, against the quota of the rule that
// speaks of them. A user is a uid: who opens more connections gets no more.
#pragma once

#include <chrono>
#include <map>
#include <optional>

#include "decide/policy.hpp"

namespace cloister::monitor {

class Quotas {
 public:
  using Clock = std::chrono::steady_clock;

  // Which bound is reached; `retry` is when there may be room again.
  struct Over {
    plan::Reason reason;  // Reason::rule_quota_*
    uint64_t limit, in_use;
    std::chrono::milliseconds retry;
  };

  // Counted whatever the answer, and so always to be let go of: a connection
  // that is refused takes a moment too.
  std::optional<Over> connect(uid_t user, const Quota& quota);
  void disconnect(uid_t user);

  // May this user launch one more job, with that many descriptors? One that may
  // has used one spawn of its rate; the rest is counted by begin().
  std::optional<Over> may_launch(uid_t user, const Quota& quota, uint32_t descriptors,
                                 Clock::time_point now = Clock::now());
  void begin(uid_t user, uint32_t descriptors);
  void arrived(uid_t user, uint32_t descriptors);  // with init, or nowhere
  void end(uid_t user);

  uint32_t jobs(uid_t user) const;

 private:
  struct Use {
    uint32_t connections = 0, jobs = 0, descriptors = 0;
    double spawns = 0;  // left of the last second's
    Clock::time_point counted{};
  };
  void forget_idle(uid_t user);

  std::map<uid_t, Use> users_;
};

}  // namespace cloister::monitor
