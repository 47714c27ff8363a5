// What an init and a network process have in common: the beginning, the Plan, the
// record, and the one door that every failure leaves by.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/time.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

// Without it there is nobody to tell anything.
void map_record(Job& job) {
  const long at = call(Call::mmap, nullptr, plan::kRecordBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                       plan::kRecordFd);
  if (at < 0) exit(1);
  job.published = reinterpret_cast<plan::ExitRecord*>(at);
}

}  // namespace

void begin(Job& job) {
  job.record.entered_at_ns = boottime_ns();
  map_record(job);
  job.step = Step::start;
  uint64_t every = ~uint64_t{0};
  must(job, Step::start,
       call(Call::rt_sigprocmask, 0 /* SIG_BLOCK */, &every, nullptr, kSigSetBytes));
  // An ignored SIGCHLD would lose exit statuses, wait(2).
  SignalAction action{};
  must(job, Step::start, call(Call::rt_sigaction, kSigChld, &action, nullptr, kSigSetBytes));
  must(job, Step::start, call(Call::close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC));
  must(job, Step::start, call(Call::setsid));
  heed_monitors_death(job, Step::start);
  if (call(Call::getpid) != 1) must(job, Step::start, call(Call::prctl, PR_SET_CHILD_SUBREAPER, 1));
}

// A directory that shows processes, whatever has been mounted on ours since.
void hold_proc(Job& job) {
  job.proc = must_fd(job, Step::start,
                     call(Call::openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statfs kind {};
  must(job, Step::start, call(Call::fstatfs, job.proc, &kind));
  if (kind.f_type != kProcMagic) fail(job, Step::start, ENOSYS);
}

void read_plan(Job& job) {
  job.step = Step::plan;
  struct stat status {};
  must(job, Step::plan, call(Call::fstat, plan::kPlanFd, &status));
  const auto bytes = static_cast<size_t>(status.st_size);
  const long at =
      must(job, Step::plan, call(Call::mmap, nullptr, bytes, PROT_READ, MAP_SHARED, plan::kPlanFd));
  const void* block = reinterpret_cast<const void*>(at);
  const plan::Flaw flaw = plan::check(block, bytes);
  if (flaw != plan::Flaw::none) fail(job, Step::plan, EINVAL, static_cast<uint32_t>(flaw));
  job.block = block;
  int pipe = plan::kFirstJoinFd + static_cast<int>(job.order.join_count + job.order.tasks_count) +
             (job.has(plan::kScratch) ? 1 : 0);
  for (uint32_t i = 0; i < plan::kCaptured; ++i)
    if (job.header().capture[i].max > 0) job.captured[i] = pipe++;
  job.identity = job.header().identity;
  if (const uint32_t id = job.order.leased_id) {
    job.identity.ruid = job.identity.euid = job.identity.suid = id;
    job.identity.rgid = job.identity.egid = job.identity.sgid = id;
    job.identity.groups = {};
  }
}

// CLOCK_BOOTTIME of the host: init itself never enters a time namespace.
int64_t boottime_ns() {
  timespec now{};
  call(Call::clock_gettime, CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void publish(Job& job, uint64_t commit) {
  plan::ExitRecord& record = job.record;
  record.magic = plan::kRecordMagic;
  record.version = plan::kRecordVersion;
  for (uint32_t i = 0; i < sizeof record.job; ++i) record.job[i] = job.order.job[i];
  record.commit = job.published->commit;
  *job.published = record;
  // The commit word goes last: without it a record says nothing.
  __atomic_store_n(&job.published->commit, commit, __ATOMIC_RELEASE);
}

void finish(Job& job) {
  job.record.ended_at_ns = boottime_ns();
  publish(job, plan::kRecordCommitted);
  report(job, plan::ReportKind::ended);
  // Nothing of the job's lives. Our own end takes the namespaces and mounts apart,
  // a millisecond in which a monitor that was woken on this processor would wait.
  call(Call::sched_yield);
  exit(0);
}

void fail(Job& job, const plan::Failure& failure) {
  if (job.in_helper) exit(failure.error);
  if (job.in_payload) {
    // No system call: a filter may be loaded that forbids it.
    job.words->failure = failure;
    exit(127);
  }
  job.record.ending = plan::Ending::not_started;
  job.record.failure = failure;
  kill_everything(job);
  reap_until_ended(job);
  finish(job);
}

}  // namespace cloister::init
