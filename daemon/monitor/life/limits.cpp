// The limits of a job: on time, which the monitor watches over itself, and on memory,
// processes and processors, which the kernel does. A job that reaches one on time is
// stopped as by Stop.
#include <unistd.h>

#include <algorithm>

#include "life/job.hpp"

namespace cloister::monitor {

using plan::Cause;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// From exec on.
void Job::watch_limits() {
  const uint64_t wall_time_ms = plan()->limits.wall_time_ms;
  if (wall_time_ms > 0) {
    wall_time_.expires_after(milliseconds(wall_time_ms));
    wall_time_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->reach(Cause::wall_time);
    });
  }
  if (plan()->limits.cpu_time_ms > 0) watch_cpu_time();
}

// The next look is when all processors together could have used up what is left.
void Job::watch_cpu_time() {
  const uint64_t limit = plan()->limits.cpu_time_ms * 1000;
  const uint64_t used = Cgroups::cpu_time_us(leaves_);
  if (used >= limit) return reach(Cause::cpu_time);  // nobody can tell: it is as if it had
  constexpr uint64_t kLeast = 1000;                  // us: more looks would cost more than the job
  static const auto processors =
      static_cast<uint64_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_time_.expires_after(microseconds(std::max(kLeast, (limit - used) / processors)));
  cpu_time_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error && self->alive()) self->watch_cpu_time();
  });
}

void Job::reach(Cause cause) {
  if (!alive() || ending()) return;
  stop(cause, 0, milliseconds(plan()->stop_timeout_ms));
}

// Of v1, where the kernel kills one process and leaves the others. The event comes just
// before it does, and for a limit of a cgroup above as well.
void Job::watch_memory() {
  if (leaves_.oom_event) oom_.assign(leaves_.oom_event.take());
  if (!oom_.is_open()) return;
  oom_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                  [self = shared_from_this()](boost::system::error_code error) {
                    uint64_t times;
                    if (error || ::read(self->oom_.native_handle(), &times, sizeof times) < 0)
                      return;
                    if (self->shop_.cgroups.counted(self->leaves_).oom.at_limit)
                      self->kill(Cause::memory, 0);
                    else
                      self->watch_memory();
                  });
}

// What the job has taken, at its end.
void Job::count_up() {
  const Counted seen = shop_.cgroups.counted(leaves_);
  state_.usage = {Cgroups::cpu_time_us(leaves_), seen.cpu_throttled_us, seen.memory_peak,
                  seen.pids_peak};
  state_.oom = seen.oom;
  // We were faster than the kernel.
  if (acts_.intent == Cause::memory && state_.oom.kills == 0) state_.oom.kills = 1;
  acts_.oom = state_.oom;
  acts_.forks_refused = seen.forks_refused > 0;
}

plan::LimitHit Job::limit_reached(Cause cause, const plan::LimitHit& by_rlimit) const {
  using plan::Limit;
  const plan::Limits& limits = plan()->limits;
  const plan::SandboxUsage& used = state_.usage;
  if (by_rlimit.which != Limit::none) return by_rlimit;
  switch (cause) {
    case Cause::wall_time: return {Limit::wall_time, 0, limits.wall_time_ms * 1000, state_.wall_us};
    case Cause::cpu_time: return {Limit::cpu_time, 0, limits.cpu_time_ms * 1000, used.cpu_us};
    case Cause::memory: return {Limit::memory, 0, limits.memory, used.memory_peak};
    case Cause::payload:
      // A process that was refused another one gives up; whether for that it alone knows.
      if (acts_.forks_refused && state_.record.wait_status != 0)
        return {Limit::pids, 0, limits.pids, used.pids_peak};
      return {};
    default: return {};
  }
}

}  // namespace cloister::monitor
