// What one process can do to another whose ids it has: signals, limits,
// scheduling, tracing, and the files below /proc/PID. Pulled on the init of a job,
// from outside of it and from within.
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "probe_say.hpp"

namespace cloister::probe {
namespace {

long put(pid_t pid, const char* file, const char* text) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const long result = write(fd, text, strlen(text));
  const int error = errno;
  close(fd);
  errno = error;
  return result;
}

long get(pid_t pid, const char* file) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd;
}

struct Deadline {
  uint32_t size = 48, policy = 6;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 1'000'000, deadline = 1'000'000'000, period = 1'000'000'000;
};

long trace(pid_t pid) {
  if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) < 0) return -1;
  ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr);
  waitpid(pid, nullptr, __WALL | WNOHANG);
  return 0;
}

// PID [NAME...]: those of these names, or all but those that have to be named.
class Levers {
 public:
  Levers(pid_t pid, std::vector<std::string> names) : pid_(pid), names_(std::move(names)) {}

  int pull() {
    // Last, because they stop or end it.
    constexpr const char* kLimits[] = {
        "CPU",     "FSIZE", "DATA",  "STACK",      "CORE",     "RSS",  "NPROC",  "NOFILE",
        "MEMLOCK", "AS",    "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"};
    for (int i = 0; i < 16; ++i) {
      const rlimit none{0, 0};
      lever("limit " + std::string(kLimits[i]),
            [&] { return syscall(SYS_prlimit64, pid_, i, &none, nullptr); });
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    const sched_param zero{};
    Deadline deadline;
    lever("affinity", [&] { return syscall(SYS_sched_setaffinity, pid_, sizeof one, &one); });
    lever("idle", [&] { return syscall(SYS_sched_setscheduler, pid_, SCHED_IDLE, &zero); });
    lever("batch", [&] { return syscall(SYS_sched_setscheduler, pid_, SCHED_BATCH, &zero); });
    lever("deadline", [&] { return syscall(SYS_sched_setattr, pid_, &deadline, 0); });
    lever("nice", [&] { return setpriority(PRIO_PROCESS, static_cast<id_t>(pid_), 19); });
    lever("ioprio", [&] { return syscall(SYS_ioprio_set, 1, pid_, 3 << 13); });
    lever("migrate_pages", [&] {
      unsigned long node = 1;
      return syscall(SYS_migrate_pages, pid_, 64, &node, &node);
    });
    char byte = 0;
    iovec local{&byte, 1}, remote{&byte, 1};
    lever("process_vm_readv", [&] { return process_vm_readv(pid_, &local, 1, &remote, 1, 0); });
    lever("process_vm_writev", [&] { return process_vm_writev(pid_, &local, 1, &remote, 1, 0); });
    lever("kcmp", [&] { return syscall(SYS_kcmp, pid_, getpid(), KCMP_FILES, 0, 0); });
    const long pidfd = syscall(SYS_pidfd_open, pid_, 0);
    lever("pidfd_getfd", [&] { return syscall(SYS_pidfd_getfd, pidfd, 3, 0); });
    lever("process_madvise",
          [&] { return syscall(SYS_process_madvise, pidfd, &local, 1, 21 /* MADV_PAGEOUT */, 0); });
    lever("setns", [&] { return syscall(SYS_setns, pidfd, CLONE_NEWUTS); });
    constexpr const char* kWritten[][2] = {{"oom_score_adj", "1000"},
                                           {"oom_adj", "15"},
                                           {"timerslack_ns", "1000000000"},
                                           {"coredump_filter", "ff"},
                                           {"clear_refs", "1"},
                                           {"comm", "mine"},
                                           {"sched", "0"},
                                           {"autogroup", "19"},
                                           {"loginuid", "0"},
                                           {"uid_map", "0 0 1"},
                                           {"gid_map", "0 0 1"},
                                           {"setgroups", "deny"},
                                           {"projid_map", "0 0 1"},
                                           {"attr/current", "x"},
                                           {"timens_offsets", "monotonic 1 0"},
                                           {"make-it-fail", "1"},
                                           {"mem", "x"}};
    for (const auto& [file, text] : kWritten)
      lever(file, [&, file = file, text = text] { return put(pid_, file, text); });
    constexpr const char* kRead[] = {"mem", "environ", "maps",   "auxv",    "fd/3",    "exe",
                                     "cwd", "root",    "ns/mnt", "pagemap", "syscall", "stack"};
    for (const char* file : kRead)
      lever("read " + std::string(file), [&] { return get(pid_, file); });
    for (int signal = 1; signal <= SIGRTMAX; ++signal)
      if (signal != SIGKILL && signal != SIGSTOP && signal != SIGCONT)
        lever("signal " + std::to_string(signal), [&] { return syscall(SYS_kill, pid_, signal); });
    lever("trace", [&] { return trace(pid_); });
    named("SIGSTOP", [&] { return kill(pid_, SIGSTOP); });
    named("SIGKILL", [&] { return kill(pid_, SIGKILL); });
    // As long as we are there, which is until somebody kills us.
    const bool holds = named("hold", [&] { return ptrace(PTRACE_SEIZE, pid_, nullptr, nullptr); });
    attempt_.done();
    while (holds) pause();
    return 0;
  }

 private:
  bool wanted(const std::string& name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }
  template <class Pull>
  void lever(const std::string& name, Pull&& pull) {
    if (names_.empty() || wanted(name) || wanted("all")) attempt_(name, pull());
  }
  template <class Pull>
  bool named(const std::string& name, Pull&& pull) {
    return wanted(name) && attempt_(name, pull());
  }

  pid_t pid_;
  std::vector<std::string> names_;
  Attempts attempt_;
};

int do_levers(const Arguments& a) {
  if (a.empty()) return 121;
  return Levers(atoi(a[0]), std::vector<std::string>(a.begin() + 1, a.end())).pull();
}

constexpr Act kLevers[] = {{"levers", do_levers}};

}  // namespace

std::span<const Act> levers() { return kLevers; }

}  // namespace cloister::probe
