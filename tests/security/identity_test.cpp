// ID-01 to ID-10: who a payload can be made to be.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "people.hpp"

namespace cloister::security_test {
namespace {

// Nothing ran, or what ran did not come to a good end.
void check_not_served(const Outcome& outcome) {
  INFO(outcome.told());
  CHECK((!outcome.error.empty() || outcome.verdict["ok"] != true));
}

TEST_CASE("ID-01 the four uids and gids are the caller's, and the groups are too") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Who& who = world.who(way);
    for (const Json& request : {world.probe_request(), world.boxed_request()}) {
      const Json report = report_of(client, request);
      CHECK(report["status"]["Uid"] == four(who.uid));
      CHECK(report["status"]["Gid"] == four(who.gid));
      CHECK(report["groups"] == Json(who.groups));
    }
  }
  Client root = world.connect(Way::root);
  const Json report = report_of(
      root, with(world.probe_request(),
                 {{"identity", {{"ruid", 4001}, {"rgid", 5001}, {"groups", Json::array()}}}}));
  CHECK(report["status"]["Uid"] == four(4001));
  CHECK(report["status"]["Gid"] == four(5001));
  CHECK(report["groups"] == Json::array());
}

// Root's, in a directory of root's that nobody else may enter; and one that
// lies in the open but that nobody else may read.
struct Canaries {
  std::string vault, secret, tool, locked;
  struct stat before[4];

  explicit Canaries(World& world) {
    const std::string open_directory = world.directory_of(world.root());
    check(chmod(open_directory.c_str(), 0755), "chmod");
    vault = open_directory + "/vault";
    secret = vault + "/secret";
    tool = vault + "/tool";
    locked = open_directory + "/locked";
    check(mkdir(vault.c_str(), 0700), "mkdir");
    write_file(secret, "canary", 0666);
    REQUIRE(command({"cp", world.probe(), tool}) == 0);
    write_file(locked, "canary", 0600);
    for (int i = 0; i < 4; ++i) check(stat(path(i), &before[i]), "stat");
  }
  const char* path(int i) const {
    const std::string* all[] = {&vault, &secret, &tool, &locked};
    return all[i]->c_str();
  }
  void check_untouched() const {
    for (int i = 0; i < 4; ++i) {
      CAPTURE(i);
      struct stat now;
      REQUIRE(stat(path(i), &now) == 0);
      CHECK(now.st_mode == before[i].st_mode);
      CHECK(now.st_uid == before[i].st_uid);
      CHECK(now.st_gid == before[i].st_gid);
      CHECK(now.st_size == before[i].st_size);
      CHECK(now.st_ctim.tv_sec == before[i].st_ctim.tv_sec);
      CHECK(now.st_ctim.tv_nsec == before[i].st_ctim.tv_nsec);
    }
    CHECK(read_file(secret) == "canary");
    CHECK(access((vault + "/made").c_str(), F_OK) != 0);
  }
};

TEST_CASE("ID-02 what a client cannot open itself is not opened, made or changed for it") {
  NEEDS_ROOT();
  World& world = World::get();
  const Canaries canaries(world);
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const auto open_action = [](const std::string& path) {
      return Json{
          {"file_actions",
           {{{"open", {{"fd", 4}, {"path", path}, {"flags", {"O_RDWR", "O_CREAT", "O_TRUNC"}}}}}}}};
    };
    for (const std::string& path : {canaries.secret, canaries.locked, canaries.vault + "/made"}) {
      for (const Json& members :
           {Json{{"stdin", {{"path", path}}}}, Json{{"stdout", {{"path", path}}}},
            Json{{"stderr", {{"path", path}}}}, open_action(path), Json{{"executable", path}},
            Json{{"executable", canaries.tool}}, Json{{"cwd", canaries.vault}},
            Json{{"file_actions", {{{"chdir", {{"path", canaries.vault}}}}}}}}) {
        CAPTURE(members.dump());
        check_not_served(client.run(with(world.probe_request({"cat"}), members)));
        check_not_served(client.run(with(world.boxed_request({"cat"}), members)));
      }
      // In a box the name leads elsewhere; what is bound stays what it is.
      Json bound = world.boxed_request({"read", "/run/bound"});
      bound["mounts"].push_back({{"at", "/run/bound"}, {"bind", path}});
      check_not_served(client.run(bound));
      bound["mounts"].back()["access"] = "rw";
      bound["argv"] = {"probe", "file-write", "/run/bound", "spoilt"};
      check_not_served(client.run(bound));
    }
    Json workspace = world.boxed_request({"create", canaries.vault + "/made"});
    workspace["workspace"] = {{"path", canaries.vault}};
    check_not_served(client.run(workspace));
    canaries.check_untouched();
  }
}

