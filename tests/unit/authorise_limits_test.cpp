// Priorities, limits and OOM score: inside and past each edge of authorise().
#include <linux/capability.h>
#include <sched.h>

#include <algorithm>

#include "judged.hpp"
#include "sys/words.hpp"

using namespace cloister;
using namespace cloister::test;

namespace {

// ioprio_set(2)
constexpr int kIoprioShift = 13, kRealtime = 1, kBestEffort = 2, kIdle = 3;

Rlimits a_caller_limits() {
  Peer peer;
  a_caller().be(peer);
  REQUIRE(peer.own().has_value());
  return peer.own()->hard_limits;
}

const char* rlimit_name(uint32_t number) { return sys::name_of(sys::rlimits(), number); }

Spoil real_time_policy(int number, int priority) {
  return [=](Judged& j) {
    j.plan->scheduler.set = plan::kHasPolicy | plan::kHasParameters;
    j.plan->scheduler.policy = number;
    j.plan->scheduler.priority = priority;
  };
}

constexpr const char* kNoRaise = "no CAP_SYS_RESOURCE to raise a hard limit of a caller with";
bool may_raise_limits() {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NICE, &before) == 0);
  const rlimit more{before.rlim_cur, before.rlim_max < 40 ? 40 : before.rlim_max};
  const bool raised = ::setrlimit(RLIMIT_NICE, &more) == 0;
  ::setrlimit(RLIMIT_NICE, &before);
  return raised;
}

}  // namespace

TEST_CASE("scheduling: not-below-own-nice, but with CAP_SYS_NICE or by root's bound") {
  const auto nice = [](int value) { return [=](Judged& j) { j.plan->nice = value; }; };
  is_allowed("own", nice(Caller::kNice));
  is_allowed("above", nice(19));
  is_refused("below", nice(Caller::kNice - 1), "nice", "not-below-own-nice");
  is_allowed("with CAP_SYS_NICE", [&](Judged& j) {
    j.holds(CAP_SYS_NICE);
    nice(-20)(j);
  });
  const auto ruled = [&](int value) {
    return [=](Judged& j) {
      j.rule.nice = -3;
      j.holds(CAP_SYS_NICE).plan->nice = value;
    };
  };
  is_allowed("at root's bound", ruled(-3));
  is_refused("below root's bound, whatever the peer holds", ruled(-4), "nice", "r/nice");
}

TEST_CASE("scheduling: not-below-own-nice reaches as far as RLIMIT_NICE of the caller does") {
  const auto nice = [](int value) { return [=](Judged& j) { j.plan->nice = value; }; };
  if (!may_raise_limits()) SKIP(kNoRaise);
  const Caller nicer(22);  // 20 - 22 = -2, getrlimit(2)
  is_allowed("at its limit", nice(-2), nicer);
  is_refused("past its limit", nice(-3), "nice", "not-below-own-nice", RefusalKind::denied, nicer);
}

TEST_CASE("scheduling: real-time-needs-CAP_SYS_NICE, or root's word") {
  const auto& policy = real_time_policy;
  const std::string rule = "real-time-needs-CAP_SYS_NICE";
  for (const int each : {SCHED_OTHER, SCHED_BATCH, SCHED_IDLE}) {
    is_allowed("for everybody", policy(each, 0));
    is_refused("with a priority", policy(each, 1), "scheduler", rule);
  }
  // 7: what a later kernel may know.
  for (const int each : {SCHED_FIFO, SCHED_RR, 6 /* SCHED_DEADLINE */, 7}) {
    is_refused("real time", policy(each, 1), "scheduler", rule);
    is_allowed("with CAP_SYS_NICE", [&](Judged& j) {
      j.holds(CAP_SYS_NICE);
      policy(each, 99)(j);
    });
    is_refused(
        "that root forbids",
        [&](Judged& j) {
          j.holds(CAP_SYS_NICE).rule.real_time = false;
          policy(each, 1)(j);
        },
        "scheduler", "r/real_time");
    is_allowed("that root allows", [&](Judged& j) {
      j.rule.real_time = true;
      policy(each, 1)(j);
    });
  }
  const auto ioprio = [](int level) {
    return [=](Judged& j) {
      j.plan->flags |= plan::kIoprio;
      j.plan->ioprio = static_cast<uint32_t>(level);
    };
  };
  is_allowed("best effort", ioprio(kBestEffort << kIoprioShift | 7));
  is_allowed("idle", ioprio(kIdle << kIoprioShift));
  is_refused("real time", ioprio(kRealtime << kIoprioShift | 7), "ioprio", rule);
  is_refused(
      "real time that the flag does not tell of",
      [&](Judged& j) {
        ioprio(kRealtime << kIoprioShift)(j);
        j.plan->flags &= ~plan::kIoprio;
      },
      "ioprio", rule);
  is_refused(
      "real time that root forbids",
      [&](Judged& j) {
        j.holds(CAP_SYS_NICE).rule.real_time = false;
        ioprio(kRealtime << kIoprioShift)(j);
      },
      "ioprio", "r/real_time");
}

