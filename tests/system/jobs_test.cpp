// What can be done with a job once it runs: Wait, Signal, Stop, List, Inspect,
// Remove, idempotency keys, and what happens when its client goes.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

// Stops and forgets, so that each case leaves an empty table.
void discard(Client& client, const Json& id) {
  CHECK(client.call("Stop", {{"id", id}, {"timeout", "0s"}}).error == "");
  CHECK(client.call("Remove", {{"id", id}}).error == "");
}

// So that a case counts its own jobs only, whatever an earlier one left.
void discard_all(Client& client) {
  const Reply listed = client.call("List");
  for (const auto& job : listed.parameters.at("jobs")) discard(client, job["id"]);
}

Json wait(Client& client, const Json& id, const Json& options = nullptr) {
  Reply reply = client.call("Wait", {{"id", id}, {"options", options}});
  INFO(reply.error << " " << reply.parameters.dump());
  REQUIRE(reply.error == "");
  return reply.parameters;
}

TEST_CASE("Start answers after exec with a pid and a pidfd of the payload") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Reply reply = client.call("Start", {{"request", world.boxed_request({"hold"})}});
    INFO(reply.parameters.dump());
    REQUIRE(reply.error == "");
    REQUIRE(reply.parameters["pidfd_passed_fd"] == 0);
    REQUIRE(reply.fds.size() == 1);
    const pid_t pid = reply.parameters["pid"];
    // Already the payload: its own program, not ours.
    CHECK(read_file("/proc/" + std::to_string(pid) + "/cmdline") ==
          std::string("probe\0hold\0", 11));
    CHECK(syscall(SYS_pidfd_send_signal, reply.fds[0].get(), SIGTERM, nullptr, 0) == 0);
    pollfd ended{reply.fds[0].get(), POLLIN, 0};
    CHECK(poll(&ended, 1, 10'000) == 1);
    CHECK(wait(client, reply.parameters["id"])["verdict"]["term_signal"] == "SIGTERM");
    CHECK(client.call("Remove", {{"id", reply.parameters["id"]}}).error == "");
  }
}

TEST_CASE("Wait gives the verdict as often as asked, until Remove") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json id = start(client, world.probe_request({"exit", "9"}))["id"];
    Json first = wait(client, id);
    CHECK(first["event"] == "ended");
    CHECK(first["verdict"]["exit_code"] == 9);
    CHECK(wait(client, id)["verdict"] == first["verdict"]);
    CHECK(wait(client, id, {"WEXITED", "WNOWAIT"})["verdict"] == first["verdict"]);
    CHECK(client.call("Remove", {{"id", id}}).error == "");
    CHECK(client.call("Wait", {{"id", id}}).error == "NoSuchJob");
    CHECK(client.call("Remove", {{"id", id}}).error == "NoSuchJob");
  }
}

TEST_CASE("WNOHANG answers at once with nothing while the job runs") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json id = start(client, world.probe_request({"hold"}))["id"];
  const auto before = std::chrono::steady_clock::now();
  Json nothing = wait(client, id, {"WEXITED", "WNOHANG"});
  CHECK(nothing["event"] == nullptr);
  CHECK(nothing["verdict"] == nullptr);
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(5));
  discard(client, id);
}

TEST_CASE("WSTOPPED and WCONTINUED report stop and continue") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way), waiter = world.connect(way);
    Json id = start(client, world.probe_request({"hold"}))["id"];
    REQUIRE(client.call("Signal", {{"id", id}, {"signal", "SIGSTOP"}}).error == "");
    Json change = wait(client, id, {"WEXITED", "WSTOPPED"});
    CHECK(change["event"] == "stopped");
    CHECK(change["signal"] == "SIGSTOP");
    CHECK(client.call("Inspect", {{"id", id}}).parameters["job"]["state"] == "stopped");

    waiter.post("Wait", {{"id", id}, {"options", {"WEXITED", "WCONTINUED"}}});
    // Answered in order: when this is, the wait has long been heard.
    eventually([] { return false; }, 100);
    REQUIRE(client.call("Signal", {{"id", id}, {"signal", 18}}).error == "");
    auto continued = waiter.receive();
    REQUIRE(continued);
    CHECK(continued->parameters["event"] == "continued");
    CHECK(client.call("Inspect", {{"id", id}}).parameters["job"]["state"] == "running");
    discard(client, id);
  }
}

