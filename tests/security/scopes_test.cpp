// S13: from a box no abstract socket and no process is reached that is not the job's,
// also where it shares the namespace or holds a descriptor of it.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boxes.hpp"
#include "listener.hpp"

namespace cloister::security_test {
namespace {

#define NEEDS_SCOPES() \
  NEEDS_ROOT(); \
  NEEDS_LANDLOCK(6)

std::string canary() { return "cloister-scope-" + std::to_string(getpid()); }

TEST_CASE("before: scopes") {
  NEEDS_ROOT();
  count_before();
}

TEST_CASE("S13: an abstract socket of the host is not reached in the host's network") {
  NEEDS_SCOPES();
  World& world = World::get();
  const Fd listener = listen_abstract(canary());
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : boxed_requests(client, {"connect", "@" + canary()})) {
      request["network"] = "host";
      request["unset"].push_back("sysctls.net.ipv4.ip_unprivileged_port_start");
      for (const Json& seccomp : {Json("default"), Json("none")}) {
        request["seccomp"] = seccomp;
        check_error(act(client, request), "error", {"EPERM"});
      }
    }
    // One namespace is a box, whatever the profile.
    const Json uts = with(world.probe_request({"connect", "@" + canary()}),
                          {{"namespaces", {{"uts", "new"}}}, {"no_new_privs", true}});
    check_error(act(client, uts), "error", {"EPERM"});
    // It answers whoever is in no box.
    CHECK(act(client, world.probe_request({"connect", "@" + canary()}))["error"] == nullptr);
  }
}

TEST_CASE("S13: nor by a socket of the host's network that was passed into the box") {
  NEEDS_SCOPES();
  World& world = World::get();
  const Fd listener = listen_abstract(canary());
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const auto try_with = [&](Json request) {
      const Fd passed(check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
      request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 7}}}}};
      return act(client, request, {passed.get()});
    };
    for (const Json& request : boxed_requests(client, {"connect-passed", "7", canary()}))
      check_error(try_with(request), "connect", {"EPERM"});
    CHECK(try_with(world.probe_request({"connect-passed", "7", canary()}))["connect"] == nullptr);
  }
}

TEST_CASE("S13: a process of the same user is not signalled in the host's pid namespace") {
  NEEDS_SCOPES();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Standing target([&] { become(world.who(way)); });
    Json said = act(client, with(world.probe_request({"assault", std::to_string(target.pid())}),
                                 {{"namespaces", {{"uts", "new"}}}, {"no_new_privs", true}}));
    INFO(said.dump());
    for (const char* how : {"kill", "tgkill", "sigqueue", "pidfd_send_signal", "ptrace"}) {
      CAPTURE(std::string(how));
      CHECK(said[how] == "EPERM");
    }
    CHECK(alive(target.pid()));
  }
}

TEST_CASE("S13: within a job, and by the service, all is as before") {
  NEEDS_SCOPES();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* network : {"none", "host"}) {
      Json request = world.boxed_request();
      request["network"] = network;
      request["unset"] = {"sysctls.net.ipv4.ip_unprivileged_port_start"};
      request["executable"] = "/bin/sh";
      request["argv"] = {"sh", "-c",
                         "/run/test/probe serve @inside >/tmp/said & "
                         "until grep -q listen /tmp/said; do sleep 0.05; done; "
                         "/run/test/probe connect @inside && kill $! && wait $!; test $? = 143"};
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK(outcome.verdict["exit_code"] == 0);
      CHECK(Json::parse(outcome.out, nullptr, false)["error"] == nullptr);
    }
    const Held job(client, world.boxed_request({"hold"}));
    CHECK(client.call("Signal", {{"id", job.id()}, {"signal", "SIGTERM"}}).error == "");
    CHECK(client.call("Wait", {{"id", job.id()}}).error == "");
  }
}

TEST_CASE("S13: a job that joins another's namespaces reaches what is in them") {
  NEEDS_SCOPES();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Held job(client, world.boxed_request({"serve", "@cloister-joined"}));
  Json request = world.boxed_request();
  request["namespaces"] = {{"pid", {{"job", job.id()}}}, {"net", {{"job", job.id()}}}};
  request["unset"] = {"sysctls.net.ipv4.ip_unprivileged_port_start"};
  request["network"] = nullptr;
  request["executable"] = "/bin/sh";
  request["argv"] = {"sh", "-c", "/run/test/probe connect @cloister-joined; kill -TERM 2"};
  const Outcome outcome = client.run(request);
  INFO(outcome.told());
  INFO(outcome.out);
  CHECK(Json::parse(outcome.out, nullptr, false)["error"] == nullptr);
  CHECK(eventually([&] { return !job.runs(); }));
}

TEST_CASE("after: scopes have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
