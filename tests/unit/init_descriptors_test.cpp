// Descriptors on their way through init: to the payload, to the front, and no further.
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init_driver.hpp"
#include "outcome.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::Ending;
using plan::Namespace;
using plan::Op;
using plan::ReportKind;

TEST_CASE("file actions are performed in order and see nothing of init's") {
  NEEDS_ROOT();
  Driver job;
  job.capture();  // fd 1
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  job.receive(ends[0], 3);
  job.receive(ends[1], 4);
  job.act(Op::dup2, 3, 10);  // swap 3 and 4
  job.act(Op::dup2, 4, 3);
  job.act(Op::dup2, 10, 4);
  job.act(Op::close, 10);
  job.act(Op::close, 200);  // not open: as closed as asked
  job.act(Op::dup2, 1, 1);
  job.act(Op::dup2, 1, 90, {});
  job.actions.back().flags = 1;  // close on exec
  job.act(Op::open, 7, 0, "/etc/passwd").flags = O_RDONLY;
  job.act(Op::dup2, 7, 20);
  job.act(Op::dup2, 7, 21);
  job.act(Op::close_range, 20, 1 << 20);
  job.act(Op::chdir, 0, 0, "/usr");
  job.act(Op::chdir, 0, 0, "bin");
  // 3 is the write end now, 4 the read end.
  job.shell("pwd; echo word >&3; head -c4 <&4; echo; ls /proc/$$/fd; :");
  job.run();
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(job.exit_code() == 0);
  CHECK(job.output() == "/usr/bin\nword\n0\n1\n2\n3\n4\n7\n");
}

TEST_CASE("a captured stream is the pipe that came with the order, and no other is there") {
  NEEDS_ROOT();
  int out[2], err[2];
  REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(err, O_CLOEXEC) == 0);
  const sys::UniqueFd ends[] = {sys::UniqueFd(out[0]), sys::UniqueFd(out[1]), sys::UniqueFd(err[0]),
                                sys::UniqueFd(err[1])};
  const auto read_all = [](int fd) {
    char bytes[64];
    const ssize_t got = ::read(fd, bytes, sizeof bytes);
    return std::string(bytes, got > 0 ? static_cast<size_t>(got) : 0);
  };
  for (const bool both : {true, false}) {
    CAPTURE(both);
    Driver job;
    if (both) job.plan->capture[0].max = 1;
    job.plan->capture[1].max = 1;
    if (both) job.pipes.push_back(out[1]);
    job.pipes.push_back(err[1]);
    if (both) job.act(Op::capture, 1);
    job.act(Op::capture, 2);
    job.shell("echo out; exec >&2; echo err; ls /proc/$$/fd; :");
    job.run();
    CHECK(job.exit_code() == 0);
    if (both) CHECK(read_all(out[0]) == "out\n");
    CHECK(read_all(err[0]) == "err\n0\n1\n2\n");
  }
}

TEST_CASE("an action that names a descriptor of init's finds nothing there") {
  NEEDS_ROOT();
  for (const int fd : {3, 4, 5, 6, 12, 13, 14, 40}) {
    Driver job;
    job.act(Op::dup2, fd, 30);
    const plan::ExitRecord& record = job.run();
    CHECK(record.ending == Ending::not_started);
    CHECK(record.failure.step == plan::Step::file_action);
    CHECK(record.failure.index == 0);
    CHECK(record.failure.error == EBADF);
  }
}

TEST_CASE("no path through /proc leads to a descriptor of init's") {
  NEEDS_ROOT();
  for (int fd = 3; fd < 40; ++fd) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    Driver open;
    open.act(Op::open, 0, 0, path).flags = O_RDWR;
    open.run();
    CHECK(open.end().failure.step == plan::Step::file_action);
    CHECK((open.end().failure.error == ENOENT || open.end().failure.error == ENXIO));
    Driver cwd;
    cwd.plan->cwd = cwd.plan.text(path);
    CHECK(cwd.run().failure.step == plan::Step::cwd);
  }
}

