// What a job may take as a whole, and what its verdict says when it takes more.
// Figures are lower bounds and rough upper ones: a busy machine is late, never early.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

#include "jobs.hpp"

namespace cloister::system_test {
namespace {

Json shell(const std::string& line, const Json& limits = nullptr) {
  return {{"argv", {"sh", "-c", line}},
          {"profile", "none"},
          {"executable", "/bin/sh"},
          {"limits", limits}};
}

constexpr int64_t kMilli = 1000;  // us
constexpr int64_t kLong = 20'000 * kMilli;

// The limit of the verdict, of which the peak is no less.
void check_limit(Json& verdict, const std::string& field, int64_t limit) {
  CHECK(verdict["limit"]["field"] == field);
  CHECK(verdict["limit"]["limit"] == limit);
  REQUIRE(verdict["limit"]["peak"].is_number());
  CHECK(verdict["limit"]["peak"].get<int64_t>() >= limit);
  CHECK(verdict["limit"]["peak"].get<int64_t>() < limit + kLong);
  CHECK(verdict["fault"] == "payload");
  CHECK(verdict["ok"] == false);
}

// Whether this service can enforce the limit, which info says.
bool enforces(Client& client, const std::string& limit) {
  Reply reply = client.call("Describe");
  return reply.parameters["features"]["host"]["limits." + limit]["state"] == "available";
}

#define NEEDS_LIMIT(client, limit) \
  do { \
    if (!enforces(client, limit)) SKIP("no cgroup here can enforce limits." + std::string(limit)); \
  } while (false)

TEST_CASE("wall_time stops a job, in each mode, and the verdict names the limit") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    const Json asked = shell("exec sleep 100", {{"wall_time", "300ms"}});
    for (const Json& request : {asked, in_a_box(asked)}) {
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      REQUIRE(outcome.error.empty());
      CHECK(outcome.verdict["cause"] == "wall_time");
      CHECK(outcome.verdict["term_signal"] == "SIGTERM");
      CHECK(outcome.verdict["killed_by"]["signal"] == "SIGTERM");
      CHECK(outcome.verdict["wall_us"].get<int64_t>() >= 300 * kMilli);
      check_limit(outcome.verdict, "limits.wall_time", 300 * kMilli);
    }
  }
}

TEST_CASE("a job that passes its memory limit at once is told to have started") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  NEEDS_LIMIT(client, "memory");
  Json request = shell("exec tail /dev/zero", {{"memory", "2M"}});
  request["env"] = {{"PATH", "/usr/bin:/bin"}};
  const Stuttering stuttering(World::get().system().pid());
  for (int i = 0; i < 60; ++i) {
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.verdict["ending"] == "signaled");
    CHECK(outcome.verdict["cause"] == "memory");
    Reply started = client.call("Start", {{"request", request}});
    INFO(started.error << " " << started.parameters.dump());
    REQUIRE(started.error.empty());
    discard(client, started.parameters["id"]);
  }
}

TEST_CASE("wall_time ends what ignores the stop signal, is stopped, or has left its session") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  for (const char* line : {"trap '' TERM HUP INT; while :; do sleep 1; done",
                           "trap '' TERM; kill -STOP $$; while :; do sleep 1; done",
                           "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 100' & wait"}) {
    CAPTURE(line);
    Json request = in_a_box(shell(line, {{"wall_time", "200ms"}}));
    request["lifetime"] = {{"stop_timeout", "200ms"}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    CHECK(outcome.verdict["cause"] == "wall_time");
    CHECK(outcome.verdict["term_signal"] == "SIGKILL");
    CHECK(outcome.verdict["wall_us"].get<int64_t>() >= 400 * kMilli);
    check_limit(outcome.verdict, "limits.wall_time", 200 * kMilli);
  }
}

TEST_CASE("what a payload exits with when it is told to end for its wall_time is no success") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Outcome outcome = client.run(
      shell("trap 'exit 0' TERM; while :; do sleep 0.05; done", {{"wall_time", "200ms"}}));
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  CHECK(outcome.verdict["cause"] == "wall_time");
  CHECK(outcome.verdict["exit_code"] == 0);
  check_limit(outcome.verdict, "limits.wall_time", 200 * kMilli);
}

