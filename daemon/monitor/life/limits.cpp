// The limits of a job. Those on time are enforced by the monitor: a job that reaches one is
// stopped as by Stop. Those on memory, processes and processors are enforced by the kernel.
#include <unistd.h>

#include <algorithm>

#include "life/job.hpp"

namespace cloister::monitor {

using plan::Cause;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// Called when the payload has been executed.
void Job::watch_limits() {
  const uint64_t wall_time_ms = plan()->limits.wall_time_ms;
  if (wall_time_ms > 0) {
    wall_time_.expires_after(milliseconds(wall_time_ms));
    wall_time_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->reach(Cause::wall_time);
    });
  }
  if (plan()->limits.cpu_time_ms > 0) watch_cpu_time(0);
  if (early_limit_ != Cause::payload) on_limit(early_limit_);
}

// The report that the payload has been executed may still be to be read. An init that is
// killed before that would leave a record of a job that did not start.
void Job::on_limit(Cause cause) {
  if (life_ == State::preparing)
    early_limit_ = cause;
  else if (cause == Cause::memory)
    kill(cause, 0);
  else
    reach(cause);
}

// The next look is when all processors together could have used up what is left, but not
// before a pause, which grows while the job uses none. So a job that sleeps close to its
// limit does not keep the monitor busy; when it wakes, it may run for kLongest beyond it.
void Job::watch_cpu_time(uint64_t before) {
  constexpr milliseconds kShortest(5), kLongest(250);
  const uint64_t limit = plan()->limits.cpu_time_ms * 1000;
  const uint64_t used = Cgroups::cpu_time_us(leaves_);
  if (used == plan::kNotMeasured) return kill(Cause::cloister, 0);
  if (used >= limit) return reach(Cause::cpu_time);
  cpu_pause_ = used == before ? std::clamp(2 * cpu_pause_, kShortest, kLongest) : kShortest;
  static const auto processors =
      static_cast<uint64_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_time_.expires_after(
      std::max<microseconds>(cpu_pause_, microseconds((limit - used) / processors)));
  cpu_time_.async_wait([self = shared_from_this(), used](boost::system::error_code error) {
    if (!error && self->alive()) self->watch_cpu_time(used);
  });
}

void Job::reach(Cause cause) {
  if (!alive()) return;
  const milliseconds timeout(plan()->stop_timeout_ms);
  if (!ending()) return stop(cause, 0, timeout);
  // It is being stopped already. A limit gives it no more time for that than stop_timeout.
  const auto last = std::chrono::steady_clock::now() + timeout;
  if (deadline_.expiry() <= last) return;
  deadline_.expires_at(last);
  on_deadline();
}

// For v1, where the kernel kills one process and leaves the others. It reports that a limit
// of memory was reached, in the cgroup or above it; then it kills, or finds memory after all.
void Job::watch_memory() {
  if (leaves_.oom_event) oom_.assign(leaves_.oom_event.take());
  if (!oom_.is_open()) return;
  oom_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                  [self = shared_from_this()](boost::system::error_code error) {
                    if (!error) self->count_shortages(), self->await_kill(0);
                  });
}

void Job::count_shortages() {
  uint64_t times = 0;
  if (oom_.is_open() && ::read(oom_.native_handle(), &times, sizeof times) == sizeof times)
    leaves_.shortages += times;
}

void Job::await_kill(int looks) {
  constexpr int kLooks = 7;  // 127 ms
  const plan::OutOfMemory oom = shop_.cgroups.counted(leaves_).oom;
  if (oom.at_limit && oom.kills > 0 && acts_.oom_ends_job) return on_limit(Cause::memory);
  if (!oom.at_limit || looks == kLooks || !acts_.oom_ends_job) return watch_memory();
  memory_.expires_after(milliseconds(1 << looks));
  memory_.async_wait([self = shared_from_this(), looks](boost::system::error_code error) {
    if (!error && self->alive()) self->await_kill(looks + 1);
  });
}

// What the job has taken, at its end.
void Job::count_up() {
  count_shortages();
  const Counted seen = shop_.cgroups.counted(leaves_);
  state_.usage = {Cgroups::cpu_time_us(leaves_), seen.cpu_throttled_us, seen.memory_peak,
                  seen.pids_peak};
  state_.oom = acts_.oom = seen.oom;
  acts_.forks_refused = seen.forks_refused > 0;
}

// One that ends the job, at its end.
std::optional<uint32_t> Job::stream_past_limit() const {
  for (uint32_t i = 0; i < plan::kCaptured; ++i) {
    const plan::Capture& capture = plan()->capture[i];
    if (capture.on_limit == plan::OnLimit::kill && state_.output[i].bytes > capture.max) return i;
  }
  return {};
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
    case Cause::output:
      if (const std::optional<uint32_t> stream = stream_past_limit())
        return {*stream == 0 ? Limit::stdout_ : Limit::stderr_, 0, plan()->capture[*stream].max,
                state_.output[*stream].bytes};
      return {};
    case Cause::payload:
      // fork(2) has failed at the limit, and the payload has failed. Only the payload knows
      // whether the one was the cause of the other.
      if (acts_.forks_refused && limits.pids > 0 && state_.record.wait_status != 0)
        return {Limit::pids, 0, limits.pids, used.pids_peak};
      return {};
    default: return {};
  }
}

}  // namespace cloister::monitor