TEST_CASE("600 descriptors arrive in batches and are told apart") {
  NEEDS_ROOT();
  Driver job;
  job.fresh(Namespace::mnt);
  std::vector<sys::UniqueFd> files;
  for (int i = 0; i < 600; ++i) {
    files.emplace_back(::open(i % 2 ? "/dev/null" : "/", O_PATH | O_CLOEXEC));
    REQUIRE(files.back());
    job.receive(files.back().borrow(), 10 + i);
  }
  job.shell(
      "ls /proc/$$/fd | wc -l >/dev/null; [ -d /dev/fd/10 ] && [ -c /dev/fd/11 ] && [ -c "
      "/dev/fd/609 ]");
  job.run();
  CHECK(job.exit_code() == 0);
  REQUIRE(job.facts().size() == 600);
  for (uint32_t i = 0; i < 600; ++i) {
    CHECK(job.facts()[i].index == i);
    CHECK((job.facts()[i].mode & S_IFMT) == (i % 2 ? S_IFCHR : S_IFDIR));
    CHECK((job.facts()[i].open_flags & O_PATH) != 0);
  }
}

TEST_CASE("facts tell a socket's domain and a namespace's type and owner") {
  NEEDS_ROOT();
  Driver job;
  job.fresh(Namespace::mnt);
  const sys::UniqueFd socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sys::UniqueFd net(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  const sys::UniqueFd user(::open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  job.receive(socket.borrow(), 5);
  job.plan->namespaces[static_cast<int>(Namespace::net)] = {
      plan::Join::descriptor, job.pass(net.borrow(), plan::Use::namespace_join), {}};
  job.pass(user.borrow(), plan::Use::namespace_join);
  job.run();
  CHECK(job.exit_code() == 0);
  REQUIRE(job.facts().size() == 3);
  CHECK(job.facts()[0].domain == AF_INET6);
  CHECK(job.facts()[0].namespace_type == 0);
  CHECK(job.facts()[1].domain == plan::kNone);
  CHECK(job.facts()[1].namespace_type == CLONE_NEWNET);
  CHECK(job.facts()[1].namespace_owner == 0);
  CHECK(job.facts()[2].namespace_type == CLONE_NEWUSER);
  CHECK(job.facts()[2].namespace_owner == 0);
}

TEST_CASE("nobody waits for facts that nobody judges") {
  NEEDS_ROOT();
  Driver job;
  job.silent = true;
  job.capture();
  job.shell("echo on");
  job.run();
  CHECK(job.output() == "on\n");
  CHECK(job.facts().empty());
}

TEST_CASE("the front gets a pidfd of the payload when it asked for one") {
  NEEDS_ROOT();
  Driver job;
  job.fresh(Namespace::pid);
  job.plan->flags |= plan::kWantPidfd;
  job.shell("kill -STOP $$; sleep 0.2; exit 3");
  job.start();
  REQUIRE(job.await(ReportKind::stopped));
  CHECK(job.last().detail == SIGSTOP);
  char what = 0;
  const sys::UniqueFd pidfd = job.from_init(what);
  CHECK(what == 'F');
  REQUIRE(pidfd);
  char info[512]{};
  const sys::UniqueFd file(
      ::open(("/proc/self/fdinfo/" + std::to_string(pidfd.borrow())).c_str(), O_RDONLY));
  REQUIRE(::read(file.borrow(), info, sizeof info - 1) > 0);
  CHECK(std::string(info).find("Pid:\t" + std::to_string(job.forked_pid()) + "\n") !=
        std::string::npos);
  job.command(plan::CommandKind::signal, SIGCONT);
  CHECK(job.await(ReportKind::continued));
  job.end();
  CHECK(job.exit_code() == 3);
}

TEST_CASE("a pty comes from the sandbox and its master goes to the front") {
  NEEDS_ROOT();
  Driver job;
  job.host_tree();
  job.plan->flags |= plan::kPty;
  job.plan->rows = 31;
  job.plan->columns = 97;
  for (const int fd : {0, 1, 2}) job.act(Op::pty, fd);
  job.act(Op::tcsetpgrp, 0);
  job.shell("tty; stty size; ps -o tpgid= -p $$ >/dev/null; echo end >/dev/tty; read line; exit 9");
  job.start();
  REQUIRE(job.await(ReportKind::started));
  char what = 0;
  const sys::UniqueFd master = job.from_init(what);
  REQUIRE(master);
  CHECK(what == 'P');
  std::string seen;
  char bytes[256];
  while (seen.find("end") == std::string::npos) {
    const ssize_t got = ::read(master.borrow(), bytes, sizeof bytes);
    REQUIRE(got > 0);
    seen.append(bytes, static_cast<size_t>(got));
  }
  CHECK(seen == "/dev/pts/0\r\n31 97\r\nend\r\n");
  REQUIRE(::write(master.borrow(), "\n", 1) == 1);
  job.end();
  CHECK(job.exit_code() == 9);
}
