// What a peer can have the service keep, in bytes: calls that wait, jobs that
// have ended, records.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "ruled.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

const bool kLong = std::getenv("CLOISTER_SOAK") != nullptr;

// A call of four MiB, of what takes most room when it is taken apart.
std::string large_call(const std::string& element, int most = 3) {
  std::string text = R"({"method":"io.cloister.Launcher.Describe","parameters":{"a":[)";
  for (int lists = 0; lists < most; ++lists) {
    text += lists ? ",[" : "[";
    for (int i = 0; i < 65'000; ++i) text += (i ? "," : "") + element;
    text += "]";
  }
  text += "]}}";
  text.resize((4u << 20) - 1, ' ');
  return text + '\0';
}

TEST_CASE("S6: calls that wait behind another are not read beyond a budget") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  Client client = ruled.connect(world.alice());
  client.post("Run", {{"request", world.probe_request({"hold"})}}, {}, {{"more", true}});
  const Json started = until(client, "started");
  const auto fronts = fronts_of(ruled.service(), world.alice().uid);
  REQUIRE(fronts.size() == 1);
  fcntl(client.socket(), F_SETFL, O_NONBLOCK);
  const std::string call = large_call("{}");
  constexpr int kCalls = 64;
  size_t sent = 0;
  // Until no more is taken, for a second.
  for (int idle = 0; idle < 10 && sent < kCalls * call.size();) {
    const size_t at = sent % call.size();
    const ssize_t n = send(client.socket(), call.data() + at, call.size() - at, MSG_NOSIGNAL);
    if (n > 0) {
      sent += static_cast<size_t>(n);
      idle = 0;
    } else {
      ++idle;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  const long kib = kibibytes_of(fronts[0], "VmHWM");
  std::printf("S6: of %d calls of 4 MiB %.1f were taken, in a front of %ld KiB\n", kCalls,
              static_cast<double>(sent) / static_cast<double>(call.size()), kib);
  CHECK(sent < 4 * call.size());
  CHECK(kib < 32 * 1024 * kSanitizerFactor);
  // They are served when their turn comes.
  Client other = ruled.connect(world.alice());
  other.call("Stop", {{"id", started["id"]}, {"timeout", "0s"}});
  until(client, "ended");
  const auto reply = client.receive(60'000);
  REQUIRE(reply);
  CHECK(reply->error == "org.varlink.service.InvalidParameter");
}

TEST_CASE("S6: the worst message fits into the memory of a front, and there is a bound to that") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  Json run = {{"method", "io.cloister.Launcher.Run"},
              {"parameters", {{"request", world.boxed_request({"noop"})}}}};
  run["parameters"]["request"]["mounts"].push_back(
      {{"at", "/run/large"}, {"file", {{"text", std::string((4u << 20) - 4096, 'x')}}}});
  Json argv = run;
  argv["parameters"]["request"]["mounts"].erase(1);
  for (int i = 0; i < 60'000; ++i)
    argv["parameters"]["request"]["argv"].push_back(std::string(50, 'x'));
  const std::pair<const char*, std::string> kCalls[] = {
      {"{}", large_call("{}")},
      {"[]", large_call("[]")},
      {"{\"a\":0}", large_call("{\"a\":0}", 2)},
      {"strings", large_call("\"aaaaaaaaaaaaaaaaa\"")},
      {"[[0]]", large_call("[[0]]", 1)},
      {"a file", run.dump()},
      {"arguments", argv.dump()}};
  for (const auto& [element, call] : kCalls) {
    CAPTURE(element);
    Client client = ruled.connect(world.alice());
    const auto fronts = [&] { return fronts_of(ruled.service(), world.alice().uid); };
    client.send_bytes(call.back() ? call + '\0' : call);
    const auto reply = client.receive(60'000);
    REQUIRE(reply);
    CHECK(fronts().size() == 1);
    for (const pid_t front : fronts()) {
      std::printf("S6: 4 MiB of %s: a front of %ld KiB\n", element, kibibytes_of(front, "VmHWM"));
      // The sanitizers' shadow is data too: no limit there.
      if (kSanitizerFactor == 1)
        CHECK(read_file("/proc/" + std::to_string(front) + "/limits")
                  .find("Max data size             201326592") != std::string::npos);
    }
    client.close();
    eventually([&] { return fronts().empty(); });
  }
  Client client = ruled.connect(world.alice());
  CHECK(client.call("Describe").parameters["connection_bytes_limit"] == 192 << 20);
}

// All memfds that hold Plans of the service.
uint64_t bytes_of_plans(pid_t monitor) {
  uint64_t bytes = 0;
  std::error_code none;
  for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(monitor) + "/fd", none)) {
    struct stat info {};
    if (fs::read_symlink(fd.path(), none).native().find("cloister-plan") != std::string::npos &&
        stat(fd.path().c_str(), &info) == 0)
      bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

TEST_CASE("S6: what is kept of ended jobs stays below the bound of their user, and verdicts last") {
  NEEDS_ROOT();
  World& world = World::get();
  constexpr uint64_t kBound = 48u << 20;
  Ruled ruled(Json{{"quota", {{"request_bytes", kBound}}}});
  const size_t jobs = kLong ? 10'000 : 100;
  Client client = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  const std::string of_bob =
      bob.call("Start", {{"request", world.probe_request({"noop"})}}).parameters["id"];
  Json request = world.probe_request({"noop"});
  for (int i = 0; i < 8; ++i) request["argv"].push_back(std::string(128 * 1024 - 100, 'x'));
  request["tags"] = {{"kind", "large"}};
  const long before = kibibytes_of(ruled.service().pid(), "VmRSS");
  std::vector<std::string> ids;
  for (size_t i = 0; i < jobs; ++i) {
    request["idempotency_key"] = "key-" + std::to_string(i);
    const Reply reply = client.call("Start", {{"request", request}});
    INFO(reply.parameters.dump());
    REQUIRE(reply.error == "");
    ids.push_back(reply.parameters["id"]);
  }
  CHECK(client.call("Wait", {{"id", ids.back()}}).error == "");
  const Json host = client.call("Describe").parameters;
  const long rss = kibibytes_of(ruled.service().pid(), "VmRSS");
  const uint64_t plans = bytes_of_plans(ruled.service().pid());
  // No user's ended jobs have more than an eighth of the service's descriptors: the oldest
  // are forgotten.
  rlimit files{};
  check(prlimit(ruled.service().pid(), RLIMIT_NOFILE, nullptr, &files), "prlimit");
  const size_t kept = std::min<size_t>(jobs, files.rlim_cur / 8), forgotten = jobs - kept;
  std::printf(
      "S6: %zu jobs of 1 MiB, %zu kept: monitor %ld KiB (%ld before), Plans %llu KiB of %llu\n",
      jobs, kept, rss, before, static_cast<unsigned long long>(plans >> 10),
      static_cast<unsigned long long>(kBound >> 10));
  CHECK(rss < 32 * 1024 * kSanitizerFactor);
  CHECK(host["request_bytes_limit"] == kBound);
  CHECK(host["request_bytes"] <= kBound);
  CHECK(plans < kBound + (4u << 20));
  CHECK(host["jobs_kept"] == kept);
  ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(forgotten));
  // The first has its verdict and its names, and its request no more.
  Reply first = client.call("Inspect", {{"id", ids.front()}});
  INFO(first.parameters.dump().substr(0, 2000));
  CHECK(first.parameters["request"].is_null());
  CHECK(first.parameters["verdict"]["ok"] == true);
  CHECK(first.parameters["verdict"]["tags"] == request["tags"]);
  CHECK(first.parameters["job"]["argv"][1] == "noop");
  Reply last = client.call("Inspect", {{"id", ids.back()}});
  CHECK(last.parameters["request"]["argv"].size() == request["argv"].size());
  // By tag each is waited for once, and the oldest is the first.
  const Json tagged = {{"tag", {{"key", "kind"}, {"value", "large"}}}, {"options", {"WNOHANG"}}};
  CHECK(client.call("Wait", tagged).parameters["id"] == ids[0]);
  CHECK(client.call("Wait", tagged).parameters["id"] == ids[1]);
  // A key names the same job as before.
  request["idempotency_key"] = "key-" + std::to_string(forgotten);
  CHECK(client.call("Start", {{"request", request}}).parameters["id"] == ids[0]);
  request["umask"] = "0077";
  CHECK(client.call("Start", {{"request", request}}).error == "InvalidRequest");
  // Another user's are not touched.
  CHECK(bob.call("Inspect", {{"id", of_bob}}).parameters["request"].is_object());
  for (const std::string& id : ids) CHECK(client.call("Remove", {{"id", id}}).error == "");
  CHECK(client.call("Describe").parameters["request_bytes"] == 0);
}

TEST_CASE(
    "S6: running jobs hold no more of requests than the bound of their user; another starts") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"quota", {{"request_bytes", 2 << 20}}}});
  Client client = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  Json request = world.probe_request({"hold"});
  for (int i = 0; i < 4; ++i) request["argv"].push_back(std::string(100'000, 'x'));
  std::vector<std::string> held;
  Reply reply;
  for (int i = 0; i < 10; ++i) {
    reply = client.call("Start", {{"request", request}});
    if (!reply.error.empty()) break;
    held.push_back(reply.parameters["id"]);
  }
  INFO(reply.parameters.dump());
  CHECK(reply.error == "Busy");
  CHECK(reply.parameters["rule"] == "default/quota.request_bytes");
  CHECK(reply.parameters["limit"] == 2 << 20);
  CHECK(held.size() == 2);
  CHECK(client.run(world.probe_request({"noop"})).verdict["ok"] == true);
  CHECK(bob.run(request["argv"].size() ? world.probe_request({"noop"}) : request).verdict["ok"] ==
        true);
  for (const std::string& id : held) client.call("Stop", {{"id", id}, {"timeout", "0s"}});
  const Reply again = client.call("Start", {{"request", request}});
  CHECK(again.error == "");
  client.call("Stop", {{"id", again.parameters["id"]}, {"timeout", "0s"}});
}

Json captured(const std::string& line, uint64_t max) {
  return {{"argv", {"sh", "-c", line}},
          {"profile", "none"},
          {"executable", "/bin/sh"},
          {"env", {{"PATH", "/usr/bin:/bin"}}},
          {"stdout", {{"capture", {{"max", max}}}}}};
}

// Bytes of the largest file of captured output that a process of the service has open.
uint64_t largest_output(const Service& service) {
  uint64_t bytes = 0;
  std::vector<pid_t> all = service.processes();
  all.push_back(service.pid());
  for (const pid_t pid : all) {
    std::error_code none;  // one that has ended meanwhile
    for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", none)) {
      struct stat info {};
      const std::string file = fs::read_symlink(fd.path(), none).native();
      const bool output = file.find("/scratch/#") != std::string::npos ||
                          file.find("cloister-output") != std::string::npos;
      if (output && stat(fd.path().c_str(), &info) == 0)
        bytes = std::max(bytes, static_cast<uint64_t>(info.st_size));
    }
  }
  return bytes;
}