TEST_CASE("scheduling: real-time-needs-CAP_SYS_NICE beyond RLIMIT_RTPRIO of the caller") {
  if (!may_raise_limits()) SKIP(kNoRaise);
  const auto& policy = real_time_policy;
  const std::string rule = "real-time-needs-CAP_SYS_NICE";
  const Caller quick(0, 3);
  for (const int each : {SCHED_FIFO, SCHED_RR}) {
    is_allowed("at its limit", policy(each, 3), quick);
    is_refused("past its limit", policy(each, 4), "scheduler", rule, RefusalKind::denied, quick);
    is_refused(
        "at its limit, that root forbids",
        [&](Judged& j) {
          j.rule.real_time = false;
          policy(each, 3)(j);
        },
        "scheduler", "r/real_time", RefusalKind::denied, quick);
  }
  is_refused("a deadline", policy(6, 0), "scheduler", rule, RefusalKind::denied, quick);
}

TEST_CASE("scheduling: not-below-own OOM score but with CAP_SYS_RESOURCE") {
  const auto score = [](int value) { return [=](Judged& j) { j.plan->oom_score_adj = value; }; };
  is_allowed("own", score(Caller::kOom));
  is_allowed("above", score(1000));
  is_refused("below", score(Caller::kOom - 1), "oom_score_adj", "not-below-own");
  is_allowed("with CAP_SYS_RESOURCE", [&](Judged& j) {
    j.holds(CAP_SYS_RESOURCE);
    score(-1000)(j);
  });
  is_refused(
      "with CAP_SYS_NICE",
      [&](Judged& j) {
        j.holds(CAP_SYS_NICE);
        score(-1000)(j);
      },
      "oom_score_adj", "not-below-own");
}

TEST_CASE("limits: each of the sixteen is not-above-own-hard-limit, or than root's ceiling") {
  Rlimits own = a_caller_limits();
  for (uint32_t i = 0; i < plan::kRlimits; ++i) {
    CAPTURE(i);
    const std::string field = std::string("rlimits.") + rlimit_name(i);
    const auto hard = [&](uint64_t value) {
      return [=](Judged& j) { j.plan->rlimits[i] = {0, value, 1, 0}; };
    };
    is_allowed("own", hard(own[i]));
    if (own[i] != UINT64_MAX) {
      is_refused("one more", hard(own[i] + 1), field, "not-above-own-hard-limit");
      is_refused("no limit", hard(UINT64_MAX), field, "not-above-own-hard-limit");
      is_allowed("with CAP_SYS_RESOURCE", [&](Judged& j) {
        j.holds(CAP_SYS_RESOURCE);
        hard(UINT64_MAX)(j);
      });
    }
    const auto ruled = [&](uint64_t value) {
      return [=](Judged& j) {
        j.holds(CAP_SYS_RESOURCE).rule.rlimits[i] = 4711;
        j.plan->rlimits[i] = {0, value, 1, 0};
      };
    };
    is_allowed("root's ceiling", ruled(4711));
    is_refused("past root's ceiling, whatever the peer holds", ruled(4712), field, "r/rlimits");
    // A constant of ours gives way to the lowest of the three.
    Judged j;
    j.rule.rlimits[i] = 3;
    CHECK(j.decide().kind == RefusalKind::none);
    CHECK(j.order().rlimit_hard[i] == std::min<uint64_t>(3, own[i]));
  }
  Judged j;
  CHECK(j.decide().kind == RefusalKind::none);
  CHECK(j.order().rlimit_hard[RLIMIT_NOFILE] == Caller::kFiles);
}

const auto no_real_time = [](Judged& j) { j.rule.real_time = false; };
const auto not_below_3 = [](Judged& j) { j.rule.nice = -3; };

TEST_CASE("limits: what root forbids, real time or a niceness, no limit lets the job take later") {
  const auto hard = [](uint32_t limit, uint64_t value, auto spoil) {
    return [=](Judged& j) {
      j.holds(CAP_SYS_RESOURCE);
      spoil(j);
      j.plan->rlimits[limit] = {0, value, 1, 0};
    };
  };
  is_allowed("none", hard(RLIMIT_RTPRIO, 0, no_real_time));
  is_refused("one", hard(RLIMIT_RTPRIO, 1, no_real_time), "rlimits.RLIMIT_RTPRIO", "r/real_time");
  is_allowed("one, with root's word for it", hard(RLIMIT_RTPRIO, 1, [](Judged& j) {
               j.rule.real_time = false;
               j.rule.rlimits[RLIMIT_RTPRIO] = 1;
             }));
  is_allowed("niceness -3", hard(RLIMIT_NICE, 23, not_below_3));
  is_refused("niceness -4", hard(RLIMIT_NICE, 24, not_below_3), "rlimits.RLIMIT_NICE", "r/nice");
}

TEST_CASE("limits: what the caller's own let it take is cut to what root lets its jobs") {
  if (!may_raise_limits()) SKIP(kNoRaise);
  const Caller quick(40, 50);
  Judged j(quick);
  CHECK(j.decide().kind == RefusalKind::none);
  CHECK(j.order().rlimit_hard[RLIMIT_RTPRIO] == 50);
  CHECK(j.order().rlimit_hard[RLIMIT_NICE] == 40);
  Judged cut(quick);
  no_real_time(cut);
  not_below_3(cut);
  CHECK(cut.decide().kind == RefusalKind::none);
  CHECK(cut.order().rlimit_hard[RLIMIT_RTPRIO] == 0);
  CHECK(cut.order().rlimit_hard[RLIMIT_NICE] == 23);
}
