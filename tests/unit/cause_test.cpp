// Why a job ended, for every ending and everything that we may have done before.
#include "life/cause.hpp"

#include <signal.h>
#include <sys/resource.h>

#include <array>

#include "outcome.hpp"

namespace cloister::plan {

// So that a failed check says which.
doctest::String toString(Cause cause) { return describe(cause).word; }

}  // namespace cloister::plan

namespace cloister::monitor {
namespace {

using plan::Cause;

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kEnd = 1000 * kSecond;
constexpr uint32_t kCaller = 1000, kAdmin = 0;

plan::ExitRecord exited(int code) {
  plan::ExitRecord record{};
  record.ending = plan::Ending::ended;
  record.wait_status = code << 8;
  record.exited_at_ns = kEnd;
  return record;
}

plan::ExitRecord signaled(int signal) {
  plan::ExitRecord record = exited(0);
  record.wait_status = signal;
  return record;
}

// A job of which nothing is known but that it may take five seconds to stop.
Acts nothing() {
  Acts acts;
  acts.stop_signal = SIGTERM;
  acts.stop_timeout_ns = 5 * kSecond;
  return acts;
}

Acts forwarded(int signal, int64_t seconds_before_end = 1) {
  Acts acts = nothing();
  acts.sent.note(signal, kCaller, kEnd - seconds_before_end * kSecond);
  return acts;
}

// Stop: the stop signal, SIGCONT after it, perhaps SIGKILL.
Acts stopped(bool escalated, Cause intent = Cause::canceled) {
  Acts acts = forwarded(SIGTERM, 2);
  acts.sent.note(SIGCONT, kCaller, kEnd - 2 * kSecond + 1);
  acts.intent = intent;
  if (escalated) acts.sent.note(SIGKILL, kCaller, kEnd - 1);
  return acts;
}

Acts killed(Cause intent, uint32_t by = kCaller) {
  Acts acts = nothing();
  acts.intent = intent;
  acts.sent.note(SIGKILL, by, kEnd - 1);
  return acts;
}

void check(const plan::ExitRecord& record, const Acts& acts, Cause cause, int signal = 0,
           uint32_t by = kCaller) {
  const Judgement judgement = judge(record, false, acts);
  CHECK(judgement.cause == cause);
  CHECK(judgement.signal == signal);
  if (signal) CHECK(judgement.by == by);
}

}  // namespace

TEST_CASE("U10: what nobody was told to do is the payload's, or somebody's outside") {
  for (int code = 0; code < 256; ++code) check(exited(code), nothing(), Cause::payload);
  for (int signal : {SIGSEGV, SIGABRT, SIGPIPE, SIGXCPU, SIGSYS, SIGALRM})
    check(signaled(signal), nothing(), Cause::payload);
  for (int signal : {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGQUIT})
    check(signaled(signal), nothing(), Cause::external);
}

TEST_CASE("U10: a payload that dies of what was forwarded was canceled, by whom is said") {
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGKILL, SIGUSR1, SIGSEGV}) {
    check(signaled(signal), forwarded(signal), Cause::canceled, signal);
    // It cleaned up for as long as it liked, and raised the signal again.
    check(signaled(signal), forwarded(signal, 600), Cause::canceled, signal);
  }
}

TEST_CASE("U10: a later SIGCONT takes nothing away from the signal before it") {
  Acts acts = forwarded(SIGTERM);
  acts.sent.note(SIGCONT, kCaller, kEnd - 1);
  check(signaled(SIGTERM), acts, Cause::canceled, SIGTERM);
  check(exited(3), acts, Cause::canceled, SIGTERM);
}

