#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "init_driver.hpp"
#include "outcome.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::Ending;
using plan::MountKind;
using plan::Namespace;
using plan::Op;
using plan::ReportKind;

TEST_CASE("the exit code reaches the record") {
  NEEDS_ROOT();
  Driver job;
  job.shell("exit 42");
  const plan::ExitRecord& record = job.run();
  CHECK(record.magic == plan::kRecordMagic);
  CHECK(record.commit == plan::kRecordCommitted);
  CHECK(record.job[15] == 16);
  CHECK(record.ending == Ending::ended);
  CHECK(record.wait_status == 42 << 8);
  CHECK(record.child_code == CLD_EXITED);
  CHECK(record.child_status == 42);
  CHECK(record.rusage.maxrss_kib > 0);
  CHECK(record.entered_at_ns <= record.forked_at_ns);
  CHECK(record.forked_at_ns < record.started_at_ns);
  CHECK(record.started_at_ns < record.ended_at_ns);
  CHECK(job.init_status() == 0);
}

TEST_CASE("the signal reaches the record, and so does the core flag's absence") {
  NEEDS_ROOT();
  Driver job;
  job.shell("kill -TERM $$");
  const plan::ExitRecord& record = job.run();
  CHECK(record.wait_status == SIGTERM);
  CHECK(record.child_code == CLD_KILLED);
  CHECK(record.child_status == SIGTERM);
}

