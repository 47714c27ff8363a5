// S17: a caller that lives in other namespaces than the service gets none of the
// service's through a job.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.hpp"

namespace cloister::security_test {
namespace {

struct Kind {
  const char* name;
  int flag;
};
constexpr Kind kKinds[] = {{"net", CLONE_NEWNET},
                           {"ipc", CLONE_NEWIPC},
                           {"uts", CLONE_NEWUTS},
                           {"cgroup", CLONE_NEWCGROUP},
                           {"time", CLONE_NEWTIME}};

// Root puts itself into a new namespace of this kind, and goes on as `who`.
std::function<void()> inside(const Kind& kind, const Who& who) {
  return [&kind, who] {
    check(unshare(kind.flag), "unshare");
    if (kind.flag == CLONE_NEWTIME) {
      const Fd made(check(open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC), "open"));
      check(setns(made.get(), CLONE_NEWTIME), "setns");
    }
    if (who.uid != 0) become(who);
    // As after an exec; a user's service could not look at it otherwise.
    check(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE");
  };
}

// All that `profile` none shares, but this one.
Json apart_in(Json request, const char* name) {
  request["namespaces"] = {{name, "new"}};
  request["no_new_privs"] = true;
  return request;
}

void check_confined(const std::string& socket, const Who& who) {
  const World& world = World::get();
  for (const Kind& kind : kKinds) {
    CAPTURE(std::string(kind.name));
    if (access((std::string("/proc/self/ns/") + kind.name).c_str(), F_OK) != 0) continue;
    Client client = connect_as(world.root(), socket, inside(kind, who));
    Outcome shared = client.run(world.probe_request());
    INFO(shared.told());
    CHECK(shared.error == "Denied");
    CHECK(shared.parameters["field"] == std::string("namespaces.") + kind.name);
    CHECK(shared.parameters["rule"] == "confined-caller");
    Outcome apart = client.run(apart_in(world.probe_request(), kind.name));
    INFO(apart.told());
    CHECK(apart.error == "");
  }
}

TEST_CASE("S17: no job shares the service's net, ipc, uts, cgroup or time with a caller outside") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Who& who : {world.root(), world.alice()}) check_confined(world.system().socket(), who);
}

TEST_CASE("S17: nor with the caller of a user's own service") {
  NEEDS_ROOT();
  World& world = World::get();
  check_confined(world.rootless().socket(), world.alice());
}

TEST_CASE("S17: other user, mount and pid namespaces are refused at once") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const int flag : {CLONE_NEWUSER, CLONE_NEWNS}) {
    Client client =
        connect_as(world.root(), world.system().socket(), [&] { check(unshare(flag), "unshare"); });
    const auto reply = ask(client, run_text(world.probe_request({"noop"})));
    REQUIRE(reply.has_value());
    CHECK(reply->error == "Denied");
  }
}

TEST_CASE("S17: the service's network is not lent by pasta either") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client =
      connect_as(world.root(), world.system().socket(), inside(kKinds[0], world.alice()));
  Json request = {
      {"profile", "default"}, {"argv", {"true"}}, {"network", {{"outbound", Json::object()}}}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.error == "Denied");
  CHECK(outcome.parameters["field"] == "network.outbound");
  CHECK(outcome.parameters["rule"] == "confined-caller");
  // A network of its own, with nothing in it, is nobody's way out.
  request["network"] = "none";
  outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.error == "");
}

TEST_CASE("S17: where root lets confined callers in, the service's namespaces are shared") {
  NEEDS_ROOT();
  World& world = World::get();
  const Service open = world.configured({{"allow_confined_callers", true}});
  Client client = connect_as(world.root(), open.socket(), inside(kKinds[0], world.alice()));
  Outcome outcome = client.run(world.probe_request());
  INFO(outcome.told());
  CHECK(outcome.error == "");
}

}  // namespace
}  // namespace cloister::security_test