TEST_CASE("a limit that is not reached changes nothing") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    Json limits = {{"wall_time", "60s"}};
    if (enforces(client, "cpu_time")) limits["cpu_time"] = "30s";
    Outcome outcome = client.run(shell("exit 7", limits));
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    CHECK(outcome.verdict["cause"] == "payload");
    CHECK(outcome.verdict["exit_code"] == 7);
    CHECK(outcome.verdict["limit"] == nullptr);
    CHECK(outcome.verdict["killed_by"] == nullptr);
  }
}

TEST_CASE("whoever stops a job before its wall_time is told as the one who did") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Json request = shell("trap 'sleep 0.5; exit 3' TERM; while :; do sleep 0.05; done",
                       {{"wall_time", "400ms"}});
  Reply started = client.call("Start", {{"request", request}});
  INFO(started.parameters.dump());
  REQUIRE(started.error.empty());
  const Json id = started.parameters["id"];
  usleep(200'000);  // until it has its trap
  REQUIRE(client.call("Stop", {{"id", id}, {"timeout", "5s"}}).error.empty());
  Json verdict = wait(client, id)["verdict"];
  INFO(verdict.dump());
  CHECK(verdict["cause"] == "canceled");
  CHECK(verdict["limit"] == nullptr);
  discard(client, id);
}

TEST_CASE("cpu_time counts all processes of a job, and the verdict says what they took") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    const char* const lines[] = {"while :; do :; done",
                                 "while :; do :; done & while :; do :; done & wait",
                                 "setsid sh -c 'while :; do :; done' & exec sleep 100",
                                 // each for a moment, and gone: what was is counted too
                                 "while :; do sh -c 'i=0; while [ $i -lt 9999 ]; do "
                                 "i=$((i+1)); done'; done"};
    for (const char* line : lines) {
      CAPTURE(line);
      Outcome outcome = client.run(shell(line, {{"cpu_time", "300ms"}}));
      INFO(outcome.told());
      if (!enforces(client, "cpu_time")) {
        CHECK(outcome.error == "Unsupported");
        CHECK(outcome.parameters["feature"] == "limits.cpu_time");
        continue;
      }
      REQUIRE(outcome.error.empty());
      CHECK(outcome.verdict["cause"] == "cpu_time");
      check_limit(outcome.verdict, "limits.cpu_time", 300 * kMilli);
      CHECK(outcome.verdict["usage"]["cpu_us"] == outcome.verdict["limit"]["peak"]);
    }
  }
}

TEST_CASE("a job that sleeps takes no cpu_time") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  NEEDS_LIMIT(client, "cpu_time");
  Outcome outcome = client.run(shell("sleep 1", {{"cpu_time", "200ms"}}));
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  CHECK(outcome.verdict["cause"] == "payload");
  CHECK(outcome.verdict["ok"] == true);
  CHECK(outcome.verdict["usage"]["cpu_us"].get<int64_t>() < 200 * kMilli);
}

TEST_CASE("U11: an rlimit that ends a job is named in its verdict") {
  NEEDS_ROOT();
  struct Row {
    const char *name, *line;
    Json soft, hard;
    const char *signal, *cause;
    int64_t limit;
  };
  const char* const kBusy = "while :; do :; done";
  const Row rows[] = {
      {"RLIMIT_CPU", kBusy, 1, 30, "SIGXCPU", "cpu_time", 1'000'000},
      {"RLIMIT_CPU", kBusy, 1, 1, "SIGKILL", "cpu_time", 1'000'000},
      {"RLIMIT_CPU", "trap '' XCPU; while :; do :; done", 1, 2, "SIGKILL", "cpu_time", 2'000'000},
      {"RLIMIT_FSIZE", "exec cat /dev/zero >big", 4096, 8192, "SIGXFSZ", "payload", 4096}};
  for (const Way way : {Way::root, Way::user, Way::alone})
    for (const Row& row : rows) {
      CAPTURE(name_of(way));
      CAPTURE(row.line);
      CAPTURE(row.signal);
      World& world = World::get();
      Client client = world.connect(way);
      Json request = shell(row.line);
      request["cwd"] = world.directory_of(world.who(way));
      request["rlimits"] = {{row.name, {{"soft", row.soft}, {"hard", row.hard}}}};
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      REQUIRE(outcome.error.empty());
      CHECK(outcome.verdict["term_signal"] == row.signal);
      CHECK(outcome.verdict["cause"] == row.cause);
      CHECK(outcome.verdict["fault"] == "payload");
      CHECK(outcome.verdict["killed_by"] == nullptr);
      CHECK(outcome.verdict["limit"]["field"] == std::string("rlimits.") + row.name);
      CHECK(outcome.verdict["limit"]["limit"] == row.limit);
      if (row.cause == std::string("cpu_time"))
        CHECK(outcome.verdict["limit"]["peak"].get<int64_t>() >= row.limit);
    }
}

