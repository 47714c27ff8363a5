// What the monitor does itself where init does not do its part: somebody with
// init's ids has stopped, starved or killed it, or the kernel keeps it.
//
// A payload that has ended has init's word within kPatienceWithInit, or init is killed,
// and its pid namespace with it. What then keeps init from being reaped is a
// process of its user that traces a dead one (ptrace(2)) and does not let go: the
// end is told without it.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "life/job.hpp"

namespace cloister::monitor {

using plan::JobPhase;

namespace {

// Twice that, and what the kernel takes, is within two seconds.
constexpr std::chrono::milliseconds kPatienceWithInit(800);

}  // namespace

void Job::kill_init() {
  init_watch_.kill();
  init_killed_ = true;
  lose_patience_in_a_moment();
}

void Job::on_payload_ended() {
  if (!take(Event::payload_ended)) return;
  if (alive()) return lose_patience_in_a_moment();
  // Init is gone, and this was waited for.
  if (parts_.has(Part::payload)) given_back(Part::payload);
}

// What is dead does not count, cgroups(7). Where nobody knows, nothing does.
bool Job::leftovers_live() const {
  if (!leaves_.kill) return false;  // no v2
  const sys::UniqueFd events(
      ::openat(leaves_.payload.borrow(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  char text[128]{};
  return events && ::read(events.borrow(), text, sizeof text - 1) > 0 &&
         std::strstr(text, "populated 1");
}

void Job::lose_patience_in_a_moment() {
  patience_.expires_after(kPatienceWithInit);
  patience_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error && self->running()) self->lose_patience();
  });
}

void Job::lose_patience() {
  if (alive()) {
    if (init_killed_ && !leftovers_live()) return finish(Event::init_given_up);
    payload_watch_.outcome();  // how it ended is known best before its init is killed
    Cgroups::kill(leaves_);
    return kill_init();
  }
  if (!parts_.has(Part::payload) || !take(Event::payload_given_up)) return;
  payload_watch_.forget();  // it cannot be killed
  given_back(Part::payload);
}

// The ending by the kernel's word alone.
bool Job::kernel_tells_end() {
  const std::optional<ChildWatch::Outcome>& seen = payload_watch_.outcome();
  if (!seen || (state_.phase == JobPhase::preparing && !seen->executed)) return false;
  std::fprintf(stderr, "cloisterd: init %d did not report the end of its payload, the kernel did\n",
               init_);
  plan::ExitRecord& record = state_.record;
  record = {};
  record.ending = plan::Ending::ended;
  record.wait_status = plan::wait_status_of(seen->end);
  record.child_code = seen->end.code;
  record.child_status = seen->end.status;
  record.child_uid = order_.leased_id ? order_.leased_id : plan()->identity.ruid;
  record.child_pid = payload_;
  record.exited_at_ns = payload_watch_.ended_at_ns();
  return true;
}

}  // namespace cloister::monitor
