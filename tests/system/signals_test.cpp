// Signal and Stop.
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "jobs.hpp"

namespace cloister::system_test {
namespace {

TEST_CASE("Signal reaches the main process, its group, or all of the sandbox") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : {world.probe_request(), world.boxed_request()}) {
      request["executable"] = "/bin/sh";
      for (const char* scope : {"main", "group", "all"}) {
        CAPTURE(std::string(scope));
        auto [out, out_write] = pipe();
        request["stdout"] = {{"passed_fd", 0}};
        // A child in the same group, one in a session of its own; both tell of SIGUSR1.
        request["argv"] = {
            "sh", "-c",
            "trap 'echo main' USR1\n"
            "sh -c 'trap \"echo group; exit\" USR1; echo ready; while :; do sleep 0.05; done' &\n"
            "setsid sh -c 'trap \"echo far; exit\" USR1; echo ready; while :; do sleep 0.05; done' "
            "&\n"
            "while :; do sleep 0.05; done"};
        request["env"] = {{"PATH", "/usr/bin:/bin"}};
        Reply started = client.call("Start", {{"request", request}}, {out_write.get()});
        out_write.reset();
        INFO(started.parameters.dump());
        REQUIRE(started.error == "");
        REQUIRE(read_from(out.get(), 12) == "ready\nready\n");
        REQUIRE(
            client
                .call("Signal",
                      {{"id", started.parameters["id"]}, {"signal", "SIGUSR1"}, {"scope", scope}})
                .error == "");
        const std::string wanted = std::string(scope);
        const size_t bytes = wanted == "main" ? 5 : wanted == "group" ? 11 : 15;
        const std::string heard = read_from(out.get(), bytes, 5000);
        CHECK((heard.find("main") != heard.npos));
        CHECK((heard.find("group") != heard.npos) == (wanted != "main"));
        CHECK((heard.find("far") != heard.npos) == (wanted == "all"));
        discard(client, started.parameters["id"]);
      }
    }
  }
}

TEST_CASE("a default-action signal ends the payload as it would outside a sandbox") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json id = start(client, world.boxed_request({"hold"}))["id"];
    REQUIRE(client.call("Signal", {{"id", id}, {"signal", "SIGTERM"}}).error == "");
    CHECK(wait(client, id)["verdict"]["term_signal"] == "SIGTERM");
    CHECK(client.call("Remove", {{"id", id}}).error == "");
  }
}

TEST_CASE("signals out of range are refused") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json id = start(client, world.probe_request({"hold"}))["id"];
  for (const Json& signal : {Json(-1), Json(65), Json("SIGNOTHING"), Json(1.5), Json()}) {
    CAPTURE(signal.dump());
    CHECK(client.call("Signal", {{"id", id}, {"signal", signal}}).error ==
          "org.varlink.service.InvalidParameter");
  }
  discard(client, id);
}

TEST_CASE("Stop sends the stop signal, waits its grace, then kills") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json verdict = client.call("Stop", {{"id", start(client, world.probe_request({"hold"}))["id"]}})
                       .parameters["verdict"];
    CHECK(verdict["term_signal"] == "SIGTERM");
    CHECK(verdict["cause"] == "canceled");

    Json request = world.probe_request({"hold"});
    request["lifetime"] = {{"stop_signal", "SIGINT"}};
    verdict = client.call("Stop", {{"id", start(client, request)["id"]}}).parameters["verdict"];
    CHECK(verdict["term_signal"] == "SIGINT");

    for (Json stubborn : {world.probe_request(), world.boxed_request()}) {
      auto [out, out_write] = pipe();
      stubborn["argv"] = {"probe", "ignore-term"};
      stubborn["stdout"] = {{"passed_fd", 0}};
      Reply started = client.call("Start", {{"request", stubborn}}, {out_write.get()});
      REQUIRE(started.error == "");
      REQUIRE(read_from(out.get(), 6) == "ready\n");
      const auto before = std::chrono::steady_clock::now();
      verdict = client.call("Stop", {{"id", started.parameters["id"]}, {"timeout", "400ms"}})
                    .parameters["verdict"];
      const auto took = std::chrono::steady_clock::now() - before;
      CHECK(verdict["term_signal"] == "SIGKILL");
      CHECK(verdict["cause"] == "canceled");
      CHECK(took >= std::chrono::milliseconds(390));
      CHECK(took < std::chrono::seconds(5));
    }
    Json listed = client.call("List").parameters["jobs"];
    for (const auto& job : listed) {
      CHECK(client.call("Remove", {{"id", job["id"]}}).error == "");
    }
  }
}

TEST_CASE("signals that come faster than init takes them are refused, and the job lives") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json job = start(client, world.probe_request({"hold"}));
  const pid_t init = parent_of(job["pid"].get<pid_t>());
  kill(init, SIGSTOP);
  int taken = 0, busy = 0;
  for (int i = 0; i < 1000; ++i) {
    const Reply reply = client.call("Signal", {{"id", job["id"]}, {"signal", "SIGCONT"}});
    taken += reply.error.empty();
    busy += reply.error == "Busy" && reply.parameters["rule"] == "signals";
  }
  kill(init, SIGCONT);
  CHECK(taken > 0);
  CHECK(busy > 0);
  CHECK(taken + busy == 1000);
  CHECK(client.call("Inspect", {{"id", job["id"]}}).parameters["job"]["state"] == "running");
  Reply ended = client.call("Stop", {{"id", job["id"]}, {"timeout", "1s"}});
  CHECK(ended.parameters["verdict"]["cause"] == "canceled");
  discard(client, job["id"]);
}

TEST_CASE("Stop ends a stopped job too") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json id = start(client, world.probe_request({"stop"}))["id"];
  CHECK(wait(client, id, {"WEXITED", "WSTOPPED"})["event"] == "stopped");
  Reply reply = client.call("Stop", {{"id", id}, {"timeout", "300ms"}});
  CHECK(reply.error == "");
  CHECK(reply.parameters["verdict"]["ending"] == "signaled");
  CHECK(client.call("Remove", {{"id", id}}).error == "");
}

}  // namespace
}  // namespace cloister::system_test
