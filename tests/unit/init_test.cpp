// One cloister-init from its Order to its record.
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/stat.h>
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
  std::string path = std::filesystem::temp_directory_path() / "cloister-script-XXXXXX";
  const int script = ::mkstemp(path.data());
  REQUIRE(script >= 0);
  REQUIRE(::write(script, "#!/bin/sh\nexit 11\n", 18) == 18);
  ::fchmod(script, 0755);
  ::close(script);
  for (const std::string& program : {std::string("/bin/false"), path}) {
    Driver job;
    const sys::UniqueFd fd(::open(program.c_str(), O_PATH | O_CLOEXEC));
    job.plan->executable_descriptor = job.pass(fd.borrow(), plan::Use::executable);
    job.argv = {"name"};
    job.run();
    CHECK(job.exit_code() == (program == path ? 11 : 1));
  }
  ::unlink(path.c_str());
}
