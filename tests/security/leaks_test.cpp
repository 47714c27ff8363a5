// LEAK-01 to LEAK-05: what a payload, a client or a reader of logs learns.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <type_traits>

#include "boxes.hpp"
#include "plan/messages.hpp"

namespace cloister::security_test {
namespace {

TEST_CASE("before: leaks") {
  NEEDS_ROOT();
  count_before();
}

// A service of root's whose environment holds what a unit of systemd's, or the
// shell of an administrator, may; what it prints goes into `log`.
std::unique_ptr<Service> service_with_secrets(const std::string& directory,
                                              const std::string& log) {
  const std::pair<const char*, const char*> secrets[] = {
      {"NOTIFY_SOCKET", "@cloister-no-such-socket"},
      {"WATCHDOG_USEC", "30000000"},
      {"LISTEN_PID", "1"},
      {"LISTEN_FDS", "3"},
      {"LISTEN_FDNAMES", "canary"},
      {"CREDENTIALS_DIRECTORY", "/run/credentials/canary"},
      {"INVOCATION_ID", "canary"},
      {"JOURNAL_STREAM", "9:9"},
      {"LD_LIBRARY_PATH", "/no/such/canary"},
      {"http_proxy", "http://canary:canary@proxy"},
      {"AWS_SECRET_ACCESS_KEY", "canary"},
      {"SSH_AUTH_SOCK", "/tmp/canary"},
      {"PATH_CANARY", "canary"}};
  const Fd file(check(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), "open")),
      own(check(dup(STDERR_FILENO), "dup"));
  for (const auto& [name, value] : secrets) setenv(name, value, 1);
  check(dup2(file.get(), STDERR_FILENO), "dup2");
  std::unique_ptr<Service> service;
  std::string failed;
  try {
    service = std::make_unique<Service>(World::get().root(), directory);
  } catch (const std::exception& error) {
    failed = error.what();
  }
  check(dup2(own.get(), STDERR_FILENO), "dup2");
  for (const auto& [name, value] : secrets) unsetenv(name);
  REQUIRE(failed == "");
  return service;
}

TEST_CASE("LEAK-01 the environment is the request's, whatever the service has in its own") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root());
  check(chmod(directory.c_str(), 0755), "chmod");
  const auto service = service_with_secrets(directory, directory + "/log");
  for (const Who& who : {world.root(), world.alice()}) {
    Client client = connect_as(who, service->socket());
    for (const bool boxed : {false, true}) {
      const Json request = boxed ? world.boxed_request() : world.probe_request();
      // HOME is always set in a box.
      const auto environment = [&](const Json& asked) {
        Json all = report_of(client, asked)["environ"];
        const size_t homes = std::erase_if(all.get_ref<Json::array_t&>(), [](const Json& each) {
          return each.get_ref<const std::string&>().starts_with("HOME=");
        });
        CHECK(homes == (boxed ? 1 : 0));
        return all;
      };
      CHECK(environment(request) == Json::array());
      CHECK(environment(with(request, {{"env", {{"A", "b"}, {"C", ""}}}})) == Json({"A=b", "C="}));
    }
    for (const Json& request : boxed_requests(client, {}))
      CHECK(report_of(client, request)["environ"].dump().find("canary") == std::string::npos);
  }
}

TEST_CASE("LEAK-01 nothing of the environment of the service or of init can be read") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root());
  check(chmod(directory.c_str(), 0755), "chmod");
  const auto service = service_with_secrets(directory, directory + "/log");
  Client alice = connect_as(world.alice(), service->socket());
  const Held job(alice, world.probe_request({"hold"}));
  for (const pid_t pid : service->processes()) {
    if (pid == job.pid()) continue;
    CAPTURE(status_of(pid, "Name"));
    const Json answer =
        act(alice, world.probe_request({"read", "/proc/" + std::to_string(pid) + "/environ"}));
    check_error(answer, "error", {"EACCES", "EPERM", "ENOENT", "ESRCH"});
  }
  Client root = connect_as(world.root(), service->socket());
  for (const char* file : {"/proc/1/environ", "/proc/1/cmdline"}) {
    Json answer = act(root, world.boxed_request({"read", file}));
    INFO(answer.dump());
    CHECK(answer.dump().find("canary") == std::string::npos);
    CHECK(answer.dump().find(directory) == std::string::npos);
  }
}

