// Subordinate ids, id maps and leases: who is what inside and outside.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

struct Span {
  unsigned first = 0, count = 0;
};

// Of this user in /etc/subuid or /etc/subgid; useradd(8) makes one.
std::vector<Span> spans_of(const std::string& file, const std::string& name) {
  std::vector<Span> out;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    Span span;
    if (line.starts_with(name + ":") &&
        std::sscanf(line.c_str() + name.size(), ":%u:%u", &span.first, &span.count) == 2)
      out.push_back(span);
  }
  return out;
}

Span uids_of(const Who& who) {
  const auto spans = spans_of("/etc/subuid", World::get().name_of(who));
  REQUIRE(spans.size() == 1);
  return spans[0];
}
Span gids_of(const Who& who) {
  const auto spans = spans_of("/etc/subgid", World::get().name_of(who));
  REQUIRE(spans.size() == 1);
  return spans[0];
}

// "0 100000 65536" of a line of /proc/PID/uid_map.
Json lines_of(const Json& map) {
  Json out = Json::array();
  for (const auto& line : map) {
    unsigned inside, outside, count;
    REQUIRE(std::sscanf(line.get<std::string>().c_str(), "%u %u %u", &inside, &outside, &count) ==
            3);
    out.push_back({inside, outside, count});
  }
  return out;
}

Json line(unsigned inside, unsigned outside, unsigned count) {
  return {{"inside", inside}, {"outside", outside}, {"count", count}};
}

// In namespaces of its own, as a leased job has to be, with both maps.
Json subordinate_request(const std::vector<std::string>& arguments = {}) {
  return with(
      World::get().boxed_request(arguments),
      {{"namespaces", {{"user", "new"}}}, {"uid_map", "subordinate"}, {"gid_map", "subordinate"}});
}

// A job that stays until it is stopped.
struct Held {
  Client& client;
  std::string id;
  pid_t pid = 0;

  Held(Client& of, Json request) : client(of) {
    request["argv"] = {"probe", "hold"};
    // The ids of a job that has ended are free a moment later.
    Reply reply;
    eventually([&] {
      reply = client.call("Start", {{"request", request}});
      return reply.error != "Busy";
    });
    INFO(reply.error);
    INFO(reply.parameters.dump());
    REQUIRE(reply.error == "");
    id = reply.parameters["id"];
    pid = reply.parameters["pid"].get<pid_t>();
  }
  void stop() {
    if (id.empty()) return;
    client.call("Stop", {{"id", id}, {"timeout", "0s"}});
    client.call("Remove", {{"id", std::exchange(id, "")}});
  }
  ~Held() { stop(); }
};

constexpr unsigned kPool = 1'900'000'000;

// The service reads its files again; a client that asks again sees it.
void reload(pid_t service) {
  check(kill(service, SIGHUP), "kill");
  usleep(200'000);
}

TEST_CASE("a subordinate map has the ids of subuid and subgid from 0 on, or leased ones") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json report = report_of(client, subordinate_request());
    CHECK(report["ruid"] == 0);
    CHECK(report["rgid"] == 0);
    CHECK(report["groups"] == Json::array());
    const Json uids = lines_of(report["uid_map"]), gids = lines_of(report["gid_map"]);
    REQUIRE(uids.size() == 1);
    REQUIRE(gids.size() == 1);
    if (way == Way::root) {
      CHECK(uids == gids);
      CHECK(uids[0][1] >= 1879048192);
      CHECK(uids[0][1] < 1879048192 + 16777216);
      CHECK(uids[0][2] == 65536);
    } else {
      const Span u = uids_of(world.alice()), g = gids_of(world.alice());
      CHECK(uids[0] == Json{0, u.first, u.count});
      CHECK(gids[0] == Json{0, g.first, g.count});
    }
    CHECK(uids[0][0] == 0);
    CHECK(report["setgroups"].get<std::string>().starts_with("allow"));
    // Without being asked for, no capability and no way to one.
    CHECK(report["capabilities"]["effective"] == 0);

    Held job(client, with(subordinate_request(), {{"identity",
                                                   {{"ruid", 7},
                                                    {"euid", 7},
                                                    {"suid", 7},
                                                    {"rgid", 8},
                                                    {"egid", 8},
                                                    {"sgid", 8},
                                                    {"groups", {9, 10}}}}}));
    const Json held_uids =
        lines_of(Json::array({read_file("/proc/" + std::to_string(job.pid) + "/uid_map")}));
    const Json held_gids =
        lines_of(Json::array({read_file("/proc/" + std::to_string(job.pid) + "/gid_map")}));
    CHECK(status_of(job.pid, "Uid") == four(held_uids[0][1].get<unsigned>() + 7));
    CHECK(status_of(job.pid, "Gid") == four(held_gids[0][1].get<unsigned>() + 8));
    const unsigned first = held_gids[0][1];
    CHECK(status_of(job.pid, "Groups") ==
          std::to_string(first + 9) + " " + std::to_string(first + 10) + " ");
    if (way != Way::root) CHECK(first == gids_of(world.alice()).first);
  }
}