TEST_CASE("U10: a payload that answers a request to end by exiting was canceled") {
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    check(exited(1), forwarded(signal), Cause::canceled, signal);
    check(exited(128 + signal), forwarded(signal, 600), Cause::canceled, signal);
    // Success stays success.
    check(exited(0), forwarded(signal), Cause::payload);
    // After its time to stop it has gone on, and what it exits with later is its own.
    check(exited(1), forwarded(signal, 6), Cause::payload);
    check(exited(128 + SIGUSR2), forwarded(signal, 600), Cause::payload);
  }
  // These ask for something else.
  for (int signal : {SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT})
    check(exited(1), forwarded(signal), Cause::payload);
  Acts acts = forwarded(SIGUSR1);
  acts.stop_signal = SIGUSR1;
  check(exited(1), acts, Cause::canceled, SIGUSR1);
}

TEST_CASE("U10: a signal that came after the end, or another one, is not blamed") {
  check(signaled(SIGTERM), forwarded(SIGTERM, -1), Cause::external);
  check(exited(1), forwarded(SIGTERM, -1), Cause::payload);
  check(signaled(SIGKILL), forwarded(SIGTERM), Cause::external);
  check(signaled(SIGSEGV), forwarded(SIGTERM), Cause::payload);
  // Sent twice, once too late: the first one counts.
  Acts acts = forwarded(SIGTERM, 2);
  acts.sent.note(SIGTERM, kCaller, kEnd + 1);
  check(signaled(SIGTERM), acts, Cause::canceled, SIGTERM);
  check(exited(1), acts, Cause::canceled, SIGTERM);
}

TEST_CASE("U10: Stop is the cause of every end that follows, but for a stranger's signal") {
  check(signaled(SIGTERM), stopped(false), Cause::canceled, SIGTERM);
  check(exited(0), stopped(false), Cause::canceled, SIGTERM);
  check(exited(3), stopped(false), Cause::canceled, SIGTERM);
  check(signaled(SIGSEGV), stopped(false), Cause::canceled, SIGTERM);
  check(signaled(SIGKILL), stopped(false), Cause::external);
  check(signaled(SIGUSR1), stopped(false), Cause::external);
}

TEST_CASE("U10: an escalation is of who asked for the stop") {
  check(signaled(SIGKILL), stopped(true), Cause::canceled, SIGKILL);
  // It ended of the stop signal while SIGKILL was on its way.
  check(signaled(SIGTERM), stopped(true), Cause::canceled, SIGTERM);
}

TEST_CASE("U10: hang-up, shutdown and a lost network are told as such") {
  check(signaled(SIGKILL), killed(Cause::disconnected), Cause::disconnected, SIGKILL);
  check(signaled(SIGTERM), stopped(false, Cause::disconnected), Cause::disconnected, SIGTERM);
  check(signaled(SIGKILL), killed(Cause::shutdown, kAdmin), Cause::shutdown, SIGKILL, kAdmin);
  check(signaled(SIGKILL), killed(Cause::cloister, kAdmin), Cause::cloister, SIGKILL, kAdmin);
}

TEST_CASE("U10: the last who sent a signal is named") {
  Acts acts = forwarded(SIGTERM, 2);
  acts.sent.note(SIGTERM, kAdmin, kEnd - kSecond);
  check(signaled(SIGTERM), acts, Cause::canceled, SIGTERM, kAdmin);
}

TEST_CASE("U10: a filter's answer is seccomp whatever was sent") {
  plan::ExitRecord record = signaled(SIGKILL);
  record.seccomp_hit = plan::kHitSeen | plan::kHitPayload;
  check(record, nothing(), Cause::seccomp);
  check(record, stopped(false), Cause::seccomp);
  Acts acts = nothing();
  acts.filter_signals = true;
  check(signaled(SIGSYS), acts, Cause::seccomp);
}

