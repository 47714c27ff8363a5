// What a process inherits besides ids and descriptors; all of it is set,
// nothing is left as the daemon had it.
#include <asm/errno.h>
#include <asm/ioctls.h>
#include <linux/fcntl.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/types.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

bool all_zero(const uint8_t* bytes, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (bytes[i]) return false;
  return true;
}

void set_affinity(Job& job) {
  uint8_t every[plan::kCpuBytes];
  const uint8_t* mask = job.header().affinity;
  if (all_zero(mask, plan::kCpuBytes)) {
    for (uint8_t& byte : every) byte = 0xff;
    mask = every;
  }
  must(job, Step::affinity, call(Call::sched_setaffinity, 0, plan::kCpuBytes, mask));
}

// After nice, which a policy of our own would otherwise replace, and before
// the ids: a real-time policy is refused after them.
void set_policy(Job& job) {
  const plan::Scheduler& want = job.header().scheduler;
  sched_attr attr{};
  attr.size = sizeof attr;
  attr.sched_policy = want.set & plan::kHasPolicy ? static_cast<uint32_t>(want.policy) : 0;
  attr.sched_nice = job.header().nice;
  if (want.set & plan::kHasParameters) attr.sched_priority = static_cast<uint32_t>(want.priority);
  if (want.set & plan::kResetOnFork) attr.sched_flags |= SCHED_FLAG_RESET_ON_FORK;
  attr.sched_runtime = want.runtime_ns;
  attr.sched_deadline = want.deadline_ns;
  attr.sched_period = want.period_ns;
  must(job, Step::scheduler, call(Call::sched_setattr, 0, &attr, 0));
}

void set_oom_score(Job& job) {
  constexpr Step step = Step::oom_score_adj;
  const int fd =
      must_fd(job, step, call(Call::openat, job.proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  Line<16> value;
  value << job.header().oom_score_adj;
  must(job, step, call(Call::write, fd, value.c_str(), value.size()));
  close(fd);
}

void set_keyring(Job& job) {
  if (!(job.header().flags & plan::kNewKeyring)) return;
  const long result = call(Call::keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  if (result == -ENOSYS) return;  // a kernel without keys has none to leak
  must(job, Step::keyring, result);
}

}  // namespace

void set_session(Job& job) {
  const plan::Header& h = job.header();
  // Namespaces have steps of their own, after which nobody comes back here.
  constexpr uint32_t kNoNamespace =
      CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
  if (h.unshare & ~kNoNamespace) fail(job, Step::unshare, EINVAL);
  if (h.unshare) must(job, Step::unshare, call(Call::unshare, h.unshare));
  // A pty becomes the controlling terminal, which only a session leader has.
  const bool leader = (h.flags & (plan::kSetsid | plan::kPty)) != 0;
  if (leader) must(job, Step::setsid, call(Call::setsid));
  if (h.flags & plan::kSetpgroup) {
    // The leader of a session is in its own group for good, setpgid(2).
    if (!leader || h.setpgroup != 0)
      must(job, Step::setpgroup, call(Call::setpgid, 0, h.setpgroup));
  } else if (!leader) {
    must(job, Step::setpgroup, call(Call::setpgid, 0, 0));
  }
  if (h.controlling_fd < 0) return;
  // Before the file actions, so that their tcsetpgrp finds it: the terminal is
  // the descriptor that they will place at this number.
  for (uint32_t i = 0; i < h.actions.count; ++i) {
    const plan::Action& action = job.plan().at(h.actions, i);
    if (action.op != plan::Op::receive || action.fd != h.controlling_fd) continue;
    must(job, Step::controlling_terminal,
         call(Call::ioctl, job.descriptors[action.descriptor], TIOCSCTTY, 0));
    return;
  }
  fail(job, Step::controlling_terminal, EBADF);
}

void set_scheduling(Job& job) {
  set_affinity(job);
  must(job, Step::nice, call(Call::setpriority, PRIO_PROCESS, 0, job.header().nice));
  set_policy(job);
  constexpr int kWhoProcess = 1;  // IOPRIO_WHO_PROCESS
  must(job, Step::ioprio, call(Call::ioprio_set, kWhoProcess, 0, job.header().ioprio));
}

void set_process_attributes(Job& job) {
  const plan::Header& h = job.header();
  set_oom_score(job);
  must(job, Step::personality, call(Call::personality, h.personality));
  // 0 would mean "as my parent has it", prctl(2).
  constexpr uint64_t kDefaultSlack = 50'000;
  must(job, Step::timer_slack,
       call(Call::prctl, PR_SET_TIMERSLACK, h.timer_slack_ns ? h.timer_slack_ns : kDefaultSlack, 0,
            0, 0));
  set_keyring(job);
  label_next_exec(job);
}

}  // namespace cloister::init