TEST_CASE("ID-04 an O_PATH descriptor of a closed directory opens nothing in it") {
  NEEDS_ROOT();
  World& world = World::get();
  const Canaries canaries(world);
  const Fd vault(check(open(canaries.vault.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), "open")),
      tool(check(open(canaries.tool.c_str(), O_PATH | O_CLOEXEC), "open"));
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json bound = world.boxed_request({"read", "/run/bound/secret"});
    bound["mounts"].push_back({{"at", "/run/bound"}, {"bind", {{"passed_fd", 0}}}});
    check_not_served(client.run(bound, {vault.get()}));
    for (const Json& base :
         {world.probe_request({"read", "secret"}), world.boxed_request({"read", "secret"})}) {
      check_not_served(client.run(with(base, {{"cwd", {{"passed_fd", 0}}}}), {vault.get()}));
      check_not_served(client.run(
          with(base, {{"file_actions",
                       {{{"receive", {{"passed_fd", 0}, {"fd", 7}, {"directory", true}}}},
                        {{"fchdir", {{"fd", 7}}}}}}}),
          {vault.get()}));
    }
    canaries.check_untouched();
  }
  check(chmod(canaries.tool.c_str(), 0700), "chmod");
  for (const Way way : {Way::user, Way::rootless}) {
    Client client = world.connect(way);
    check_not_served(client.run(
        with(world.probe_request({"noop"}), {{"executable", {{"passed_fd", 0}}}}), {tool.get()}));
  }
}

TEST_CASE("ID-05 uid 0, system users, other clients and their groups are refused by policy") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const auto check_denied = [&](const std::string& name, unsigned id) {
    CAPTURE(id);
    CAPTURE(name);
    for (const Json& base : {world.probe_request(), world.boxed_request()})
      CHECK(client.run(with(base, {{"identity", {{name, id}}}})).error == "Denied");
  };
  // A user and a group of one number need not be the same person's.
  for (const unsigned id : {0u, 1u, 2u, 33u, 65534u, 100000u, world.bob().uid})
    for (const char* name : {"ruid", "euid", "suid"}) check_denied(name, id);
  for (const unsigned id : {0u, 1u, 2u, 33u, 65534u, 100000u, world.bob().gid}) {
    for (const char* name : {"rgid", "egid", "sgid"}) check_denied(name, id);
    CHECK(client.run(with(world.probe_request(), {{"identity", {{"groups", Json::array({id})}}}}))
              .error == "Denied");
  }
}

TEST_CASE("ID-05 a namespace that is not the client's own is not joined, whoever holds its file") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (const char* name : {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"}) {
    CAPTURE(name);
    const Fd space(
        check(open(("/proc/self/ns/" + std::string(name)).c_str(), O_RDONLY | O_CLOEXEC), "open"));
    for (const Json& identity : {Json("caller"), Json{{"ruid", 0}, {"rgid", 0}}}) {
      Json request = world.probe_request({"noop"});
      request["namespaces"] = {{name, {{"passed_fd", 0}}}};
      request["identity"] = identity;
      const Outcome outcome = client.run(request, {space.get()});
      INFO(outcome.told());
      CHECK(outcome.error == "Denied");
    }
  }
  // By way of a job of its own that has no user namespace of its own.
  const Reply job = client.call("Start", {{"request", world.probe_request({"hold"})}});
  REQUIRE(job.error == "");
  for (const char* name : {"user", "mnt", "net"}) {
    CAPTURE(name);
    Json request = world.probe_request();
    request["namespaces"] = {{name, {{"job", job.parameters["id"]}}}};
    request["identity"] = {{"ruid", 0}, {"rgid", 0}};
    check_not_served(client.run(request));
    request["namespaces"]["user"] = {{"job", job.parameters["id"]}};
    check_not_served(client.run(request));
  }
  client.call("Stop", {{"id", job.parameters["id"]}});
}

