// Scheduler, priorities, processors, resource limits and the other numbers that
// a process inherits.
#include <sched.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

// SCHED_FIFO in a cgroup of v1 without real-time budget is EPERM for root too.
std::string why_no_real_time() {
  const int status = wait_for(child([] {
    const sched_param parameters{1};
    return sched_setscheduler(0, SCHED_FIFO, &parameters) == 0 ? 0 : 1;
  }));
  return status == 0 ? "" : "root may not use SCHED_FIFO here";
}

TEST_CASE("scheduling policies that need no privilege work for everybody") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const struct {
      const char* name;
      int number;
    } policies[] = {
        {"SCHED_OTHER", SCHED_OTHER}, {"SCHED_BATCH", SCHED_BATCH}, {"SCHED_IDLE", SCHED_IDLE}};
    for (const auto& policy : policies) {
      CAPTURE(std::string(policy.name));
      Json report = report_of(
          client, with(world.probe_request(),
                       {{"scheduler", {{"policy", policy.name}, {"reset_on_fork", true}}}}));
      CHECK(report["scheduler"]["policy"] == policy.number);
      CHECK(report["scheduler"]["reset_on_fork"] == true);
    }
    CHECK(report_of(client, world.probe_request())["scheduler"]["policy"] == SCHED_OTHER);
  }
}

TEST_CASE("real-time policies and priorities work for root") {
  NEEDS_ROOT();
  if (const auto reason = why_no_real_time(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  Client client = world.connect(Way::root);
  for (const auto& [name, number] : {std::pair("SCHED_FIFO", SCHED_FIFO), {"SCHED_RR", SCHED_RR}}) {
    Outcome outcome = client.run(
        with(world.probe_request(), {{"scheduler", {{"policy", name}, {"priority", 7}}}}));
    INFO(outcome.told());
    REQUIRE(outcome.verdict["ok"] == true);
    CHECK(outcome.report()["scheduler"]["policy"] == number);
    CHECK(outcome.report()["scheduler"]["priority"] == 7);
  }
}

TEST_CASE("SCHED_DEADLINE takes its three parameters") {
  NEEDS_ROOT();
  if (const auto reason = why_no_real_time(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  Client client = world.connect(Way::root);
  Json scheduler = {{"policy", "SCHED_DEADLINE"},
                    {"runtime_ns", 5'000'000},
                    {"deadline_ns", 50'000'000},
                    {"period_ns", 100'000'000}};
  Outcome outcome = client.run(with(world.probe_request(), {{"scheduler", scheduler}}));
  INFO(outcome.told());
  REQUIRE(outcome.verdict["ok"] == true);
  CHECK(outcome.report()["scheduler"]["policy"] == 6);
  CHECK(outcome.report()["scheduler"]["runtime_ns"] == 5'000'000);
  CHECK(outcome.report()["scheduler"]["period_ns"] == 100'000'000);
}

TEST_CASE("an unprivileged caller gets no real-time policy and no negative nice") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& members :
         {Json{{"scheduler", {{"policy", "SCHED_FIFO"}, {"priority", 1}}}}, Json{{"nice", -1}},
          Json{{"ioprio", {{"class", "realtime"}, {"level", 0}}}}, Json{{"oom_score_adj", -500}}}) {
      Outcome outcome = client.run(with(world.probe_request(), members));
      INFO(members.dump());
      INFO(outcome.told());
      const bool denied = outcome.error == "Denied";
      const bool failed = outcome.verdict.is_object() &&
                          outcome.verdict["ending"] == "not_started" &&
                          (outcome.verdict["failure"]["errno_name"] == "EPERM" ||
                           outcome.verdict["failure"]["errno_name"] == "EACCES");
      CHECK((denied || failed));
    }
  }
}

TEST_CASE("SCHED_SPORADIC is unsupported by name; a wrong priority is refused with its range") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  Outcome outcome =
      client.run(with(world.probe_request(), {{"scheduler", {{"policy", "SCHED_SPORADIC"}}}}));
  CHECK(outcome.error == "Unsupported");
  CHECK(outcome.parameters.dump().find("SCHED_SPORADIC") != std::string::npos);
  outcome = client.run(
      with(world.probe_request(), {{"scheduler", {{"policy", "SCHED_FIFO"}, {"priority", 100}}}}));
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters.dump().find("99") != std::string::npos);
}

