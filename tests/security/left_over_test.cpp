// Nothing of whoever started the service is left over in a job: two parents that
// differ in everything that fork(2) and execve(2) hand on, and one report.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "ruled.hpp"

namespace cloister::security_test {
namespace {

// fork(2), execve(2), prctl(2), credentials(7), sched(7): all that is kept. What
// this kernel or machine lacks stays as it is.
void be_odd() {
  setpriority(PRIO_PROCESS, 0, 7);
  sched_param none{};
  sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none);
  syscall(SYS_ioprio_set, 1, 0, 3 << 13);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  personality(ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT);
  write_proc("/proc/self/oom_score_adj", "500");
  write_proc("/proc/self/coredump_filter", "0x7f");
  prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  if (kSanitizerFactor == 1)  // whose shadow would be merged, all 16 TiB of it
    prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
  prctl(57 /* PR_SET_IO_FLUSHER */, 1, 0, 0, 0);
  prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
  prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0);
  prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE, 0, 0);
  prctl(62 /* PR_SCHED_CORE */, 1 /* CREATE */, 0, 0, 0);
  prctl(PR_SET_SECUREBITS, 1 << 6 /* SECBIT_NO_CAP_AMBIENT_RAISE */, 0, 0, 0);
  const unsigned long first_node = 1;
  syscall(SYS_set_mempolicy, 2 /* MPOL_BIND */, &first_node, 2);
  uint32_t clamps[14] = {56, 0, 0x60 | 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200};
  syscall(SYS_sched_setattr, 0, clamps, 0);
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "odd");
  const gid_t groups[] = {4711, 4712};
  syscall(SYS_setgroups, 2, groups);
  umask(077);
  check(chdir("/tmp"), "chdir");
  setenv("ODD", "1", 1);
  setenv("LD_BIND_NOW", "1", 1);
  for (const int signal : {SIGINT, SIGCHLD, SIGUSR1, SIGALRM, SIGRTMIN + 3, SIGXFSZ})
    std::signal(signal, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : {SIGUSR2, SIGWINCH, SIGRTMIN + 4, SIGALRM}) sigaddset(&blocked, signal);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  // Of the soft ones: a hard limit that is lowered here no child of ours raises.
  const auto soft = [](__rlimit_resource which, rlim_t value) {
    rlimit limit{};
    getrlimit(which, &limit);
    limit.rlim_cur = std::min(value, limit.rlim_max);
    setrlimit(which, &limit);
  };
  soft(RLIMIT_CPU, 1000);
  soft(RLIMIT_FSIZE, 1 << 16);
  soft(RLIMIT_STACK, 1 << 22);
  soft(RLIMIT_CORE, 0);
  soft(RLIMIT_RSS, 1ul << 32);
  soft(RLIMIT_NPROC, 5000);
  soft(RLIMIT_NOFILE, 300);
  soft(RLIMIT_MEMLOCK, 4096);
  if (kSanitizerFactor == 1) {  // whose shadow is larger
    soft(RLIMIT_DATA, 1ul << 32);
    soft(RLIMIT_AS, 1ul << 40);
  }
  soft(RLIMIT_LOCKS, 77);
  soft(RLIMIT_SIGPENDING, 77);
  soft(RLIMIT_MSGQUEUE, 4096);
  soft(RLIMIT_RTTIME, 1'000'000);
  // A descriptor that nobody closes.
  check(dup2(open("/dev/null", O_RDONLY), 200), "dup2");
}

// A report of the probe, but for what is another number each time.
std::string same_of(Client& client, const Json& request) {
  Json report = report_of(client, request);
  for (const char* each :
       {"namespaces", "clocks_ns", "pid", "ppid", "pgid", "sid", "mountinfo", "cgroup"})
    report.erase(each);
  report["keyring"].erase("serial");
  report["handed_on"].erase("autogroup");  // numbered by session; its niceness is nice
  for (Json& entry : report["fds"])
    for (const char* each : {"ino", "dev", "target"}) entry.erase(each);
  for (const char* each : {"Pid", "PPid", "Tgid", "NSpid", "NStgid", "NSpgid", "NSsid", "Ngid",
                           "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"})
    report["status"].erase(each);
  // What it uses is not what it was given.
  std::vector<std::string> sizes;
  for (const auto& [name, value] : report["status"].items())
    if (name.starts_with("Vm") || name.starts_with("Rss") || name == "HugetlbPages")
      sizes.push_back(name);
  for (const std::string& name : sizes) report["status"].erase(name);
  return report.dump(1);
}

TEST_CASE("S14: nothing of two odd parents of the service is left over in a job") {
  NEEDS_ROOT();
  World& world = World::get();
  const Service plain = world.configured(), odd = world.configured(Json::object(), be_odd);
  for (const Who& who : {world.alice(), world.root()})
    for (const Json& request : {world.probe_request(), world.boxed_request()}) {
      CAPTURE(who.uid);
      Client one = plain.connect(who), other = odd.connect(who);
      CHECK(same_of(one, request) == same_of(other, request));
    }
}

TEST_CASE("S14: RLIMIT_FSIZE of who starts the service stops no job, or the service says so") {
  NEEDS_ROOT();
  World& world = World::get();
  const auto with_limit = [](rlim_t soft, rlim_t hard) {
    return [=] {
      const rlimit size{soft, hard};
      check(setrlimit(RLIMIT_FSIZE, &size), "setrlimit");
    };
  };
  const Service soft = world.configured(Json::object(), with_limit(0, RLIM_INFINITY));
  Client client = soft.connect(world.alice());
  CHECK(client.run(world.boxed_request({"noop"})).verdict["ok"] == true);
  // As large as the largest plan.
  const Service hard = world.configured(Json::object(), with_limit(12 << 20, 12 << 20));
  Client other = hard.connect(world.alice());
  CHECK(other.run(world.boxed_request({"noop"})).verdict["ok"] == true);
}

}  // namespace
}  // namespace cloister::security_test
