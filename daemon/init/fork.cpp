// The fork of the payload, and what init hears of it until its exec.
#include <asm/errno.h>
#include <asm/siginfo.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {

// clone3(2) without a stack of its own is fork(2).
long fork_process(uint64_t flags, int* pidfd, int cgroup) {
  clone_args args{};
  args.flags = flags;
  args.exit_signal = kSigChld;
  if (pidfd) {
    args.flags |= CLONE_PIDFD;
    args.pidfd = reinterpret_cast<uint64_t>(pidfd);
  }
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup);
  }
  return call(Call::clone3, &args, sizeof args);
}

// What init hears of its child by.
void prepare_fork(Job& job, Step step) {
  job.step = step;
  // A socket, not a pipe: its end in the payload's process cannot be opened a
  // second time through /proc/self/fd.
  int ends[2];
  must(job, step, call(Call::socketpair, kAfUnix, kSockSeqpacket | kSockCloexec, 0, ends));
  job.status_read = ends[0];
  job.status_write = ends[1];
  const uint64_t child_changes = uint64_t{1} << (kSigChld - 1);
  job.signals =
      must_fd(job, step,
              call(Call::signalfd4, -1, &child_changes, kSigSetBytes, O_CLOEXEC | O_NONBLOCK));
}

void fork_payload(Job& job) {
  prepare_fork(job, Step::fork);
  job.front = plan::kPassedFd;
  const auto parent = static_cast<int32_t>(call(Call::getpid));
  const bool want_pidfd = (job.header().flags & plan::kWantPidfd) != 0;
  const bool enters_by_itself = job.order.tasks_count > 0;
  const int cgroup =
      job.has(plan::kPayloadCgroup) && !enters_by_itself ? plan::kPayloadCgroupFd : -1;
  const long pid =
      must(job, Step::fork, fork_process(0, want_pidfd ? &job.pidfd : nullptr, cgroup));
  if (pid == 0) become_payload(job, parent);
  job.payload = static_cast<int32_t>(pid);
  job.payload_alive = true;
  close(job.status_write);
  // Same uid must not mean the right to look inside, ptrace(2).
  must(job, Step::fork, call(Call::prctl, PR_SET_DUMPABLE, 0));
}

void await_exec(Job& job) {
  plan::Failure said{};
  for (;;) {
    if (!await(job, job.status_read)) continue;
    plan::Failure message{};
    const long got = call(Call::read, job.status_read, &message, sizeof message);
    if (got == -EINTR) continue;
    if (got != sizeof message) break;
    if (message.step == Step::none)
      job.ready = true;
    else
      said = message;
  }
  close(job.status_read);
  if (said.step != Step::none) fail(job, said);
  if (job.ready) {
    job.started = true;
    return;
  }
  // The end of file without a word: the process died in one of our steps.
  siginfo_t info{};
  must(job, Step::fork, call(Call::waitid, P_PID, job.payload, &info, WEXITED | WNOWAIT, nullptr));
  fail(job, {Step::fork, kNone, job.cancelled ? ECANCELED : EINTR,
             static_cast<uint32_t>(info.si_status)});
}

void announce_start(Job& job) {
  if (job.header().flags & plan::kWantPidfd) {
    // A front that is gone has no use for it, and the job goes on.
    offer_to_front(plan::kPassedFd, job.pidfd, 'F');
    close(job.pidfd);
  }
  report(job, plan::ReportKind::started);
  // Nothing that leads out of the sandbox stays open in its PID 1.
  if (call(Call::getpid) == 1) {
    close(job.proc);
    job.proc = 0;
  }
  release_held_signals(job);
  // Last, because closing what a client made may take as long as it likes.
  for (uint32_t i = 0; i < job.header().descriptors.count; ++i) close(job.descriptors[i]);
}

}  // namespace cloister::init