TEST_CASE("a continue that nobody has waited for is reported to the next WCONTINUED") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json id = start(client, world.probe_request({"hold"}))["id"];
  REQUIRE(client.call("Signal", {{"id", id}, {"signal", "SIGSTOP"}}).error == "");
  CHECK(wait(client, id, {"WEXITED", "WSTOPPED"})["event"] == "stopped");
  REQUIRE(client.call("Signal", {{"id", id}, {"signal", "SIGCONT"}}).error == "");
  eventually([] { return false; }, 200);
  CHECK(wait(client, id, {"WCONTINUED", "WNOHANG"})["event"] == "continued");
  CHECK(wait(client, id, {"WCONTINUED", "WNOHANG"})["event"] == nullptr);
  discard(client, id);
}

TEST_CASE("Wait finds a job by its tag, its process group, or any of them") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.probe_request({"sleep", "300"});
  request["tags"] = {{"pipeline", "123"}};
  Json job = start(client, request);
  Reply reply = client.call("Wait", {{"tag", {{"key", "pipeline"}, {"value", "123"}}}});
  CHECK(reply.parameters["id"] == job["id"]);
  CHECK(reply.parameters["verdict"]["tags"] == Json{{"pipeline", "123"}});
  CHECK(client.call("Remove", {{"id", job["id"]}}).error == "");

  job = start(client, world.probe_request({"sleep", "300"}));
  reply = client.call("Wait", {{"pgid", job["pid"]}});
  CHECK(reply.parameters["id"] == job["id"]);
  CHECK(client.call("Remove", {{"id", job["id"]}}).error == "");

  job = start(client, world.probe_request({"sleep", "300"}));
  reply = client.call("Wait", {{"all", true}});
  CHECK(reply.parameters["id"] == job["id"]);
  CHECK(client.call("Remove", {{"id", job["id"]}}).error == "");
}

TEST_CASE("Wait wants exactly one target, and options that waitid knows") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (const Json& parameters :
       {Json::object(), Json{{"id", "x"}, {"all", true}},
        Json{{"id", "j-00000000000000000000000000000000"}, {"options", {"WNOTHING"}}},
        Json{{"id", 7}}, Json{{"pgid", -5}}, Json{{"surprise", 1}, {"all", true}}}) {
    Reply reply = client.call("Wait", parameters);
    CAPTURE(parameters.dump());
    CHECK(reply.error == "org.varlink.service.InvalidParameter");
  }
}

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
    const std::string error =
        client.call("Signal", {{"id", job["id"]}, {"signal", "SIGCONT"}}).error;
    taken += error.empty();
    busy += error == "Busy";
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

TEST_CASE("List shows one's own jobs, by tag and by state") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    discard_all(client);
    CHECK(client.call("List").parameters["jobs"] == Json::array());
    Json tagged = world.probe_request({"hold"});
    tagged["tags"] = {{"kind", "a"}};
    tagged["name"] = "listed";
    Json running = start(client, tagged);
    Json ended = start(client, world.probe_request({"exit", "0"}));
    wait(client, ended["id"]);

    CHECK(client.call("List").parameters["jobs"].size() == 2);
    Json by_tag =
        client.call("List", {{"tag", {{"key", "kind"}, {"value", "a"}}}}).parameters["jobs"];
    REQUIRE(by_tag.size() == 1);
    CHECK(by_tag[0]["id"] == running["id"]);
    CHECK(by_tag[0]["name"] == "listed");
    CHECK(by_tag[0]["state"] == "running");
    CHECK(by_tag[0]["owner"] == world.who(way).uid);
    CHECK(by_tag[0]["argv"] == Json{"probe", "hold"});
    CHECK(by_tag[0]["pid"] == running["pid"]);
    Json by_state = client.call("List", {{"state", "ended"}}).parameters["jobs"];
    REQUIRE(by_state.size() == 1);
    CHECK(by_state[0]["id"] == ended["id"]);
    CHECK(client.call("List", {{"state", "surprised"}}).error ==
          "org.varlink.service.InvalidParameter");
    discard(client, running["id"]);
    discard(client, ended["id"]);
  }
}

