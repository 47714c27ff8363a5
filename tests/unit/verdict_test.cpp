// Verdicts: made from the record, as JSON, as a line for people, as an exit code.
#include "cloister/verdict.hpp"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <memory>
#include <set>
#include <string>

#include "cloister/job.hpp"
#include "outcome.hpp"
#include "plan/builder.hpp"
#include "sys/names.hpp"
#include "varlink/render.hpp"
#include "varlink/service.hpp"
#include "varlink_grammar.hpp"

using namespace cloister;
using varlink::Json;

namespace {

// A Plan block, aligned as the memfd's mapping is.
class Block {
 public:
  explicit Block(plan::Builder builder) {
    const std::string bytes = builder.finish();
    words_ = std::make_unique<uint64_t[]>(bytes.size() / 8 + 1);
    std::memcpy(words_.get(), bytes.data(), bytes.size());
    REQUIRE(plan::check(words_.get(), bytes.size()) == plan::Flaw::none);
  }
  plan::View view() const { return plan::View(words_.get()); }

 private:
  std::unique_ptr<uint64_t[]> words_;
};

plan::Builder job_builder() {
  plan::Builder builder;
  const std::vector<std::string> argv = {"/bin/prog", "arg\xff"};
  builder->argv = builder.texts(argv);
  builder->executable = builder.text("/bin/prog");
  builder->executable_descriptor = plan::kNone;
  builder->cwd_descriptor = plan::kNone;
  builder->cwd = builder.text("/src");
  builder->profile = builder.text("default");
  builder->name = builder.text("unit");
  builder->degraded = builder.text(R"(["limits.pids"])");
  builder->controlling_fd = -1;
  builder->stop_signal = SIGTERM;
  builder->parse_us = 7;
  std::vector<plan::Tag> tags = {{builder.text("pipeline"), builder.text("123")}};
  builder->tags = builder.span(tags);
  return builder;
}

plan::JobState ended_state(int wait_status) {
  plan::JobState state{};
  for (int i = 0; i < 16; i++) state.job[i] = static_cast<uint8_t>(i * 17);
  state.owner = 1000;
  state.phase = state.event = plan::JobPhase::ended;
  state.mode = plan::Mode::user;
  state.accepted_at_ns = 1'700'000'000'000'001'000;
  state.started_at_ns = 1'700'000'000'500'000'000;
  state.ended_at_ns = 1'700'000'002'000'000'000;
  state.wall_us = 1'500'000;
  state.usage = {plan::kNotMeasured, plan::kNotMeasured, plan::kNotMeasured, plan::kNotMeasured};
  state.authorise_us = 3;
  state.record.ending = plan::Ending::ended;
  state.record.wait_status = wait_status;
  state.record.child_code = WIFEXITED(wait_status) ? CLD_EXITED : CLD_KILLED;
  state.record.child_status =
      WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : WTERMSIG(wait_status);
  state.record.child_uid = 1000;
  state.record.leftovers_killed = 2;
  state.record.rusage.utime_us = 11;
  state.record.rusage.nivcsw = 13;
  return state;
}

Verdict verdict_of(const plan::JobState& state) {
  return varlink::make_verdict(state, Block(job_builder()).view());
}

plan::JobState not_started(plan::Step step, int error, uint32_t index = plan::kNone) {
  plan::JobState state = ended_state(0);
  state.cause = plan::Cause::setup;
  state.started_at_ns = 0;
  state.record.ending = plan::Ending::not_started;
  state.record.failure = {step, index, error, 0};
  return state;
}

// Every member that the interface description gives the type, in JSON.
std::set<std::string> described_members(const char* type) {
  const std::string text(varlink::launcher_description());
  const auto begin = text.find(std::string("\ntype ") + type + " (");
  REQUIRE(begin != std::string::npos);
  const auto end = text.find("\n)", begin);
  std::set<std::string> members;
  for (size_t at = begin + 1; (at = text.find("\n  ", at)) < end; at += 3)
    members.insert(text.substr(at + 3, text.find(':', at) - at - 3));
  return members;
}

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

}  // namespace

