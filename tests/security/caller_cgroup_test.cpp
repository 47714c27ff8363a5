// Jobs below their caller's own cgroup, whose limits hold for them.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "boxes.hpp"
#include "outside.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

std::string tree_of(const std::string& wanted) {
  const std::string table = read_file("/proc/self/mountinfo");
  for (size_t at = 0; at < table.size();) {
    const size_t end = table.find('\n', at);
    const std::string line = table.substr(at, end - at);
    at = end + 1;
    const size_t dash = line.find(" - cgroup");
    if (dash == std::string::npos) continue;
    const bool v2 = line.compare(dash, 11, " - cgroup2 ") == 0;
    const std::string options = line.substr(line.rfind(' ') + 1);
    if (wanted == "v2" ? !v2 : v2 || ("," + options + ",").find("," + wanted + ",") == line.npos)
      continue;
    size_t start = 0;
    for (int i = 0; i < 4; ++i) start = line.find(' ', start) + 1;
    return line.substr(start, line.find(' ', start) - start);
  }
  return {};
}

// A cgroup of the test's own in each of these trees, into which callers are born.
class CallerCgroup {
 public:
  explicit CallerCgroup(const std::vector<std::string>& trees) {
    for (const std::string& tree : trees) {
      tops_.push_back(tree);
      check(mkdir(directory(tree).c_str(), 0755), "mkdir");
    }
  }
  ~CallerCgroup() {
    for (const std::string& tree : tops_)
      eventually([&] { return rmdir(directory(tree).c_str()) == 0; });
  }
  std::string name() const { return "cloister-test-" + std::to_string(getpid()); }
  std::string directory(const std::string& tree) const { return tree + "/" + name(); }
  bool empty(const std::string& tree) const {
    for (const auto& entry : fs::directory_iterator(directory(tree)))
      if (entry.is_directory()) return false;
    return true;
  }
  // The helper that connects stays where it is born.
  Client connect(const Service& service, const Who& who) const {
    const std::string self = std::to_string(getpid());
    for (const std::string& tree : tops_) write_proc(directory(tree) + "/cgroup.procs", self);
    try {
      Client client = service.connect(who);
      for (const std::string& tree : tops_) write_proc(tree + "/cgroup.procs", self);
      return client;
    } catch (...) {
      for (const std::string& tree : tops_) write_proc(tree + "/cgroup.procs", self);
      throw;
    }
  }

 private:
  std::vector<std::string> tops_;
};

// Why the cgroups of callers cannot be tried here.
std::string why_no_cgroups() {
  World& world = World::get();
  if (world.system().connect(world.root()).call("Describe").parameters["cgroup_version"] != 2)
    return "no cgroup v2 tree that the service may write";
  if (read_file("/proc/self/cgroup").find("\n0::/\n") == std::string::npos &&
      !read_file("/proc/self/cgroup").starts_with("0::/\n"))
    return "the tests do not run at the top of the cgroup tree";
  return {};
}

bool has_line(const Json& report, const std::string& end) {
  for (const auto& line : report["cgroup"])
    if (line.get<std::string>().find(end) != std::string::npos) return true;
  return false;
}

