// Captured output: what a job writes is kept within its bounds, told as it comes, and has
// an end whoever else holds the pipe.
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>

#include "jobs.hpp"

namespace cloister::system_test {
namespace {

using std::chrono::steady_clock;

Json captured(const std::string& line, Json capture = Json::object()) {
  return {{"argv", {"sh", "-c", line}},
          {"profile", "none"},
          {"executable", "/bin/sh"},
          {"env", {{"PATH", "/usr/bin:/bin"}}},
          {"stdout", {{"capture", std::move(capture)}}}};
}

std::string start_captured(Client& client, const Json& request) {
  Reply reply = client.call("Start", {{"request", request}});
  INFO(reply.error << " " << reply.parameters.dump());
  REQUIRE(reply.error.empty());
  return reply.parameters["id"];
}

struct Told {
  std::string bytes;
  std::vector<std::pair<uint64_t, uint64_t>> gaps;  // from, to
  uint64_t end = 0;                                 // where the last reply stands
  bool ended = false;
};

// All replies of an Output about one stream.
Told output_of(Client& client, const std::string& id, Json parameters = Json::object()) {
  parameters["id"] = id;
  if (!parameters.contains("stream")) parameters["stream"] = "stdout";
  client.post("Output", parameters, {}, {{"more", true}});
  Told told;
  uint64_t next = parameters.value("offset", uint64_t{0});
  for (bool more = true; more;) {
    auto reply = client.receive();
    REQUIRE(reply);
    INFO(reply->error << " " << reply->parameters.dump());
    REQUIRE(reply->error.empty());
    more = reply->continues;
    CHECK(reply->parameters["stream"] == parameters["stream"]);
    const uint64_t offset = reply->parameters["offset"];
    const std::string data = from_base64(reply->parameters["data"]);
    CHECK(offset >= next);
    if (offset > next) told.gaps.emplace_back(next, offset);
    told.bytes += data;
    next = offset + data.size();
    told.ended = reply->parameters["end"];
  }
  told.end = next;
  return told;
}

// Lines of ten bytes that say where they stand.
constexpr const char* kReady = "ready\n";
constexpr const char* kNumbered =
    "i=0; while [ $i -lt 10000 ]; do printf '%09d\\n' $i; i=$((i+1)); done";
constexpr uint64_t kAll = 100'000;
std::string numbered(uint64_t from, uint64_t to) {
  std::string text;
  for (uint64_t line = 0; line < kAll / 10; ++line) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%09d\n", static_cast<int>(line));
    text += digits;
  }
  return text.substr(from, to - from);
}

// Of the system service's only job that captures.
pid_t the_relay() {
  const pid_t relay = process_of(World::get().system(), "cloister-relay");
  REQUIRE(relay > 0);
  return relay;
}

// A job that says so when it waits, and goes on with `line` when go_on() tells it to.
std::string start_waiting(Client& client, const std::string& line, Json capture = Json::object()) {
  const std::string id = start_captured(
      client, captured("trap : USR1; echo ready; sleep 100 & wait; kill $!; " + line, capture));
  REQUIRE(eventually([&] { return output_of(client, id).bytes == kReady; }));
  return id;
}
void go_on(Client& client, const std::string& id) {
  CHECK(client.call("Signal", {{"id", id}, {"signal", "SIGUSR1"}}).error == "");
}

TEST_CASE("what a job writes is told as it comes, in each mode, and counted in its verdict") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    Json asked = captured("echo one; echo two >&2; sleep 0.1; echo three");
    asked["stderr"] = {{"capture", Json::object()}};
    for (const Json& request : {asked, in_a_box(asked)}) {
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      REQUIRE(outcome.error.empty());
      CHECK(outcome.verdict["ok"] == true);
      CHECK(outcome.captured["stdout"] == "one\nthree\n");
      CHECK(outcome.captured["stderr"] == "two\n");
      CHECK(outcome.verdict["output"].dump() ==
            R"({"stderr":{"bytes":4,"kept":4,"truncated":false},)"
            R"("stdout":{"bytes":10,"kept":10,"truncated":false}})");
      CHECK(outcome.events.at(0)["event"] == "accepted");
      CHECK(outcome.events.at(1)["event"] == "started");
      CHECK(outcome.events.back()["event"] == "ended");
      CHECK(outcome.events.size() >= 6);  // three of output: the last line came later
    }
  }
}

TEST_CASE("stderr may be captured with stdout, and a job may write nothing") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Json both = captured("echo one; echo two >&2; echo three");
  both["stderr"] = "stdout";
  Outcome outcome = client.run(both);
  CHECK(outcome.captured["stdout"] == "one\ntwo\nthree\n");
  CHECK(outcome.verdict["output"].size() == 1);
  Outcome silent = client.run(captured(":"));
  CHECK(silent.captured.empty());
  CHECK(silent.verdict["output"]["stdout"]["bytes"] == 0);
}

