// Sessions, process groups, terminals, signal state.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

TEST_CASE("setpgroup 0 gives a group of its own, and that is also the default") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request :
         {world.probe_request(), with(world.probe_request(), {{"setpgroup", 0}})}) {
      Json report = report_of(client, request);
      CHECK(report["pgid"] == report["pid"]);
      // The session is init's: no session of the service's.
      CHECK(report["sid"] == report["ppid"]);
    }
  }
}

TEST_CASE("setpgroup of a group in another session fails with EPERM and says so") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Outcome outcome = client.run(with(world.probe_request(), {{"setpgroup", getpgrp()}}));
  INFO(outcome.told());
  CHECK(outcome.verdict["failure"]["step"] == "setpgid");
  CHECK(outcome.verdict["failure"]["field"] == "setpgroup");
  const std::string errno_name = outcome.verdict["failure"]["errno_name"];
  CHECK((errno_name == "EPERM" || errno_name == "ESRCH"));
  CHECK(outcome.verdict["failure"]["hint"].get<std::string>().find("session") != std::string::npos);
}

TEST_CASE("setsid makes the payload the leader of a new session") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json report = report_of(client, with(world.probe_request(), {{"setsid", true}}));
    CHECK(report["sid"] == report["pid"]);
    CHECK(report["pgid"] == report["pid"]);
    CHECK(report["controlling_terminal"] == nullptr);
  }
}

TEST_CASE("a pty is made inside the sandbox, has the size asked for, and its master comes back") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Fd report_file = memory_file();
    Json request = world.boxed_request({"report", "3"});
    request["stdin"] = "pty";
    request["stdout"] = "pty";
    request["stderr"] = "pty";
    request["terminal"] = {{"rows", 31}, {"columns", 97}};
    request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 3}}}}};
    Outcome outcome = client.run(request, {report_file.get()});
    INFO(outcome.told());
    REQUIRE(outcome.verdict["ok"] == true);
    outcome.out = content_of(report_file.get());
    Json report = outcome.report();
    Json terminal = report["controlling_terminal"];
    REQUIRE(terminal.is_object());
    CHECK(terminal["rows"] == 31);
    CHECK(terminal["columns"] == 97);
    CHECK(terminal["foreground"] == report["pgid"]);
    for (int fd : {0, 1, 2}) {
      CHECK(descriptor(report, fd)["ttyname"].get<std::string>().starts_with("/dev/pts/"));
    }
    CHECK(descriptor_numbers(report) == std::vector<int>{0, 1, 2, 3});
    REQUIRE(outcome.fds.size() == 1);
    winsize size{};
    CHECK(ioctl(outcome.fds[0].get(), TIOCGWINSZ, &size) == 0);
    CHECK(size.ws_row == 31);
  }
}

TEST_CASE("what is written to the master reaches the payload, and a change of size its SIGWINCH") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.boxed_request({"window", "1"});
  for (const char* stream : {"stdin", "stdout", "stderr"}) request[stream] = "pty";
  request["terminal"] = {{"rows", 10}, {"columns", 20}};
  client.post("Run", {{"request", request}}, {}, {{"more", true}});
  Fd master;
  for (;;) {
    auto reply = client.receive();
    REQUIRE(reply);
    REQUIRE(reply->error == "");
    if (reply->parameters["event"] != "started") continue;
    REQUIRE(reply->parameters["pty_passed_fd"] == 0);
    REQUIRE(reply->fds.size() == 1);
    master = std::move(reply->fds[0]);
    break;
  }
  CHECK(read_from(master.get(), 7) == "10 20\r\n");
  const winsize size{33, 44, 0, 0};
  REQUIRE(ioctl(master.get(), TIOCSWINSZ, &size) == 0);
  CHECK(read_from(master.get(), 7) == "33 44\r\n");
  auto ended = client.receive();
  REQUIRE(ended);
  CHECK(ended->parameters["verdict"]["ok"] == true);
}

TEST_CASE("a passed terminal becomes the controlling one of a new session") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Fd master(check(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "posix_openpt"));
    check(grantpt(master.get()), "grantpt");
    check(unlockpt(master.get()), "unlockpt");
    const char* name = ptsname(master.get());
    check(chown(name, world.who(way).uid, world.who(way).gid), "chown");
    const Fd slave(check(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC), "open"));
    Json request = world.probe_request();
    request["setsid"] = true;
    request["stdin"] = {{"passed_fd", 0}};
    request["terminal"] = {{"controlling_fd", 0}};
    Json report = report_of(client, request, {slave.get()});
    REQUIRE(report["controlling_terminal"].is_object());
    CHECK(report["sid"] == report["pid"]);

    request["file_actions"] = {{{"tcsetpgrp", {{"fd", 0}}}}};
    const Fd again(check(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC), "open"));
    Json foreground = report_of(client, request, {again.get()});
    CHECK(foreground["controlling_terminal"]["foreground"] == foreground["pgid"]);
  }
}

TEST_CASE("tcsetpgrp on what is no controlling terminal fails and names the action") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Outcome outcome =
      client.run(with(world.probe_request(), {{"file_actions", {{{"tcsetpgrp", {{"fd", 0}}}}}}}));
  CHECK(outcome.verdict["failure"]["step"] == "file_action");
  CHECK(outcome.verdict["failure"]["errno_name"] == "ENOTTY");
  CHECK(outcome.verdict["failure"]["index"] == 0);
}

// As numbers, in order.
Json ignored_here() {
  Json ignored = Json::array();
  for (int signal = 1; signal <= 64; ++signal) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN)
      ignored.push_back(signal);
  }
  return ignored;
}

TEST_CASE("no signal is ignored, blocked, caught or pending in a payload that asked for nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const bool boxed : {false, true}) {
      Json report = report_of(client, boxed ? world.boxed_request() : world.probe_request());
      for (const char* set : {"blocked", "ignored", "caught", "pending"}) {
        CAPTURE(std::string(set));
        // The profile none leaves what its caller ignores.
        const bool kept = !boxed && set == std::string("ignored");
        CHECK(report["signals"][set] == (kept ? ignored_here() : Json::array()));
      }
    }
  }
}

TEST_CASE("setsigmask blocks exactly these, by name or number; the empty set blocks none") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.probe_request();
    request["setsigmask"] = {"SIGUSR1", 2, "SIGRTMIN+3", 64};
    request["setsigdef"] = {"SIGPIPE", "SIGCHLD"};
    Json report = report_of(client, request);
    CHECK(report["signals"]["blocked"] == Json{2, SIGUSR1, SIGRTMIN + 3, 64});
    Json ignored = ignored_here();
    std::erase_if(ignored.get_ref<Json::array_t&>(),
                  [](const Json& signal) { return signal == SIGPIPE || signal == SIGCHLD; });
    CHECK(report["signals"]["ignored"] == ignored);
    request["setsigmask"] = Json::array();
    CHECK(report_of(client, request)["signals"]["blocked"] == Json::array());
  }
}

TEST_CASE("a signal out of range is refused by its field") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (const Json& signal :
       {Json(0), Json(65), Json(-1), Json("SIGNOTHING"), Json("9 "), Json(9.0)}) {
    for (const char* field : {"setsigmask", "setsigdef"}) {
      Outcome outcome = client.run(with(world.probe_request(), {{field, Json::array({signal})}}));
      CAPTURE(signal.dump());
      CHECK(outcome.error == "InvalidRequest");
      CHECK(outcome.parameters["field"].get<std::string>().starts_with(field));
    }
  }
}

}  // namespace
}  // namespace cloister::system_test
