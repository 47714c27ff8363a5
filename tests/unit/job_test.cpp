// A job from its launch to its end, with an init that is no process: what the
// job makes of each thing that its init says or does.
#include "life/job.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <memory>
#include <vector>

#include "fake_init.hpp"
#include "host/orphans.hpp"
#include "judged.hpp"
#include "kept_jobs.hpp"

namespace cloister::test {
namespace {

using plan::Cause;
using plan::JobPhase;
using plan::ReportKind;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uid_t kAdmin = 0;

struct Host {
  boost::asio::io_context io;
  Cgroups cgroups{CgroupChoice::none};
  std::unique_ptr<FakeInit> init;
  Slots slots{cgroups,
              [this](const Spawn& request) {
                init = std::make_unique<FakeInit>(request);
                return init->child();
              },
              -1,
              {}};
  Image no_image{sys::UniqueFd(), ""};
  Leases leases;
  Scratch scratch{io, "", -1};  // there is no place for one
  Surroundings surroundings;
  Workshop shop{io,       cgroups,     slots, plan::Mode::system,     no_image,
                no_image, -1,          -1,    plan::Reason::no_pasta, leases,
                scratch,  surroundings};

  Judged judged;
  std::vector<JobPhase> events;
  uint32_t gone = 0;
  std::shared_ptr<Job> job;

  Host() {
    judged.plan->setup_timeout_ms = 60'000;
    // The caller of `judged` is a child of ours, and no job has left it.
    static const bool adopted = adopt_orphans();
    REQUIRE(adopted);
  }

