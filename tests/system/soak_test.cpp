// Many short jobs, and nothing left of them.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "census.hpp"
#include "reading.hpp"

namespace cloister::system_test {
namespace {

census::Scope scope_of(const World& world) {
  census::Scope scope;
  scope.ancestor = getpid();  // a child subreaper: nothing drops out
  scope.users = {world.alice().uid, world.bob().uid};
  scope.paths = {world.directory()};
  return scope;
}

long resident_kib(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  }
  return 0;
}

// The number of jobs is 10,000 where it takes less than a minute, and with
// run.sh --soak everywhere.
constexpr int kAll = 10'000;
const int kBoxed = std::getenv("CLOISTER_SOAK") ? kAll : 1'000;

void remove_all(Way way) {
  Client client = World::get().connect(way);
  const auto running = [&] {
    Json jobs = client.call("List").parameters["jobs"];
    for (const auto& job : jobs) client.call("Remove", {{"id", job["id"]}});
    return jobs.empty();
  };
  CHECK(eventually(running));
}

void soak(Way way, int jobs, const Json& request) {
  World& world = World::get();
  CAPTURE(name_of(way));
  Client client = world.connect(way);
  // What is made once (spare fronts, spare cgroups) is there before the census.
  for (int i = 0; i < 20; ++i) REQUIRE(client.run(request).verdict["ok"] == true);
  eventually([] { return false; }, 500);
  const auto scope = scope_of(world);
  const auto before = census::take(scope);
  const pid_t monitor = way == Way::alone      ? 0
                        : way == Way::rootless ? world.rootless().pid()
                                               : world.system().pid();
  const long resident = resident_kib(monitor);
  int good = 0;
  for (int i = 0; i < jobs; ++i) {
    Reply reply = client.call("Run", {{"request", request}});
    Json verdict = reply.parameters["verdict"];
    if (reply.error.empty() && verdict["ok"] == true) ++good;
    // Kept, because what was captured was not read.
    if (!verdict["output"].empty()) client.call("Remove", {{"id", verdict["id"]}});
  }
  CHECK(good == jobs);
  CHECK(census::settle(before, scope) == "");
  CHECK(client.call("List").parameters["jobs"] == Json::array());
#ifndef __SANITIZE_ADDRESS__  // which keeps what was freed for a while
  // Some growth is the allocator's; a leak of a hundred bytes a job is not.
  if (monitor != 0) CHECK(resident_kib(monitor) - resident < 512 + jobs / 10);
#else
  static_cast<void>(resident);
#endif
}

TEST_CASE("10,000 short jobs without a box leave nothing behind") {
  NEEDS_ROOT();
  soak(Way::user, kAll, World::get().probe_request({"noop"}));
}

TEST_CASE("short jobs in a box leave nothing behind, from root's service") {
  NEEDS_ROOT();
  soak(Way::user, kBoxed, World::get().boxed_request({"noop"}));
}

TEST_CASE("short jobs in a box leave nothing behind, rootless") {
  NEEDS_ROOT();
  soak(Way::rootless, kBoxed, World::get().boxed_request({"noop"}));
}

TEST_CASE("short jobs in a box leave nothing behind, in private mode") {
  NEEDS_ROOT();
  soak(Way::alone, kBoxed / 2, World::get().boxed_request({"noop"}));
}

TEST_CASE("short jobs with all limits leave nothing behind") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Reply described = client.call("Describe");
  Json request = world.probe_request({"noop"});
  for (const auto& [limit, value] : std::map<std::string, Json>{{"memory", "64M"},
                                                                {"swap", 0},
                                                                {"pids", 9},
                                                                {"cpus", 1},
                                                                {"cpu_time", "9s"},
                                                                {"wall_time", "9s"}})
    if (described.parameters["features"]["host"]["limits." + limit]["state"] == "available")
      request["limits"][limit] = value;
  request["stdout"] = {{"capture", {{"max", "1K"}}}};
  request["stderr"] = {{"capture", {{"max", "1K"}, {"on_limit", "kill"}}}};
  soak(Way::user, kBoxed, request);
}

TEST_CASE("jobs that fail at every turn leave nothing behind") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Fd file = memory_file("x");
    const auto wrong = [&] {
      client.run({{"profile", "none"}, {"argv", {"/no/such/program"}}});
      client.run(with(world.boxed_request(), {{"cwd", "/no/such/place"}}));
      client.run(with(world.boxed_request(), {{"no_such_field", 1}}));
      client.run(with(world.boxed_request(), {{"identity", {{"ruid", 4242}}}}));
      client.run(with(world.boxed_request({"orphan"}), {{"stdin", {{"passed_fd", 0}}}}),
                 {file.get()});
      client.run(with(world.boxed_request(), {{"stdin", {{"passed_fd", 9}}}}), {file.get()});
      client.run(with(world.boxed_request({"signal", "SIGKILL"}), {{"nice", 3}}));
      client.run({{"profile", "none"},
                  {"argv", {"/no/such/program"}},
                  {"stdout", {{"capture", Json::object()}}}});
    };
    for (int i = 0; i < 5; ++i) wrong();
    eventually([] { return false; }, 500);
    const auto scope = scope_of(world);
    const auto before = census::take(scope);
    for (int i = 0; i < 50; ++i) wrong();
    CHECK(census::settle(before, scope) == "");
  }
}

TEST_CASE("clients that go at any moment leave nothing behind") {
  NEEDS_ROOT();
  World& world = World::get();
  const auto scope = scope_of(world);
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    const auto go = [&](int moment) {
      Client client = world.connect(way);
      const std::string call = Json{{"method", "io.cloister.Launcher.Run"},
                                    {"parameters", {{"request", world.boxed_request({"hold"})}}},
                                    {"more", true}}
                                   .dump() +
                               '\0';
      client.send_bytes(call.substr(0, moment == 0 ? call.size() / 2 : call.size()));
      for (int replies = 1; replies < moment; ++replies) client.receive();
      client.close();
    };
    for (int moment = 0; moment < 4; ++moment) go(moment);
    remove_all(way);
    eventually([] { return false; }, 500);
    const auto before = census::take(scope);
    for (int i = 0; i < 200; ++i) go(i % 4);
    // Verdicts of jobs whose client went stay until they are removed.
    remove_all(way);
    CHECK(census::settle(before, scope) == "");
  }
}

}  // namespace
}  // namespace cloister::system_test