TEST_CASE("a payload that exits with 0 is the only one that is ok") {
  const auto good = verdict_of(ended_state(0));
  CHECK(good.ok);
  CHECK(good.ending == Ending::exited);
  CHECK(good.cause == Cause::payload);
  CHECK(good.exit_code == 0);
  for (int code = 1; code < 256; code++) {
    const auto verdict = verdict_of(ended_state(code << 8));
    CHECK_FALSE(verdict.ok);
    CHECK(verdict.exit_code == code);
    CHECK(verdict.returncode == code);
    CHECK(verdict.wait_status == code << 8);
    CHECK(verdict.fault == Fault::payload);
    CHECK(verdict.child_code == "CLD_EXITED");
    CHECK_FALSE(verdict.term_signal.has_value());
    CHECK(verdict.folded_exit_code() == code);
  }
}

TEST_CASE("every signal is told by its name and folds to 128 and its number") {
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (signal > 31 && signal < SIGRTMIN) continue;
    auto state = ended_state(signal | 0x80);
    state.cause = plan::Cause::external;
    const auto verdict = verdict_of(state);
    CHECK(verdict.ending == Ending::signaled);
    CHECK_FALSE(verdict.ok);
    CHECK(verdict.term_signal == sys::signal_name(signal));
    CHECK(verdict.core_dumped == true);
    CHECK(verdict.returncode == -signal);
    CHECK_FALSE(verdict.exit_code.has_value());
    CHECK(verdict.cause == Cause::external);
    CHECK(verdict.folded_exit_code() == 128 + signal);
  }
}

TEST_CASE("what the job was asked as is in its verdict") {
  const auto verdict = verdict_of(ended_state(0));
  CHECK(verdict.id == "j-00112233445566778899aabbccddeeff");
  CHECK(verdict.name == "unit");
  CHECK(verdict.profile == "default");
  CHECK(verdict.tags == std::map<std::string, std::string>{{"pipeline", "123"}});
  CHECK(verdict.mode == Mode::user);
  CHECK(verdict.degraded == std::vector<std::string>{"limits.pids"});
  CHECK(verdict.leftover_processes_killed == 2);
  CHECK(verdict.accepted_at == "2023-11-14T22:13:20.000001Z");
  CHECK(verdict.started_at == "2023-11-14T22:13:20.500000Z");
  CHECK(verdict.ended_at == "2023-11-14T22:13:22.000000Z");
  CHECK(verdict.wall_us == 1'500'000);
  REQUIRE(verdict.rusage.has_value());
  CHECK(verdict.rusage->utime_us == 11);
  CHECK(verdict.rusage->nivcsw == 13);
}

TEST_CASE("what was not measured is null") {
  const auto dom = varlink::to_dom(verdict_of(ended_state(0)));
  for (const char* name :
       {"usage", "limit", "oom", "seccomp", "killed_by", "failure", "term_signal"})
    CHECK_MESSAGE(dom[name].is_null(), std::string(name));
  CHECK(dom["phases_us"]["queue"].is_null());
  CHECK(dom["phases_us"]["parse"] == 7);
  const auto unstarted = varlink::to_dom(verdict_of(not_started(plan::Step::exec, ENOENT)));
  for (const char* name : {"wait_status", "exit_code", "returncode", "si_code", "si_status",
                           "rusage", "wall_us", "started_at", "core_dumped"})
    CHECK_MESSAGE(unstarted[name].is_null(), std::string(name));
}

TEST_CASE("the JSON has the members of the interface description, no more and no less") {
  const auto dom = varlink::to_dom(verdict_of(not_started(plan::Step::mounts, ENOENT, 0)));
  CHECK(keys(dom) == described_members("Verdict"));
  CHECK(keys(dom["failure"]) == described_members("Failure"));
  CHECK(keys(dom["phases_us"]) == described_members("Phases"));
  CHECK(keys(varlink::to_dom(verdict_of(ended_state(0)))["rusage"]) ==
        described_members("ResourceUsage"));
  const Block job(job_builder());
  CHECK(keys(varlink::to_dom(varlink::make_job_info(ended_state(0), job.view()))) ==
        described_members("JobInfo"));
}