TEST_CASE("ID-05 no default mapping holds the host's uid 0") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::vector<Json> requests = {world.boxed_request()};
    requests.push_back(with(world.probe_request(), {{"namespaces", {{"user", "new"}}}}));
    for (const Json& request : requests) {
      const Json report = report_of(client, request);
      // The initial user namespace maps everything; in it the payload is alice.
      if (report["namespaces"]["user"] == own_namespace("user")) {
        CHECK(report["ruid"] == world.alice().uid);
        continue;
      }
      unsigned inside, outside, count;
      REQUIRE(report["uid_map"].size() == 1);
      REQUIRE(std::sscanf(report["uid_map"][0].get<std::string>().c_str(), "%u %u %u", &inside,
                          &outside, &count) == 3);
      CHECK(outside == world.alice().uid);
      CHECK(count == 1);
      CHECK(report["setgroups"].get<std::string>().starts_with("deny"));
    }
  }
}

TEST_CASE("ID-05 no chosen id is the host's root, a system user or another client's") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  const auto check_chosen = [&](unsigned first, unsigned count) {
    CHECK(first >= 65536);
    CHECK(count <= 4294967295u - first);
    for (const Who* who : {&world.alice(), &world.bob()})
      CHECK((who->uid < first || who->uid - first >= count));
  };
  std::vector<std::pair<unsigned, unsigned>> seen;
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.boxed_request();
    request["namespaces"]["user"] = "new";
    request["uid_map"] = request["gid_map"] = "subordinate";
    const Json report = report_of(client, request);
    for (const char* map : {"uid_map", "gid_map"})
      for (const auto& line : report[map]) {
        unsigned inside, outside, count;
        REQUIRE(std::sscanf(line.get<std::string>().c_str(), "%u %u %u", &inside, &outside,
                            &count) == 3);
        check_chosen(outside, count);
        if (way == Way::root) seen.emplace_back(outside, count);
      }
    if (way == Way::rootless || way == Way::alone) continue;
    const Json dynamic = report_of(client, with(world.boxed_request(), {{"identity", "dynamic"}}));
    check_chosen(dynamic["ruid"], 1);
    check_chosen(dynamic["rgid"], 1);
  }
  // What is leased is in nobody's range.
  const std::string ranges = read_file("/etc/subuid") + read_file("/etc/subgid");
  for (size_t at = 0; at < ranges.size(); at = ranges.find('\n', at) + 1) {
    unsigned first, count;
    if (std::sscanf(ranges.c_str() + at, "%*[^:]:%u:%u", &first, &count) != 2) continue;
    for (const auto& [from, many] : seen) CHECK((first >= from + many || first + count <= from));
  }
}

