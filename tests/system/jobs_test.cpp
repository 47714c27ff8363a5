// The jobs of a client: List, Inspect, Remove, idempotency keys, and what happens
// when the client goes.
#include <signal.h>
#include <unistd.h>

#include "jobs.hpp"

namespace cloister::system_test {
namespace {

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

// Page by page: all at once is more than the monitor has waiting for any front.
TEST_CASE("List shows each of more jobs than fit into one answer of the monitor's") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  discard_all(client);
  constexpr size_t kJobs = 280;
  Json ids = Json::array(), listed = Json::array();
  for (size_t i = 0; i < kJobs; ++i)
    ids.push_back(start(client, world.probe_request({"noop"}))["id"]);
  const Reply reply = client.call("List");
  REQUIRE(reply.error == "");
  for (const Json& job : reply.parameters["jobs"]) listed.push_back(job["id"]);
  CHECK(listed == ids);
  for (const Json& id : ids) {
    wait(client, id);
    CHECK(client.call("Remove", {{"id", id}}).error == "");
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
  CHECK(refused.error == "Busy");
  CHECK(refused.parameters["rule"] == "running");
  CHECK(wait(client, id, {"WEXITED", "WNOHANG"})["event"] == nullptr);
  discard(client, id);
}

TEST_CASE("a removed job is nobody's, however soon one asks") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (int i = 0; i < 100; ++i) {
    Json request = world.boxed_request({"noop"});
    request["idempotency_key"] = "once";
    Json id = start(client, request)["id"];
    wait(client, id);
    REQUIRE(client.call("Remove", {{"id", id}}).error == "");
    CHECK(client.call("Inspect", {{"id", id}}).error == "NoSuchJob");
    CHECK(client.call("Remove", {{"id", id}}).error == "NoSuchJob");
    CHECK(client.call("Wait", {{"id", id}}).error == "NoSuchJob");
    CHECK(client.call("List").parameters["jobs"].empty());
    Json next = start(client, request)["id"];
    CHECK(next != id);
    wait(client, next);
    REQUIRE(client.call("Remove", {{"id", next}}).error == "");
  }
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
    CHECK(run.parameters["reason"].get<std::string>().find("key-reused") != std::string::npos);
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