TEST_CASE("every namespace can be fresh, and the payload is pid 2 of its own") {
  NEEDS_ROOT();
  Driver job;
  for (const auto which : {Namespace::pid, Namespace::net, Namespace::ipc, Namespace::uts,
                           Namespace::cgroup, Namespace::time})
    job.fresh(which);
  job.host_tree();
  job.plan->flags |= plan::kLoopbackUp | plan::kTimeOffsets;
  job.plan->boottime_offset_ns = 100'000'000'000'000;
  job.plan->monotonic_offset_ns = -1;
  job.plan->hostname = job.plan.text("cell");
  job.plan->domainname = job.plan.text("abbey");
  job.sysctls = {{job.plan.text("net/ipv4/ip_unprivileged_port_start"), job.plan.text("0")}};
  job.capture();
  job.shell(
      "echo $$; hostname; cat /proc/sys/kernel/domainname; "
      "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; "
      "cut -d. -f1 /proc/uptime; cat /sys/class/net/lo/flags; ls /proc | grep -c '^[0-9]'; "
      "for n in mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$n; done");
  job.run();
  CHECK(job.exit_code() == 0);
  std::vector<std::string> lines;
  for (size_t at = 0, end; (end = job.output().find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(job.output().substr(at, end - at));
  REQUIRE(lines.size() == 14);
  CHECK(lines[0] == "2");
  CHECK(lines[1] == "cell");
  CHECK(lines[2] == "abbey");
  CHECK(lines[3] == "0");
  CHECK(std::stol(lines[4]) >= 100'000);
  CHECK(std::stol(lines[6]) <= 6);
  const char* names[] = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "time"};
  for (size_t i = 0; i < 7; ++i) {
    char link[64]{};
    REQUIRE(::readlink((std::string("/proc/self/ns/") + names[i]).c_str(), link, 63) > 0);
    CHECK(lines[7 + i] != link);
    CHECK(lines[7 + i].starts_with(names[i]));
  }
  CHECK(job.forked_pid() > 2);
}

TEST_CASE("the host tree is read-only, private places are private, nothing leads out") {
  NEEDS_ROOT();
  Driver job;
  job.host_tree();
  job.mount(MountKind::scratch, "/root");
  job.mount(MountKind::symlink, "/tmp/a/link").data = job.plan.text("../b");
  job.mount(MountKind::dir, "/tmp/b/c").mode = 0711;
  job.bind("/etc/passwd", "/tmp/deep/er/passwd", plan::kMountReadOnly | plan::kMountIsFile);
  job.plan->identity = {1000, 1000, 1000, 1000, 1000, 1000, {}, 0, 0};
  job.capture();
  job.shell(
      "touch /usr/x 2>/dev/null && echo wrote; touch /tmp/ok && echo tmp; "
      "stat -c '%a %u' /root; readlink /tmp/a/link; stat -c %a /tmp/b/c; "
      "cmp /etc/passwd /tmp/deep/er/passwd && echo same; echo x 2>/dev/null >>/tmp/deep/er/passwd "
      "|| echo ro; "
      "echo 1 >/dev/null; head -c3 /dev/zero | wc -c; ls /dev | tr '\\n' ' '; echo; "
      "stat -c %F /dev/ptmx; ls /dev/shm /dev/pts; "
      "ls -l /proc/self/fd | grep -c old; pwd; awk '$5==\"/\"' /proc/self/mountinfo | wc -l; "
      "readlink /proc/self/fd/1 | cut -c1-4; grep -E 'CapEff|CapBnd|Groups' /proc/self/status");
  job.run();
  CHECK(job.exit_code() == 0);
  CHECK(job.output() ==
        "tmp\n700 1000\n../b\n711\nsame\nro\n3\n"
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero \n"
        "symbolic link\n/dev/pts:\nptmx\n\n/dev/shm:\n0\n/\n1\npipe\nGroups:\t \n"
        "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n");
}

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

TEST_CASE("a joined namespace is the other job's") {
  NEEDS_ROOT();
  Driver first;
  for (const auto which : {Namespace::net, Namespace::uts, Namespace::ipc}) first.fresh(which);
  first.fresh(Namespace::pid);
  first.plan->hostname = first.plan.text("shared");
  first.shell("sleep 100");
  first.start();
  REQUIRE(first.await(ReportKind::started));

  Driver second;
  std::vector<sys::UniqueFd> held;
  const auto join = [&](Namespace which, const char* name) {
    held.emplace_back(::open(("/proc/" + std::to_string(first.init_pid()) + "/ns/" + name).c_str(),
                             O_RDONLY | O_CLOEXEC));
    REQUIRE(held.back());
    second.plan->namespaces[static_cast<int>(which)].join = plan::Join::job;
    second.order.join_of[second.joins.size()] = static_cast<uint32_t>(which);
    second.joins.push_back(held.back().borrow());
  };
  join(Namespace::uts, "uts");
  join(Namespace::net, "net");
  join(Namespace::pid, "pid");
  second.fresh(Namespace::mnt);
  second.bind("/", "/", plan::kMountRecursive);
  second.mount(MountKind::proc, "/proc");
  second.capture();
  second.shell("hostname; cat /proc/1/comm; [ $$ -lt 20 ] && echo inside");
  second.run();
  CHECK(second.exit_code() == 0);
  CHECK(second.output() == "shared\ncloister-init\ninside\n");
  first.command(plan::CommandKind::kill);
  CHECK(first.end().wait_status == SIGKILL);
}

TEST_CASE("an outbound job waits for the network that it is sent, and enters that one") {
  NEEDS_ROOT();
  for (const bool own_user : {false, true}) {
    CAPTURE(own_user);
    Driver job;
    job.plan->flags |= plan::kOutbound | plan::kLoopbackUp;
    job.fresh(Namespace::net);
    if (own_user) job.fresh(Namespace::user);
    job.shell("readlink /proc/self/ns/net");
    job.capture();
    job.start();
    const sys::UniqueFd network(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    job.send_network(network.borrow());
    job.end();
    CHECK(job.exit_code() == 0);
    CHECK(job.output() == std::filesystem::read_symlink("/proc/self/ns/net").string() + "\n");
  }
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

TEST_CASE("the payload is who the plan says, in every set") {
  NEEDS_ROOT();
  Driver job;
  job.plan->identity = {1001, 1002, 1003, 2001, 2002, 2003, {}, 0, 0};
  job.groups = {44, 7, 3000};
  job.plan->flags |= plan::kNoNewPrivs;
  job.plan->signal_mask = uint64_t{1} << (SIGUSR1 - 1);
  job.before_exec = [] { ::signal(SIGPIPE, SIG_IGN); };
  job.capture();
  // Bash and dash give up a differing effective id; cat does not.
  job.argv = {"/bin/cat", "/proc/self/status"};
  job.run();
  CHECK(job.exit_code() == 0);
  const auto has = [&](const char* line) { return job.output().find(line) != std::string::npos; };
  CHECK(has("Uid:\t1001\t1002\t1002\t1002\n"));  // execve(2) copies the effective id
  CHECK(has("Gid:\t2001\t2002\t2002\t2002\n"));
  CHECK(has("Groups:\t7 44 3000 \n"));
  CHECK(has("CapInh:\t0000000000000000\n"));
  CHECK(has("CapPrm:\t0000000000000000\n"));
  CHECK(has("CapBnd:\t0000000000000000\n"));
  CHECK(has("CapAmb:\t0000000000000000\n"));
  CHECK(has("NoNewPrivs:\t1\n"));
  CHECK(has("SigBlk:\t0000000000000200\n"));
  CHECK(has("SigIgn:\t0000000000000000\n"));
}

TEST_CASE("resetids makes the effective ids the real ones") {
  NEEDS_ROOT();
  Driver job;
  job.plan->identity = {1001, 1002, 1003, 2001, 2002, 2003, {}, 0, 0};
  job.plan->flags |= plan::kResetIds;
  job.capture();
  job.argv = {"/bin/sh", "-c", "grep -E '^[UG]id' /proc/self/status"};
  job.run();
  CHECK(job.output() == "Uid:\t1001\t1001\t1001\t1001\nGid:\t2001\t2001\t2001\t2001\n");
}

TEST_CASE("limits, mask, umask, niceness and the rest are the plan's") {
  NEEDS_ROOT();
  Driver job;
  job.plan->rlimits[7] = {64, 128, 1, 0};           // NOFILE
  job.plan->rlimits[4] = {4096, UINT64_MAX, 0, 0};  // CORE, a constant of ours
  job.order.rlimit_hard[4] = 1024;
  job.plan->umask = 077;
  job.plan->nice = 5;
  job.plan->oom_score_adj = 321;
  job.plan->personality = 0x0040000;  // ADDR_NO_RANDOMIZE
  job.plan->timer_slack_ns = 77'000;
  job.plan->affinity[0] = 1;
  job.plan->scheduler = {plan::kHasPolicy, SCHED_BATCH, 0, 0, 0, 0, 0};
  job.plan->ioprio = 2 << 13 | 6;
  job.plan->cwd = job.plan.text("/usr/lib");
  job.before_exec = [] { ::signal(SIGCHLD, SIG_IGN); };
  job.capture();
  job.shell(
      "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; umask; cat /proc/self/oom_score_adj; "
      "cat /proc/self/personality; cat /proc/self/timerslack_ns; pwd; chrt -p 0 | head -1 | cut "
      "-d: -f2; "
      "ionice; nice; grep Cpus_allowed_list /proc/self/status");
  job.run();
  CHECK(job.exit_code() == 0);
  CHECK(job.output() ==
        "64\n128\n2\n2\n0077\n321\n00040000\n77000\n/usr/lib\n SCHED_BATCH\n"
        "best-effort: prio 6\n5\nCpus_allowed_list:\t0\n");
}

TEST_CASE("commands reach the payload, its group, or everybody") {
  NEEDS_ROOT();
  for (const auto scope : {plan::Scope::main, plan::Scope::group, plan::Scope::all})
    for (const bool own_pid : {false, true}) {
      Driver job;
      if (own_pid) job.fresh(Namespace::pid);
      job.capture();
      // The group's other member, and one that left the group.
      job.shell(
          "trap 'echo main' USR1; "
          "(trap 'echo member' USR1; echo up; while :; do sleep 0.02; done) & "
          "setsid sh -c 'trap \"echo apart\" USR1; echo up; while :; do sleep 0.02; done' & "
          "echo up; while :; do sleep 0.02; done");
      job.start();
      REQUIRE(job.await(ReportKind::started));
      ::usleep(150'000);
      job.command(plan::CommandKind::signal, SIGUSR1, scope);
      ::usleep(150'000);
      job.command(plan::CommandKind::kill);
      CHECK(job.end().wait_status == SIGKILL);
      const auto has = [&](const char* word) {
        return job.output().find(word) != std::string::npos;
      };
      CHECK(has("main"));
      CHECK(has("member") == (scope != plan::Scope::main));
      CHECK(has("apart") == (scope == plan::Scope::all));
    }
}

TEST_CASE("what the payload leaves behind is dead and counted before the record") {
  NEEDS_ROOT();
  for (const bool own_pid : {false, true}) {
    Driver job;
    if (own_pid) job.fresh(Namespace::pid);
    job.capture();
    job.shell(
        "trap '' TERM HUP; sleep 1000 & setsid sleep 1000 & "
        "setsid sh -c 'sleep 1000 & sleep 1000 & exit 0'; kill -STOP $! ; exit 7");
    const plan::ExitRecord& record = job.run();
    CHECK(job.exit_code() == 7);
    CHECK(record.leftovers_killed == 4);
    CHECK(job.output().empty());  // end of file: nobody holds the pipe
  }
}

TEST_CASE("the end of the monitor is the end of everything") {
  NEEDS_ROOT();
  for (const bool own_pid : {false, true}) {
    Driver job;
    if (own_pid) job.fresh(Namespace::pid);
    job.capture();
    job.shell("setsid sleep 1000 & sleep 1000");
    job.start();
    REQUIRE(job.await(ReportKind::started));
    job.hang_up();
    const plan::ExitRecord& record = job.end();
    CHECK(record.ending == Ending::ended);
    CHECK(record.wait_status == SIGKILL);
    CHECK(job.output().empty());
  }
}

TEST_CASE("a kill is obeyed while init waits for the payload's open of a fifo") {
  NEEDS_ROOT();
  char path[] = "/tmp/cloister-fifo-XXXXXX";
  REQUIRE(::mkdtemp(path));
  const std::string fifo = std::string(path) + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  Driver job;
  job.act(Op::open, 0, 0, fifo).flags = O_RDONLY;
  job.start();
  REQUIRE(job.await(ReportKind::forked));
  ::usleep(50'000);
  job.command(plan::CommandKind::kill);
  const plan::ExitRecord& record = job.end();
  CHECK(record.ending == Ending::not_started);
  CHECK(record.failure.step == plan::Step::fork);
  CHECK(record.failure.error == ECANCELED);
  CHECK(record.failure.detail == SIGKILL);
  ::unlink(fifo.c_str());
  ::rmdir(path);
}

TEST_CASE("a signal that comes before the exec is kept for the payload") {
  NEEDS_ROOT();
  char path[] = "/tmp/cloister-fifo-XXXXXX";
  REQUIRE(::mkdtemp(path));
  const std::string fifo = std::string(path) + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  Driver job;
  job.act(Op::open, 0, 0, fifo).flags = O_RDONLY;
  job.shell("sleep 5");
  job.start();
  REQUIRE(job.await(ReportKind::forked));
  job.command(plan::CommandKind::signal, SIGTERM);
  ::usleep(50'000);
  const sys::UniqueFd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  CHECK(job.await(ReportKind::started));
  CHECK(job.end().wait_status == SIGTERM);
  ::unlink(fifo.c_str());
  ::rmdir(path);
}

TEST_CASE("a rootless job needs nothing but a user namespace") {
  NEEDS_ROOT();
  Driver job;
  job.uid = 65534;
  job.clone_flags = CLONE_NEWUSER;
  job.order.flags |= plan::kFreshUser | plan::kFixedGroups;
  job.order.mapped_uid = job.order.mapped_gid = 65534;
  job.plan->identity = {65534, 65534, 65534, 65534, 65534, 65534, {}, 0, 0};
  job.host_tree();
  for (const auto which : {Namespace::net, Namespace::ipc, Namespace::uts}) job.fresh(which);
  job.mount(MountKind::scratch, "/root");
  job.plan->flags |= plan::kLoopbackUp | plan::kNoNewPrivs;
  job.plan->hostname = job.plan.text("cell");
  job.capture();
  job.shell(
      "id -u; hostname; touch /usr/x 2>/dev/null || echo ro; touch /root/x && echo home; echo $$; "
      "grep -E 'CapEff|CapBnd' /proc/self/status; echo x >/dev/null && echo dev");
  job.run();
  CHECK(job.exit_code() == 0);
  CHECK(job.output() ==
        "65534\ncell\nro\nhome\n2\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\ndev\n");
}

TEST_CASE("a plain process of a plain user needs no power at all") {
  NEEDS_ROOT();
  Driver job;
  job.uid = 65534;
  job.order.flags |= plan::kFixedGroups;
  job.plan->identity = {65534, 65534, 65534, 65534, 65534, 65534, {}, 0, 0};
  job.plan->flags |= plan::kNewKeyring;
  job.capture();
  job.shell("id -u; id -g; grep CapPrm /proc/self/status; setsid sleep 1000 & exit 4");
  CHECK(job.run().leftovers_killed == 1);
  CHECK(job.exit_code() == 4);
  CHECK(job.output() == "65534\n65534\nCapPrm:\t0000000000000000\n");
}

TEST_CASE("a user namespace of the plan's own is mapped as asked, rootless and not") {
  NEEDS_ROOT();
  for (const bool rootless : {false, true}) {
    Driver job;
    if (rootless) {
      job.uid = 65534;
      job.clone_flags = CLONE_NEWUSER;
      job.order.flags |= plan::kFreshUser | plan::kFixedGroups;
      job.order.mapped_uid = job.order.mapped_gid = 65534;
      job.uid_map = job.gid_map = {{0, 65534, 1}};
    } else {
      job.uid_map = job.gid_map = {{0, 100000, 1000}};
    }
    job.fresh(Namespace::user);
    job.host_tree();
    job.mount(MountKind::scratch, "/root");
    job.fresh(Namespace::net);
    job.plan->flags |= plan::kLoopbackUp;
    job.capture();
    job.shell(
        "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u /root; touch /root/x && echo home; "
        "mount -t tmpfs none /mnt 2>/dev/null || echo locked");
    job.run();
    CHECK(job.exit_code() == 0);
    CHECK(job.output() ==
          std::string("0\n ") + (rootless ? "0 65534 1" : "0 100000 1000") + "\n0\nhome\nlocked\n");
  }
}

TEST_CASE("a pid namespace inside a joined user namespace has init's child as pid 1") {
  NEEDS_ROOT();
  Driver owner;
  owner.fresh(Namespace::user);
  owner.uid_map = owner.gid_map = {{0, 100000, 1000}};
  owner.shell("sleep 1000");
  owner.start();
  REQUIRE(owner.await(ReportKind::started));
  const sys::UniqueFd user(::open(
      ("/proc/" + std::to_string(owner.forked_pid()) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(user);
  Driver job;
  job.plan->namespaces[static_cast<int>(Namespace::user)].join = plan::Join::job;
  job.order.join_of[0] = static_cast<uint32_t>(Namespace::user);
  job.joins = {user.borrow()};
  job.plan->namespaces[static_cast<int>(Namespace::pid)].join = plan::Join::fresh;
  job.capture();
  job.shell("echo $$ $PPID; id -u; setsid sleep 1000 & exit 5");
  const plan::ExitRecord& record = job.run();
  CHECK(job.exit_code() == 5);
  CHECK(job.output() == "2 1\n0\n");
  CHECK(record.leftovers_killed == 1);
  owner.command(plan::CommandKind::kill);
  owner.end();
}

TEST_CASE("a name is searched as posix_spawnp does") {
  NEEDS_ROOT();
  Driver job;
  job.plan->flags |= plan::kSearchPath;
  job.plan->search = job.plan.text("/nonexistent:/etc/passwd:/usr/bin");
  job.argv = {"true"};
  job.run();
  CHECK(job.exit_code() == 0);
}

TEST_CASE("an executable may be a descriptor, a script too") {
  NEEDS_ROOT();
  char path[] = "/tmp/cloister-script-XXXXXX";
  const int script = ::mkstemp(path);
  REQUIRE(script >= 0);
  REQUIRE(::write(script, "#!/bin/sh\nexit 11\n", 18) == 18);
  ::fchmod(script, 0755);
  ::close(script);
  for (const char* program : {"/bin/false", static_cast<const char*>(path)}) {
    Driver job;
    const sys::UniqueFd fd(::open(program, O_PATH | O_CLOEXEC));
    job.plan->executable_descriptor = job.pass(fd.borrow(), plan::Use::executable);
    job.argv = {"name"};
    job.run();
    CHECK(job.exit_code() == (program == path ? 11 : 1));
  }
  ::unlink(path);
}