TEST_CASE("Inspect gives the owner the request back, without the values of env") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.probe_request({"hold"});
    request["env"] = {{"TOKEN", "s3cret-value"}};
    request["tags"] = {{"k", "v"}};
    Json id = start(client, request)["id"];
    Reply reply = client.call("Inspect", {{"id", id}});
    INFO(reply.parameters.dump());
    CHECK(reply.error == "");
    CHECK(reply.parameters["job"]["id"] == id);
    CHECK(reply.parameters["job"]["tags"] == Json{{"k", "v"}});
    CHECK(reply.parameters["request"]["argv"] == request["argv"]);
    CHECK(reply.parameters.dump().find("TOKEN") != std::string::npos);
    CHECK(reply.parameters.dump().find("s3cret") == std::string::npos);
    CHECK(reply.parameters["verdict"] == nullptr);
    discard(client, id);
  }
}

TEST_CASE("to anybody else a job does not exist, guessed or leaked") {
  NEEDS_ROOT();
  World& world = World::get();
  Client alice = world.connect(Way::user);
  Client bob = world.system().connect(world.bob());
  Json id = start(alice, world.probe_request({"hold"}))["id"];
  const std::string none = "j-00000000000000000000000000000000";
  for (const char* method : {"Wait", "Signal", "Stop", "Inspect", "Remove"}) {
    CAPTURE(std::string(method));
    const auto ask = [&](const Json& whose) {
      Json parameters = {{"id", whose}};
      if (std::string(method) == "Signal") parameters["signal"] = "SIGKILL";
      return bob.call(method, parameters);
    };
    Reply theirs = ask(id), nobody = ask(none);
    CHECK(theirs.error == "NoSuchJob");
    CHECK(nobody.error == "NoSuchJob");
    CHECK(theirs.parameters["id"] == id);
    CHECK(nobody.parameters["id"] == none);
  }
  CHECK(bob.call("List").parameters["jobs"] == Json::array());
  CHECK(
      bob.call("Wait", {{"all", true}, {"options", {"WEXITED", "WNOHANG"}}}).parameters["event"] ==
      nullptr);
  CHECK(wait(alice, id, {"WEXITED", "WNOHANG"})["event"] == nullptr);
  discard(alice, id);
}

TEST_CASE("Remove forgets an ended job and refuses a running one") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json id = start(client, world.probe_request({"hold"}))["id"];
  Reply refused = client.call("Remove", {{"id", id}});
  INFO(refused.error);
  CHECK(refused.error != "");
  CHECK(wait(client, id, {"WEXITED", "WNOHANG"})["event"] == nullptr);
  discard(client, id);
}

TEST_CASE("the same key and request is the same job; another request under it is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    discard_all(client);
    Json request = world.probe_request({"sleep", "200"});
    request["idempotency_key"] = "once";
    Json first = start(client, request), again = start(client, request);
    CHECK(first["id"] == again["id"]);
    CHECK(first["pid"] == again["pid"]);
    Outcome run = client.run(with(request, {{"stdout", "null"}}));
    INFO(run.told());
    CHECK(run.error == "InvalidRequest");
    CHECK(run.parameters["field"] == "idempotency_key");
    wait(client, first["id"]);
    CHECK(start(client, request)["id"] == first["id"]);
    CHECK(client.call("List").parameters["jobs"].size() == 1);
    CHECK(client.call("Remove", {{"id", first["id"]}}).error == "");
    Json fresh = start(client, request);
    CHECK(fresh["id"] != first["id"]);
    wait(client, fresh["id"]);
    CHECK(client.call("Remove", {{"id", fresh["id"]}}).error == "");
  }
}

