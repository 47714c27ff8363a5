// A kernel that lies to init in one word: a system call of its is changed on the
// way, so that it succeeds and has done something else. What init reads back must
// tell, because nothing else would.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>

#include "init_steps.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::MountKind;
using plan::Namespace;
using plan::Step;

namespace {

#if defined(__x86_64__)

using Registers = user_regs_struct;

// Changes the first call that matches, in init or in the payload's process.
class Liar {
 public:
  Liar(Driver& job, int number, std::vector<scmp_arg_cmp> when = {}) : job_(job) {
    job.before_exec = [number, when = std::move(when)] {
      ::raise(SIGSTOP);
      scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
      if (!filter || seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) != 0 ||
          seccomp_rule_add_array(filter, SCMP_ACT_TRACE(1), number,
                                 static_cast<unsigned>(when.size()), when.data()) != 0 ||
          seccomp_load(filter) != 0)
        ::_exit(119);
    };
  }

  // Starts the job, and returns once the lie is told and nobody is traced any
  // more. From then on the same call fails with ENOSYS.
  void tell(const std::function<void(pid_t, Registers&)>& change) {
    job_.start();
    int status = 0;
    const pid_t init = job_.init_pid();
    REQUIRE(::waitpid(init, &status, WUNTRACED) == init);
    REQUIRE(WIFSTOPPED(status));
    REQUIRE(::ptrace(PTRACE_SEIZE, init, nullptr,
                     PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                         PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) == 0);
    ::kill(init, SIGCONT);
    std::set<pid_t> traced = {init};
    pid_t told = 0;
    while (told == 0) {
      const pid_t pid = ::waitpid(-1, &status, __WALL);
      REQUIRE(pid > 0);
      if (!WIFSTOPPED(status)) {
        traced.erase(pid);
        REQUIRE(pid != init);
        continue;
      }
      traced.insert(pid);
      if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
        Registers registers{};
        REQUIRE(::ptrace(PTRACE_GETREGS, pid, nullptr, &registers) == 0);
        change(pid, registers);
        REQUIRE(::ptrace(PTRACE_SETREGS, pid, nullptr, &registers) == 0);
        told = pid;
        continue;
      }
      // A stop of ptrace's own delivers nothing; any other is a signal.
      const int signal = status >> 16 ? 0 : WSTOPSIG(status);
      ::ptrace(PTRACE_CONT, pid, nullptr, static_cast<long>(signal == SIGTRAP ? 0 : signal));
    }
    // The one that was lied to goes on last: init does not end before, and its end is
    // for the driver to see.
    traced.erase(told);
    for (const pid_t pid : traced) {
      ::ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr);
      if (::waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
        ::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
    }
    ::ptrace(PTRACE_DETACH, told, nullptr, nullptr);
  }

 private:
  Driver& job_;
};

// A mount namespace of the test's own, so that nothing here shows outside.
class OwnMounts {
 public:
  OwnMounts() : before_(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)) {
    REQUIRE(::unshare(CLONE_NEWNS) == 0);
    REQUIRE(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    REQUIRE(::mount("outer", "/mnt", "tmpfs", 0, nullptr) == 0);
    REQUIRE(::mkdir("/mnt/below", 0755) == 0);
  }
  ~OwnMounts() {
    if (::setns(before_.borrow(), CLONE_NEWNS) < 0) std::abort();
  }
  OwnMounts(const OwnMounts&) = delete;
  OwnMounts& operator=(const OwnMounts&) = delete;

 private:
  sys::UniqueFd before_;
};

