// The end of a job: reports of stops, the payload's status, and the death of
// everything it left behind. The record is written only when nothing lives.
#include <asm/errno.h>
#include <asm/siginfo.h>
#include <linux/fcntl.h>
#include <linux/resource.h>
#include <linux/wait.h>

#include "kernel.hpp"
#include "plan/wait_status.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

int64_t microseconds(const __kernel_old_timeval& time) {
  return int64_t{time.tv_sec} * 1'000'000 + time.tv_usec;
}

void payload_ended(Job& job, const siginfo_t& info, const rusage& used) {
  job.payload_alive = false;
  plan::ExitRecord& record = job.record;
  record.exited_at_ns = boottime_ns();
  record.wait_status = plan::wait_status_of({info.si_code, info.si_status});
  record.child_code = info.si_code;
  record.child_status = info.si_status;
  record.child_uid = info.si_uid;
  record.child_pid = info.si_pid;
  record.rusage = {microseconds(used.ru_utime),
                   microseconds(used.ru_stime),
                   used.ru_maxrss,
                   used.ru_ixrss,
                   used.ru_idrss,
                   used.ru_isrss,
                   used.ru_minflt,
                   used.ru_majflt,
                   used.ru_nswap,
                   used.ru_inblock,
                   used.ru_oublock,
                   used.ru_msgsnd,
                   used.ru_msgrcv,
                   used.ru_nsignals,
                   used.ru_nvcsw,
                   used.ru_nivcsw};
  if (record.ending == plan::Ending::none) record.ending = plan::Ending::ended;
  publish(job, plan::kRecordPayloadEnded);
}

// RLIMIT_CPU counts the process without its children, getrusage(2) with them. Its clock
// can be read until it is reaped: clock_getcpuclockid(3), the clock of utime and stime.
void note_cpu_time(Job& job) {
  const auto& rlimits = job.header().rlimits;
  const bool limited =
      rlimits[RLIMIT_CPU].soft != UINT64_MAX || rlimits[RLIMIT_RTTIME].soft != UINT64_MAX;
  if (!job.payload_alive || !limited) return;
  siginfo_t info{};
  const long result =
      call(Call::waitid, P_PID, job.payload, &info, WEXITED | WNOHANG | WNOWAIT, nullptr);
  if (result < 0 || info.si_pid == 0) return;
  timespec used{};
  if (call(Call::clock_gettime, ~int64_t{job.payload} << 3, &used) < 0) return;
  job.record.limited_cpu_us = int64_t{used.tv_sec} * 1'000'000 + used.tv_nsec / 1000;
}

enum class Reaped { something, nothing_now, nobody_left };

Reaped reap_one(Job& job, bool count) {
  note_cpu_time(job);
  siginfo_t info{};
  rusage used{};
  const long result =
      call(Call::waitid, P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG, &used);
  if (result < 0) return Reaped::nobody_left;  // ECHILD
  if (info.si_pid == 0) return Reaped::nothing_now;
  const bool is_payload = job.payload_alive && info.si_pid == job.payload;
  switch (info.si_code) {
    case CLD_STOPPED:
      if (is_payload) report(job, plan::ReportKind::stopped, static_cast<uint32_t>(info.si_status));
      break;
    case CLD_CONTINUED:
      if (is_payload) report(job, plan::ReportKind::continued);
      break;
    case CLD_TRAPPED: break;
    default:
      if (is_payload)
        payload_ended(job, info, used);
      else if (count && info.si_code == CLD_KILLED && info.si_status == kSigKill)
        ++job.record.leftovers_killed;
  }
  return Reaped::something;
}

