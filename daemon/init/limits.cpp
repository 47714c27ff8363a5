// Resource limits: init's own need for descriptors, and the payload's sixteen.
#include <linux/resource.h>

#include "verbs.hpp"

namespace cloister::init {

void raise_descriptor_limit(Job& job) {
  rlimit64 limit{};
  must(job, Step::descriptors, call(Call::prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit));
  if (limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  must(job, Step::descriptors, call(Call::prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr));
}

void set_limits(Job& job) {
  raise_late_powers(job);
  for (uint32_t i = 0; i < plan::kRlimits; ++i) {
    const plan::Rlimit& asked = job.header().rlimits[i];
    rlimit64 limit{asked.soft, asked.hard};
    if (!asked.set) {
      // A constant of ours never gives more than the caller has.
      const uint64_t most = job.order.rlimit_hard[i];
      if (limit.rlim_max > most) limit.rlim_max = most;
      if (limit.rlim_cur > most) limit.rlim_cur = most;
    }
    must(job, Step::rlimit, call(Call::prlimit64, 0, i, &limit, nullptr), i);
  }
}

}  // namespace cloister::init
