// Each number of the record against the kernel's own file for it: the payload is
// read in /proc just before it ends, and what the record says is compared field by
// field. Two fields that were mixed up would differ here.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "init_driver.hpp"
#include "outcome.hpp"

using namespace cloister;
using namespace cloister::test;

namespace {

int64_t boottime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

// The number behind this word of a file of lines; -1: it is not there.
int64_t number(const std::string& text, const std::string& word) {
  const size_t at = text.find("\n" + word);
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + 1 + word.size());
}

// Field `n` of /proc/PID/stat, proc_pid_stat(5), counted from 1.
int64_t field(const std::string& stat, int n) {
  std::istringstream rest(stat.substr(stat.rfind(')') + 2));
  std::string word;
  for (int i = 3; i <= n; ++i) rest >> word;
  return std::atoll(word.c_str());
}

}  // namespace

TEST_CASE("each number of the record is what the kernel's own file says of the payload") {
  NEEDS_ROOT();
  char path[] = "/var/tmp/cloister-record-XXXXXX";
  REQUIRE(::mkdtemp(path));
  const std::string directory = path, fifo = directory + "/fifo", shell = directory + "/sh";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  // A program that has to be read from the disk, where there is one below.
  {
    std::ifstream from("/bin/sh", std::ios::binary);
    std::ofstream(shell, std::ios::binary) << from.rdbuf();
  }
  REQUIRE(::chmod(shell.c_str(), 0755) == 0);
  const sys::UniqueFd evicted(::open(shell.c_str(), O_RDONLY | O_CLOEXEC));
  ::fsync(evicted.borrow());
  ::posix_fadvise(evicted.borrow(), 0, 0, POSIX_FADV_DONTNEED);

  Driver job;
  job.plan->identity = {1001, 1001, 1001, 2001, 2001, 2001, {}, 0, 0};
  job.argv = {shell, "-c",
              "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; "
              "read word; read word; exit 3"};
  job.act(plan::Op::open, 0, 0, fifo).flags = O_RDONLY;
  ::chmod(path, 0755);
  ::chmod(fifo.c_str(), 0644);
  const int64_t before = boottime_ns();
  job.start();
  REQUIRE(job.await(plan::ReportKind::forked));
  const sys::UniqueFd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(writer);
  REQUIRE(job.await(plan::ReportKind::started));
  const int64_t started = boottime_ns();
  const std::string process = "/proc/" + std::to_string(job.forked_pid()) + "/";
  const auto sleeps = [&] {
    for (int i = 0; i < 1000; ++i) {
      const std::string stat = read_file(process + "stat");
      if (stat.substr(stat.rfind(')') + 2, 1) == "S") return;
      ::usleep(10'000);
    }
  };
  sleeps();
  // It waits for each byte of the line, and so gives the processor up for each.
  constexpr int kBytes = 60;
  for (int i = 0; i < kBytes; ++i) {
    REQUIRE(::write(writer.borrow(), "x", 1) == 1);
    ::usleep(2'000);
    sleeps();
  }
  REQUIRE(::write(writer.borrow(), "\n", 1) == 1);
  ::usleep(20'000);
  sleeps();
  const std::string stat = read_file(process + "stat"), status = read_file(process + "status"),
                    io = "\n" + read_file(process + "io");
  const int64_t ending = boottime_ns();
  REQUIRE(::write(writer.borrow(), "\n", 1) == 1);
  const plan::ExitRecord& record = job.end();
  const int64_t after = boottime_ns();

  CHECK(record.wait_status == 3 << 8);
  CHECK(record.child_pid == job.forked_pid());
  CHECK(record.child_uid == 1001);
  CHECK(record.entered_at_ns >= before);
  CHECK(record.forked_at_ns >= record.entered_at_ns);
  CHECK(record.started_at_ns >= record.forked_at_ns);
  CHECK(record.started_at_ns <= started);
  CHECK(record.ended_at_ns >= ending);
  CHECK(record.ended_at_ns <= after);

  const auto near = [](const char* what, int64_t is, int64_t was, int64_t more) {
    CAPTURE(std::string(what));
    CAPTURE(is);
    CAPTURE(was);
    CHECK(is >= was);
    CHECK(is <= was + more);
  };
  const plan::Usage& used = record.rusage;
  const int64_t tick_us = 1'000'000 / ::sysconf(_SC_CLK_TCK);
  near("minflt", used.minflt, field(stat, 10), 200);
  near("majflt", used.majflt, field(stat, 12), 20);
  near("utime", used.utime_us, field(stat, 14) * tick_us, 3 * tick_us);
  near("stime", used.stime_us, field(stat, 15) * tick_us, 3 * tick_us);
  // Both are sums of what processors have not yet added up, 64 pages each at most.
  near("maxrss", used.maxrss_kib, number(status, "VmHWM:") - 512, 1536);
  near("nvcsw", used.nvcsw, number(status, "voluntary_ctxt_switches:"), 10);
  near("nivcsw", used.nivcsw, number(status, "nonvoluntary_ctxt_switches:"), 40);
  if (const int64_t bytes = number(io, "read_bytes:"); bytes >= 0)
    near("inblock", used.inblock, bytes / 512, 64);
  if (const int64_t bytes = number(io, "write_bytes:"); bytes >= 0)
    near("oublock", used.oublock, bytes / 512, 64);
  CHECK(used.nvcsw >= kBytes);
  CHECK(used.utime_us > 0);
  CHECK(used.minflt > used.majflt);
  // Linux counts none of these, getrusage(2).
  for (const int64_t each :
       {used.ixrss, used.idrss, used.isrss, used.nswap, used.msgsnd, used.msgrcv, used.nsignals})
    CHECK(each == 0);
  for (const std::string& file : {fifo, shell}) ::unlink(file.c_str());
  ::rmdir(path);
}