TEST_CASE(
    "processor time of children, and signals that look like a limit's, are not taken for it") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  // RLIMIT_CPU counts a process without its children, of which each has a second here.
  const struct {
    const char *line, *cause;
    int soft, hard;
  } rows[] = {{"kill -KILL $$", "external", 1, 1},
              {"kill -XCPU $$", "payload", 1, 1},
              {"sh -c 'while :; do :; done'; sh -c 'while :; do :; done'; kill -KILL $$",
               "external", 1, 1}};
  for (const auto& row : rows) {
    CAPTURE(row.line);
    Json request = shell(row.line);
    request["rlimits"] = {{"RLIMIT_CPU", {{"soft", row.soft}, {"hard", row.hard}}}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    CHECK(outcome.verdict["cause"] == row.cause);
    CHECK(outcome.verdict["limit"] == nullptr);
  }
}

// Of root's service, in all trees.
int cgroups_of_jobs() {
  const std::string base = "/cloister-" + std::to_string(World::get().system().pid()) + "-";
  std::set<std::string> jobs;
  std::error_code gone;  // a directory that vanishes meanwhile is what is waited for
  for (auto entry = std::filesystem::recursive_directory_iterator("/sys/fs/cgroup", gone);
       entry != std::filesystem::recursive_directory_iterator(); entry.increment(gone))
    if (entry->path().filename().string().starts_with("job-") &&
        entry->path().string().find(base) != std::string::npos)
      jobs.insert(entry->path());
  return static_cast<int>(jobs.size());
}

// Memory of each kind, by the probe, as much as its limit many times.
TEST_CASE("RES-02: memory of each kind ends a job at its limit, and the service goes on") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  NEEDS_LIMIT(client, "memory");
  constexpr int64_t kLimit = int64_t{48} << 20;
  const char* const lines[] = {
      "x=$(tr '\\0' x </dev/zero)",          // heap
      "cat /dev/zero >/tmp/big; sleep 100",  // tmpfs
      "cat /dev/zero >/dev/shm/big; sleep 100",
      "for i in 1 2 3 4 5 6 7 8; do (x=$(tr '\\0' x </dev/zero)) & done; wait",  // of many
      "setsid sh -c 'x=$(tr \"\\0\" x </dev/zero)' & exec sleep 100"};           // of a stranger
  for (const char* line : lines) {
    CAPTURE(line);
    Json request = in_a_box(shell(line, {{"memory", kLimit}, {"swap", 0}}));
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    CHECK(outcome.verdict["cause"] == "memory");
    CHECK(outcome.verdict["fault"] == "payload");
    CHECK(outcome.verdict["ok"] == false);
    CHECK(outcome.verdict["killed_by"] == nullptr);
    CHECK(outcome.verdict["limit"]["field"] == "limits.memory");
    CHECK(outcome.verdict["limit"]["limit"] == kLimit);
    CHECK(outcome.verdict["limit"]["peak"].get<int64_t>() > kLimit / 2);
    CHECK(outcome.verdict["limit"]["peak"].get<int64_t>() <= kLimit);
    CHECK(outcome.verdict["usage"]["memory_peak_bytes"] == outcome.verdict["limit"]["peak"]);
    CHECK(outcome.verdict["oom"]["kills"].get<int>() >= 1);
    CHECK(outcome.verdict["oom"]["main_process"] == true);
    CHECK(outcome.verdict["oom"]["scope"] == "job");
  }
}

TEST_CASE("with on_oom \"kill_process\" the job goes on, and its verdict counts the kills") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  NEEDS_LIMIT(client, "memory");
  const Json limits = {{"memory", "48M"}, {"on_oom", "kill_process"}};
  Outcome outcome = client.run(shell("sh -c 'x=$(tr \"\\0\" x </dev/zero)'; exit 6", limits));
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  CHECK(outcome.verdict["cause"] == "payload");
  CHECK(outcome.verdict["exit_code"] == 6);
  CHECK(outcome.verdict["limit"] == nullptr);
  CHECK(outcome.verdict["oom"]["kills"].get<int>() >= 1);
  CHECK(outcome.verdict["oom"]["main_process"] == false);
  outcome = client.run(shell("x=$(tr '\\0' x </dev/zero); exit 6", limits));
  INFO(outcome.told());
  // The shell or its child, whichever the kernel takes for the larger one.
  CHECK((outcome.verdict["cause"] == "memory" || outcome.verdict["exit_code"] == 6));
}

