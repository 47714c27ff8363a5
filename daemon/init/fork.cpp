// The fork of the payload, and what is said of its start.
#include <linux/prctl.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {

void fork_payload(Job& job) {
  prepare_fork(job, Step::fork);
  job.front = plan::kPassedFd;
  const auto parent = static_cast<int32_t>(call(Call::getpid));
  const bool clone_into = job.has(plan::kPayloadCgroup) && !job.has(plan::kEntersLeaf);
  const int cgroup = clone_into ? plan::kPayloadCgroupFd : -1;
  const long pid = must(job, Step::fork, fork_process(0, &job.pidfd, cgroup));
  if (pid == 0) become_payload(job, parent);
  job.payload = static_cast<int32_t>(pid);
  job.payload_alive = true;
  close(job.status_write);
  // Same uid must not mean the right to look inside, ptrace(2).
  must(job, Step::fork, call(Call::prctl, PR_SET_DUMPABLE, 0));
  become_nobodys(job);
  report_payload(job);
}

void announce_start(Job& job) {
  // A front that is gone has no use for it, and the job goes on.
  if (job.header().flags & plan::kWantPidfd) offer_to_front(plan::kPassedFd, job.pidfd, 'F');
  close(job.pidfd);
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