TEST_CASE("S6: captured output of a user takes no more than its bound, and the oldest goes first") {
  NEEDS_ROOT();
  World& world = World::get();
  // A file begins with a header, which counts too.
  constexpr uint64_t kHeader = 4096, kHalf = 512 << 10, kBound = 2 * (kHalf + kHeader);
  Ruled ruled(Json{{"quota", {{"output_bytes", kBound}}}});
  Client client = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  Reply reply = client.call("Start", {{"request", captured(":", kBound - kHeader + 1)}});
  INFO(reply.parameters.dump());
  CHECK(reply.error == "Busy");
  CHECK(reply.parameters["rule"] == "default/quota.output_bytes");
  CHECK(reply.parameters["limit"] == kBound);
  // A running job counts with all that it may write, and one that has ended with what it did.
  const auto start = [&](const std::string& line) {
    Reply started = client.call("Start", {{"request", captured(line, kHalf)}});
    INFO(started.error << " " << started.parameters.dump());
    REQUIRE(started.error == "");
    return started.parameters["id"].get<std::string>();
  };
  const std::string one = start("exec sleep 100"), two = start("exec sleep 100");
  CHECK(client.call("Describe").parameters["output_bytes"] == kBound);
  CHECK(client.call("Start", {{"request", captured(":", 1)}}).error == "Busy");
  CHECK(bob.call("Start", {{"request", captured(":", kBound - kHeader)}}).error == "");
  for (const std::string& id : {one, two}) client.call("Stop", {{"id", id}, {"timeout", "0s"}});
  std::vector<std::string> full;
  for (int i = 0; i < 3; ++i) {
    full.push_back(start("head -c 1000000 /dev/zero"));
    CHECK(client.call("Wait", {{"id", full.back()}}).parameters["verdict"]["ok"] == true);
  }
  CHECK(client.call("Describe").parameters["output_bytes"] == kBound);
  const auto read = [&](const std::string& id) {
    return client.call("Output", {{"id", id}, {"stream", "stdout"}}).error;
  };
  CHECK(read(full[0]) == "InvalidRequest");  // dropped: its verdict stays
  CHECK(client.call("Wait", {{"id", full[0]}}).parameters["verdict"]["ok"] == true);
  // One that is refused all the same takes nobody's place.
  CHECK(client.call("Start", {{"request", captured(":", kBound)}}).error == "Busy");
  CHECK(read(full[1]) == "");
  CHECK(read(full[2]) == "");
  // Who still reads it does not keep its space.
  Client reader = ruled.connect(world.alice());
  reader.post("Output", {{"id", full[2]}, {"stream", "stdout"}}, {}, {{"more", true}});
  REQUIRE(reader.receive()->error == "");
  CHECK(largest_output(ruled.service()) == kHeader + kHalf);
  for (const std::string& id : full) client.call("Remove", {{"id", id}});
  CHECK(largest_output(ruled.service()) == kHeader);  // of bob, who wrote nothing
  CHECK(client.call("Describe").parameters["output_bytes"] == 0);
}