TEST_CASE("LEAK-02 kernel addresses, keys, timers and its log are hidden, zero or refused") {
  NEEDS_ROOT();
  not_run("/proc/keys lists the keys of the user's own, where /proc is left whole");
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : boxed_requests(client, {})) {
      const auto read = [&](const std::string& path) {
        request["argv"] = {"probe", "read", path};
        const Json answer = act(client, request);
        return answer["error"].is_null() ? answer["text"].get<std::string>() : std::string();
      };
      for (const char* path :
           {"/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats", "/proc/kcore",
            "/proc/kmsg", "/proc/vmallocinfo", "/sys/kernel/debug/sched/debug",
            "/sys/kernel/debug/wakeup_sources", "/sys/kernel/tracing/trace",
            "/sys/firmware/acpi/tables/DSDT", "/sys/firmware/dmi/tables/DMI",
            "/sys/fs/pstore/console-ramoops-0", "/dev/kmsg"}) {
        CAPTURE(std::string(path));
        CHECK(read(path).substr(0, 60) == "");
      }
      std::istringstream symbols(read("/proc/kallsyms"));
      for (std::string line; std::getline(symbols, line);)
        REQUIRE(line.starts_with("0000000000000000"));
      for (const char* path : {"/proc/modules", "/proc/1/stat", "/proc/self/stat", "/proc/1/wchan",
                               "/proc/1/stack", "/proc/net/unix", "/proc/net/tcp"}) {
        CAPTURE(std::string(path));
        CHECK(read(path).find("ffff8") == std::string::npos);
        CHECK(read(path).find("ffffffff8") == std::string::npos);
      }
      // The host's boot line may hold what only its administrator knows.
      if (const std::string boot = read("/proc/cmdline"); !boot.empty())
        not_run("/proc/cmdline is shown, as every container shows it");
    }
  }
}

TEST_CASE(
    "LEAK-02 nothing says where the service keeps its things, or what other jobs are called") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way), other = world.connect(way);
    const Held job(other, with(world.boxed_request({"hold"}), {{"name", "cloister-secret-name"}}));
    for (Json request : boxed_requests(client, {})) {
      const std::string report = report_of(client, request).dump();
      const Service& service = way == Way::rootless ? world.rootless() : world.system();
      const std::string own = service.socket().substr(0, service.socket().rfind('/'));
      CHECK(report.find(own + "/") == std::string::npos);
      CHECK(report.find(job.id().substr(2)) == std::string::npos);
      CHECK(report.find("cloister-secret-name") == std::string::npos);
      CHECK(report.find("/job-") == std::string::npos);
      request["executable"] = "/bin/sh";
      request["argv"] = {"sh", "-c", "cat /proc/1/* /proc/1/task/1/* /proc/self/mountinfo 2>&1"};
      const Outcome outcome = client.run(request);
      CHECK(outcome.out.find("cloister-secret-name") == std::string::npos);
      CHECK(outcome.out.find(job.id().substr(2)) == std::string::npos);
    }
  }
}

// The middle of a number of tries, in microseconds.
long median(const std::function<void()>& act) {
  std::vector<long> all;
  for (int i = 0; i < 60; ++i) {
    const auto start = std::chrono::steady_clock::now();
    act();
    all.push_back(static_cast<long>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        std::chrono::steady_clock::now() - start)
                                        .count()));
  }
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