TEST_CASE("a limit on time is the cause of what ends after it, and of nothing that ended before") {
  for (const Cause cause : {Cause::wall_time, Cause::cpu_time}) {
    check(signaled(SIGTERM), stopped(false, cause), cause, SIGTERM);
    check(signaled(SIGKILL), stopped(true, cause), cause, SIGKILL);
    for (const int code : {0, 3, 143}) {
      check(exited(code), stopped(false, cause), cause, SIGTERM);
      Acts late = nothing();
      late.intent = cause;
      late.intent_at_ns = kEnd + 1;
      late.sent.note(SIGUSR1, kCaller, kEnd - kSecond);
      late.sent.note(SIGTERM, kAdmin, kEnd + 1);
      check(exited(code), late, Cause::payload);
      check(signaled(SIGSEGV), late, Cause::payload);
      check(signaled(SIGKILL), late, Cause::external);
    }
    check(signaled(SIGSEGV), stopped(false, cause), cause, SIGTERM);
  }
}

TEST_CASE(
    "U11: rlimits are named where the kernel has answered to them, and not where it has not") {
  std::array<plan::Rlimit, plan::kRlimits> rlimits;
  rlimits.fill({plan::kNotMeasured, plan::kNotMeasured, 1, 0});
  Acts acts = nothing();
  acts.rlimits = rlimits.data();
  const auto is = [&](int signal, int64_t cpu_us, Cause cause, plan::Limit which,
                      uint64_t limit = 0) {
    CAPTURE(signal);
    CAPTURE(cpu_us);
    plan::ExitRecord record = signaled(signal);
    record.limited_cpu_us = cpu_us;
    const Judgement judgement = judge(record, false, acts);
    CHECK(judgement.cause == cause);
    CHECK(judgement.limit.which == which);
    CHECK(judgement.limit.limit == limit);
  };
  using plan::Limit;
  is(SIGXCPU, 5'000'000, Cause::payload, Limit::none);
  is(SIGXFSZ, 0, Cause::payload, Limit::none);
  rlimits[RLIMIT_CPU] = {2, 4, 1, 0};
  is(SIGXCPU, 2'000'000, Cause::cpu_time, Limit::rlimit_cpu, 2'000'000);
  is(SIGKILL, 4'000'000, Cause::cpu_time, Limit::rlimit_cpu, 4'000'000);
  is(SIGXCPU, 1'999'999, Cause::payload, Limit::none);
  is(SIGKILL, 3'999'999, Cause::external, Limit::none);
  is(SIGTERM, 4'000'000, Cause::external, Limit::none);
  is(SIGSEGV, 4'000'000, Cause::payload, Limit::none);
  // 0 seconds are one, setrlimit(2).
  rlimits[RLIMIT_CPU] = {0, 0, 1, 0};
  is(SIGKILL, 999'999, Cause::external, Limit::none);
  is(SIGKILL, 1'000'000, Cause::cpu_time, Limit::rlimit_cpu, 0);
  rlimits[RLIMIT_FSIZE] = {4096, 8192, 1, 0};
  is(SIGXFSZ, 0, Cause::payload, Limit::rlimit_fsize, 4096);
  rlimits[RLIMIT_CPU] = {60, 60, 1, 0};
  rlimits[RLIMIT_RTTIME] = {5000, 5000, 1, 0};
  is(SIGXCPU, 5000, Cause::cpu_time, Limit::rlimit_rttime, 5000);
  is(SIGXCPU, 4999, Cause::payload, Limit::none);
  // What we sent is ours.
  acts.sent.note(SIGKILL, kCaller, kEnd - 1);
  is(SIGKILL, 60'000'000, Cause::canceled, Limit::none);
}

TEST_CASE("U10: what did not start, and what is not known") {
  plan::ExitRecord record{};
  record.ending = plan::Ending::not_started;
  check(record, nothing(), Cause::setup);
  check(record, killed(Cause::canceled), Cause::canceled, SIGKILL);
  CHECK(judge({}, true, nothing()).cause == Cause::external);
  CHECK(judge({}, true, killed(Cause::disconnected)).cause == Cause::disconnected);
}

}  // namespace cloister::monitor