TEST_CASE("liar: an id that is not the one asked for is found out, each of the six") {
  NEEDS_ROOT();
  struct Row {
    int call;
    unsigned long long Registers::*argument;
  };
  for (const Row& row :
       {Row{SCMP_SYS(setresuid), &Registers::rdi}, Row{SCMP_SYS(setresuid), &Registers::rsi},
        Row{SCMP_SYS(setresuid), &Registers::rdx}, Row{SCMP_SYS(setresgid), &Registers::rdi},
        Row{SCMP_SYS(setresgid), &Registers::rsi}, Row{SCMP_SYS(setresgid), &Registers::rdx}}) {
    CAPTURE(row.call);
    for (const bool lies : {false, true}) {
      Driver job;
      job.plan->identity = {1001, 1002, 1003, 2001, 2002, 2003, {}, 0, 0};
      Liar liar(job, row.call);
      liar.tell([&](pid_t, Registers& registers) {
        if (lies) registers.*row.argument = 0;
      });
      const plan::ExitRecord& record = job.end();
      if (!lies) {
        CHECK(record.ending == plan::Ending::ended);
        continue;
      }
      CHECK(record.ending == plan::Ending::not_started);
      CHECK(record.failure.step == Step::verify_ids);
      CHECK(record.failure.error == EPERM);
    }
  }
}

TEST_CASE("liar: a group less, a group more, and one for another are found out") {
  NEEDS_ROOT();
  const auto with_groups = [](const std::function<void(pid_t, Registers&)>& lie) {
    Driver job;
    job.plan->identity = {1001, 1001, 1001, 2001, 2001, 2001, {}, 0, 0};
    job.groups = {7, 44, 3000};
    Liar liar(job, SCMP_SYS(setgroups));
    liar.tell(lie);
    return job.end();
  };
  CHECK(with_groups([](pid_t, Registers&) {}).ending == plan::Ending::ended);
  plan::ExitRecord record = with_groups([](pid_t, Registers& r) { r.rdi = 2; });
  CHECK(record.failure.step == Step::verify_ids);
  record = with_groups([](pid_t, Registers& r) { r.rdi = 0; });
  CHECK(record.failure.step == Step::verify_ids);
  // As many, and one of them twice instead of another: the list is shared memory
  // that nobody may write, so the lie is told of where it starts.
  record = with_groups([](pid_t pid, Registers& r) {
    const uint32_t others[] = {7, 44, 44, 0};
    r.rsp -= 256;
    for (unsigned long long i = 0; i < 2; ++i) {
      long word;
      std::memcpy(&word, others + 2 * i, sizeof word);
      ::ptrace(PTRACE_POKEDATA, pid, r.rsp + 8 * i, word);
    }
    r.rsi = r.rsp;
    r.rsp += 256;
  });
  CHECK(record.failure.step == Step::verify_ids);
  CHECK(record.failure.error == EPERM);
  CHECK(record.failure.index == 2);
}

TEST_CASE("liar: a mount below a recursive bind that lacks one flag is found out, each of them") {
  NEEDS_ROOT();
  struct Flag {
    const char* name;
    uint32_t asked;
    unsigned long mounted;
  };
  constexpr Flag kFlags[] = {{"read-only", plan::kMountReadOnly, MS_RDONLY},
                             {"nosuid", plan::kMountNoSuid, MS_NOSUID},
                             {"nodev", plan::kMountNoDev, MS_NODEV},
                             {"noexec", plan::kMountNoExec, MS_NOEXEC},
                             {"noatime", plan::kMountNoAtime, MS_NOATIME}};
  uint32_t all = plan::kMountRecursive;
  for (const Flag& flag : kFlags) all |= flag.asked;
  for (const Flag& lacking : kFlags)
    for (const bool lies : {false, true}) {
      CAPTURE(std::string(lacking.name));
      CAPTURE(lies);
      const OwnMounts mounts;
      // It has the others by itself.
      unsigned long by_itself = 0;
      for (const Flag& flag : kFlags)
        if (flag.asked != lacking.asked) by_itself |= flag.mounted;
      REQUIRE(::mount("inner", "/mnt/below", "tmpfs", by_itself, nullptr) == 0);
      Driver job;
      job.fresh(Namespace::mnt);
      job.bind("/mnt", "/", all);
      // Of a source, by its descriptor; the rest of the tree is named by its path.
      Liar liar(job, SCMP_SYS(mount_setattr),
                {SCMP_A2_64(SCMP_CMP_EQ, AT_EMPTY_PATH | AT_RECURSIVE)});
      liar.tell([&](pid_t, Registers& registers) {
        REQUIRE((registers.rdx & AT_RECURSIVE) != 0);
        if (lies) registers.rdx &= ~static_cast<unsigned long long>(AT_RECURSIVE);
      });
      const plan::ExitRecord& record = job.end();
      CHECK(record.ending == plan::Ending::not_started);
      if (lies) {
        CHECK(record.failure.step == Step::verify_mounts);
        CHECK(record.failure.error == EPERM);
        CHECK(record.failure.index == 0);
      } else {
        CHECK(record.failure.step == Step::exec);  // there is no program in it
      }
    }
}