TEST_CASE("files of a subordinate job belong to its own ids") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = subordinate_request({"create", "/scratch/file"});
    request["mounts"].push_back({{"at", "/run/scratch"}, {"scratch", Json::object()}});
    request["argv"] = {"probe", "create", "/run/scratch/file"};
    request["identity"] = {{"ruid", 12}, {"rgid", 12}, {"groups", Json::array()}};
    const Outcome outcome = client.run(request);
    INFO(outcome.told());
    INFO(outcome.out);
    CHECK(outcome.out.find("null") != std::string::npos);
  }
}

TEST_CASE("an id outside of the map cannot be taken on") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& identity : {Json{{"ruid", 65536}, {"rgid", 0}, {"groups", Json::array()}},
                                 Json{{"ruid", 0}, {"rgid", 65536}, {"groups", Json::array()}},
                                 Json{{"ruid", 0}, {"rgid", 0}, {"groups", {65536}}}}) {
      CAPTURE(identity.dump());
      const Outcome outcome = client.run(with(subordinate_request(), {{"identity", identity}}));
      INFO(outcome.told());
      REQUIRE(outcome.verdict["ending"] == "not_started");
      CHECK(outcome.verdict["failure"]["errno_name"] == "EINVAL");
      CHECK(outcome.verdict["failure"]["field"].get<std::string>().starts_with("identity"));
    }
  }
}

TEST_CASE("own and subordinate ids go into one map, line by line") {
  NEEDS_ROOT();
  World& world = World::get();
  const Who& alice = world.alice();
  const Span u = uids_of(alice), g = gids_of(alice);
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.boxed_request();
    request["namespaces"]["user"] = "new";
    request["uid_map"] = {line(0, alice.uid, 1), line(1, u.first, 1000),
                          line(5000, u.first + 1000, 1)};
    request["gid_map"] = {line(0, alice.gid, 1), line(1, g.first, 1000)};
    request["identity"] = {{"ruid", 0}, {"rgid", 0}, {"groups", {5}}};
    const Json report = report_of(client, request);
    CHECK(report["ruid"] == 0);
    CHECK(lines_of(report["uid_map"]) ==
          Json{{0, alice.uid, 1}, {1, u.first, 1000}, {5000, u.first + 1000, 1}});
    CHECK(lines_of(report["gid_map"]) == Json{{0, alice.gid, 1}, {1, g.first, 1000}});
    CHECK(report["groups"] == Json{5});
    CHECK(report["setgroups"].get<std::string>().starts_with("allow"));

    // Only uids are subordinate: the groups stay, as root gave no group ids.
    request["gid_map"] = Json::array({line(0, alice.gid, 1)});
    request["identity"] = {{"ruid", 7}, {"rgid", 0}};
    const Json fixed = report_of(client, request);
    CHECK(fixed["ruid"] == 7);
    CHECK(fixed["setgroups"].get<std::string>().starts_with("deny"));
  }
}

TEST_CASE("ids that are nobody's to give, or somebody else's, are refused by name") {
  NEEDS_ROOT();
  World& world = World::get();
  const Who& alice = world.alice();
  const Span u = uids_of(alice), g = gids_of(alice), bobs = uids_of(world.bob());
  struct Map {
    unsigned outside, count;
  };
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Map& map :
         {Map{0, 1}, Map{0, 65536}, Map{1, 1}, Map{33, 1}, Map{999, 1}, Map{65534, 1},
          Map{bobs.first, 1}, Map{bobs.first, bobs.count}, Map{world.bob().uid, 1},
          Map{u.first - 1, 2}, Map{u.first, u.count + 1}, Map{u.first + u.count - 1, 2},
          Map{1879048192, 65536}, Map{alice.uid, 2}, Map{4294967294u, 1}}) {
      CAPTURE(map.outside);
      CAPTURE(map.count);
      for (const char* which : {"uid_map", "gid_map"}) {
        Json request = world.boxed_request({"noop"});
        request["namespaces"]["user"] = "new";
        request["identity"] = {{"ruid", 0}, {"rgid", 0}, {"groups", Json::array()}};
        request["uid_map"] = Json::array({line(0, u.first, 10)});
        request["gid_map"] = Json::array({line(0, g.first, 10)});
        request[which] = Json::array({line(0, map.outside, map.count)});
        const Outcome outcome = client.run(request);
        INFO(outcome.told());
        CHECK(outcome.error == "Denied");
        CHECK(outcome.parameters["field"] == which);
      }
    }
  }
}