TEST_CASE("the limit that ended a job is in its verdict, and its summary has the amount") {
  plan::JobState state = ended_state(0);
  state.cause = plan::Cause::wall_time;
  state.limit = {plan::Limit::wall_time, 0, 1'500'000, 1'502'000};
  state.usage.cpu_us = 77;
  const Verdict timed = verdict_of(state);
  CHECK(timed.limit == LimitHit{"limits.wall_time", 1'500'000, 1'502'000});
  CHECK(timed.usage->cpu_us == 77);
  CHECK(timed.fault == Fault::payload);
  CHECK_FALSE(timed.ok);
  CHECK(timed.folded_exit_code() == 124);
  CHECK(timed.summary().ends_with("; it reached its wall-time limit (limits.wall_time: 1.500 s)"));
  state.cause = plan::Cause::payload;
  state.limit = {plan::Limit::rlimit_fsize, 0, 3u << 19, plan::kNotMeasured};
  state.usage.cpu_us = plan::kNotMeasured;
  const Verdict wrote = verdict_of(state);
  CHECK(wrote.limit == LimitHit{"rlimits.RLIMIT_FSIZE", 3 << 19, std::nullopt});
  CHECK_FALSE(wrote.usage);
  CHECK(wrote.summary().ends_with("; it reached a limit (rlimits.RLIMIT_FSIZE: 1.5 MiB)"));
  for (const auto& [bytes, words] : {std::pair{uint64_t{0}, "0 bytes"},
                                     {1023, "1023 bytes"},
                                     {1024, "1 KiB"},
                                     {uint64_t{64} << 20, "64 MiB"}}) {
    state.limit.limit = bytes;
    CHECK(verdict_of(state).summary().ends_with(std::string(": ") + words + ")"));
  }
}

TEST_CASE("a verdict survives the way through JSON") {
  Verdict verdict = verdict_of(ended_state(9));
  verdict.usage.emplace().cpu_us = 5;
  verdict.limit = {"limits.memory", 1 << 20, 1 << 20};
  verdict.oom = {1, true, "sandbox"};
  verdict.seccomp = {"clone3", std::nullopt};
  verdict.killed_by = {"SIGKILL", 1000};
  verdict.output["stdout"] = {10, 5, true};
  std::string why;
  auto back = verdict_from_json(to_json(verdict), &why);
  REQUIRE_MESSAGE(back.has_value(), why);
  CHECK(*back == verdict);
  const auto failed = verdict_of(not_started(plan::Step::setup_timeout, 0));
  back = verdict_from_json(to_json(failed), &why);
  REQUIRE_MESSAGE(back.has_value(), why);
  CHECK(*back == failed);
}

TEST_CASE("members and words of a newer service are accepted, wrong types are not") {
  const auto newer = verdict_from_json(
      R"({"id":"j-1","ending":"evaporated","cause":"gremlins","fault":"payload","new":{"x":1}})");
  REQUIRE(newer.has_value());
  CHECK(newer->ending == Ending::unknown);
  CHECK(newer->cause == Cause::unknown);
  CHECK(newer->folded_exit_code() == 125);
  for (const char* refused :
       {"", "[]", "{}", R"({"id":1})", R"({"id":"j","exit_code":"0"})",
        R"({"id":"j","exit_code":1.5})", R"({"id":"j","exit_code":4294967296})",
        R"({"id":"j","wall_us":18446744073709551615})", R"({"id":"j","ok":1})",
        R"({"id":"j","tags":[]})", R"({"id":"j","degraded":[1]})", R"({"id":"j","id":"k"})",
        R"({"id":"j","failure":{"errno":"ENOENT"}})"}) {
    std::string why;
    CHECK_MESSAGE(!verdict_from_json(refused, &why).has_value(), std::string(refused));
    CHECK_FALSE(why.empty());
  }
}

TEST_CASE("a failure to start folds as shells have it, and is never the payload's code") {
  const auto folded = [](plan::Step step, int error) {
    return verdict_of(not_started(step, error)).folded_exit_code();
  };
  CHECK(folded(plan::Step::exec, ENOENT) == 127);
  CHECK(folded(plan::Step::exec, ENOTDIR) == 127);
  CHECK(folded(plan::Step::exec, EACCES) == 126);
  CHECK(folded(plan::Step::exec, ENOEXEC) == 126);
  CHECK(folded(plan::Step::exec, E2BIG) == 126);
  CHECK(folded(plan::Step::cwd, ENOENT) == 125);
  CHECK(folded(plan::Step::mounts, EACCES) == 125);
  CHECK(folded(plan::Step::setup_timeout, 0) == 125);
}