// One may take this much longer than the other: far less than a search of a
// table of all jobs, or than opening a file, would be over a socket.
void check_alike(const std::function<void()>& one, const std::function<void()>& other) {
  long first = 0, second = 0;
  const bool alike = eventually(
      [&] {
        first = median(one);
        second = median(other);
        return std::max(first, second) < 2 * std::min(first, second) + 200;
      },
      10'000);
  CAPTURE(first);
  CAPTURE(second);
  CHECK(alike);
}

TEST_CASE("LEAK-03 what is there and forbidden is answered as what is not there: paths") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string vault = world.directory_of(world.root());
  write_file(vault + "/there", "canary", 0644);
  check(mkdir((vault + "/directory").c_str(), 0755), "mkdir");
  Client client = world.connect(Way::user);
  const auto ways = [&](const std::string& path) {
    std::vector<Json> out;
    for (const Json& base : {world.probe_request({"noop"}), world.boxed_request({"noop"})}) {
      out.push_back(with(base, {{"cwd", path}}));
      out.push_back(with(base, {{"executable", path}}));
      out.push_back(with(base, {{"stdin", {{"path", path}}}}));
      out.push_back(with(base, {{"stdout", {{"path", path}}}}));
    }
    Json bound = world.boxed_request({"noop"});
    bound["mounts"].push_back({{"at", "/run/bound"}, {"bind", path}});
    out.push_back(bound);
    bound["mounts"].back()["optional"] = true;
    out.push_back(bound);
    out.push_back(with(world.boxed_request({"noop"}), {{"workspace", {{"path", path}}}}));
    return out;
  };
  const auto told = [&](const Json& request, const std::string& path) {
    Outcome outcome = client.run(request);
    std::string text = outcome.error + outcome.parameters.dump();
    if (outcome.error.empty())
      text = outcome.verdict["ending"].dump() + outcome.verdict["failure"].dump();
    for (size_t at; (at = text.find(path)) != text.npos;) text.replace(at, path.size(), "PATH");
    return text;
  };
  for (const char* name : {"/there", "/directory"}) {
    const std::string there = vault + name, gone = vault + "/gone-for-good";
    const auto of_there = ways(there), of_gone = ways(gone);
    for (size_t i = 0; i < of_there.size(); ++i) {
      CAPTURE(of_there[i].dump());
      CHECK(told(of_there[i], there) == told(of_gone[i], gone));
    }
    const Json& one = of_there[8];
    const Json& other = of_gone[8];
    check_alike([&] { client.run(one); }, [&] { client.run(other); });
  }
}

TEST_CASE("LEAK-03 other people's jobs are answered as jobs that never were, in the same time") {
  NEEDS_ROOT();
  World& world = World::get();
  Client alice = world.connect(Way::user);
  Client bob = connect_as(world.bob(), world.system().socket());
  const Held job(alice, world.boxed_request({"hold"}));
  const std::string none = "j-0123456789abcdef0123456789abcdef";
  for (const auto& [method, members] : {std::pair<const char*, Json>{"Inspect", Json::object()},
                                        {"Wait", {{"options", {"WEXITED", "WNOHANG"}}}},
                                        {"Signal", {{"signal", "SIGKILL"}}},
                                        {"Stop", Json::object()},
                                        {"Remove", Json::object()}}) {
    CAPTURE(std::string(method));
    const auto call = [&, &method = method, &members = members](const std::string& id) {
      return bob.call(method, with(members, {{"id", id}}));
    };
    const Reply there = call(job.id()), gone = call(none);
    CHECK(there.error == "NoSuchJob");
    CHECK(gone.error == there.error);
    CHECK(with(there.parameters, {{"id", none}}) == gone.parameters);
    check_alike([&] { call(job.id()); }, [&] { call(none); });
  }
  Json joins = world.boxed_request({"noop"});
  joins["unset"] = {"sysctls.net.ipv4.ip_unprivileged_port_start"};
  for (const char* name : {"net", "ipc", "uts"}) {
    const auto join = [&](const std::string& id) {
      Outcome outcome = bob.run(with(joins, {{"namespaces", {{name, {{"job", id}}}}}}));
      outcome.parameters["id"] = nullptr;
      return outcome.error + outcome.parameters.dump();
    };
    CHECK(join(job.id()) == join(none));
  }
  CHECK(bob.call("List").parameters["jobs"] == Json::array());
  CHECK(job.runs());
}

