// cloister-init: from the clone to the exit record of one job.
//
// Started by the monitor with the descriptors of lib/plan/order.hpp and full
// power; the only code of ours between the clone and the payload. `launch`
// below is the whole path. Every verb succeeds or leaves by `fail`.
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

#if defined(__x86_64__)
asm(".globl _start\n"
    "_start:\n\t"
    "xor %ebp, %ebp\n\t"
    "and $-16, %rsp\n\t"
    "call cloister_init\n\t"
    "hlt");
#else
asm(".globl _start\n"
    "_start:\n\t"
    "mov x29, #0\n\t"
    "mov x30, #0\n\t"
    "bl cloister_init\n\t"
    "brk #1");
#endif

namespace cloister::init {
namespace {

Job the_job;

// Without it there is nobody to tell anything.
void map_record(Job& job) {
  const long at = call(Call::mmap, nullptr, plan::kRecordBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                       plan::kRecordFd);
  if (at < 0) exit(1);
  job.published = reinterpret_cast<plan::ExitRecord*>(at);
}

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
  receive_order(job);
  // Held from here, because the sandbox may have another /proc or none.
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
  job.identity = job.header().identity;
  if (const uint32_t id = job.order.leased_id) {
    job.identity.ruid = job.identity.euid = job.identity.suid = id;
    job.identity.rgid = job.identity.egid = job.identity.sgid = id;
    job.identity.groups = {};
  }
}

[[noreturn]] void launch(Job& job) {
  begin(job);
  read_plan(job);
  keep_or_leave_namespaces(job);
  if (job.has(plan::kNetworkProcess)) run_network(job);
  receive_descriptors(job);
  open_namespaces_of_processes(job);
  report_facts(job);
  enter_fresh_user(job);
  take_login_uid(job);
  join_namespaces(job);
  make_pid_namespace(job);
  make_domain(job);
  clone_sources(job);
  attach_mounts(job);
  enter_outbound_network(job);
  if (!job.inside_is_for_payload()) make_inside(job);
  job.record.forked_at_ns = boottime_ns();
  fork_payload(job);
  await_exec(job);
  job.record.started_at_ns = boottime_ns();
  announce_start(job);
  reap_until_ended(job);
  finish(job);
}

}  // namespace

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

extern "C" [[noreturn]] void cloister_init() { launch(the_job); }

}  // namespace cloister::init
