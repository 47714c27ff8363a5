// What the monitor does itself where init does not do its part: somebody with
// init's ids has stopped, starved or killed it, or the kernel keeps it.
//
// A payload that has ended has init's word within kPatience, or init is killed,
// and its pid namespace with it. What then keeps init from being reaped is a
// process of its user that traces a dead one (ptrace(2)) and does not let go: the
// end is told without it.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "life/job.hpp"

namespace cloister::monitor {

using plan::JobPhase;

namespace {

// Twice that, and what the kernel takes, is within two seconds.
constexpr std::chrono::milliseconds kPatience(800);
constexpr std::chrono::milliseconds kMoment(20);

}  // namespace

void Job::kill_init() {
  ::syscall(SYS_pidfd_send_signal, end_.native_handle(), SIGKILL, nullptr, 0);
  init_killed_ = true;
  lose_patience_in_a_moment();
}

// A pidfd that is readable of a process that cannot be reaped: it is traced.
void Job::watch_init_again() {
  pollfd end{end_.native_handle(), POLLIN, 0};
  if (::poll(&end, 1, 0) <= 0) return watch_init();
  const auto moment = std::make_shared<boost::asio::steady_timer>(shop_.io, kMoment);
  moment->async_wait([self = shared_from_this(), moment](boost::system::error_code error) {
    if (!error) self->watch_init();
  });
}

void Job::on_payload_ended() {
  init_end_.ended ? finish_or_reclaim() : lose_patience_in_a_moment();
}

// Init is gone, and its payload dies with it but has not yet.
bool Job::awaits_payload() {
  if (!init_end_.ended || !payload_.lives()) return false;
  payload_.kill();
  lose_patience_in_a_moment();
  return true;
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
  patience_.expires_after(kPatience);
  patience_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error && self->running()) self->lose_patience();
  });
}

void Job::lose_patience() {
  if (init_end_.ended) {
    payload_.forget();  // it cannot be killed
    return finish_or_reclaim();
  }
  if (finishing_) return;  // init has done its part
  if (init_killed_ && !leftovers_live()) return finish();
  payload_.end();
  Cgroups::kill(leaves_);
  kill_init();
}

// The ending by the kernel's word alone.
bool Job::kernel_tells_end() {
  const std::optional<Payload::End>& end = payload_.end();
  if (!end || (state_.phase == JobPhase::preparing && !end->executed)) return false;
  const int32_t status = end->status;
  std::fprintf(stderr, "cloisterd: init %d did not tell the end of its payload, the kernel did\n",
               init_);
  plan::ExitRecord& record = state_.record;
  record = {};
  record.ending = plan::Ending::ended;
  record.wait_status = status;
  record.child_code = WIFEXITED(status) ? CLD_EXITED : WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED;
  record.child_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
  record.child_uid = order_.leased_id ? order_.leased_id : plan()->identity.ruid;
  record.child_pid = payload_.pid();
  record.exited_at_ns = payload_.ended_at_ns();
  return true;
}

}  // namespace cloister::monitor