TEST_CASE("a key belongs to its user") {
  NEEDS_ROOT();
  World& world = World::get();
  Client alice = world.connect(Way::user);
  Client bob = world.system().connect(world.bob());
  Json request = world.probe_request({"noop"});
  request["idempotency_key"] = "shared";
  Json hers = start(alice, request), his = start(bob, request);
  CHECK(hers["id"] != his["id"]);
  discard(alice, hers["id"]);
  discard(bob, his["id"]);
}

TEST_CASE("when its client goes a job is killed, stopped or kept, as on_disconnect says") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client watcher = world.connect(way);
    for (const char* method : {"Run", "Start"}) {
      for (const char* what : {"", "kill", "stop", "keep"}) {
        CAPTURE(std::string(method));
        CAPTURE(std::string(what));
        Client client = world.connect(way);
        Json request = world.probe_request({"hold"});
        if (*what) request["lifetime"] = {{"on_disconnect", what}};
        client.post(method, {{"request", request}}, {}, {{"more", std::string(method) == "Run"}});
        Json job;
        for (auto reply = client.receive();; reply = client.receive()) {
          REQUIRE(reply);
          INFO(reply->error << reply->parameters.dump());
          REQUIRE(reply->error == "");
          job = reply->parameters;
          if (job["pid"].is_number()) break;
        }
        const pid_t pid = job["pid"];
        REQUIRE(alive(pid));
        client.close();
        const std::string chosen = *what ? what : std::string(method) == "Run" ? "kill" : "keep";
        if (chosen == "keep") {
          CHECK(!eventually([&] { return !alive(pid); }, 300));
          CHECK(alive(pid));
          discard(watcher, job["id"]);
        } else {
          CHECK(eventually([&] { return !alive(pid); }));
          Reply ended = watcher.call("Wait", {{"id", job["id"]}});
          INFO(ended.error << ended.parameters.dump());
          CHECK(ended.parameters["verdict"]["cause"] == "disconnected");
          CHECK(ended.parameters["verdict"]["term_signal"] ==
                (chosen == "stop" ? "SIGTERM" : "SIGKILL"));
          CHECK(watcher.call("Remove", {{"id", job["id"]}}).error == "");
        }
      }
    }
  }
}

TEST_CASE("kill -9 of a client ends its jobs") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Service& service = way == Way::rootless ? world.rootless() : world.system();
    auto [out, out_write] = pipe();
    const pid_t client = child([&, &out_write = out_write] {
      Client own = service.connect(world.who(way));
      own.post("Run", {{"request", world.probe_request({"hold"})}}, {}, {{"more", true}});
      while (const auto reply = own.receive()) {
        if (!reply->parameters["pid"].is_number()) continue;
        const std::string pid = std::to_string(reply->parameters["pid"].get<pid_t>()) + "\n";
        check(static_cast<int>(write(out_write.get(), pid.data(), pid.size())), "write");
      }
      return 1;
    });
    out_write.reset();
    std::string text;
    while (text.empty() || text.back() != '\n') {
      const std::string more = read_from(out.get(), 1);
      REQUIRE(!more.empty());
      text += more;
    }
    const pid_t payload = std::stoi(text);
    REQUIRE(alive(payload));
    kill(client, SIGKILL);
    wait_for(client);
    CHECK(eventually([&] { return !alive(payload); }));
  }
}

TEST_CASE("a private service ends with its client and takes all its jobs along") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Who& who : {world.root(), world.alice()}) {
    CAPTURE(who.uid);
    std::vector<pid_t> payloads;
    {
      Client client = world.connect_alone(who);
      for (const char* what : {"kill", "keep"}) {
        for (Json request :
             {world.probe_request({"ignore-term"}), world.boxed_request({"brood", "2"})}) {
          request["lifetime"] = {{"on_disconnect", what}};
          payloads.push_back(start(client, request)["pid"].get<pid_t>());
        }
      }
    }
    for (const pid_t payload : payloads) CHECK(eventually([&] { return !alive(payload); }));
  }
}

}  // namespace
}  // namespace cloister::system_test
