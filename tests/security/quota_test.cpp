// What one user may have under way, and a configuration that changes while the
// service runs.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "ruled.hpp"

namespace cloister::security_test {
namespace {

void check_busy(Reply reply, const std::string& rule, int limit, int running) {
  INFO(reply.parameters.dump());
  CHECK(reply.error == "Busy");
  CHECK(reply.parameters["rule"] == rule);
  CHECK(reply.parameters["limit"] == limit);
  CHECK(reply.parameters["running"] == running);
}

TEST_CASE("RES-09 a user has as many jobs as its quota, and no more; another is served") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(
      with(rules({{{"name", "few"}, {"users", {world.alice().uid}}, {"quota", {{"jobs", 2}}}}}),
           {{"quota", {{"jobs", 1}}}}));
  // A second connection has no second quota.
  Client first = ruled.connect(world.alice()), second = ruled.connect(world.alice()),
         bob = ruled.connect(world.bob());
  const Json hold = {{"request", world.probe_request({"hold"})}};
  const Reply one = first.call("Start", hold), two = second.call("Start", hold);
  REQUIRE(one.error == "");
  REQUIRE(two.error == "");
  check_busy(first.call("Start", hold), "few/quota.jobs", 2, 2);
  check_busy(second.call("Start", hold), "few/quota.jobs", 2, 2);
  CHECK(first.call("Describe").parameters["jobs_limit"] == 2);
  // A dry run is no job.
  CHECK(planned(first, world.probe_request()).error == "");
  const Reply other = bob.call("Start", hold);
  CHECK(other.error == "");
  check_busy(bob.call("Start", hold), "default/quota.jobs", 1, 1);
  first.call("Stop", {{"id", one.parameters["id"]}, {"timeout", "0s"}});
  CHECK(first.run(world.probe_request({"noop"})).verdict["ok"] == true);
  first.call("Stop", {{"id", two.parameters["id"]}, {"timeout", "0s"}});
  bob.call("Stop", {{"id", other.parameters["id"]}, {"timeout", "0s"}});
}

TEST_CASE("RES-08 a user has as many connections as its quota, and no more; another is served") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"quota", {{"connections", 3}}}});
  {
    // Those that say nothing count too.
    Client first = ruled.connect(world.alice()), silent = ruled.connect(world.alice());
    CHECK(first.call("Describe").parameters["connections_limit"] == 3);
    Client third = ruled.connect(world.alice());
    CHECK(third.call("Describe").error == "");
    Client fourth = ruled.connect(world.alice());
    std::optional<Reply> reply = ask(fourth, call_text("Describe", Json::object()));
    REQUIRE(reply);
    check_busy(std::move(*reply), "default/quota.connections", 3, 3);
    Client bob = ruled.connect(world.bob());
    CHECK(bob.call("Describe").error == "");
  }
  CHECK(eventually([&] {
    Client again = ruled.connect(world.alice());
    const std::optional<Reply> reply = ask(again, call_text("Describe", Json::object()));
    return reply && reply->error.empty();
  }));
}

TEST_CASE("spawns beyond the rate are refused, and told when to come again") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"quota", {{"spawns_per_s", 1}}}});
  const Json noop = {{"request", world.probe_request({"noop"})}};
  int wait = 0;
  {
    Client client = ruled.connect(world.alice());
    CHECK(client.call("Run", noop).error == "");
    Reply busy = client.call("Run", noop);
    wait = busy.parameters["retry_after_ms"].get<int>();
    check_busy(std::move(busy), "default/quota.spawns_per_s", 1, 1);
    CHECK(wait > 0);
    CHECK(wait <= 1000);
  }
  // Who comes back when nothing of theirs is left does not begin anew.
  REQUIRE(eventually([&] { return fronts_of(ruled.service(), world.alice().uid).empty(); }));
  Client again = ruled.connect(world.alice());
  CHECK(again.call("Run", noop).error == "Busy");
  std::this_thread::sleep_for(std::chrono::milliseconds(wait + 20));
  CHECK(again.call("Run", noop).error == "");
}