#endif  // x86-64: the registers of a system call

TEST_CASE("liar: a mount whose ids end beyond the job's own map is refused, by init too") {
  NEEDS_ROOT();
  struct Row {
    uint32_t inside, count;
    bool within;
  };
  for (const bool groups : {false, true})
    for (const Row& row : {Row{5, 10, true}, Row{14, 1, true}, Row{5, 11, false}, Row{14, 2, false},
                           Row{4, 1, false}, Row{15, 1, false}, Row{14, UINT32_MAX - 14, false}}) {
      CAPTURE(row.inside);
      CAPTURE(row.count);
      Driver job;
      job.fresh(Namespace::user);
      job.uid_map = job.gid_map = {{0, 300000, 1}, {5, 200000, 10}};
      job.host_tree();
      plan::Mount& mount = job.bind("/tmp", "/tmp", plan::kMountReadOnly);
      const std::vector<plan::IdMap> line = {{row.inside, 0, row.count}}, other = {{5, 0, 1}};
      mount.uid_map = job.plan.span(groups ? other : line);
      mount.gid_map = job.plan.span(groups ? line : other);
      const plan::ExitRecord& record = job.run();
      if (row.within) {
        CHECK(record.ending == plan::Ending::ended);
      } else {
        CHECK(record.failure.step == Step::idmap);
        CHECK(record.failure.error == ERANGE);
      }
    }
}

TEST_CASE("between the change of ids and the exec nobody of the same uid looks into the process") {
  NEEDS_ROOT();
  char path[] = "/tmp/cloister-fifo-XXXXXX";
  REQUIRE(::mkdtemp(path));
  const std::string fifo = std::string(path) + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0666) == 0);
  // Root's own job: no change of uid makes a process that the kernel hides by itself.
  Driver job;
  job.act(plan::Op::open, 0, 0, fifo).flags = O_RDONLY;
  job.start();
  REQUIRE(job.await(plan::ReportKind::forked));
  const std::string process = "/proc/" + std::to_string(job.forked_pid());
  // In open(2) of the fifo, past its change of ids.
  for (int i = 0; i < 1000; ++i) {
    char at[64]{};
    const sys::UniqueFd file(::open((process + "/syscall").c_str(), O_RDONLY | O_CLOEXEC));
    const ssize_t got = ::read(file.borrow(), at, sizeof at - 1);
    if (got > 0 && std::atol(at) == SYS_openat) break;
    ::usleep(10'000);
  }
  const pid_t other = ::fork();
  if (other == 0) {
    // Another of root's without powers, but for those that the payload's process
    // keeps until its limits are set: to have less than it would be refused for that.
    struct {
      uint32_t version;
      int pid;
    } head{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2]{};
    if (::syscall(SYS_capget, &head, sets) < 0) ::_exit(2);
    const uint32_t late = (1u << CAP_SYS_RESOURCE | 1u << CAP_SETPCAP) & sets[0].permitted;
    sets[0] = {late, late, 0};
    sets[1] = {};
    if (::syscall(SYS_capset, &head, sets) < 0) ::_exit(2);
    const int memory = ::open((process + "/mem").c_str(), O_RDONLY);
    const bool attached = ::ptrace(PTRACE_SEIZE, job.forked_pid(), nullptr, nullptr) == 0;
    ::_exit(memory >= 0 || attached);
  }
  int status = 0;
  REQUIRE(::waitpid(other, &status, 0) == other);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  const sys::UniqueFd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  CHECK(job.end().ending == plan::Ending::ended);
  ::unlink(fifo.c_str());
  ::rmdir(path);
}

}  // namespace