// /proc/PID/stat: "pid (name) state ppid ..."; the name may hold anything.
int32_t parent_of(const Job& job, int32_t pid) {
  Line<32> path;
  path << pid << "/stat";
  const long fd = call(Call::openat, job.proc, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[256];
  long got = call(Call::read, fd, text, sizeof text - 1);
  close(static_cast<int>(fd));
  if (got < 0) return -1;
  while (got > 0 && text[got - 1] != ')') --got;
  int32_t parent = 0;
  for (const char* at = text + got + 3; at < text + sizeof text && *at >= '0' && *at <= '9'; ++at)
    parent = parent * 10 + (*at - '0');
  return parent;
}

// Signals every descendant. Only without a pid namespace of our own: there
// kill(-1) does it. A pidfd, opened before its process is checked, keeps a
// number that was used again from being hit.
class Descendants {
 public:
  Descendants(const Job& job, int signal) : job_(job), signal_(signal) {}

  // Depth is bounded by the stack; what lies deeper comes nearer as its
  // parents die, because init is their subreaper.
  void of(int32_t pid, int depth = 0) {
    if (depth == 64) return;
    Line<32> path;
    path << pid << "/task";
    const long tasks =
        call(Call::openat, job_.proc, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks < 0) return;
    char entries[1024];
    for (;;) {
      const long got = call(Call::getdents64, tasks, entries, sizeof entries);
      if (got <= 0) break;
      for (long at = 0; at < got;) {
        const char* entry = entries + at;
        const char* name = entry + 19;  // struct linux_dirent64
        if (name[0] != '.') children(static_cast<int>(tasks), name, pid, depth);
        at += *reinterpret_cast<const uint16_t*>(entry + 16);
      }
    }
    close(static_cast<int>(tasks));
  }

 private:
  void children(int tasks, const char* thread, int32_t parent, int depth) {
    Line<32> path;
    path << thread << "/children";
    const long fd = call(Call::openat, tasks, path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    char text[512];
    int32_t pid = 0;
    for (;;) {
      const long got = call(Call::read, fd, text, sizeof text);
      if (got <= 0) break;
      for (long i = 0; i < got; ++i) {
        if (text[i] >= '0' && text[i] <= '9') {
          pid = pid * 10 + (text[i] - '0');
        } else if (pid > 0) {
          child(pid, parent, depth);
          pid = 0;
        }
      }
    }
    close(static_cast<int>(fd));
  }

  void child(int32_t pid, int32_t parent, int depth) {
    const long pidfd = call(Call::pidfd_open, pid, 0);
    if (pidfd < 0) return;  // reaped meanwhile
    if (parent_of(job_, pid) == parent) {
      call(Call::pidfd_send_signal, pidfd, signal_, nullptr, 0);
      of(pid, depth + 1);
    }
    close(static_cast<int>(pidfd));
  }

  const Job& job_;
  int signal_;
};

}  // namespace

void signal_everything(Job& job, int signal) {
  const auto self = static_cast<int32_t>(call(Call::getpid));
  if (self == 1)
    call(Call::kill, -1, signal);  // everybody in the namespace but PID 1, kill(2)
  else if (job.proc > 0)
    Descendants(job, signal).of(self);
}

void kill_everything(Job& job) {
  if (job.has(plan::kCgroupKill)) call(Call::write, plan::kCgroupKillFd, "1", 1);
  signal_everything(job, kSigKill);
}

void reap_until_ended(Job& job) {
  // Nothing was forked: nothing to wait for.
  if (job.payload == 0) return;
  Reaped last = Reaped::nothing_now;
  while (job.payload_alive) {
    last = reap_one(job, false);
    if (last == Reaped::nothing_now && job.payload_alive) await(job, -1);
  }
  // What died by itself before this moment is not a leftover.
  do last = reap_one(job, false);
  while (last == Reaped::something);
  // Orphans in a joined pid namespace go to its PID 1, not to us: there only
  // the cgroup knows them.
  const bool elsewhere = job.joined(Namespace::pid) && job.has(plan::kCgroupKill);
  if (last == Reaped::nobody_left && !elsewhere) return;
  for (;;) {
    kill_everything(job);
    do last = reap_one(job, true);
    while (last == Reaped::something);
    if (last == Reaped::nobody_left) return;
    await(job, -1);
  }
}

}  // namespace cloister::init
