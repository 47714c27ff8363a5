// When the end of a process is believed, and what is known of it then.
#include "host/child_watch.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "outcome.hpp"

namespace cloister::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

sys::UniqueFd pidfd_of(pid_t pid) {
  return sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

// A child that does this and exits with what it returns.
Child fork_child(const std::function<int()>& act) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(act());
  }
  return {pid, pidfd_of(pid)};
}

int sleep_long() {
  ::sleep(60);
  return 99;
}

struct Loop {
  boost::asio::io_context io;
  std::vector<Reaped> ends;
  ChildWatch::OnEnd on_end = [this](const Reaped& end) { ends.push_back(end); };
};

TEST_CASE("a child is reaped before its end is told, with how it ended") {
  Loop loop;
  ChildWatch watch(loop.io);
  SUBCASE("by itself") {
    Child child = fork_child([] { return 7; });
    const pid_t pid = child.pid;
    watch.of_child(std::move(child), loop.on_end);
    loop.io.run_for(seconds(10));
    REQUIRE(loop.ends.size() == 1);
    CHECK(loop.ends[0].code == CLD_EXITED);
    CHECK(loop.ends[0].status == 7);
    CHECK(::waitpid(pid, nullptr, WNOHANG) < 0);
    CHECK(errno == ECHILD);
    CHECK_FALSE(watch.lives());
  }
  SUBCASE("by our hand") {
    watch.of_child(fork_child(sleep_long), loop.on_end);
    CHECK(watch.lives());
    watch.kill();
    loop.io.run_for(seconds(10));
    REQUIRE(loop.ends.size() == 1);
    CHECK(loop.ends[0].code == CLD_KILLED);
    CHECK(loop.ends[0].status == SIGKILL);
  }
}

TEST_CASE("a descriptor that is ready proves nothing: the end is believed when it can be reaped") {
  Loop loop;
  Child child = fork_child(sleep_long);
  const sys::UniqueFd real = std::move(child.pidfd);
  // What Asio says of a place that was another descriptor's before.
  child.pidfd.reset(::eventfd(1, EFD_CLOEXEC));
  ChildWatch watch(loop.io);
  watch.of_child(std::move(child), loop.on_end);
  loop.io.run_for(milliseconds(200));
  CHECK(loop.ends.empty());
  REQUIRE(::syscall(SYS_pidfd_send_signal, real.borrow(), SIGKILL, nullptr, 0) == 0);
  loop.io.restart();
  loop.io.run_for(seconds(10));
  REQUIRE(loop.ends.size() == 1);
  CHECK(loop.ends[0].status == SIGKILL);
}

