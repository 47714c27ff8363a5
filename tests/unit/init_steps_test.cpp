// A failure at any step is one record that says which, where and why.
#include <seccomp.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "init_steps.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::Step;

namespace {

const std::vector<Case>& all_cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> cases = cases_of_init();
    for (Case& each : cases_of_payload()) cases.push_back(std::move(each));
    return cases;
  }();
  return all;
}

}  // namespace

TEST_CASE("a failure is reported with its step, its index and its errno") {
  NEEDS_ROOT();
  for (const Case& each : all_cases()) {
    CAPTURE(std::string(plan::describe(each.step).name));
    CAPTURE(std::string(each.how));
    Driver job;
    each.prepare(job);
    const plan::ExitRecord& record = job.run();
    CHECK(record.ending == plan::Ending::not_started);
    CHECK(record.commit == plan::kRecordCommitted);
    CHECK(plan::describe(record.failure.step).name == std::string(plan::describe(each.step).name));
    CHECK(record.failure.error == each.error);
    CHECK(record.failure.index == each.index);
    CHECK(job.init_status() == 0);
    held.clear();
  }
}

TEST_CASE("descriptors that never come because the front is gone are a failure") {
  NEEDS_ROOT();
  Driver job;
  job.receive(0, 0);
  job.announced_descriptors = 0;
  job.start();
  job.hang_up_front();
  const plan::ExitRecord& record = job.end();
  CHECK(record.failure.step == Step::descriptors);
  CHECK(record.failure.error == ECONNRESET);
}

// Init calls setsid too, so a filter has to tell the two apart: SCMP_ACT_TRACE
// lets a traced process go on and answers ENOSYS to one that nobody traces.
TEST_CASE("a failed setsid of the payload is reported as that") {
  NEEDS_ROOT();
  Driver job;
  job.plan->flags |= plan::kSetsid;
  job.before_exec = [] {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (seccomp_rule_add(filter, SCMP_ACT_TRACE(1), SCMP_SYS(setsid), 0) < 0 ||
        seccomp_load(filter) < 0)
      ::_exit(119);
  };
  job.start();
  int status = 0;
  REQUIRE(::waitpid(job.init_pid(), &status, 0) == job.init_pid());
  REQUIRE(::ptrace(PTRACE_SETOPTIONS, job.init_pid(), nullptr, PTRACE_O_TRACESECCOMP) == 0);
  do {
    REQUIRE(::ptrace(PTRACE_CONT, job.init_pid(), nullptr, nullptr) == 0);
    REQUIRE(::waitpid(job.init_pid(), &status, 0) == job.init_pid());
    REQUIRE(WIFSTOPPED(status));
  } while (status >> 8 != (SIGTRAP | PTRACE_EVENT_SECCOMP << 8));
  REQUIRE(::ptrace(PTRACE_DETACH, job.init_pid(), nullptr, nullptr) == 0);
  const plan::ExitRecord& record = job.end();
  CHECK(record.failure.step == Step::setsid);
  CHECK(record.failure.error == ENOSYS);
}

TEST_CASE("every step of init and of the payload has a case that fails there") {
  std::set<Step> seen = {Step::setsid};  // the case above
  for (const Case& each : all_cases()) seen.insert(each.step);
  for (uint32_t i = 0; i < static_cast<uint32_t>(Step::count_); ++i) {
    const auto step = static_cast<Step>(i);
    const plan::Stage stage = plan::describe(step).stage;
    if (stage != plan::Stage::init && stage != plan::Stage::payload) continue;
    CAPTURE(plan::describe(step).name);
    CHECK(seen.contains(step));
  }
}
