// Leased ids: nobody's but one job's, for as long as a process of it lives.
#include <fcntl.h>

#include <optional>

#include "ids.hpp"

namespace cloister::system_test {
namespace {

constexpr unsigned kPool = 1'900'000'000;

TEST_CASE("a leased block belongs to one job at a time, and all out is an answer") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  // Two blocks, and the last one for single ids.
  const Service pool =
      world.configured({{"lease", {{"first", kPool}, {"count", 3000}, {"block", 1000}}}});
  Client client = pool.connect(world.root());
  std::optional<Held> first, second;
  first.emplace(client, subordinate_request());
  second.emplace(client, subordinate_request());
  const auto outside = [](const Held& job) {
    return lines_of(Json::array({read_file("/proc/" + std::to_string(job.pid) + "/uid_map")}))[0][1]
        .get<unsigned>();
  };
  const unsigned one = outside(*first), other = outside(*second);
  CHECK(one != other);
  for (const unsigned block : {one, other}) CHECK((block == kPool || block == kPool + 1000));
  const Outcome busy = client.run(subordinate_request());
  INFO(busy.told());
  CHECK(busy.error == "Busy");
  CHECK(busy.parameters["rule"] == "lease");
  first->stop();
  eventually([&] { return client.run(subordinate_request({"noop"})).error.empty(); });
  first.emplace(client, subordinate_request());
  CHECK(outside(*first) == one);
  first->stop();
  second->stop();
}

TEST_CASE("a job with leased ids writes nothing that outlasts them") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  const std::string directory = world.directory_of(world.root());
  const Fd folder(check(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
  Client client = world.connect(Way::root);
  for (const Json& base : {subordinate_request({"noop"}),
                           with(world.boxed_request({"noop"}), {{"identity", "dynamic"}})}) {
    Json bound = base;
    bound["mounts"].push_back({{"at", "/run/out"}, {"bind", directory}, {"access", "rw"}});
    Outcome outcome = client.run(bound);
    INFO(outcome.told());
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["field"] == "mounts./run/out");
    bound["mounts"].back()["access"] = "ro";
    CHECK(client.run(bound).verdict["ok"] == true);

    outcome = client.run(with(base, {{"workspace", {{"path", directory}}}}));
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["field"] == "workspace.access");

    outcome = client.run(with(base, {{"namespaces", {{"ipc", "host"}}}}));
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["field"] == "namespaces.ipc");

    const Json place = {{"passed_fd", 0}, {"fd", 7}};
    outcome = client.run(
        with(base, {{"file_actions", {{{"receive", with(place, {{"directory", true}})}}}}}),
        {folder.get()});
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["field"] == "file_actions[0].receive.directory");
  }
  Json plain = world.probe_request({"noop"});
  plain["identity"] = "dynamic";
  const Outcome outcome = client.run(plain);
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters["field"] == "namespaces.mnt");
}

TEST_CASE("a dynamic identity is one leased id, uid and gid, without groups") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json request = with(world.boxed_request(), {{"identity", "dynamic"}});
    const Json report = report_of(client, request);
    const unsigned id = report["ruid"];
    CHECK(id >= 1879048192 + 16777216 - 65536);
    CHECK(id < 1879048192 + 16777216);
    for (const char* name : {"euid", "suid", "fsuid", "rgid", "egid", "sgid", "fsgid"}) {
      CAPTURE(std::string(name));
      CHECK(report[name] == id);
    }
    CHECK(report["groups"] == Json::array());
    CHECK(report["namespaces"]["user"] == own_namespace("user"));
    CHECK(report_of(client, request)["ruid"] != id);
    Json home = request;
    home["mounts"].push_back({{"at", "/run/scratch"}, {"scratch", Json::object()}});
    home["argv"] = {"probe", "create", "/run/scratch/file"};
    CHECK(client.run(home).verdict["exit_code"] == 0);
  }
  for (const Way way : {Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json request = with(world.boxed_request(), {{"identity", "dynamic"}});
    const Outcome outcome = client.run(request);
    CHECK(outcome.error == "Unsupported");
    CHECK(outcome.parameters["feature"] == "identity");
    CHECK(outcome.parameters["reason"].get<std::string>().find("system service") !=
          std::string::npos);
    const Outcome willing = client.run(with(request, {{"best_effort", {"identity"}}}));
    CHECK(willing.verdict["degraded"] == Json{"identity"});
    CHECK(willing.report()["ruid"] == world.alice().uid);
  }
  const Service plain = world.configured();
  Client client = plain.connect(world.alice());
  const Outcome outcome = client.run(with(world.boxed_request(), {{"identity", "dynamic"}}));
  CHECK(outcome.error == "Unsupported");
  CHECK(outcome.parameters["reason"].get<std::string>().find("lease") != std::string::npos);
}

