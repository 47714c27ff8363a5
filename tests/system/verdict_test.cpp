// The truth table: every way in which a job can end reads as itself, and none
// but a payload's own exit 0 reads as success.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <regex>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

// Of the day, in us.
int64_t time_of_day(const Json& timestamp) {
  int hours = 0, minutes = 0, seconds = 0, us = 0;
  REQUIRE(std::sscanf(timestamp.get<std::string>().c_str(), "%*d-%*d-%*dT%d:%d:%d.%d", &hours,
                      &minutes, &seconds, &us) == 4);
  return (int64_t{hours} * 3600 + minutes * 60 + seconds) * 1'000'000 + us;
}

// What wait(2)'s own macros say of the raw status must be what the verdict says.
void check_status(Json verdict) {
  const int status = verdict["wait_status"];
  if (WIFEXITED(status)) {
    CHECK(verdict["ending"] == "exited");
    CHECK(verdict["exit_code"] == WEXITSTATUS(status));
    CHECK(verdict["term_signal"] == nullptr);
    CHECK(verdict["returncode"] == WEXITSTATUS(status));
    CHECK(verdict["si_code"] == "CLD_EXITED");
    CHECK(verdict["si_status"] == WEXITSTATUS(status));
    CHECK(verdict["core_dumped"] == false);
  } else {
    REQUIRE(WIFSIGNALED(status));
    CHECK(verdict["ending"] == "signaled");
    CHECK(verdict["exit_code"] == nullptr);
    CHECK(verdict["returncode"] == -WTERMSIG(status));
    CHECK(verdict["si_code"] == (WCOREDUMP(status) ? "CLD_DUMPED" : "CLD_KILLED"));
    CHECK(verdict["si_status"] == WTERMSIG(status));
    CHECK(verdict["core_dumped"] == static_cast<bool>(WCOREDUMP(status)));
  }
  CHECK(verdict["ok"] == (status == 0));
}

TEST_CASE("exit codes 0 to 255 are reported as they are") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (int code = 0; code < 256; ++code) {
    CAPTURE(code);
    Outcome outcome = client.run(world.probe_request({"exit", std::to_string(code)}));
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    REQUIRE(outcome.verdict["wait_status"] == code << 8);
    check_status(outcome.verdict);
    CHECK(outcome.verdict["cause"] == "payload");
    CHECK(outcome.verdict["fault"] == "payload");
    CHECK(outcome.verdict["failure"] == nullptr);
  }
}

TEST_CASE("every signal that ends a process is reported by its name, in each mode") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (int number = 1; number <= 64; ++number) {
      if (number == SIGCHLD || number == SIGURG || number == SIGWINCH || number == SIGCONT ||
          number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) {
        continue;  // by default they stop it or do nothing
      }
      CAPTURE(number);
      for (const Json& base : {world.probe_request(), world.boxed_request()}) {
        Json request = base;
        request["argv"] = {"probe", "signal", std::to_string(number)};
        Outcome outcome = client.run(request);
        INFO(outcome.told());
        REQUIRE(outcome.error.empty());
        REQUIRE(WTERMSIG(outcome.verdict["wait_status"].get<int>()) == number);
        check_status(outcome.verdict);
        // Who sent it is not known; a fault of the payload's own is known as such.
        const bool fault = number == SIGSEGV || number == SIGILL || number == SIGFPE ||
                           number == SIGBUS || number == SIGTRAP || number == SIGABRT;
        CHECK((outcome.verdict["cause"] == "payload" ||
               (!fault && outcome.verdict["cause"] == "external")));
        CHECK(outcome.verdict["killed_by"] == nullptr);
        if (number < 32) {
          // glibc's name of SIGIO is SIGPOLL, signal(7) has both.
          const std::string name = number == SIGIO ? "IO" : sigabbrev_np(number);
          CHECK(outcome.verdict["term_signal"] == "SIG" + name);
        }
      }
    }
  }
}

TEST_CASE("a core dump sets the core flag") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string pattern = read_file("/proc/sys/kernel/core_pattern");
  if (pattern[0] == '|' || pattern[0] == '/') SKIP("core_pattern is " + pattern);
  Client client = world.connect(Way::root);
  Json request = world.probe_request({"signal", "SIGSEGV"});
  request["cwd"] = world.directory_of(world.root());
  request["rlimits"] = {{"RLIMIT_CORE", {{"soft", "unlimited"}, {"hard", "unlimited"}}}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.verdict["core_dumped"] == true);
  check_status(outcome.verdict);
}