TEST_CASE("causes of ours fold to codes of ours") {
  Verdict verdict = verdict_of(ended_state(SIGKILL));
  verdict.cause = Cause::wall_time;
  CHECK(verdict.folded_exit_code() == 124);
  verdict.cause = Cause::cloister;
  CHECK(verdict.folded_exit_code() == 125);
  verdict.cause = Cause::canceled;
  CHECK(verdict.folded_exit_code() == 137);
  verdict.ending = Ending::lost;
  CHECK(verdict.folded_exit_code() == 125);
}

TEST_CASE("a lost job is never a success") {
  auto state = ended_state(0);
  state.lost = 1;
  state.cause = plan::Cause::cloister;
  auto verdict = verdict_of(state);
  CHECK(verdict.ending == Ending::lost);
  CHECK_FALSE(verdict.ok);
  CHECK(verdict.fault == Fault::cloister);
  CHECK_FALSE(verdict.exit_code.has_value());
  // A record that was never committed says the same.
  state.lost = 0;
  state.record.ending = plan::Ending::none;
  state.cause = plan::Cause::payload;
  verdict = verdict_of(state);
  CHECK(verdict.ending == Ending::lost);
  CHECK(verdict.cause == Cause::cloister);
}

TEST_CASE("who canceled is said, and by which signal") {
  auto state = ended_state(SIGTERM);
  state.cause = plan::Cause::canceled;
  state.killed_signal = SIGTERM;
  state.killed_by = 1000;
  auto verdict = verdict_of(state);
  REQUIRE(verdict.killed_by.has_value());
  CHECK(verdict.killed_by->signal == "SIGTERM");
  CHECK(verdict.killed_by->uid == 1000);
  CHECK(verdict.fault == Fault::operator_);
  CHECK(verdict.summary() == "ended by SIGTERM after 1.500 s; canceled, sent SIGTERM by uid 1000");
  CHECK_FALSE(verdict_of(ended_state(0)).killed_by.has_value());
}

TEST_CASE("failures name the element at fault") {
  auto builder = job_builder();
  plan::Action action{};
  action.op = plan::Op::open;
  action.fd = 4;
  action.descriptor = plan::kNone;
  action.index = 2;
  action.path = builder.text("missing/dir");
  builder->actions = builder.span(std::vector<plan::Action>{action});
  plan::Mount mount{};
  mount.kind = plan::MountKind::tmpfs;
  mount.descriptor = plan::kNone;
  mount.at = builder.text("/data");
  mount.source = mount.data = builder.text("");
  builder->mounts = builder.span(std::vector<plan::Mount>{mount});
  const Block block(std::move(builder));
  const plan::View view = block.view();
  const auto failure = [&](plan::Step step, int error, uint32_t index) {
    return varlink::make_failure({step, index, error, 0}, &view);
  };

  auto words = failure(plan::Step::file_action, ENOENT, 2);
  CHECK(words.field == "file_actions[2]");
  CHECK(words.index == 2);
  CHECK(words.stage == "payload");
  CHECK(words.errno_name == "ENOENT");
  CHECK(words.message.find("\"missing/dir\"") != std::string::npos);
  words = failure(plan::Step::mounts, ENOENT, 0);
  CHECK(words.field == "mounts./data");
  CHECK(words.message.find("\"/data\"") != std::string::npos);
  CHECK_FALSE(words.hint.empty());
  words = failure(plan::Step::exec, ENOENT, plan::kNone);
  CHECK(words.field == "argv[0]");
  CHECK_FALSE(words.index.has_value());
  CHECK(words.message == "executing the program (\"/bin/prog\"): No such file or directory");
  CHECK(words.hint.find("interpreter") != std::string::npos);
  words = failure(plan::Step::rlimit, EPERM, RLIMIT_NOFILE);
  CHECK(words.field == "rlimits.RLIMIT_NOFILE");
  words = failure(plan::Step::join, EPERM, static_cast<uint32_t>(plan::Namespace::net));
  CHECK(words.field == "namespaces.net");
  words = failure(plan::Step::cwd, ENOENT, plan::kNone);
  CHECK(words.message.find("\"/src\"") != std::string::npos);
  words = failure(plan::Step::setpgroup, EPERM, plan::kNone);
  CHECK(words.hint.find("another session") != std::string::npos);
}