TEST_CASE("ID-06 maps that overlap, wrap, are empty, too long or foreign are refused") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const unsigned own = world.alice().uid, own_group = world.alice().gid;
  const auto line = [](unsigned inside, unsigned outside, unsigned count) {
    return Json{{"inside", inside}, {"outside", outside}, {"count", count}};
  };
  Json long_map = Json::array();
  for (unsigned i = 0; i < 341; ++i) long_map.push_back(line(i, own, 1));
  const auto wrong = [&](unsigned mine, unsigned bobs) -> std::vector<Json> {
    return {{line(0, mine, 1), line(0, mine, 1)},
            {line(0, mine, 1), line(1, mine, 1)},
            {line(4294967290u, mine, 100)},
            {line(0, 4294967290u, 100)},
            {line(0, mine, 4294967295u)},
            {line(1, mine, 4294967295u)},
            {line(0, mine, 0)},
            {line(0, 0, 1)},
            {line(0, 0, 4294967294u)},
            {line(0, mine, 2)},
            {line(0, mine, 1), line(1, 0, 1)},
            {line(0, bobs, 1)},
            {line(0, 4294967294u, 1)},
            long_map};
  };
  for (const std::string which : {"uid_map", "gid_map"}) {
    const bool users = which == "uid_map";
    for (const Json& map :
         wrong(users ? own : own_group, users ? world.bob().uid : world.bob().gid)) {
      CAPTURE(map.dump().substr(0, 200));
      Json request = world.probe_request({"noop"});
      request["namespaces"] = {{"user", "new"}};
      request["identity"] = {{"ruid", 0}, {"rgid", 0}};
      request["uid_map"] = Json::array({line(0, own, 1)});
      request["gid_map"] = Json::array({line(0, own_group, 1)});
      request[which] = map;
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK((outcome.error == "InvalidRequest" || outcome.error == "Denied"));
    }
  }
  // As many lines as the kernel takes, and as much text: root's, of short ids, and
  // its own by subuid(5), of longer ones.
  const auto many = [&](Client& of, unsigned first, unsigned group, unsigned lines) {
    Json request = world.boxed_request({"noop"});
    request["namespaces"]["user"] = "new";
    request["uid_map"] = Json::array();
    for (unsigned i = 0; i < lines; ++i) request["uid_map"].push_back(line(i, first + 2 * i, 1));
    request["gid_map"] = Json::array({line(0, group, 1)});
    request["identity"] = {{"ruid", lines - 1}, {"rgid", 0}};
    const Outcome outcome = of.run(request);
    INFO(outcome.told().substr(0, 2000));
    return outcome.error.empty() ? outcome.verdict["ok"].dump()
                                 : outcome.error + " " + outcome.parameters.value("rule", "");
  };
  unsigned first = 0;
  const std::string ranges = read_file("/etc/subuid"), name = world.name_of(world.alice()) + ":";
  REQUIRE(std::sscanf(ranges.c_str() + ranges.find(name) + name.size(), "%u", &first) == 1);
  Client root = world.connect(Way::root);
  CHECK(many(root, 2000, 0, 340) == "true");
  CHECK(many(root, 2000, 0, 341) == "InvalidRequest ");
  CHECK(many(client, first, own_group, 300) == "true");
  CHECK(many(client, first, own_group, 330) == "Denied less-than-a-page");
  // The one that is its own: uid 0 in there, itself out here, no setgroups(2).
  Json request = world.probe_request();
  request["namespaces"] = {{"user", "new"}};
  request["identity"] = {{"ruid", 0}, {"rgid", 0}};
  request["uid_map"] = Json::array({line(0, own, 1)});
  request["gid_map"] = Json::array({line(0, own_group, 1)});
  const Json report = report_of(client, request);
  CHECK(report["ruid"] == 0);
  CHECK(report["setgroups"].get<std::string>().starts_with("deny"));
  request["argv"] = {"probe", "hold"};
  const Reply job = client.call("Start", {{"request", request}});
  REQUIRE(job.error == "");
  const pid_t pid = job.parameters["pid"].get<pid_t>();
  CHECK(status_of(pid, "Uid") == four(own));
  if (client.call("Describe").parameters["cgroup_version"] == 2) {
    CHECK(read_file("/proc/" + std::to_string(pid) + "/cgroup").find("/payload\n") !=
          std::string::npos);
  }
  client.call("Stop", {{"id", job.parameters["id"]}});
}

TEST_CASE("ID-07 inheritable and ambient sets are empty, securebits are 0, nothing is regained") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : {world.probe_request(), world.boxed_request()}) {
      const Json report = report_of(client, request);
      CHECK(report["status"]["CapInh"] == "0000000000000000");
      CHECK(report["status"]["CapAmb"] == "0000000000000000");
      CHECK(report["securebits"] == 0);
      request["argv"] = {"probe", "threads"};
      const Json threads = Json::parse(client.run(request).out, nullptr, false);
      REQUIRE(threads.size() == 4);
      for (const auto& thread : threads) {
        for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
          CHECK(thread[set] == report["status"][set]);
        }
      }
      if (way == Way::root) continue;
      CHECK(report["status"]["CapPrm"] == "0000000000000000");
      CHECK(report["status"]["CapEff"] == "0000000000000000");
      request["argv"] = {"probe", "regain"};
      CHECK(client.run(request).verdict["exit_code"] == 0);
    }
  }
}

