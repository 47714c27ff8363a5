#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init_driver.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::Ending;
using plan::MountKind;
using plan::Namespace;
using plan::Op;
using plan::ReportKind;

TEST_CASE("the exit code reaches the record") {
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
  Driver job;
  job.shell("kill -TERM $$");
  const plan::ExitRecord& record = job.run();
  CHECK(record.wait_status == SIGTERM);
  CHECK(record.child_code == CLD_KILLED);
  CHECK(record.child_status == SIGTERM);
}