TEST_CASE("two dynamic jobs of one user cannot signal, trace or read each other") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  Client client = world.connect(Way::user), second = world.connect(Way::user);
  // They see each other: what keeps them apart is who they are.
  const Json request =
      with(world.boxed_request(), {{"identity", "dynamic"}, {"namespaces", {{"pid", "host"}}}});
  if (client.call("Describe").parameters["cgroup_version"] == 0)
    SKIP("without cgroups a leased job needs a pid namespace of its own");
  const auto assault = [&](const Json& target_request, const Json& attacker_request) {
    Held target(client, target_request);
    const Outcome outcome = second.run(
        with(attacker_request, {{"argv", {"probe", "assault", std::to_string(target.pid)}}}));
    INFO(outcome.told());
    Json said = outcome.report();
    CHECK(alive(target.pid));
    return said;
  };
  Json said = assault(request, request);
  INFO(said.dump());
  for (const char* attempt : {"kill", "kill group", "tgkill", "sigqueue", "ptrace", "ptrace seize",
                              "process_vm_readv", "pidfd_getfd", "pidfd_send_signal", "prlimit",
                              "setpriority", "sched_setscheduler", "kcmp"}) {
    CAPTURE(std::string(attempt));
    CHECK(said[attempt] == "EPERM");
  }
  for (const char* file : {"/mem", "/environ", "/root"}) {
    CAPTURE(std::string(file));
    CHECK(said[file] == "EACCES");
  }
  // As the user itself, and in no box, they can, which shows that the attempts are good ones.
  Held target(client, world.probe_request());
  const Outcome outcome = second.run(world.probe_request({"assault", std::to_string(target.pid)}));
  CHECK(outcome.report()["kill"].is_null());
  target.id.clear();
}

TEST_CASE("an id is not leased again while a process of its job lives") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  // One id, in one block.
  const Service pool =
      world.configured({{"lease", {{"first", kPool}, {"count", 1}, {"block", 1}}}});
  Client client = pool.connect(world.alice());
  const Json request = with(world.boxed_request(), {{"identity", "dynamic"}});
  for (int round = 0; round < 3; ++round) {
    Held job(client, request);
    CHECK(status_of(job.pid, "Uid") == four(kPool));
    const Outcome busy = client.run(request);
    INFO(busy.told());
    CHECK(busy.error == "Busy");
    job.stop();
    bool served = false;
    // Whoever is served finds nobody with its id.
    eventually([&] {
      const Outcome next = client.run(with(request, {{"argv", {"probe", "orphan", "60000"}}}));
      served = next.error.empty();
      return served;
    });
    CHECK(served);
    CHECK(command({"pgrep", "-U", std::to_string(kPool)}) != 0);
  }
  // A block of its own is more than such a pool has.
  CHECK(client
            .run(with(world.boxed_request(), {{"namespaces", {{"user", "new"}}},
                                              {"uid_map", "subordinate"},
                                              {"gid_map", "subordinate"}}))
            .error.empty());  // alice has her own
  Client root = pool.connect(world.root());
  CHECK(root.run(subordinate_request()).error == "Unsupported");
}

}  // namespace
}  // namespace cloister::system_test