TEST_CASE("of more than max the beginning is kept, or the end, or half of each") {
  NEEDS_ROOT();
  struct Row {
    Json keep;
    std::vector<std::pair<uint64_t, uint64_t>> kept;
  };
  const Row rows[] = {
      {nullptr, {{0, 10'001}}},
      {"head", {{0, 10'001}}},
      {"tail", {{kAll - 10'001, kAll}}},
      {"both", {{0, 5'000}, {kAll - 5'001, kAll}}},
  };
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    for (const Row& row : rows) {
      CAPTURE(row.keep.dump());
      const std::string id =
          start_captured(client, captured(kNumbered, {{"max", 10'001}, {"keep", row.keep}}));
      Reply ended = client.call("Wait", {{"id", id}});
      Json usage = ended.parameters["verdict"]["output"]["stdout"];
      CHECK(ended.parameters["verdict"]["ok"] == true);
      CHECK(usage["bytes"] == kAll);
      CHECK(usage["kept"] == 10'001);
      CHECK(usage["truncated"] == true);
      const Told told = output_of(client, id);
      std::string expected;
      std::vector<std::pair<uint64_t, uint64_t>> gaps;
      uint64_t next = 0;
      for (const auto& [from, to] : row.kept) {
        if (from > next) gaps.emplace_back(next, from);
        expected += numbered(from, to);
        next = to;
      }
      if (next < kAll) gaps.emplace_back(next, kAll);
      CHECK(told.bytes == expected);
      CHECK(told.gaps == gaps);
      CHECK(told.end == kAll);
      CHECK(told.ended);
      // From the middle of what is kept.
      const auto [from, to] = row.kept.back();
      CHECK(output_of(client, id, {{"offset", from + 7}}).bytes == numbered(from + 7, to));
      client.call("Remove", {{"id", id}});
    }
  }
}

TEST_CASE("a job that writes more than a limit that kills is stopped, and its verdict says so") {
  NEEDS_ROOT();
  constexpr int64_t kMax = 1 << 20, kPipe = 64 << 10;
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    const auto run = [&](const std::string& line) {
      return client.run(in_a_box(captured(line, {{"max", "1M"}, {"on_limit", "kill"}})));
    };
    Outcome outcome = run("exec yes");
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    CHECK(outcome.verdict["cause"] == "output");
    CHECK(outcome.verdict["fault"] == "payload");
    CHECK(outcome.verdict["ok"] == false);
    CHECK(outcome.verdict["term_signal"] == "SIGTERM");
    CHECK(outcome.verdict["limit"]["field"] == "stdout.capture.max");
    CHECK(outcome.verdict["limit"]["limit"] == kMax);
    CHECK(outcome.verdict["limit"]["peak"].get<int64_t>() > kMax);
    CHECK(outcome.verdict["limit"]["peak"].get<int64_t>() <= kMax + kPipe);
    CHECK(outcome.captured["stdout"].size() == kMax);
    CHECK(outcome.verdict["output"]["stdout"]["kept"] == kMax);

    Outcome exact = run("head -c 1048576 /dev/zero");
    CHECK(exact.verdict["ok"] == true);
    CHECK(exact.verdict["limit"] == nullptr);
    // It may have gone before anybody saw it.
    Outcome one_more = run("head -c 1048577 /dev/zero");
    CHECK(one_more.verdict["cause"] == "output");
    CHECK(one_more.verdict["ok"] == false);
    CHECK(one_more.verdict["limit"]["peak"] == kMax + 1);
  }
}

TEST_CASE("what ignores the stop signal writes no more while it is given its time") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Json request =
      captured("trap '' TERM PIPE; yes | cat; sleep 100", {{"max", "64K"}, {"on_limit", "kill"}});
  request["lifetime"] = {{"stop_timeout", "300ms"}};
  Outcome outcome = client.run(request);
  CHECK(outcome.verdict["cause"] == "output");
  CHECK(outcome.verdict["term_signal"] == "SIGKILL");
  CHECK(outcome.verdict["output"]["stdout"]["bytes"].get<int64_t>() <= (64 << 10) * 2);
}

TEST_CASE("the end is told although somebody outside holds the pipe, and takes no later word in") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::root);
  const std::string id = start_waiting(client, "echo last; setsid sleep 100 & exit 3");
  const pid_t pid = client.call("Inspect", {{"id", id}}).parameters["job"]["pid"];
  const std::string stream = "/proc/" + std::to_string(pid) + "/fd/1";
  // A pipe is opened anew through /proc: this is another write end.
  const Fd held(open(stream.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(held);
  go_on(client, id);
  Reply ended = client.call("Wait", {{"id", id}});
  CHECK(ended.parameters["verdict"]["exit_code"] == 3);
  signal(SIGPIPE, SIG_IGN);
  CHECK(write(held.get(), "late\n", 5) == -1);
  CHECK(errno == EPIPE);
  const Told told = output_of(client, id, {{"follow", true}});
  CHECK(told.bytes == "ready\nlast\n");
  CHECK(told.ended);
}

TEST_CASE("Output follows a job to its end, for many readers, of whom one reads nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const std::string id = start_captured(
      client, captured("sleep 0.5; " + std::string(kNumbered) + "; sleep 0.5; echo end"));
  Client stuck = world.connect(Way::user);
  stuck.post("Output", {{"id", id}, {"follow", true}}, {}, {{"more", true}});
  std::vector<std::unique_ptr<Client>> readers;
  for (int i = 0; i < 20; ++i) {
    readers.push_back(std::make_unique<Client>(world.connect(Way::user)));
    readers.back()->post("Output", {{"id", id}, {"stream", "stdout"}, {"follow", true}}, {},
                         {{"more", true}});
  }
  for (auto& reader : readers) {
    std::string bytes;
    for (bool more = true; more;) {
      auto reply = reader->receive();
      REQUIRE(reply);
      REQUIRE(reply->error.empty());
      bytes += from_base64(reply->parameters["data"]);
      more = reply->continues;
      if (!more) CHECK(reply->parameters["end"] == true);
    }
    CHECK(bytes == numbered(0, kAll) + "end\n");
  }
  CHECK(client.call("Wait", {{"id", id}}).parameters["verdict"]["ok"] == true);
}

TEST_CASE("Output without follow tells what is there, and one reply of it without more") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  const std::string id = start_captured(client, captured("echo now; exec sleep 100"));
  Told told;
  CHECK(eventually([&] { return !(told = output_of(client, id)).bytes.empty(); }));
  CHECK(told.bytes == "now\n");
  CHECK_FALSE(told.ended);
  Reply one = client.call("Output", {{"id", id}, {"stream", "stdout"}, {"offset", 1}});
  CHECK(one.error.empty());
  CHECK(from_base64(one.parameters["data"]) == "ow\n");
  CHECK(one.parameters["offset"] == 1);
  Reply past = client.call("Output", {{"id", id}, {"stream", "stdout"}, {"offset", 100}});
  CHECK(past.parameters["data"] == "");
  client.call("Stop", {{"id", id}, {"timeout", "0s"}});
}

TEST_CASE("Output is its owner's, of a stream that is captured") {
  NEEDS_ROOT();
  World& world = World::get();
  Client alice = world.connect(Way::user);
  const std::string id = start_captured(alice, captured("echo secret"));
  alice.call("Wait", {{"id", id}});
  const auto refusal = [&](Client& client, const Json& parameters) {
    return client.call("Output", parameters).error;
  };
  Client bob = world.system().connect(world.bob());
  CHECK(refusal(bob, {{"id", id}, {"stream", "stdout"}}) == "NoSuchJob");
  CHECK(refusal(alice, {{"id", id}, {"stream", "stdout"}}) == "");
  CHECK(refusal(alice, {{"id", id}, {"stream", "stderr"}}) == "InvalidRequest");
  CHECK(refusal(alice, {{"id", id}, {"stream", "stdin"}}) ==
        "org.varlink.service.InvalidParameter");
  CHECK(refusal(alice, {{"id", id}, {"offset", 1}}) == "org.varlink.service.InvalidParameter");
  CHECK(refusal(alice, {{"id", id}, {"follow", true}}) == "org.varlink.service.InvalidParameter");
  CHECK(refusal(alice, {{"id", id}, {"stream", "stdout"}, {"offset", -1}}) ==
        "org.varlink.service.InvalidParameter");
  CHECK(alice.call("Remove", {{"id", id}}).error == "");
  CHECK(refusal(alice, {{"id", id}, {"stream", "stdout"}}) == "NoSuchJob");
}

TEST_CASE("a relay that is killed ends its job, and the verdict says so") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const std::string id = start_captured(client, captured("echo one; exec sleep 100"));
  const pid_t relay = the_relay();
  REQUIRE(kill(relay, SIGKILL) == 0);
  Reply ended = client.call("Wait", {{"id", id}});
  Json verdict = ended.parameters["verdict"];
  CHECK(verdict["cause"] == "cloister");
  CHECK(verdict["fault"] == "host");
  CHECK(verdict["failure"]["step"] == "capture");
  CHECK(verdict["ok"] == false);
}

TEST_CASE("a relay that is stopped delays the end of its job by about a second, and no other's") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const std::string id = start_waiting(client, "exit 4");
  const pid_t relay = the_relay();
  REQUIRE(kill(relay, SIGSTOP) == 0);
  go_on(client, id);
  CHECK(world.connect(Way::root).run(captured(":")).verdict["ok"] == true);
  Reply ended = client.call("Wait", {{"id", id}});
  CHECK(ended.parameters["verdict"]["exit_code"] == 4);
  CHECK(ended.parameters["verdict"]["cause"] == "payload");
  // Nobody knows what the pipe held.
  CHECK(ended.parameters["verdict"]["output"]["stdout"]["truncated"] == true);
}

TEST_CASE("a job that passes its limit at once is told to have started") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  const Json request = captured("echo hello", {{"max", 1}, {"on_limit", "kill"}});
  const Stuttering stuttering(World::get().system().pid());
  for (int i = 0; i < 60; ++i) {
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.verdict["ending"] != "not_started");
    CHECK(outcome.verdict["cause"] == "output");
    CHECK(outcome.verdict["ok"] == false);
    Reply started = client.call("Start", {{"request", request}});
    INFO(started.error << " " << started.parameters.dump());
    REQUIRE(started.error.empty());
    client.call("Wait", {{"id", started.parameters["id"]}});
    client.call("Remove", {{"id", started.parameters["id"]}});
  }
}

TEST_CASE("output is read also where its user may have no more inotify instances") {
  NEEDS_ROOT();
  World& world = World::get();
  int ready[2];
  check(pipe2(ready, O_CLOEXEC), "pipe2");
  const pid_t holder = child([&] {
    check(setresgid(world.alice().gid, world.alice().gid, world.alice().gid), "setresgid");
    check(setresuid(world.alice().uid, world.alice().uid, world.alice().uid), "setresuid");
    bool all = false;
    for (int i = 0; i < 900 && !all; ++i) all = inotify_init1(IN_CLOEXEC) < 0 && errno == EMFILE;
    const char said = all ? 'y' : 'n';
    if (write(ready[1], &said, 1) != 1) return 1;
    pause();
    return 0;
  });
  char said = 0;
  REQUIRE(read(ready[0], &said, 1) == 1);
  close(ready[0]);
  close(ready[1]);
  if (said == 'y') {
    Client client = world.connect(Way::user);
    Outcome outcome = client.run(captured("echo one; sleep 0.2; echo two"));
    CHECK(outcome.captured["stdout"] == "one\ntwo\n");
    const std::string id = start_captured(client, captured("sleep 0.2; echo late"));
    CHECK(output_of(client, id, {{"follow", true}}).bytes == "late\n");
  }
  kill(holder, SIGKILL);
  wait_for(holder);
  if (said != 'y') SKIP("this user may have more than 900 inotify instances");
}

TEST_CASE("where a write fails the job goes on, and what is kept can be read") {
  NEEDS_ROOT();
  constexpr uint64_t kAllOfIt = 8'000'006;  // with what it said first
  World& world = World::get();
  for (const char* keep : {"head", "tail", "both"}) {
    CAPTURE(std::string(keep));
    Client client = world.connect(Way::root);
    const std::string id =
        start_waiting(client, "head -c 8000000 /dev/zero", {{"max", "5M"}, {"keep", keep}});
    const pid_t relay = the_relay();
    const rlimit size{2 << 20, 2 << 20};
    check(prlimit(relay, RLIMIT_FSIZE, &size, nullptr), "prlimit");
    go_on(client, id);
    Reply ended = client.call("Wait", {{"id", id}});
    Json verdict = ended.parameters["verdict"];
    CHECK(verdict["ok"] == true);
    CHECK(verdict["output"]["stdout"]["bytes"] == kAllOfIt);
    CHECK(verdict["output"]["stdout"]["truncated"] == true);
    const uint64_t kept = verdict["output"]["stdout"]["kept"];
    CHECK(kept > 1'000'000);
    const Told told = output_of(client, id);
    CHECK(told.bytes.size() == kept);
    CHECK(told.end == kAllOfIt);
    client.call("Remove", {{"id", id}});
  }
}

TEST_CASE("no payload sees the relay, its files or its pipes, and the relay holds no power") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const std::string id = start_captured(client, captured("echo ready; exec sleep 100"));
  const pid_t relay = the_relay();
  REQUIRE(eventually([&] { return !output_of(client, id).bytes.empty(); }));  // it is at work
  const std::string of = "/proc/" + std::to_string(relay);
  const std::string status = read_file(of + "/status");
  for (const char* line : {"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000",
                           "CapInh:\t0000000000000000", "NoNewPrivs:\t1"}) {
    CAPTURE(std::string(line));
    CHECK(status.find(line) != std::string::npos);
  }
  size_t open_files = 0;
  for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator(of + "/fd"))
    ++open_files;
  CHECK(open_files <= 8);
  client.call("Stop", {{"id", id}, {"timeout", "0s"}});
}

}  // namespace
}  // namespace cloister::system_test
