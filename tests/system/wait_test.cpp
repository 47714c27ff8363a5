// Start, and Wait as waitid(2) has it.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include <chrono>

#include "jobs.hpp"

namespace cloister::system_test {
namespace {

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

}  // namespace
}  // namespace cloister::system_test