TEST_CASE("ID-10 nothing privileged reads what lies in the payload's root") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string root = world.directory_of(world.alice());
  for (const char* directory : {"/etc", "/lib", "/usr", "/usr/lib", "/usr/lib/locale", "/proc"}) {
    check(mkdir((root + directory).c_str(), 0755), "mkdir");
  }
  REQUIRE(command({"cp", world.probe(), root + "/probe"}) == 0);
  // A FIFO without a writer: who opens one for reading stays there for good.
  for (const char* bait :
       {"/etc/nsswitch.conf", "/etc/ld.so.preload", "/etc/ld.so.cache", "/etc/passwd", "/etc/group",
        "/etc/hosts", "/etc/localtime", "/lib/libnss_files.so.2", "/usr/lib/locale/locale-archive",
        "/etc/gai.conf", "/etc/host.conf", "/etc/resolv.conf"}) {
    check(mkfifo((root + bait).c_str(), 0666), "mkfifo");
  }
  REQUIRE(command({"chown", "-R", world.name_of(world.alice()), root}) == 0);
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.probe_request();
    request["executable"] = "/probe";
    request["cwd"] = "/";
    request["namespaces"] = {
        {"mnt", "new"}, {"pid", "new"}, {"uts", "new"}, {"ipc", "new"}, {"net", "new"}};
    request["no_new_privs"] = true;
    request["hostname"] = "box";
    request["mounts"] = {{{"at", "/"}, {"bind", root}},
                         {{"at", "/proc"}, {"proc", Json::object()}}};
    const Json report = report_of(client, request);
    CHECK(report["ruid"] == world.alice().uid);
  }
}

TEST_CASE("a set-uid program gains nothing in namespaces that its caller asked for") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), path = directory + "/su";
  check(chmod(directory.c_str(), 0755), "chmod");
  REQUIRE(command({"cp", world.probe(), path}) == 0);
  check(chmod(path.c_str(), 04755), "chmod");
  {
    // It works out here, or nothing would be shown.
    auto [end, write_end] = pipe();
    const pid_t pid = child([&, &write_end = write_end] {
      become(world.alice());
      check(dup2(write_end.get(), 1), "dup2");
      execl(path.c_str(), "su", nullptr);
      return 127;
    });
    write_end.reset();
    const Json report = Json::parse(read_from(end.get()), nullptr, false);
    wait_for(pid);
    REQUIRE(report.is_object());
    if (report["euid"] != 0) SKIP("set-uid programs do not work below /tmp here");
  }
  const unsigned own = world.alice().uid;
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json plain = world.probe_request();
    plain["executable"] = path;
    for (const char* name : {"mnt", "pid", "net", "ipc", "uts"}) {
      CAPTURE(name);
      const Json request = with(plain, {{"namespaces", {{name, "new"}}}});
      const Outcome outcome = client.run(with(request, {{"no_new_privs", false}}));
      INFO(outcome.told());
      if (outcome.error.empty()) {
        // In a user namespace of alice's own, where the file's owner is nobody.
        CHECK(outcome.report()["euid"] == own);
        CHECK(outcome.report()["namespaces"]["user"] != own_namespace("user"));
      } else {
        CHECK(outcome.error == "Denied");
        CHECK(outcome.parameters["field"] == "no_new_privs");
      }
      CHECK(report_of(client, with(request, {{"no_new_privs", true}}))["euid"] == own);
    }
    Json boxed = world.boxed_request();
    boxed["executable"] = "/run/su/su";
    boxed["mounts"].push_back({{"at", "/run/su"}, {"bind", directory}, {"nosuid", false}});
    const Json report = report_of(client, boxed);
    CHECK(report["euid"] == own);
    CHECK(report["capabilities"]["effective"] == 0);
    const Json user = report_of(
        client, with(plain, {{"namespaces", {{"user", "new"}}}, {"no_new_privs", false}}));
    CHECK(user["euid"] == own);
    CHECK(user["capabilities"]["effective"] == 0);
  }
}

}  // namespace
}  // namespace cloister::security_test