TEST_CASE("every step has words, also with an index that is out of range") {
  const Block block(job_builder());
  const plan::View view = block.view();
  for (uint32_t step = 0; step < static_cast<uint32_t>(plan::Step::count_); step++) {
    for (const uint32_t index : {0u, 99999u, plan::kNone}) {
      const auto words =
          varlink::make_failure({static_cast<plan::Step>(step), index, EPERM, 0}, &view);
      CHECK(words.step == plan::kSteps[step].name);
      CHECK(words.message.ends_with(": Operation not permitted"));
      const auto alone = varlink::make_failure({static_cast<plan::Step>(step), index, EPERM, 0});
      CHECK_FALSE(alone.message.empty());
    }
  }
}

TEST_CASE("whose problem a failure is") {
  const auto fault = [](plan::Step step, int error) {
    return verdict_of(not_started(step, error)).fault;
  };
  CHECK(fault(plan::Step::exec, ENOENT) == Fault::request);
  CHECK(fault(plan::Step::rlimit, EPERM) == Fault::policy);
  CHECK(fault(plan::Step::fork, EAGAIN) == Fault::host);
  CHECK(fault(plan::Step::verify_ids, EPERM) == Fault::cloister);
  CHECK(fault(plan::Step::setup_timeout, 0) == Fault::request);
}

TEST_CASE("a listed job shows its arguments as text that JSON can carry") {
  auto state = ended_state(0);
  state.phase = plan::JobPhase::running;
  state.pid = 4242;
  const Block block(job_builder());
  const auto job = varlink::make_job_info(state, block.view());
  CHECK(job.state == JobPhase::running);
  CHECK(job.pid == 4242);
  CHECK(job.owner == 1000);
  const auto text = Json::parse(to_json(job));
  CHECK(text["argv"] == Json({"/bin/prog", "arg\xef\xbf\xbd"}));
}

TEST_CASE("job ids are read back, and only in their one spelling") {
  const uint8_t job[16] = {0, 1, 2, 0xfe, 0xff};
  const auto name = varlink::job_name(job);
  const auto back = varlink::parse_job_name(name);
  REQUIRE(back.has_value());
  CHECK(std::equal(back->begin(), back->end(), job));
  for (const std::string& refused :
       {std::string(), name.substr(1), name + "0", "J" + name.substr(1),
        "j-" + std::string(32, 'G'), "j-" + std::string(32, 'A')})
    CHECK_FALSE(varlink::parse_job_name(refused).has_value());
}

TEST_CASE("names of signals and errors are read both ways") {
  CHECK(sys::signal_name(SIGTERM) == "SIGTERM");
  CHECK(sys::signal_name(0).empty());
  CHECK(sys::signal_name(65).empty());
  CHECK(sys::signal_name(32).empty());  // glibc keeps 32 and 33
  CHECK(sys::signal_name(SIGRTMIN + 3) == "SIGRTMIN+3");
  for (int signal = 1; signal <= SIGRTMAX; signal++)
    if (const auto name = sys::signal_name(signal); !name.empty())
      CHECK(sys::signal_number(name) == signal);
  CHECK(sys::signal_number("TERM") == SIGTERM);
  CHECK(sys::signal_number("SIGRTMAX-2") == SIGRTMAX - 2);
  CHECK(sys::signal_number("SIGIOT") == SIGABRT);
  for (const char* refused :
       {"", "SIG", "sigterm", "SIGRTMIN+", "SIGRTMIN+99", "SIGRTMIN+-1", "15"})
    CHECK_MESSAGE(!sys::signal_number(refused).has_value(), std::string(refused));
  CHECK(sys::errno_name(ENOENT) == "ENOENT");
  CHECK(sys::errno_name(0).empty());
  CHECK(sys::errno_name(4000) == "E4000");
  CHECK(sys::child_code_name(CLD_DUMPED) == "CLD_DUMPED");
}