TEST_CASE("a job may be asked for below its caller's own cgroup, and is bound by what binds that") {
  NEEDS_ROOT();
  if (const auto reason = why_no_cgroups(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  const std::string unified = tree_of("v2"), pids = tree_of("pids");
  std::vector<std::string> trees = {unified};
  if (!pids.empty()) trees.push_back(pids);
  const CallerCgroup caller(trees);
  for (const Who& who : {world.alice(), world.root()}) {
    CAPTURE(who.uid);
    Client client = caller.connect(world.system(), who);
    for (const Json& base : {world.probe_request(),
                             with(world.probe_request(), {{"namespaces", {{"user", "new"}}}})}) {
      const Json report = report_of(client, with(base, {{"cgroup", "caller"}}));
      INFO(report["cgroup"].dump());
      CHECK(has_line(report, "0::/" + caller.name() + "/cloister-job-"));
      if (!pids.empty()) CHECK(has_line(report, "pids:/" + caller.name()));
      CHECK(!has_line(report_of(client, base), caller.name()));
    }
    // In the box it sees its own cgroup as the root, and no way up.
    Json boxed = with(world.boxed_request(), {{"cgroup", "caller"}});
    CHECK(has_line(report_of(client, boxed), "0::/"));
    CHECK(eventually([&] { return caller.empty(unified); }));
  }
  if (pids.empty()) return;
  // A limit of the caller's, which the service does not have.
  Client client = caller.connect(world.system(), world.alice());
  write_proc(caller.directory(pids) + "/pids.max", "4");
  Json request = world.probe_request({"brood", "8"});
  CHECK(client.run(request).verdict["leftover_processes_killed"] == 8);
  request["cgroup"] = "caller";
  const Outcome bound = client.run(request);
  INFO(bound.told());
  CHECK(bound.verdict["leftover_processes_killed"].get<int>() < 4);
}

TEST_CASE("the way out of a job's network is held back as its caller is") {
  NEEDS_ROOT();
  if (const std::string reason = no_outside(); !reason.empty()) SKIP(reason);
  if (const std::string reason = why_no_cgroups(); !reason.empty()) SKIP(reason);
  if (access("/proc/self/loginuid", W_OK) != 0) SKIP("this kernel has no audit");
  World& world = World::get();
  const std::string unified = tree_of("v2"), pids = tree_of("pids");
  std::vector<std::string> trees = {unified};
  if (!pids.empty()) trees.push_back(pids);
  const CallerCgroup caller(trees);
  const std::string own = read_file("/proc/self/loginuid");
  const Outside outside;
  Ruled ruled(Json::object());
  write_proc("/proc/self/loginuid", "4242");
  {
    Client client = caller.connect(ruled.service(), world.alice());
    write_proc("/proc/self/loginuid", own);
    const Held held(client,
                    with(world.boxed_request({"hold"}),
                         {{"cgroup", "caller"}, {"network", {{"outbound", Json::object()}}}}));
    const pid_t pasta = process_of(ruled.service(), "pasta");
    REQUIRE(pasta > 0);
    const std::string process = "/proc/" + std::to_string(pasta);
    CHECK(read_file(process + "/loginuid") == "4242");
    const std::string cgroups = read_file(process + "/cgroup");
    INFO(cgroups);
    CHECK(cgroups.find("0::/" + caller.name() + "/cloister-job-") != std::string::npos);
    if (!pids.empty()) CHECK(cgroups.find("pids:/" + caller.name()) != std::string::npos);
  }
}

TEST_CASE("a payload below its caller's cgroup is a job still, and stays to be ended") {
  NEEDS_ROOT();
  if (const auto reason = why_no_cgroups(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  const std::string unified = tree_of("v2");
  const CallerCgroup caller({unified});
  Client client = caller.connect(world.system(), world.alice());
  Json request = with(
      world.probe_request({"ask", world.system().socket(), run_text({{"argv", {"/bin/true"}}})}),
      {{"cgroup", "caller"}});
  const Json answer = act(client, request);
  INFO(answer.dump());
  CHECK(answer["answer"].get<std::string>().find("confined-caller") != std::string::npos);
  // Frozen by its caller, from before the clone on: nobody else waits.
  write_proc(caller.directory(unified) + "/cgroup.freeze", "1");
  client.post("Run",
              {{"request", with(world.probe_request({"noop"}),
                                {{"cgroup", "caller"}, {"lifetime", {{"setup_timeout", "1s"}}}})}});
  Client other = world.system().connect(world.bob());
  CHECK(milliseconds([&] {
          CHECK(other.run(world.probe_request({"noop"})).verdict["ok"] == true);
        }) < 1000 * kSanitizerFactor);
  const auto reply = client.receive(20'000);
  REQUIRE(reply.has_value());
  INFO(reply->parameters.dump());
  CHECK(reply->parameters["verdict"]["ending"] == "not_started");
  CHECK(eventually([&] { return caller.empty(unified); }));
  write_proc(caller.directory(unified) + "/cgroup.freeze", "0");
}

// Its Order is the longest: the plan, a namespace each, a file of each hierarchy.
TEST_CASE(
    "S16: a job in the cgroups of its caller in every hierarchy joins seven namespaces of "
    "another") {
  NEEDS_ROOT();
  if (const auto reason = why_no_cgroups(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  std::vector<std::string> trees = {tree_of("v2")};
  for (const char* name : {"cpu", "cpuacct", "memory", "devices", "blkio", "pids", "name=systemd"})
    if (const std::string tree = tree_of(name);
        !tree.empty() && std::find(trees.begin(), trees.end(), tree) == trees.end())
      trees.push_back(tree);
  if (trees.size() < 7) SKIP("no host with cgroup v1 hierarchies: an Order stays short");
  const CallerCgroup caller(trees);
  Client client = caller.connect(world.system(), world.alice());
  const Held first(client,
                   with(world.boxed_request({"hold"}), {{"namespaces", {{"time", "new"}}}}));
  Json request = with(world.probe_request(), {{"cgroup", "caller"}, {"no_new_privs", true}});
  for (const char* name : {"mnt", "net", "ipc", "uts", "cgroup", "pid", "time"})
    request["namespaces"][name] = {{"job", first.id()}};
  request["executable"] = "/run/test/probe";
  const Json report = report_of(client, request);
  // Seen from the cgroup namespace that it has joined.
  INFO(report["cgroup"].dump());
  CHECK(report["cgroup"].size() >= trees.size());
}

TEST_CASE("S10: a caller that puts a busy cgroup in the place of its job's keeps nothing of ours") {
  NEEDS_ROOT();
  if (const auto reason = why_no_cgroups(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  const std::string unified = tree_of("v2");
  const CallerCgroup caller({unified});
  Ruled ruled(Json::object());
  Client client = caller.connect(ruled.service(), world.alice());
  const Reply held = client.call(
      "Start", {{"request", with(world.probe_request({"hold"}), {{"cgroup", "caller"}})}});
  REQUIRE(held.error == "");
  std::string leaf;
  for (const auto& entry : fs::directory_iterator(caller.directory(unified)))
    if (entry.is_directory()) leaf = entry.path();
  REQUIRE(!leaf.empty());
  // The payload is moved out, which its owner may do, and the leaf replaced.
  const pid_t payload = held.parameters["pid"].get<pid_t>();
  write_proc(caller.directory(unified) + "/cgroup.procs", std::to_string(payload));
  REQUIRE(eventually([&] { return rmdir(leaf.c_str()) == 0; }));
  check(mkdir(leaf.c_str(), 0755), "mkdir");
  {
    const Standing busy([&] { write_proc(leaf + "/cgroup.procs", std::to_string(getpid())); });
    const Reply stopped = client.call("Stop", {{"id", held.parameters["id"]}, {"timeout", "0s"}});
    INFO(stopped.parameters.dump());
    CHECK(stopped.error == "");
    CHECK(stopped.parameters["verdict"].is_object());
    CHECK(eventually([&] { return inits_of(ruled.service()).empty(); }));
    // Nothing of the job is left to wait for.
    CHECK(ruled.service().stop() == 0);
    CHECK(access(leaf.c_str(), F_OK) == 0);
  }
  CHECK(eventually([&] { return rmdir(leaf.c_str()) == 0; }));
}

TEST_CASE("where jobs cannot be placed below the caller's cgroup, asking for it is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  const Service without = world.configured({{"cgroup", "none"}});
  Client client = without.connect(world.alice());
  const Outcome outcome = client.run(with(world.probe_request(), {{"cgroup", "caller"}}));
  INFO(outcome.told());
  CHECK(outcome.error == "Unsupported");
  CHECK(outcome.parameters["feature"] == "cgroup");
  // Nobody has given alice the cgroup that she is in.
  for (const Way way : {Way::rootless, Way::alone}) {
    Client own = world.connect(way);
    const Outcome refused = own.run(with(world.probe_request(), {{"cgroup", "caller"}}));
    INFO(refused.told());
    CHECK((refused.error == "Unsupported" || refused.error == "LaunchFailed" ||
           refused.verdict["ending"] == "not_started"));
  }
}

TEST_CASE(
    "a job for which no cgroup can be made is not launched, and the step and error are told") {
  NEEDS_ROOT();
  if (const auto reason = why_no_cgroups(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  const std::string unified = tree_of("v2");
  const CallerCgroup caller({unified});
  write_proc(caller.directory(unified) + "/cgroup.max.descendants", "0");
  Client client = caller.connect(world.system(), world.alice());
  Outcome refused = client.run(with(world.probe_request(), {{"cgroup", "caller"}}));
  INFO(refused.told());
  CHECK(refused.error == "LaunchFailed");
  CHECK(refused.parameters["step"] == "cgroup");
  CHECK(refused.parameters["errno_name"] == "EAGAIN");
  CHECK(client.run(world.probe_request({"exit", "0"})).verdict["ok"] == true);
}

TEST_CASE("real time in a cgroup without a budget for it is refused with the reason") {
  NEEDS_ROOT();
  if (const auto reason = why_no_cgroups(); !reason.empty()) SKIP(reason);
  const std::string cpu = tree_of("cpu");
  if (cpu.empty() || access((cpu + "/cpu.rt_runtime_us").c_str(), F_OK) != 0)
    SKIP("this kernel does not group real-time tasks");
  World& world = World::get();
  const CallerCgroup caller({cpu});
  Client client = caller.connect(world.system(), world.root());
  Json request =
      with(world.probe_request(), {{"scheduler", {{"policy", "SCHED_RR"}, {"priority", 1}}}});
  CHECK(report_of(client, request)["scheduler"]["policy"] == SCHED_RR);
  request["cgroup"] = "caller";
  const Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.verdict["failure"]["step"] == "sched_setattr");
  CHECK(outcome.verdict["failure"]["errno_name"] == "EPERM");
  CHECK(outcome.verdict["failure"]["hint"].get<std::string>().find("cpu.rt_runtime_us") !=
        std::string::npos);
}

}  // namespace
}  // namespace cloister::security_test
