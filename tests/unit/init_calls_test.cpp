// Each system call that init and the payload's process make before the exec, made to
// fail once. What fails ends the launch: a payload that runs has been given all of it.
//
// A process of its own traces them, since the one that plays the monitor has to answer.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include "init_steps.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::MountKind;
using plan::Namespace;

#if defined(__x86_64__)

namespace {

struct Made {
  int32_t process;  // 0: init; 1 and on: as they were forked
  uint32_t place;   // among the calls of that process
  int32_t number;   // of the system call
  int32_t unused;
  uint64_t first;  // argument
  uint64_t where;  // in the program: of the calls that led there
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
      // Stopped for all, and not for the tracer alone: it stays as it is.
      if (event == PTRACE_EVENT_STOP && WSTOPSIG(status) == SIGSTOP) {
        ::ptrace(PTRACE_LISTEN, pid, nullptr, nullptr);
        continue;
      }
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

  // Init is linked to a place of its own, so what is on its stack and looks like an
  // address of its code is the same whenever it comes by there.
  static uint64_t where(pid_t pid, uint64_t stack) {
    uint64_t words[16]{}, sum = 0;
    iovec here{words, sizeof words}, there{reinterpret_cast<void*>(stack), sizeof words};
    ::process_vm_readv(pid, &here, 1, &there, 1, 0);
    for (const uint64_t word : words)
      if (word >= 0x400000 && word < 0x480000) sum = sum * 31 + word;
    return sum;
  }

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
        made_.push_back({process.number, place, static_cast<int32_t>(info.entry.nr), 0,
                         info.entry.args[0], where(pid, registers.rsp)});
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

void plain(Driver& job) {
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

// Directories of the host's that the other job needs.
class Directories {
 public:
  Directories() {
    REQUIRE(::mkdtemp(top_));
    REQUIRE(::chmod(top_, 0755) == 0);
    for (const char* name : {"lower", "upper", "work", "merged", "changed", "lent", "closed",
                             "closed/place", "masked", "locked", "work/work"})
      REQUIRE(::mkdir((*this / name).c_str(), 0755) == 0);
    REQUIRE(::chown((*this / "closed").c_str(), kPayload, 0) == 0);
    REQUIRE(::chmod((*this / "closed").c_str(), 0) == 0);
  }
  ~Directories() {
    std::error_code ignored;
    std::filesystem::remove_all(top_, ignored);
  }
  std::string operator/(const char* name) const { return std::string(top_) + "/" + name; }

  static constexpr uint32_t kPayload = 300000;

 private:
  char top_[32] = "/var/tmp/cloister-calls-XXXXXX";
};

// What the one above lacks: a user namespace of its own with maps, also of mounts; an
// overlay of each sort; an outbound network; filters; most kinds of mounts.
void mapped(Driver& job, const Directories& host) {
  job.fresh(Namespace::user);
  job.uid_map = job.gid_map = {{0, Directories::kPayload, 1}, {5, 200000, 10}};
  job.host_tree();
  job.fresh(Namespace::net);
  job.plan->flags |= plan::kOutbound | plan::kNoNewPrivs | plan::kPty | plan::kNewKeyring;
  job.act(plan::Op::pty, 0);
  job.order.flags |= plan::kBaseline | plan::kCoverKernel;
  job.order.restraint = plan::Restraint::leased;
  job.order.caller_uid = job.order.caller_gid = 65534;
  job.order.scoped = 3;
  job.order.confined_fs = 2;
  job.client_uids = job.client_gids = {{0, 0, UINT32_MAX}};
  job.order.client_powers = uint64_t{1} << CAP_SYS_ADMIN | uint64_t{1} << CAP_DAC_OVERRIDE;
  const std::vector<plan::IdMap> line = {{5, 0, 10}};
  plan::Mount& ids = job.bind("/usr", "/mnt", plan::kMountReadOnly);
  ids.uid_map = ids.gid_map = job.plan.span(line);
  job.bind(host / "lent", host / "lent", plan::kMountOwnerCaller);
  job.mount(MountKind::tmpfs, host / "closed/place");
  const auto layer = [&](plan::LayerRole role, const char* name) {
    const bool lower = role == plan::LayerRole::lower;
    const int fd = hold(::open((host / name).c_str(), O_PATH | O_CLOEXEC));
    return plan::Layer{role, job.pass(fd, lower ? plan::Use::mount : plan::Use::writable_layer),
                       job.plan.text("")};
  };
  std::vector<plan::Layer> layers = {layer(plan::LayerRole::lower, "lower")};
  job.mount(MountKind::overlay, host / "merged").layers = job.plan.span(layers);
  layers = {layer(plan::LayerRole::lower, "lower"), layer(plan::LayerRole::upper, "upper"),
            layer(plan::LayerRole::work, "work")};
  job.mount(MountKind::overlay, host / "changed").layers = job.plan.span(layers);
  job.mount(MountKind::scratch, "/tmp/scratch");
  job.mount(MountKind::symlink, "/tmp/link").data = job.plan.text("scratch");
  job.mount(MountKind::mask, host / "masked");
  job.mount(MountKind::lock, host / "locked");
  job.capture();
  job.shell("cd " + host / "" + R"(
      while read -r _ _ _ root point options _; do
        case $point in $PWD* | /mnt | /tmp | /proc* | /sys*) echo "$root $point $options" ;; esac
      done < /proc/self/mountinfo
      grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status
      cat /proc/self/uid_map /proc/self/gid_map
      for place in lent changed merged locked /tmp/scratch; do
        (: >$place/new) 2>&1 && rm $place/new
      done; stat -c '%N %A %u %g' * /tmp/* /dev/tty)");
  const std::vector<plan::Instruction> program = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  job.plan->seccomp = job.plan.span(program);
  job.plan->seccomp_flags = plan::kFilterWatched;
}

// What the job came to, and the calls that there were.
struct Run {
  plan::ExitRecord record;
  std::string output;
  std::vector<Made> made;
};

using Prepare = std::function<void(Driver&)>;

Run run(const Prepare& prepare, Failing fails) {
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
  const sys::UniqueFd network(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (job.plan->flags & plan::kOutbound) job.send_network(network.borrow());
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
  out.output = job.output();
  int status = 0;
  for (Made each; ::read(from.borrow(), &each, sizeof each) == sizeof each;)
    out.made.push_back(each);
  REQUIRE(::waitpid(tracer, &status, 0) == tracer);
  REQUIRE(status == 0);
  return out;
}

// They ask, end or give back; and a socket to the monitor that fails is one that init waits
// at in vain. Whether a capability is ambient is asked for numbers that the kernel may
// not know, which then is not.
bool may_fail(const Made& made) {
  static const std::set<int> kNumbers = {SYS_clock_gettime, SYS_close,  SYS_exit_group,
                                         SYS_getpid,        SYS_ppoll,  SYS_recvmsg,
                                         SYS_sendmsg,       SYS_sendto, SYS_umask};
  return kNumbers.contains(made.number) ||
         (made.number == SYS_prctl && made.first == PR_CAP_AMBIENT) ||
         (made.number == SYS_read && made.process == 0);
}

void check_each_call(const Prepare& prepare) {
  const Run whole = run(prepare, kNoCall);
  CAPTURE(static_cast<uint32_t>(whole.record.failure.step));
  CAPTURE(whole.record.failure.index);
  CAPTURE(whole.record.failure.error);
  REQUIRE(whole.record.ending == plan::Ending::ended);
  REQUIRE(whole.made.size() > 200);
  // The same line of code on the same way, in init or in another: once for all jobs.
  static std::set<std::tuple<bool, int32_t, uint64_t>> tried;
  for (const Made& each : whole.made) {
    if (may_fail(each) || !tried.insert({each.process == 0, each.number, each.where}).second)
      continue;
    const uint64_t first = each.first >> 32 ? 0 : each.first;  // no pointer
    CAPTURE(each.process);
    CAPTURE(each.place);
    CAPTURE(each.number);
    CAPTURE(first);
    const Run now = run(prepare, {each.process, each.place});
    held.clear();
    // What asks whose a directory is has the answer that is safe.
    const bool the_same = !whole.output.empty() && now.output == whole.output;
    CHECK((now.record.ending != plan::Ending::ended || the_same));
  }
}

TEST_CASE("no payload runs for which one system call has failed, whichever it is") {
  NEEDS_ROOT();
  check_each_call(plain);
}

TEST_CASE("no payload with maps, overlays and filters runs for which one call has failed") {
  NEEDS_ROOT();
  const Directories host;
  check_each_call([&](Driver& job) { mapped(job, host); });
}

}  // namespace

#endif  // x86-64: the registers of a system call