TEST_CASE("nice, ioprio, oom_score_adj, personality and timer slack are those of the request") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.probe_request();
    request["nice"] = 5;
    request["ioprio"] = {{"class", "best_effort"}, {"level", 6}};
    request["oom_score_adj"] = 321;
    request["personality"] = {"ADDR_NO_RANDOMIZE"};
    request["timer_slack_ns"] = 123'456;
    Json report = report_of(client, request);
    CHECK(report["nice"] == 5);
    CHECK(report["ioprio"] == Json{{"class", 2}, {"level", 6}});
    CHECK(report["oom_score_adj"] == 321);
    CHECK(report["personality"] == ADDR_NO_RANDOMIZE);
    CHECK(report["timer_slack_ns"] == 123'456);
  }
}

TEST_CASE("root may lower nice and oom_score_adj") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  CHECK(report_of(client, with(world.probe_request(), {{"nice", -7}}))["nice"] == -7);
}

TEST_CASE("affinity is exactly the set of the request; an unknown processor is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    CHECK(report_of(client, with(world.probe_request(), {{"affinity", {0}}}))["affinity"] ==
          Json{0});
    const long processors = sysconf(_SC_NPROCESSORS_CONF);
    Outcome outcome =
        client.run(with(world.probe_request(), {{"affinity", Json::array({0, processors})}}));
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] != true);
  }
}

TEST_CASE("rlimits are those of the request, soft and hard, all sixteen") {
  NEEDS_ROOT();
  World& world = World::get();
  const char* names[] = {"RLIMIT_CPU",      "RLIMIT_FSIZE", "RLIMIT_DATA",   "RLIMIT_STACK",
                         "RLIMIT_CORE",     "RLIMIT_RSS",   "RLIMIT_NPROC",  "RLIMIT_NOFILE",
                         "RLIMIT_MEMLOCK",  "RLIMIT_AS",    "RLIMIT_LOCKS",  "RLIMIT_SIGPENDING",
                         "RLIMIT_MSGQUEUE", "RLIMIT_NICE",  "RLIMIT_RTPRIO", "RLIMIT_RTTIME"};
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json before = report_of(client, world.probe_request())["rlimits"];
    for (const char* name : names) {
      CAPTURE(std::string(name));
      // Lower than what everybody has, and enough to run; 0 where that is all.
      Json hard = before[name]["hard"];
      const bool none = hard == 0;
      const long low = none ? 0 : std::string(name) == "RLIMIT_NOFILE" ? 200 : 1L << 28;
      const long value = hard.is_number() ? std::min(low, hard.get<long>()) : low;
      const long soft = value / 2;
      Json report = report_of(
          client,
          with(world.probe_request(), {{"rlimits", {{name, {{"soft", soft}, {"hard", value}}}}}}));
      CHECK(report["rlimits"][name] == Json{{"soft", soft}, {"hard", value}});
    }
  }
}

TEST_CASE("a hard limit above the caller's own needs more than asking") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json own = report_of(client, world.probe_request())["rlimits"]["RLIMIT_NOFILE"]["hard"];
    if (!own.is_number()) continue;
    Outcome outcome = client.run(
        with(world.probe_request(),
             {{"rlimits", {{"RLIMIT_NOFILE", {{"soft", 64}, {"hard", own.get<long>() + 1}}}}}}));
    INFO(outcome.told());
    CHECK((outcome.error == "Denied" ||
           (outcome.verdict.is_object() && outcome.verdict["failure"]["errno_name"] == "EPERM")));
  }
}

TEST_CASE("a soft limit above the hard one, and an unknown limit, are refused") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Outcome outcome = client.run(
      with(world.probe_request(), {{"rlimits", {{"RLIMIT_CPU", {{"soft", 2}, {"hard", 1}}}}}}));
  CHECK(outcome.error == "InvalidRequest");
  outcome = client.run(
      with(world.probe_request(), {{"rlimits", {{"RLIMIT_NOTHING", {{"soft", 2}, {"hard", 2}}}}}}));
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters["field"] == "rlimits.RLIMIT_NOTHING");
}

TEST_CASE("file actions may use descriptors above the new RLIMIT_NOFILE") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.probe_request();
  request["rlimits"] = {{"RLIMIT_NOFILE", {{"soft", 16}, {"hard", 16}}}};
  request["file_actions"] = {{{"dup2", {{"fd", 1}, {"new_fd", 50}}}}};
  Json report = report_of(client, request);
  CHECK(descriptor(report, 50) != nullptr);
  CHECK(report["rlimits"]["RLIMIT_NOFILE"]["soft"] == 16);
}

}  // namespace
}  // namespace cloister::system_test