// A hole between two members would carry what was on the stack before.
template <class... Messages>
constexpr bool whole = (std::has_unique_object_representations_v<Messages> && ...);

TEST_CASE("LEAK-04 messages between the programs have no holes in which old bytes travel") {
  not_run("an MSan build needs every library built with it");
  CHECK(whole<plan::Ask>);
  CHECK(whole<plan::Peer>);
  CHECK(whole<plan::Refusal>);
  CHECK(whole<plan::Failure>);
  CHECK(whole<plan::ExitRecord>);
  CHECK(whole<plan::JobState>);
  CHECK(whole<plan::Host>);
  CHECK(whole<plan::Order>);
  CHECK(whole<plan::Report>);
  CHECK(whole<plan::Fact>);
  CHECK(whole<plan::Command>);
}

TEST_CASE(
    "LEAK-05 neither logs nor errors tell environment, arguments, addresses or others' paths") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), log = directory + "/log";
  check(chmod(directory.c_str(), 0755), "chmod");
  const std::string vault = world.directory_of(world.root());
  std::string replies;
  {
    const auto service = service_with_secrets(directory, log);
    Client alice = connect_as(world.alice(), service->socket());
    Client bob = connect_as(world.bob(), service->socket());
    const Held held(bob, with(world.boxed_request({"hold", "argument-of-bob"}),
                              {{"env", {{"BOB", "value-of-bob"}}}, {"name", "name-of-bob"}}));
    for (const Json& base : {world.probe_request({"exit", "3", "secret-argument"}),
                             world.boxed_request({"exit", "3", "secret-argument"})}) {
      const Json request = with(base, {{"env", {{"PASSWORD", "secret-value"}}}});
      for (const Json& members :
           {Json::object(), Json{{"executable", "/no/such/program"}},
            Json{{"cwd", "/no/such/place"}}, Json{{"identity", {{"ruid", 0}}}},
            Json{{"no_such_field", 1}}, Json{{"stdin", {{"text", "secret-input"}}}},
            Json{{"nice", -20}}, Json{{"namespaces", {{"net", {{"job", held.id()}}}}}},
            Json{{"env", {{"bad=name", "secret-value"}}}},
            Json{{"mounts", {{{"at", "/run/x"}, {"bind", vault}}}}}}) {
        const Outcome outcome = alice.run(with(request, members));
        replies += outcome.error + outcome.parameters.dump() + outcome.verdict.dump() + "\n";
      }
      const Reply reply = alice.call("Plan", {{"request", request}});
      // Arguments are their owner's to see again; values of the environment nobody's.
      CHECK(reply.parameters.dump().find("secret-value") == std::string::npos);
    }
    const Json inspected = bob.call("Inspect", {{"id", held.id()}}).parameters;
    CHECK(inspected.dump().find("value-of-bob") == std::string::npos);
    replies += alice.call("Describe").parameters.dump();
  }
  const std::string text = read_file(log);
  for (const std::string& where : {text, replies}) {
    for (const char* secret : {"secret-value", "secret-input", "value-of-bob", "argument-of-bob",
                               "name-of-bob", "canary", "ffffffff8", "0xffff", "secret-argument"}) {
      CAPTURE(std::string(secret));
      const size_t at = where.find(secret);
      if (at == where.npos) continue;
      FAIL_CHECK(where.substr(at > 300 ? at - 300 : 0, 700));
    }
  }
}

TEST_CASE("after: leaks have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