TEST_CASE("the smallest limits leave room for a static program: set-up is not counted") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    NEEDS_LIMIT(client, "memory");
    NEEDS_LIMIT(client, "pids");
    for (Json request : {world.probe_request({"exit", "7"}), world.boxed_request({"exit", "7"})}) {
      request["limits"] = {{"memory", "4M"}, {"swap", 0}, {"pids", 1}, {"cpus", 0.5}};
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      REQUIRE(outcome.error.empty());
      CHECK(outcome.verdict["exit_code"] == 7);
      CHECK(outcome.verdict["cause"] == "payload");
      CHECK(outcome.verdict["limit"] == nullptr);
      CHECK(outcome.verdict["oom"] == nullptr);
    }
  }
}

TEST_CASE("a payload that its memory limit kills before its exec is told so") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  NEEDS_LIMIT(client, "memory");
  Json request = world.probe_request({"exit", "7"});
  request["limits"] = {{"memory", "4K"}, {"swap", 0}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  CHECK(outcome.verdict["cause"] == "memory");
  CHECK(outcome.verdict["fault"] == "payload");
  CHECK(outcome.verdict["ok"] == false);
}

TEST_CASE("RES-01: pids counts processes and threads, and the verdict names it where it failed") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  NEEDS_LIMIT(client, "pids");
  const char* const kTen = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done || exit 1; exit ";
  Outcome outcome = client.run(in_a_box(shell(std::string(kTen) + "3", {{"pids", 10}})));
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  CHECK(outcome.verdict["exit_code"] == 3);
  CHECK(outcome.verdict["limit"] == nullptr);
  outcome = client.run(in_a_box(shell(std::string(kTen) + "0", {{"pids", 9}})));
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  CHECK(outcome.verdict["ok"] == false);
  CHECK(outcome.verdict["cause"] == "payload");
  CHECK(outcome.verdict["limit"]["field"] == "limits.pids");
  CHECK(outcome.verdict["limit"]["limit"] == 9);
}

TEST_CASE("RES-01: a fork bomb is held by pids and ended by wall_time, all of it") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  NEEDS_LIMIT(client, "pids");
  Json request = in_a_box(shell("bomb() { trap '' TERM; bomb | bomb & wait; }; bomb; sleep 100",
                                {{"pids", 200}, {"wall_time", "1s"}}));
  request["lifetime"] = {{"stop_timeout", "100ms"}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  CHECK((outcome.verdict["cause"] == "wall_time" ||
         outcome.verdict["limit"]["field"] == "limits.pids"));
  CHECK(client.run(world.probe_request({"exit", "0"})).verdict["ok"] == true);
}

TEST_CASE("cpus holds processor time down, and what was withheld is counted") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  NEEDS_LIMIT(client, "cpus");
  for (const double cpus : {0.005, 0.2}) {
    CAPTURE(cpus);
    Outcome outcome = client.run(
        shell("while :; do :; done & while :; do :; done", {{"cpus", cpus}, {"wall_time", "2s"}}));
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    const auto wall = outcome.verdict["wall_us"].get<int64_t>();
    CHECK(outcome.verdict["usage"]["cpu_throttled_us"].get<int64_t>() > 0);
    // A period more, and what runs on until the tick that notices.
    CHECK(outcome.verdict["usage"]["cpu_us"].get<double>() <
          static_cast<double>(wall) * cpus + 150 * kMilli);
  }
}

TEST_CASE("what a payload makes in its cgroups goes with them") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  NEEDS_LIMIT(client, "memory");
  sleep(1);
  const int ahead = cgroups_of_jobs();
  // Root, whose cgroups they are, in each tree that it finds itself in.
  Outcome outcome = client.run(
      shell("for at in $(find /sys/fs/cgroup -path '*/cloister-*/job-*' -name cgroup.procs); do "
            "grep -qx $$ $at && mkdir -p ${at%/*}/a/.b/c; done; exit 0",
            {{"memory", "64M"}, {"pids", 9}}));
  INFO(outcome.told());
  CHECK(outcome.verdict["exit_code"] == 0);
  CHECK(eventually([&] { return cgroups_of_jobs() <= ahead; }));
}

