// Subordinate ids and id maps: who is what inside and outside.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <memory>
#include <sstream>
#include <tuple>

#include "ids.hpp"

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

Json line(unsigned inside, unsigned outside, unsigned count) {
  return {{"inside", inside}, {"outside", outside}, {"count", count}};
}

// The service reads its files again; a client that asks again sees it.
void reload(pid_t service) {
  check(kill(service, SIGHUP), "kill");
  usleep(200'000);
}

TEST_CASE("a subordinate map has the ids of subuid and subgid from 0 on, or leased ones") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
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
  NEEDS_LANDLOCK(2);
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
  NEEDS_LANDLOCK(2);
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

// Hides all places where the service looks for newuidmap(1) and newgidmap(1). Of
// those named, `at` has copies: they are set-uid.
class Programs {
 public:
  explicit Programs(const std::vector<std::string>& names = {},
                    const std::string& at = "/usr/bin") {
    std::vector<Fd> kept;
    for (const std::string& name : names)
      kept.emplace_back(check(open(("/usr/bin/" + name).c_str(), O_PATH | O_CLOEXEC), "open"));
    for (const char* directory : {"/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"})
      check(mount("none", directory, "tmpfs", 0, "mode=0755"), "mount");
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string from = "/proc/self/fd/" + std::to_string(kept[i].get());
      const std::string to = at + "/" + names[i];
      write_file(to, "", 0755);
      check(mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr), "mount");
    }
  }

  Client connect(Way way) {
    World& world = World::get();
    if (way == Way::alone) return world.connect_alone(world.alice());
    service_.reset();
    service_ = std::make_unique<Service>(world.alice(), world.directory_of(world.alice()));
    return service_->connect(world.alice());
  }

 private:
  PrivateMounts mounts_;
  std::unique_ptr<Service> service_;
};

TEST_CASE("a host without newuidmap or newgidmap is told which, and the package that has them") {
  NEEDS_ROOT();
  World& world = World::get();
  const Who& alice = world.alice();
  const auto map_of = [](const std::string& field) {
    return line(0, (field == "uid_map" ? uids_of : gids_of)(World::get().alice()).first, 1000);
  };
  for (const Way way : {Way::rootless, Way::alone}) {
    for (const auto& [missing, there, field] :
         {std::tuple{"newuidmap", "newgidmap", "uid_map"}, {"newgidmap", "newuidmap", "gid_map"}}) {
      CAPTURE(name_of(way));
      CAPTURE(std::string(missing));
      Programs programs({there});
      Client client = programs.connect(way);
      // In words, where it is the host that is to choose the ids.
      Outcome outcome = client.run(subordinate_request());
      INFO(outcome.told());
      CHECK(outcome.error == "Unsupported");
      CHECK(outcome.parameters["feature"] == field);
      std::string reason = outcome.parameters.value("reason", "");
      CHECK(reason.find(missing) != reason.npos);
      CHECK(reason.find("uidmap)") != reason.npos);
      // Given up, and told, where that is allowed.
      Outcome willing =
          client.run(with(subordinate_request(),
                          {{"best_effort", {"uid_map", "gid_map"}}, {"identity", "caller"}}));
      INFO(willing.told());
      CHECK(willing.verdict["degraded"] == Json{field});

      // As a launch that failed, where the ids were chosen.
      Json request = world.boxed_request();
      request["namespaces"]["user"] = "new";
      request["uid_map"] = Json::array({line(0, alice.uid, 1)});
      request["gid_map"] = Json::array({line(0, alice.gid, 1)});
      CHECK(client.run(request).verdict["ok"] == true);
      request[field] = Json::array({map_of(field)});
      Outcome failed = client.run(request);
      INFO(failed.told());
      CHECK(failed.out.empty());
      CHECK(failed.verdict["ending"] == "not_started");
      CHECK(failed.verdict["fault"] == "host");
      Json failure = failed.verdict["failure"];
      CHECK(failure["step"] == "id_map");
      CHECK(failure["field"] == field);
      CHECK(failure["errno_name"] == "ENOENT");
      reason = failure.value("message", "");
      CHECK(reason.find(missing) != reason.npos);
      reason = failure.value("hint", "");
      CHECK(reason.find("(Debian: uidmap)") != reason.npos);
    }
  }
}

TEST_CASE("newuidmap and newgidmap may lie where administrators install programs") {
  NEEDS_ROOT();
  for (const Way way : {Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Programs programs({"newuidmap", "newgidmap"}, "/usr/local/bin");
    Client client = programs.connect(way);
    CHECK(report_of(client, subordinate_request())["ruid"] == 0);
  }
}

TEST_CASE("ids that are nobody's to give, or somebody else's, are refused by name") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
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