TEST_CASE("a launch that fails is not_started, names its step, and has no wait status") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.alice());
  write_file(directory + "/plain", "no program", 0644);
  write_file(directory + "/text", "no program", 0755);
  for (const Way way : {Way::root, Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const auto with_argv = [&](const Json& argv) {
      return client.run({{"profile", "none"}, {"argv", argv}});
    };
    const struct {
      std::string path, error;
    } rows[] = {{"/no/such/program", "ENOENT"},
                {directory + "/plain", "EACCES"},
                {directory + "/text", "ENOEXEC"},
                {directory + "/plain/below", "ENOTDIR"},
                {"/usr", "EACCES"}};
    for (const auto& row : rows) {
      CAPTURE(row.path);
      Outcome outcome = with_argv(Json::array({row.path}));
      INFO(outcome.told());
      REQUIRE(outcome.error.empty());
      Json& verdict = outcome.verdict;
      CHECK(verdict["ending"] == "not_started");
      CHECK(verdict["ok"] == false);
      for (const char* member : {"wait_status", "exit_code", "term_signal", "returncode", "si_code",
                                 "started_at", "rusage", "wall_us"}) {
        CAPTURE(std::string(member));
        CHECK(verdict[member] == nullptr);
      }
      CHECK(verdict["failure"]["errno_name"] == row.error);
      CHECK(verdict["failure"]["stage"] == "payload");
      CHECK(verdict["failure"]["step"] == "execve");
      CHECK(verdict["failure"]["message"].get<std::string>().find(row.path) != std::string::npos);
      CHECK(verdict["fault"] == "request");
    }
    // Start says the same by its error.
    Reply reply =
        client.call("Start", {{"request", {{"profile", "none"}, {"argv", {"/no/such/program"}}}}});
    CHECK(reply.error == "LaunchFailed");
    CHECK(reply.parameters["errno_name"] == "ENOENT");
    CHECK(reply.parameters["step"] == "execve");
    CHECK(client.call("List").parameters["jobs"] == Json::array());
  }
}

TEST_CASE("arguments larger than the kernel takes are E2BIG") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.probe_request({"noop"});
  // All of them may take a quarter of the stack limit, execve(2).
  request["rlimits"] = {{"RLIMIT_STACK", {{"soft", "1M"}, {"hard", "8M"}}}};
  for (int i = 0; i < 10; ++i) request["argv"].push_back(std::string(100'000, 'x'));
  Outcome outcome = client.run(request);
  CHECK(outcome.verdict["failure"]["errno_name"] == "E2BIG");
  CHECK(outcome.verdict["failure"]["step"] == "execve");
}

TEST_CASE("the longest argument works and one byte more is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.probe_request({"noop", std::string(131071, 'x')});
  CHECK(client.run(request).verdict["ok"] == true);
  request = world.probe_request({"noop", std::string(131072, 'x')});
  Outcome outcome = client.run(request);
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters["field"] == "argv[2]");
}

TEST_CASE("stop and continue are events, and the job still ends as itself") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    client.post("Run", {{"request", world.probe_request({"stop"})}}, {}, {{"more", true}});
    std::string id;
    std::vector<std::string> events;
    while (true) {
      auto reply = client.receive();
      REQUIRE(reply);
      INFO(reply->parameters.dump());
      REQUIRE(reply->error == "");
      const std::string event = reply->parameters["event"];
      events.push_back(event);
      id = reply->parameters["id"];
      if (event == "stopped") {
        CHECK(reply->parameters["signal"] == "SIGSTOP");
        client.post("Signal", {{"id", id}, {"signal", "SIGCONT"}}, {}, {{"oneway", true}});
      }
      if (event == "ended") {
        CHECK(reply->parameters["verdict"]["ok"] == true);
        break;
      }
    }
    CHECK(events ==
          std::vector<std::string>{"accepted", "started", "stopped", "continued", "ended"});
  }
}

TEST_CASE("a signal that we send is the cause, with its sender; one that we do not is external") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const auto started = [&] {
      Reply reply = client.call("Start", {{"request", world.probe_request({"hold"})}});
      REQUIRE(reply.error == "");
      return reply.parameters;
    };
    Json job = started();
    REQUIRE(client.call("Signal", {{"id", job["id"]}, {"signal", "SIGUSR1"}}).error == "");
    Json verdict = client.call("Wait", {{"id", job["id"]}}).parameters["verdict"];
    INFO(verdict.dump());
    CHECK(verdict["cause"] == "canceled");
    CHECK(verdict["term_signal"] == "SIGUSR1");
    CHECK(verdict["killed_by"]["signal"] == "SIGUSR1");
    CHECK(verdict["killed_by"]["uid"] == world.who(way).uid);

    job = started();
    REQUIRE(job["pid"].is_number());
    REQUIRE(kill(job["pid"].get<pid_t>(), SIGKILL) == 0);
    verdict = client.call("Wait", {{"id", job["id"]}}).parameters["verdict"];
    INFO(verdict.dump());
    CHECK(verdict["ending"] == "signaled");
    CHECK(verdict["cause"] == "external");
    CHECK(verdict["killed_by"] == nullptr);
  }
}