TEST_CASE("S10: records that fill the runtime directory keep nobody from starting jobs") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), run = directory + "/run";
  check(chmod(directory.c_str(), 0755), "chmod");
  check(mkdir(run.c_str(), 0755), "mkdir");
  check(mount("cloister-test", run.c_str(), "tmpfs", 0, "size=40k,mode=0755"), "mount");
  {
    Service service(world.root(), directory);
    Client alice = connect_as(world.alice(), service.socket()),
           bob = connect_as(world.bob(), service.socket());
    std::vector<std::string> held;
    for (int i = 0; i < 12; ++i) {
      const Reply reply = alice.call("Start", {{"request", world.probe_request({"hold"})}});
      INFO(reply.parameters.dump());
      CHECK(reply.error == "");
      held.push_back(reply.parameters["id"]);
    }
    struct stat record {};
    CHECK(stat((run + "/records").c_str(), &record) == 0);
    const Outcome outcome = bob.run(world.probe_request({"exit", "7"}));
    INFO(outcome.told());
    CHECK(outcome.verdict["exit_code"] == 7);
    for (const std::string& id : held) {
      Reply stopped = alice.call("Stop", {{"id", id}, {"timeout", "0s"}});
      CHECK(stopped.parameters["verdict"]["term_signal"] == "SIGKILL");
    }
    // Those that have ended hold none.
    CHECK(eventually([&] {
      size_t records = 0;
      for (const auto& entry : fs::directory_iterator(run + "/records"))
        records += entry.is_regular_file();
      return records <= 2;
    }));
  }
  check(umount2(run.c_str(), MNT_DETACH), "umount2");
}

}  // namespace
}  // namespace cloister::security_test