TEST_CASE("nobody is called for what was forgotten, not even when its end was seen") {
  Loop loop;
  Child child = fork_child([] { return 0; });
  const pid_t pid = child.pid;
  pollfd end{child.pidfd.borrow(), POLLIN, 0};
  REQUIRE(::poll(&end, 1, 10'000) == 1);
  const auto captured = std::make_shared<int>(0);
  {
    ChildWatch watch(loop.io);
    watch.of_child(std::move(child),
                   [&loop, captured](const Reaped& reaped) { loop.on_end(reaped); });
    CHECK(captured.use_count() > 1);
  }
  loop.io.run_for(seconds(10));
  CHECK(loop.ends.empty());
  CHECK(captured.use_count() == 1);          // what it kept is let go of
  CHECK(::waitpid(pid, nullptr, 0) == pid);  // the caller's still
}

TEST_CASE("one watch can wait for one child after the other") {
  Loop loop;
  ChildWatch watch(loop.io);
  watch.of_child(fork_child([] { return 1; }), [&](const Reaped& first) {
    loop.on_end(first);
    watch.of_child(fork_child([] { return 2; }), loop.on_end);
  });
  loop.io.run_for(seconds(10));
  REQUIRE(loop.ends.size() == 2);
  CHECK(loop.ends[1].status == 2);
}

// A process whose parent is ours: its end is its parent's to reap, which does so
// when the pipe is closed.
struct Grandchild {
  explicit Grandchild(const std::function<int()>& act) {
    int up[2], gate[2];
    REQUIRE(::pipe2(up, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(gate, O_CLOEXEC) == 0);
    sys::UniqueFd up_read(up[0]), up_write(up[1]), hold_read(gate[0]), hold_write(gate[1]);
    parent = fork_child([&] {
      const pid_t pid = ::fork();
      if (pid == 0) ::_exit(act());
      hold_write.reset();
      if (::write(up_write.borrow(), &pid, sizeof pid) != sizeof pid) return 1;
      char end;
      while (::read(hold_read.borrow(), &end, 1) > 0) {
      }
      return ::waitpid(pid, nullptr, 0) == pid ? 0 : 1;
    });
    pid_t pid = 0;
    REQUIRE(::read(up_read.borrow(), &pid, sizeof pid) == sizeof pid);
    pidfd = pidfd_of(pid);
    REQUIRE(pidfd);
    hold = std::move(hold_write);
  }
  ~Grandchild() {
    hold.reset();
    ::waitpid(parent.pid, nullptr, 0);
  }
  void await_end() const {
    pollfd end{pidfd.borrow(), POLLIN, 0};
    REQUIRE(::poll(&end, 1, 10'000) == 1);
  }
  void be_reaped() {
    hold.reset();
    ::waitpid(parent.pid, nullptr, 0);
  }
  sys::UniqueFd copy() const { return sys::UniqueFd(::fcntl(pidfd.borrow(), F_DUPFD_CLOEXEC, 0)); }

  Child parent;
  sys::UniqueFd pidfd, hold;
};

TEST_CASE("of another's process the end is seen, and how it ended until it is reaped") {
  Loop loop;
  Grandchild process([] { return 3; });
  ChildWatch watch(loop.io);
  watch.of_another(process.copy(), loop.on_end);
  loop.io.run_for(seconds(10));
  REQUIRE(loop.ends.size() == 1);
  CHECK(loop.ends[0].code == 0);
  CHECK(watch.ended_at_ns() > 0);
  REQUIRE(watch.outcome());
  CHECK(watch.outcome()->end == plan::ChildEnd{CLD_EXITED, 3});
  CHECK_FALSE(watch.outcome()->executed);  // a fork of ours, which has never executed anything
  // It is kept where the process is not.
  process.be_reaped();
  CHECK(watch.outcome()->end == plan::ChildEnd{CLD_EXITED, 3});
}

TEST_CASE("a signal is told as one") {
  Grandchild process([] {
    const rlimit none{};
    ::setrlimit(RLIMIT_CORE, &none);
    ::raise(SIGKILL);
    return 0;
  });
  process.await_end();
  const auto outcome = outcome_of(process.pidfd.borrow());
  REQUIRE(outcome);
  CHECK(outcome->end == plan::ChildEnd{CLD_KILLED, SIGKILL});
}

TEST_CASE("what executed a program is known to have done so") {
  Grandchild process([] {
    ::execl("/bin/false", "false", static_cast<char*>(nullptr));
    return 99;
  });
  process.await_end();
  const auto outcome = outcome_of(process.pidfd.borrow());
  REQUIRE(outcome);
  CHECK(outcome->end == plan::ChildEnd{CLD_EXITED, 1});
  CHECK(outcome->executed);
}

TEST_CASE("of one that was reaped the kernel tells, or nobody") {
  Grandchild process([] { return 5; });
  process.await_end();
  process.be_reaped();
  const auto outcome = outcome_of(process.pidfd.borrow());
  if (!outcome) SKIP("this kernel keeps no exit status for a pidfd (Linux 6.15 does)");
  CHECK(outcome->end == plan::ChildEnd{CLD_EXITED, 5});
}

TEST_CASE("of one that lives nothing is known") {
  Grandchild process(sleep_long);
  CHECK_FALSE(outcome_of(process.pidfd.borrow()));
  REQUIRE(::syscall(SYS_pidfd_send_signal, process.pidfd.borrow(), SIGKILL, nullptr, 0) == 0);
  process.await_end();
}

TEST_CASE("a process that came to us leaves no zombie when it is forgotten") {
  // As a subreaper the service becomes the parent; here it is the parent already.
  Loop loop;
  Child child = fork_child([] { return 0; });
  const pid_t pid = child.pid;
  ChildWatch watch(loop.io);
  watch.of_another(std::move(child.pidfd), loop.on_end);
  loop.io.run_for(seconds(10));
  REQUIRE(loop.ends.size() == 1);
  watch.forget();
  CHECK(::waitpid(pid, nullptr, WNOHANG) < 0);
  CHECK(errno == ECHILD);
}

TEST_CASE("both forms of a wait status say the same") {
  const auto same = [](plan::ChildEnd end, int status) {
    CHECK(plan::wait_status_of(end) == status);
    CHECK(plan::child_end_of(status) == end);
  };
  same({CLD_EXITED, 0}, W_EXITCODE(0, 0));
  same({CLD_EXITED, 255}, W_EXITCODE(255, 0));
  same({CLD_KILLED, SIGKILL}, SIGKILL);
  same({CLD_KILLED, 64}, 64);
  same({CLD_DUMPED, SIGSEGV}, SIGSEGV | WCOREFLAG);
  CHECK(words_of({CLD_EXITED, 3}) == "exit 3");
  CHECK(words_of({CLD_KILLED, 9}) == "signal 9");
  CHECK(words_of({CLD_DUMPED, 11}) == "signal 11");
}

}  // namespace
}  // namespace cloister::monitor