TEST_CASE("a crash just before the end of wall_time is the payload's, whatever outlives it") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  // The child keeps the job from its end until the limit is reached.
  Json request = shell("trap '' TERM; (while :; do :; done) & sleep 0.2; kill -SEGV $$",
                       {{"wall_time", "10s"}});
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.verdict["cause"] == "payload");
  CHECK(outcome.verdict["limit"] == nullptr);
}

TEST_CASE("a Stop with more time does not take a limit on time away") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Json request = shell("trap '' TERM; while :; do sleep 0.05; done", {{"wall_time", "500ms"}});
  request["lifetime"] = {{"stop_timeout", "300ms"}};
  Reply started = client.call("Start", {{"request", request}});
  REQUIRE(started.error.empty());
  const Json id = started.parameters["id"];
  usleep(200'000);  // until it has its trap
  REQUIRE(client.call("Stop", {{"id", id}, {"timeout", "1h"}}).error.empty());
  Json verdict = wait(client, id)["verdict"];
  INFO(verdict.dump());
  CHECK(verdict["term_signal"] == "SIGKILL");
  CHECK(verdict["wall_us"].get<int64_t>() < kLong);
  discard(client, id);
}

TEST_CASE("memory that is short above a job is not told as its own limit") {
  NEEDS_ROOT();
#ifdef __SANITIZE_ADDRESS__
  SKIP("AddressSanitizer takes more memory than the service may have here");
#endif
  World& world = World::get();
  // A v1 cgroup for a service, which has a limit itself.
  std::string above;
  std::ifstream own("/proc/self/cgroup");
  for (std::string line; std::getline(own, line);)
    if (const size_t at = line.find(":memory:"); at != std::string::npos)
      above = "/sys/fs/cgroup/memory" + line.substr(at + 8) + "/cloister-test-" +
              std::to_string(getpid());
  if (above.empty() || mkdir(above.c_str(), 0755) < 0) SKIP("no memory hierarchy of v1 here");
  const std::unique_ptr<std::string, void (*)(std::string*)> removal(
      &above, [](std::string* cgroup) { eventually([&] { return rmdir(cgroup->c_str()) == 0; }); });
  std::ofstream(above + "/memory.limit_in_bytes") << (int64_t{120} << 20);
  {
    Service service(world.root(), world.directory_of(world.root()), {},
                    [&] { std::ofstream(above + "/tasks") << 0; });
    Client sleeper = service.connect(world.root()), glutton = service.connect(world.root());
    // Page cache brings the sleeper to its limit; then another job takes all there is.
    const std::string file = world.directory_of(world.root()) + "/file";
    std::ofstream(file) << std::string(64 << 20, 'x');
    Json asleep = shell("cat " + file + " >/dev/null; exec sleep 3", {{"memory", "40M"}});
    Reply started = sleeper.call("Start", {{"request", asleep}});
    REQUIRE(started.error.empty());
    sleep(1);
    Outcome taken = glutton.run(shell("x=$(tr '\\0' x </dev/zero)"));
    INFO(taken.told());
    CHECK(taken.verdict["term_signal"] == "SIGKILL");
    CHECK(taken.verdict["cause"] != "memory");
    Json verdict = wait(sleeper, started.parameters["id"])["verdict"];
    INFO(verdict.dump());
    CHECK(verdict["cause"] == "payload");
    CHECK(verdict["ok"] == true);
  }
}

TEST_CASE("limits leave no cgroup behind") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  NEEDS_LIMIT(client, "memory");
  Json request = world.probe_request({"exit", "0"});
  CHECK(client.run(request).verdict["ok"] == true);
  // Those of the inits that are made ahead.
  sleep(1);
  const int ahead = cgroups_of_jobs();
  request["limits"] = {{"memory", "64M"}, {"pids", 9}, {"cpus", 1}, {"wall_time", "9s"}};
  for (int i = 0; i < 20; ++i) CHECK(client.run(request).verdict["ok"] == true);
  CHECK(eventually([&] { return cgroups_of_jobs() <= ahead; }));
}

}  // namespace
}  // namespace cloister::system_test