  Host& launch() {
    const plan::Refusal refusal = judged.decide();
    CAPTURE(told(refusal));
    REQUIRE(refusal.kind == RefusalKind::none);
    plan::Flaw flaw;
    MappedPlan plan(sealed(judged.block), static_cast<uint32_t>(judged.block.size()), flaw);
    REQUIRE(flaw == plan::Flaw::none);
    job = std::make_shared<Job>(shop, judged.peer, std::move(plan), 1);
    sys::UniqueFd passed;
    REQUIRE(job->launch(*judged.approved, passed).error == 0);
    job->observe([this](Job& of, JobPhase) { events.push_back(of.state().event); },
                 [](Job&, const plan::Refusal&) {}, [this](Job&) { ++gone; });
    return *this;
  }
  // All that can be done now.
  void turn() {
    io.restart();
    io.poll();
  }
  void say(ReportKind kind, uint32_t detail = 0) {
    init->report(kind, detail);
    turn();
  }
  void init_ends() {
    init->end();
    turn();
  }
  plan::ExitRecord record(int32_t wait_status) const {
    plan::ExitRecord record{};
    record.magic = plan::kRecordMagic;
    std::copy(std::begin(job->state().job), std::end(job->state().job), record.job);
    record.ending = plan::Ending::ended;
    record.wait_status = wait_status;
    record.exited_at_ns = record.ended_at_ns = 1;
    record.commit = plan::kRecordCommitted;
    return record;
  }
  const plan::JobState& state() const { return job->state(); }
};

struct Started : Host {
  Started() {
    launch();
    REQUIRE(init->told<plan::Order>());
    say(ReportKind::started);
    REQUIRE(state().phase == JobPhase::running);
  }
};

TEST_CASE("a job runs, stops, goes on, ends and is gone") {
  Host host;
  host.launch();
  CHECK(host.state().phase == JobPhase::preparing);
  host.say(ReportKind::started);
  host.say(ReportKind::stopped, SIGTSTP);
  CHECK(host.state().stop_signal == SIGTSTP);
  host.say(ReportKind::continued);
  host.init->write(host.record(3 << 8));
  host.say(ReportKind::ended);
  CHECK(host.events ==
        std::vector{JobPhase::running, JobPhase::stopped, JobPhase::running, JobPhase::ended});
  CHECK_FALSE(host.job->running());
  CHECK_FALSE(host.job->held());
  CHECK_FALSE(host.state().lost);
  CHECK(host.state().record.wait_status == 3 << 8);
  CHECK(host.state().cause == Cause::payload);
  CHECK(host.gone == 0);
  CHECK(host.job->left() == Part::init);
  host.init_ends();
  CHECK(host.gone == 1);
  CHECK_FALSE(host.job->left());
  CHECK(host.events.size() == 4);
}

TEST_CASE("the end of init is enough where the record is whole") {
  Started host;
  host.init->write(host.record(0));
  host.init_ends();
  CHECK(host.state().phase == JobPhase::ended);
  CHECK_FALSE(host.state().lost);
  CHECK(host.gone == 1);
}

TEST_CASE("an init that ends without a word leaves a job that is lost") {
  Started host;
  SUBCASE("no record") {}
  SUBCASE("one that was not committed") {
    plan::ExitRecord record = host.record(0);
    record.commit = 0;
    host.init->write(record);
  }
  SUBCASE("one of another job") {
    plan::ExitRecord record = host.record(0);
    record.job[0] ^= 1;
    host.init->write(record);
  }
  host.init_ends();
  CHECK(host.state().phase == JobPhase::ended);
  CHECK(host.state().lost);
  CHECK(host.state().cause == Cause::external);
  CHECK(host.gone == 1);
}

TEST_CASE("a payload whose end is in the record is told of, whatever became of what it left") {
  Started host;
  plan::ExitRecord record = host.record(SIGSEGV);
  record.commit = plan::kRecordPayloadEnded;
  host.init->write(record);
  host.init_ends();
  CHECK_FALSE(host.state().lost);
  CHECK(host.state().record.wait_status == SIGSEGV);
}

TEST_CASE("an event that has no row in its state ends the job as lost, by our own hand") {
  Started host;
  host.say(ReportKind::started);
  // It goes on until its init has obeyed.
  CHECK(host.job->running());
  const auto command = host.init->told<plan::Command>();
  REQUIRE(command);
  CHECK(command->kind == plan::CommandKind::kill);
  host.init->write(host.record(SIGKILL));
  host.say(ReportKind::ended);
  CHECK(host.state().phase == JobPhase::ended);
  CHECK(host.state().lost);
  CHECK(host.state().cause == Cause::cloister);
  CHECK(host.state().record.wait_status == 0);
  host.init_ends();
  CHECK(host.gone == 1);
}

TEST_CASE("a stop before the exec is no stop of the job") {
  Host host;
  host.launch().say(ReportKind::stopped, SIGSTOP);
  CHECK(host.state().phase == JobPhase::preparing);
  CHECK(host.events.empty());
  host.say(ReportKind::started);
  CHECK(host.state().phase == JobPhase::running);
}

TEST_CASE("signals: none before the start, as a zombie takes them at the end") {
  Host host;
  host.launch();
  REQUIRE(host.init->told<plan::Order>());
  CHECK_FALSE(host.job->signal(SIGTERM, plan::Scope::main, kAlice));
  host.say(ReportKind::started);
  CHECK(host.job->signal(SIGTERM, plan::Scope::main, kAlice));
  const auto command = host.init->told<plan::Command>();
  REQUIRE(command);
  CHECK(command->kind == plan::CommandKind::signal);
  CHECK(command->signal == SIGTERM);
  plan::ExitRecord record = host.record(SIGTERM);
  record.exited_at_ns = INT64_MAX;
  host.init->write(record);
  host.say(ReportKind::ended);
  CHECK_FALSE(host.job->signal(SIGTERM, plan::Scope::main, kAlice));
  CHECK(host.state().cause == Cause::canceled);
  CHECK(host.state().killed_signal == SIGTERM);
  CHECK(host.state().killed_by == kAlice);
}

TEST_CASE("a job that is killed before its start has not started, and is not lost") {
  Host host;
  host.launch();
  host.job->kill(Cause::canceled, kAlice);
  CHECK(host.job->alive());
  host.init_ends();
  CHECK(host.state().phase == JobPhase::ended);
  CHECK_FALSE(host.state().lost);
  CHECK(host.state().record.ending == plan::Ending::not_started);
  CHECK(host.state().cause == Cause::canceled);
  CHECK(host.gone == 1);
}

TEST_CASE("an init that is killed and cannot be reaped is not waited for") {
  Started host;
  host.job->kill(Cause::canceled, kAlice);
  // It does not obey; then its payload ends, and it does not say so.
  const sys::UniqueFd end(::eventfd(1, EFD_CLOEXEC));
  const plan::Report payload{ReportKind::payload, 0, 0, 2};
  host.init->report_with(payload, end.borrow());
  host.io.restart();
  host.io.run_for(seconds(3));
  CHECK(host.state().phase == JobPhase::ended);
  CHECK(host.job->held());
  CHECK(host.job->left() == Part::init);
  CHECK(host.gone == 0);
  host.init_ends();
  CHECK(host.gone == 1);
  CHECK(host.state().phase == JobPhase::ended);
}

TEST_CASE("a setup that takes too long ends by the one door, and says so") {
  Host host;
  host.judged.plan->setup_timeout_ms = 1;
  host.launch();
  host.io.restart();
  host.io.run_for(milliseconds(50));
  host.init_ends();
  CHECK(host.state().record.ending == plan::Ending::not_started);
  CHECK(host.state().record.failure.step == plan::Step::setup_timeout);
  CHECK(host.state().cause == Cause::setup);
}

TEST_CASE("a launch that fails once there is a process is the end of the job") {
  Host host;
  host.judged.no_disk = plan::Reason::none;
  host.judged.mount(MountKind::scratch, plan::kMountOnDisk);
  host.launch();
  CHECK_FALSE(host.init->told<plan::Order>());  // it never had its Order
  host.init_ends();
  CHECK(host.events == std::vector{JobPhase::ended});
  CHECK(host.state().record.ending == plan::Ending::not_started);
  CHECK(host.state().record.failure.step == plan::Step::scratch_store);
  CHECK(host.state().cause == Cause::setup);
  CHECK(host.gone == 1);
}

}  // namespace
}  // namespace cloister::test