TEST_CASE("RES-05 descriptors on their way to jobs are bounded, and come free again") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"quota", {{"fds_in_flight", 4}}}});
  Client client = ruled.connect(world.alice());
  const Fd null = memory_file();
  const auto pass = [&](int count) {
    Json request = world.probe_request({"noop"});
    request["stdout"] = "null";
    for (int i = 0; i < count; ++i)
      request["file_actions"].push_back({{"receive", {{"passed_fd", i}, {"fd", 10 + i}}}});
    return client.call("Run", {{"request", request}}, std::vector<int>(count, null.get()));
  };
  for (int round = 0; round < 3; ++round) {
    CHECK(pass(4).error == "");
    check_busy(pass(5), "default/quota.fds_in_flight", 4, 0);
  }
}

TEST_CASE("PKG-06 a reload is all or nothing, and for what is decided from then on") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({{{"name", "old"}, {"allow", {{"nice", 5}}}}}));
  Client client = ruled.connect(world.alice());
  const auto name = [&] {
    return planned(client, with(world.probe_request(), {{"nice", 9}})).parameters["policy"];
  };
  CHECK(name() == "old");
  const Reply held =
      client.call("Start", {{"request", with(world.probe_request({"hold"}), {{"nice", 5}})}});
  REQUIRE(held.error == "");

  const std::string good = rules({{{"name", "new"}, {"allow", {{"nice", 6}}}}}).dump();
  const struct {
    std::string text, names;
    mode_t mode;
  } kFaults[] = {
      {"{", "syntax error", 0644},
      {R"({"rules": [{"name": "new", "allow": {"nise": 6}}]})", "rules[0].allow.nise:", 0644},
      {R"({"rules": [{"name": "new"}], "spare_fronts": 65})", "spare_fronts:", 0644},
      {R"({"rules": [{"name": "new"}], "cgroup": "none"})", "cgroup:", 0644},
      {R"({"rules": [{"name": "new"}], "pasta": "/usr/bin/other"})", "pasta: cannot change", 0644},
      {R"({"rules": [{"name": "new"}], "scratch": "/var/other"})", "scratch: cannot change", 0644},
      {R"({"rules": [{"name": "new"}], "scratch": "other"})", "scratch: must be an absolute", 0644},
      {good, "writable by others", 0666},
  };
  for (const auto& fault : kFaults) {
    CAPTURE(fault.text);
    ruled.write(fault.text, fault.mode);
    const std::string said = ruled.reload();
    CAPTURE(said);
    CHECK(said.find("not reloaded") != said.npos);
    CHECK(said.find(fault.names) != said.npos);
    CHECK(name() == "old");
  }
  check(chown(ruled.path().c_str(), world.bob().uid, world.bob().gid), "chown");
  check(chmod(ruled.path().c_str(), 0644), "chmod");
  CHECK(ruled.reload().find("is owned by uid") != std::string::npos);
  check(unlink(ruled.path().c_str()), "unlink");
  CHECK(ruled.reload().find("not reloaded") != std::string::npos);
  CHECK(name() == "old");

  ruled.write(good);
  CHECK(ruled.reload().find("not reloaded") == std::string::npos);
  CHECK(name() == "new");
  CHECK(planned(client, with(world.probe_request(), {{"nice", 5}})).error == "Denied");
  // What was there before is there still, with what it was given.
  const Reply inspected = client.call("Inspect", {{"id", held.parameters["id"]}});
  CHECK(inspected.parameters["job"]["state"] == "running");
  client.call("Stop", {{"id", held.parameters["id"]}, {"timeout", "0s"}});
  CHECK(ruled.service().stop() == 0);
}

}  // namespace
}  // namespace cloister::security_test