TEST_CASE("several ranges follow each other inside, once the service has read them") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string name = world.name_of(world.alice());
  const Span u = uids_of(world.alice()), g = gids_of(world.alice());
  world.connect(Way::user);
  world.connect(Way::rootless);
  REQUIRE(command({"usermod", "--add-subuids", "700000000-700000009", "--add-subgids",
                   "710000000-710000019", name}) == 0);
  reload(world.system().pid());
  reload(world.rootless().pid());
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json report = report_of(
        client, with(subordinate_request(),
                     {{"identity", {{"ruid", 65545}, {"rgid", 65555}, {"groups", {65536}}}}}));
    CHECK(lines_of(report["uid_map"]) == Json{{0, u.first, u.count}, {65536, 700000000, 10}});
    CHECK(lines_of(report["gid_map"]) == Json{{0, g.first, g.count}, {65536, 710000000, 20}});
    CHECK(report["ruid"] == 65545);
    CHECK(report["groups"] == Json{65536});
  }
  // usermod(8) takes nothing from a user who has processes.
  CHECK(command({"sed", "-i", "/^" + name + ":7[01]0000000:/d", "/etc/subuid", "/etc/subgid"}) ==
        0);
  reload(world.system().pid());
  reload(world.rootless().pid());
}

TEST_CASE("who has no subordinate ids is told which file lacks an entry for whom") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string name = world.name_of(world.bob());
  const Span u = uids_of(world.bob()), g = gids_of(world.bob());
  const auto range = [](const Span& span) {
    return std::to_string(span.first) + "-" + std::to_string(span.first + span.count - 1);
  };
  REQUIRE(command({"usermod", "--del-subuids", range(u), "--del-subgids", range(g), name}) == 0);
  {
    const Service plain = world.configured();
    for (const bool alone : {false, true}) {
      CAPTURE(alone);
      Client client = alone ? world.connect_alone(world.bob()) : plain.connect(world.bob());
      const Outcome outcome = client.run(subordinate_request());
      INFO(outcome.told());
      CHECK(outcome.error == "Unsupported");
      CHECK(outcome.parameters["feature"] == "uid_map");
      const std::string reason = outcome.parameters["reason"];
      CHECK(reason.find("/etc/subuid") != reason.npos);
      CHECK(reason.find(name) != reason.npos);
      CHECK(reason.find("--add-subuids") != reason.npos);
      // Given up, and told, where that is allowed.
      const Outcome willing =
          client.run(with(subordinate_request(),
                          {{"best_effort", {"uid_map", "gid_map"}}, {"identity", "caller"}}));
      INFO(willing.told());
      CHECK(willing.verdict["degraded"] == Json{"gid_map", "uid_map"});
      CHECK(lines_of(willing.report()["uid_map"])[0][1] == world.bob().uid);
    }
    // Root's own service, asked by root: who may map anything still has no range.
    Client root = plain.connect(world.root());
    CHECK(root.run(subordinate_request()).error == "Unsupported");
  }
  CHECK(command({"usermod", "--add-subuids", range(u), "--add-subgids", range(g), name}) == 0);
}

TEST_CASE("a leased block belongs to one job at a time, and all out is an answer") {
  NEEDS_ROOT();
  World& world = World::get();
  // Two blocks, and the last one for single ids.
  const Service pool = world.configured(
      {{"lease", {{"first", kPool}, {"count", 3000}, {"block", 1000}}}});
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
  first->stop();
  eventually([&] { return client.run(subordinate_request({"noop"})).error.empty(); });
  first.emplace(client, subordinate_request());
  CHECK(outside(*first) == one);
  first->stop();
  second->stop();
}

TEST_CASE("a job with leased ids writes nothing that outlasts them") {
  NEEDS_ROOT();
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
  // As the user itself they can, which shows that the attempts are good ones.
  Json own = request;
  own.erase("identity");
  Held target(client, own);
  const Outcome outcome =
      second.run(with(own, {{"argv", {"probe", "assault", std::to_string(target.pid)}}}));
  CHECK(outcome.report()["kill"].is_null());
  target.id.clear();
}

TEST_CASE("an id is not leased again while a process of its job lives") {
  NEEDS_ROOT();
  World& world = World::get();
  // One id, in one block.
  const Service pool = world.configured(
      {{"lease", {{"first", kPool}, {"count", 1}, {"block", 1}}}});
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

TEST_CASE("root takes on other ids in a box as well as without one") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const Json report = report_of(client, with(world.boxed_request(), {{"identity",
                                                                      {{"ruid", 4001},
                                                                       {"euid", 4002},
                                                                       {"suid", 4003},
                                                                       {"rgid", 5001},
                                                                       {"egid", 5002},
                                                                       {"sgid", 5003},
                                                                       {"groups", {77}}}}}));
  CHECK(report["status"]["Uid"] == "4001\t4002\t4002\t4002");
  CHECK(report["status"]["Gid"] == "5001\t5002\t5002\t5002");
  CHECK(report["groups"] == Json{77});
}

}  // namespace
}  // namespace cloister::system_test