TEST_CASE("a payload that writes junk into every descriptor forges no report") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : {world.probe_request(), world.boxed_request()}) {
      request["argv"] = {"probe", "junk", "41"};
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK(outcome.verdict["exit_code"] == 41);
      check_status(outcome.verdict);
    }
  }
}

TEST_CASE("what the payload leaves behind is dead before the verdict, and counted") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : {world.probe_request(), world.boxed_request()}) {
      for (const Json& argv : {Json{"probe", "orphan"}, Json{"probe", "brood", "3"}}) {
        request["argv"] = argv;
        Outcome outcome = client.run(request);
        INFO(outcome.told());
        CHECK(outcome.verdict["ok"] == true);
        CHECK(outcome.verdict["leftover_processes_killed"] == (argv[1] == "orphan" ? 1 : 3));
      }
      request["argv"] = {"probe", "noop"};
      CHECK(client.run(request).verdict["leftover_processes_killed"] == 0);
    }
  }
}

TEST_CASE("rusage is what the kernel counted for the payload") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Outcome outcome = client.run(world.probe_request({"burn", "120", "30000"}));
    INFO(outcome.told());
    Json& usage = outcome.verdict["rusage"];
    const int64_t cpu = usage["utime_us"].get<int64_t>() + usage["stime_us"].get<int64_t>();
    CHECK(cpu >= 110'000);
    CHECK(cpu < 2'000'000);
    CHECK(usage["maxrss_kib"].get<int64_t>() >= 30000);
    CHECK(usage["minflt"].get<int64_t>() > 1000);
    CHECK(usage.size() == 16);
    const auto wall = outcome.verdict["wall_us"].get<int64_t>();
    CHECK(wall >= 110'000);
    constexpr int64_t kDay = int64_t{86400} * 1'000'000;
    const int64_t passed = (time_of_day(outcome.verdict["ended_at"]) + kDay -
                            time_of_day(outcome.verdict["started_at"])) %
                           kDay;
    CHECK(std::abs(wall - passed) <= 1);  // each is rounded
  }
}

TEST_CASE("times are RFC 3339 with microseconds and in order; what was not measured is null") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json verdict = client.run(world.boxed_request({"noop"})).verdict;
    INFO(verdict.dump());
    const std::regex form(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)");
    for (const char* member : {"accepted_at", "started_at", "ended_at"}) {
      CHECK(std::regex_match(verdict[member].get<std::string>(), form));
    }
    CHECK(verdict["accepted_at"] <= verdict["started_at"]);
    CHECK(verdict["started_at"] <= verdict["ended_at"]);
    CHECK(verdict["limit"] == nullptr);
    CHECK(verdict["oom"] == nullptr);
    CHECK(verdict["seccomp"] == nullptr);
    CHECK(verdict["degraded"] == Json::array());
    CHECK(verdict["verdict_version"] == 1);
    const char* modes[] = {"system", "system", "user", "private"};
    CHECK(verdict["mode"] == modes[static_cast<int>(way)]);
    CHECK(verdict["profile"] == "default");
    CHECK(verdict["si_uid"] == world.who(way).uid);
  }
}

TEST_CASE("a file action that blocks for ever ends at setup_timeout") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const std::string fifo = world.directory_of(world.alice()) + "/fifo";
  check(mkfifo(fifo.c_str(), 0600), "mkfifo");
  check(chown(fifo.c_str(), world.alice().uid, world.alice().gid), "chown");
  Json request = world.probe_request();
  request["file_actions"] = {{{"open", {{"fd", 3}, {"path", fifo}, {"flags", {"O_RDONLY"}}}}}};
  request["lifetime"] = {{"setup_timeout", "300ms"}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.verdict["ending"] == "not_started");
  CHECK(outcome.verdict["failure"]["step"] == "setup_timeout");
  CHECK(outcome.verdict["failure"]["field"] == "lifetime.setup_timeout");
}

TEST_CASE("Run without more answers once, with the verdict") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Reply reply = client.call("Run", {{"request", world.probe_request({"exit", "3"})}});
  CHECK(reply.error == "");
  CHECK(reply.continues == false);
  CHECK(reply.parameters["event"] == "ended");
  CHECK(reply.parameters["verdict"]["exit_code"] == 3);
}

}  // namespace
}  // namespace cloister::system_test
