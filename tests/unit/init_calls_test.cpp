// Each system call that init and the payload's process make before the exec, made to
// fail once. What fails ends the launch: a payload that runs has been given all of it.
//
// A process of its own traces them, since the one that plays the monitor has to answer.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

#include "init_steps.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::Namespace;

#if defined(__x86_64__)

namespace {

struct Made {
  int32_t process;  // 0: init; 1 and on: as they were forked
  uint32_t place;   // among the calls of that process
  int32_t number;   // of the system call
  int32_t unused;
  uint64_t first;  // argument
};

// A call of this process, at this place among its own.
using Failing = std::pair<int32_t, uint32_t>;
constexpr Failing kNoCall = {-1, 0};

// The tracer's side.
class Tracer {
 public:
  Tracer(pid_t init, Failing fails) : init_(init), fails_(fails) {
    constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                              PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    if (::ptrace(PTRACE_SEIZE, init_, nullptr, kOptions) < 0) ::_exit(1);
    processes_[init];
  }

  std::vector<Made> run() {
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, __WALL)) > 0;) {
      if (!WIFSTOPPED(status)) continue;
      const int event = status >> 16;
      auto [at, fresh] = processes_.try_emplace(pid);
      if (fresh) at->second.number = static_cast<int32_t>(processes_.size()) - 1;
      Process& process = at->second;
      int signal = 0;
      if (WSTOPSIG(status) == (SIGTRAP | 0x80))
        call(pid, process);
      else if (event == PTRACE_EVENT_EXEC)
        executed_ = ++process.programs > (process.number == 0);
      else if (event == 0)
        signal = WSTOPSIG(status);
      ::ptrace(ours(process) ? PTRACE_SYSCALL : PTRACE_CONT, pid, nullptr, long{signal});
    }
    return made_;
  }

 private:
  struct Process {
    int32_t number = 0;
    int programs = 0;    // that it has executed
    uint32_t calls = 0;  // that it has made
    bool fails = false;
  };

  // Init is until it ends, and another until it executes something.
  static bool ours(const Process& process) { return process.programs == (process.number == 0); }

  void call(pid_t pid, Process& process) {
    if (!ours(process)) return;
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info);
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, pid, nullptr, &registers);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
      const uint32_t place = process.calls++;
      process.fails = fails_ == Failing(process.number, place);
      if (!executed_)
        made_.push_back(
            {process.number, place, static_cast<int32_t>(info.entry.nr), 0, info.entry.args[0]});
      if (!process.fails) return;
      registers.orig_rax = ~0ull;
    } else if (process.fails) {
      registers.rax = static_cast<unsigned long long>(-EPERM);
      process.fails = false;
    } else {
      return;
    }
    ::ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
  }

  const pid_t init_;
  const Failing fails_;
  bool executed_ = false;  // the payload's process has become the payload
  std::map<pid_t, Process> processes_;
  std::vector<Made> made_;
};

void prepare(Driver& job) {
  job.host_tree();
  for (const Namespace which : {Namespace::uts, Namespace::ipc, Namespace::net, Namespace::cgroup})
    job.fresh(which);
  job.plan->flags |= plan::kLoopbackUp | plan::kNoNewPrivs;
  job.plan->hostname = job.plan.text("cell");
  job.plan->domainname = job.plan.text("block");
  job.sysctls = {{job.plan.text("net/ipv4/ip_unprivileged_port_start"), job.plan.text("0")}};
  job.plan->identity = {1001, 1001, 1001, 2001, 2001, 2001, {}, 0, 0};
  job.groups = {7, 44};
  job.plan->landlock.handled_fs = 2;
  job.landlock_paths = {{job.plan.text("/tmp"), 2, 0}};
  job.plan->rlimits[7] = {64, 64, 1, 0};
}

// What the job came to, and the calls that there were.
struct Run {
  plan::ExitRecord record;
  std::vector<Made> made;
};

Run run(Failing fails) {
  Driver job;
  prepare(job);
  int gate[2], ends[2];
  REQUIRE(::pipe2(gate, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const sys::UniqueFd opened(gate[1]), from(ends[0]);
  sys::UniqueFd to(ends[1]);
  // Below that are the descriptors which init starts with.
  const sys::UniqueFd closed(::fcntl(gate[0], F_DUPFD_CLOEXEC, 300));
  ::close(gate[0]);
  job.before_exec = [&] {
    char byte;
    if (::read(closed.borrow(), &byte, 1) != 1) ::_exit(119);
  };
  job.start();
  const pid_t tracer = ::fork();
  if (tracer == 0) {
    Tracer trace(job.init_pid(), fails);
    if (::write(opened.borrow(), "", 1) != 1) ::_exit(1);
    for (const Made& each : trace.run())
      if (::write(to.borrow(), &each, sizeof each) != sizeof each) ::_exit(1);
    ::_exit(0);
  }
  to.reset();
  Run out{};
  try {
    out.record = job.end();
  } catch (const std::exception& error) {
    ::kill(job.init_pid(), SIGKILL);
    ::kill(tracer, SIGKILL);
    throw;
  }
  int status = 0;
  for (Made each; ::read(from.borrow(), &each, sizeof each) == sizeof each;)
    out.made.push_back(each);
  REQUIRE(::waitpid(tracer, &status, 0) == tracer);
  REQUIRE(status == 0);
  return out;
}

// They ask or give back; and a socket to the monitor that fails is one that init waits
// at in vain. Whether a capability is ambient is asked for numbers that the kernel may
// not know, which then is not.
bool may_fail(const Made& made) {
  static const std::set<int> kNumbers = {SYS_clock_gettime, SYS_close,   SYS_getpid, SYS_ppoll,
                                         SYS_recvmsg,       SYS_sendmsg, SYS_sendto, SYS_umask};
  return kNumbers.contains(made.number) ||
         (made.number == SYS_prctl && made.first == PR_CAP_AMBIENT);
}

TEST_CASE("no payload runs for which one system call has failed, whichever it is") {
  NEEDS_ROOT();
  const Run whole = run(kNoCall);
  REQUIRE(whole.record.ending == plan::Ending::ended);
  REQUIRE(whole.made.size() > 200);
  std::map<std::tuple<int32_t, int32_t, uint64_t>, int> alike;
  for (const Made& each : whole.made) {
    const uint64_t first = each.first >> 32 ? 0 : each.first;  // no pointer
    // Each signal is reset alike, and each capability dropped.
    if (may_fail(each) || ++alike[{each.process, each.number, first}] > 8) continue;
    CAPTURE(each.process);
    CAPTURE(each.place);
    CAPTURE(each.number);
    CAPTURE(first);
    CHECK(run({each.process, each.place}).record.ending != plan::Ending::ended);
  }
}

}  // namespace

#endif  // x86-64: the registers of a system call
