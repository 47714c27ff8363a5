// The mounts that the payload sees, kind by kind, read from inside; and each kind
// refused where it cannot be had.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "mounts.hpp"

namespace cloister::system_test {
namespace {

TEST_CASE("a file of the request is there with its bytes and mode, and cannot be changed") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Fd content = memory_file("from a descriptor");
    check(static_cast<int>(lseek(content.get(), 5, SEEK_SET)), "lseek");
    Json request = world.boxed_request();
    for (const Json& mount :
         {Json{{"at", "/run/text"}, {"file", {{"text", "some text"}}}},
          Json{{"at", "/run/raw"}, {"file", {{"base64", "cmF3"}, {"mode", "0600"}}}},
          Json{{"at", "/etc/hostname"}, {"file", {{"text", "over the host's"}}}},
          Json{{"at", "/run/passed"}, {"file", {{"passed_fd", 0}}}},
          Json{{"at", "/run/open"}, {"access", "rw"}, {"file", {{"text", ""}}}}})
      request["mounts"].push_back(mount);
    const auto run = [&](const std::vector<std::string>& arguments) {
      return act(client, words(request, arguments), {content.get()});
    };
    CHECK(run({"read", "/run/text"})["text"] == "some text");
    CHECK(run({"stat", "/run/raw"})["mode"] == (S_IFREG | 0600));
    CHECK(run({"read", "/run/raw"})["text"] == "raw");
    CHECK(run({"read", "/etc/hostname"})["text"] == "over the host's");
    check(static_cast<int>(lseek(content.get(), 5, SEEK_SET)), "lseek");
    CHECK(run({"read", "/run/passed"})["text"] == "a descriptor");
    CHECK(run({"file-write", "/run/text", "x"})["error"] == "EROFS");
    CHECK(run({"file-write", "/run/open", "x"})["error"] == nullptr);

    Json missing =
        mounted(world.boxed_request(), {{"at", "/usr/no/such/place"}, {"file", {{"text", "x"}}}});
    Refused answer = refused(client, missing);
    CHECK(answer.field == "mounts./usr/no/such/place");
    CHECK(answer.errno_name == "ENOENT");
    const Fd closed = open_at(world.probe(), O_PATH);
    missing = mounted(world.boxed_request(), {{"at", "/run/x"}, {"file", {{"passed_fd", 0}}}});
    answer = refused(client, missing, {closed.get()});
    CHECK(answer.field == "mounts./run/x.file.passed_fd");
    CHECK(answer.errno_name == "EBADF");
  }
}

TEST_CASE("devpts, mqueue and the subset of proc are instances of the job's own") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = mounted(world.boxed_request(), {{"at", "/run/pts"}, {"devpts", Json::object()}});
    request["mounts"].push_back({{"at", "/run/mq"}, {"mqueue", Json::object()}});
    request["mounts"].push_back({{"at", "/run/pid"}, {"proc", {{"subset", "pid"}}}});
    CHECK(mount_at(client, request, "/run/pts").type == "devpts");
    CHECK(mount_at(client, request, "/run/mq").type == "mqueue");
    CHECK(mount_at(client, request, "/run/pid").whole.find("subset=pid") != std::string::npos);
    CHECK(act(client, words(request, {"stat", "/run/pid/self"}))["error"] == nullptr);
    CHECK(act(client, words(request, {"stat", "/run/pid/sys"}))["error"] == "ENOENT");
    // A queue of the payload's is one of the file system's: the same ipc namespace.
    CHECK(act(client, words(request, {"mqueue", "/q", "/run/mq/q"}))["error"] == nullptr);
  }
}

TEST_CASE("a secret is the payload's to read, in memory, and in no answer") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string token = "hush-" + name_of(way);
    Json request = world.boxed_request();
    request["secrets"] = {{"token", {{"passed_fd", 0}}}};
    const auto passed = [&] {
      auto [read, write] = pipe();
      REQUIRE(::write(write.get(), token.data(), token.size()) ==
              static_cast<ssize_t>(token.size()));
      return std::move(read);
    };
    Fd fd = passed();
    CHECK(act(client, words(request, {"read", "/run/secrets/token"}), {fd.get()})["text"] == token);
    fd = passed();
    const Json status = act(client, words(request, {"stat", "/run/secrets/token"}), {fd.get()});
    CHECK(status["mode"] == (S_IFREG | 0400));
    CHECK(status["uid"] == world.who(way).uid);
    fd = passed();
    CHECK(act(client, words(request, {"file-write", "/run/secrets/other", "x"}),
              {fd.get()})["error"] == "EROFS");
    fd = passed();
    const MountLine line = mount_at(client, request, "/run/secrets", {fd.get()});
    for (const char* option : {"ro", "nosuid", "nodev", "noexec"}) CHECK(line.has(option));

    fd = passed();
    Outcome outcome = client.run(words(request, {"exit", "3"}), {fd.get()});
    CHECK(outcome.told().find(token) == std::string::npos);
    fd = passed();
    const Reply plan = client.call("Plan", {{"request", words(request, {})}}, {fd.get()});
    INFO(plan.parameters.dump());
    CHECK(plan.error.empty());
    CHECK(plan.parameters.dump().find(token) == std::string::npos);
    fd = passed();
    const Reply started = client.call("Start", {{"request", words(request, {"hold"})}}, {fd.get()});
    REQUIRE(started.error.empty());
    const Reply inspected = client.call("Inspect", {{"id", started.parameters["id"]}});
    CHECK(inspected.parameters.dump().find("secrets") != std::string::npos);
    CHECK(inspected.parameters.dump().find(token) == std::string::npos);
    client.call("Stop", {{"id", started.parameters["id"]}, {"timeout", "0s"}});

    // Without a place for them nothing is made on the host.
    Json nowhere = bare_request({"exit", "0"});
    nowhere["root"] = small_root(way);
    nowhere["secrets"] = request["secrets"];
    fd = passed();
    const Refused answer = refused(client, nowhere, {fd.get()});
    CHECK(answer.errno_name == "ENOENT");
    CHECK(answer.field == "mounts./run/secrets");
    if (way != Way::user) continue;  // it takes the front's patience
    auto [endless, held] = pipe();
    CHECK(refused(client, words(request, {}), {endless.get()}).field == "secrets.token.passed_fd");
  }
}

TEST_CASE("masked paths are empty, read-only paths are read-only, what is not there is neither") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string tree = world.directory_of(world.who(way));
    for (const char* name : {"/hidden", "/locked", "/locked/deep"})
      mkdir((tree + name).c_str(), 0777), chmod((tree + name).c_str(), 0777);
    for (const char* name : {"/hidden/file", "/key", "/locked/deep/file"})
      write_file(tree + name, "canary", 0666), chmod((tree + name).c_str(), 0666);
    chmod(tree.c_str(), 0777);
    Json request =
        mounted(world.boxed_request(), {{"at", "/run/tree"}, {"bind", tree}, {"access", "rw"}});
    // Another mount inside what is to be locked.
    request["mounts"].push_back(
        {{"at", "/run/tree/locked/deep"}, {"bind", tree + "/locked/deep"}, {"access", "rw"}});
    request["masked_paths"] = {"/run/tree/hidden", "/run/tree/key", "/no/such/path"};
    request["readonly_paths"] = {"/run/tree/locked", "/no/such/path"};
    const auto run = [&](const std::vector<std::string>& arguments) {
      return act(client, words(request, arguments));
    };
    CHECK(run({"read", "/run/tree/hidden/file"})["error"] == "ENOENT");
    CHECK(run({"read", "/run/tree/key"})["text"] == "");
    for (const char* path : {"/run/tree/hidden/x", "/run/tree/key", "/run/tree/locked/x",
                             "/run/tree/locked/deep/file"}) {
      CAPTURE(std::string(path));
      const Json error = run({"file-write", path, "x"})["error"];
      CHECK((error == "EROFS" || error == "EACCES"));
    }
    CHECK(run({"file-write", "/run/tree/open", "x"})["error"] == nullptr);
    CHECK(read_file(tree + "/key") == "canary");
    for (const char* at :
         {"/run/tree/hidden", "/run/tree/key", "/run/tree/locked", "/run/tree/locked/deep"})
      CHECK(mount_at(client, request, at).has("ro"));
  }
}

TEST_CASE("the host's root finds the dangerous parts of /proc and /sys covered; others need none") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  for (const char* path :
       {"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/hostname"}) {
    CAPTURE(std::string(path));
    if (access(path, F_OK) != 0) continue;
    const Json error = act(client, world.boxed_request({"file-write", path, ""}))["error"];
    CHECK((error == "EROFS" || error == "EACCES"));
  }
  for (const char* path : {"/proc/kcore", "/proc/timer_list", "/proc/keys"}) {
    CAPTURE(std::string(path));
    if (access(path, F_OK) != 0) continue;
    CHECK(act(client, world.boxed_request({"read", path}))["text"] == "");
  }
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client other = world.connect(way);
    CHECK(mount_at(other, world.boxed_request(), "/proc/sys").whole.empty());
    CHECK(act(other, world.boxed_request({"file-write", "/proc/sys/kernel/core_pattern",
                                          "x"}))["error"] != nullptr);
  }
}

mode_t mode_of(const char* path) {
  struct stat status;
  check(stat(path, &status), path);
  return status.st_mode;
}

TEST_CASE("a namespace that is mounted below a bind, as ip-netns(8) does, comes along") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string tree = world.directory() + "/netns", file = tree + "/name";
  REQUIRE(mkdir(tree.c_str(), 0755) == 0);
  write_file(file, "");
  REQUIRE(mount("/proc/self/ns/net", file.c_str(), nullptr, MS_BIND, nullptr) == 0);
  struct Unmount {
    const std::string& tree;
    const std::string& file;
    ~Unmount() {
      umount2(file.c_str(), MNT_DETACH);
      std::filesystem::remove_all(tree);
    }
  } unmount{tree, file};
  for (const Way way : {Way::root, Way::user}) {
    Client client = world.connect(way);
    Json request = {{"profile", "default"}, {"argv", {"cat", "/proc/self/mountinfo"}}};
    request["mounts"] = {{{"at", "/run/tree"}, {"bind", tree}}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.verdict["ending"] == "exited");
    CHECK(outcome.out.find("/run/tree/name") != std::string::npos);
  }
}

TEST_CASE("devices are nodes of the host's /dev that the caller may open") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.boxed_request();
    // Over the node of the same name that every /dev has.
    request["devices"] = {{{"path", "/dev/full"}, {"access", "ro"}}};
    CHECK(act(client, words(request, {"stat", "/dev/full"}))["rdev"] == makedev(1, 7));
    const Json report = report_of(client, words(request, {}));
    int read_only = 0;
    for (const MountLine& line : mounts_of(report))
      read_only += line.point == "/dev/full" && line.has("ro") && line.has("nosuid") &&
                   line.has("noexec") && !line.has("nodev");
    CHECK(read_only == 1);
    // One that only some may open.
    if (access("/dev/fuse", F_OK) == 0) {
      const bool may = way == Way::root || (mode_of("/dev/fuse") & 0006) == 0006;
      request["devices"] = {{{"path", "/dev/fuse"}}};
      if (may)
        CHECK(act(client, words(request, {"stat", "/dev/fuse"}))["rdev"] == makedev(10, 229));
      else
        CHECK(refused(client, words(request, {})).errno_name == "EACCES");
    }
    const auto asked = [&](const std::string& path) {
      return refused(client, with(world.boxed_request(), {{"devices", {{{"path", path}}}}}));
    };
    CHECK(asked("/dev/no-such-device").errno_name == "ENOENT");
    CHECK(asked("/etc/passwd").field == "devices[0].path");
    CHECK(asked("/dev/../etc/passwd").field == "devices[0].path");
    CHECK(asked("/dev/shm").field == "devices[0].path");
    if (way != Way::root) {
      const Refused answer = asked("/dev/mem");
      CHECK(answer.field == "devices[0].path");
      CHECK((answer.errno_name == "EACCES" || answer.errno_name == "ENOENT"));
    }
  }
}

TEST_CASE("an idmapped bind shows the ids that it is to show, both of them the caller's") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  const Who& alice = world.alice();
  const std::string tree = world.directory_of(alice);
  write_file(tree + "/file", "x", 0644);
  give(Way::user, tree);
  REQUIRE(chmod(tree.c_str(), 0755) == 0);
  const auto idmap = [&](uint32_t inside, uint32_t outside_uid, uint32_t outside_gid) {
    return mounted(world.boxed_request({"stat", "/run/map/file"}),
                   {{"at", "/run/map"},
                    {"bind", tree},
                    {"idmap",
                     {{"uid", {{{"inside", inside}, {"outside", outside_uid}, {"count", 1}}}},
                      {"gid", {{{"inside", inside}, {"outside", outside_gid}, {"count", 1}}}}}}});
  };
  Client root = world.connect(Way::root);
  const Json seen = act(root, idmap(4242, alice.uid, alice.gid));
  CHECK(seen["uid"] == 4242);
  CHECK(seen["gid"] == 4242);

  Client user = world.connect(Way::user);
  Outcome denied = user.run(idmap(0, alice.uid, alice.gid));
  INFO(denied.told());
  CHECK(denied.error == "Denied");
  CHECK(denied.parameters["field"] == "mounts");
  denied = user.run(idmap(alice.uid, 0, 0));
  CHECK(denied.error == "Denied");
  for (const Way way : {Way::rootless, Way::alone}) {
    Client client = world.connect(way);
    const Refused answer = refused(client, idmap(alice.uid, alice.uid, alice.gid));
    CHECK(answer.field == "mounts./run/map");
    CHECK(answer.errno_name == "EPERM");
  }
}

TEST_CASE("files in a workspace stay the caller's when the payload is another user") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string workspace = world.directory_of(world.root());
  REQUIRE(chmod(workspace.c_str(), 0755) == 0);
  write_file(workspace + "/input", "x", 0600);
  const Who& bob = world.bob();
  Json request = world.boxed_request({"file-write", "made", "x"});
  request["identity"] = {{"ruid", bob.uid}, {"rgid", bob.gid}};
  request["workspace"] = {{"path", workspace}};
  Client client = world.connect(Way::root);
  CHECK(act(client, request)["error"] == "EACCES");
  request["workspace"]["owner"] = "caller";
  CHECK(act(client, request)["error"] == nullptr);
  CHECK(act(client, words(request, {"read", "input"}))["text"] == "x");
  CHECK(act(client, words(request, {"stat", "made"}))["uid"] == bob.uid);
  struct stat status;
  REQUIRE(stat((workspace + "/made").c_str(), &status) == 0);
  CHECK(status.st_uid == 0);
  CHECK(status.st_gid == 0);
  // Nothing to rename where the payload is the caller.
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client own = world.connect(way);
    const std::string place = world.directory_of(world.who(way));
    Json plain = world.boxed_request({"file-write", "made", "x"});
    plain["workspace"] = {{"path", place}, {"owner", "caller"}};
    CHECK(act(own, plain)["error"] == nullptr);
    REQUIRE(stat((place + "/made").c_str(), &status) == 0);
    CHECK(status.st_uid == world.who(way).uid);
  }
}

}  // namespace
}  // namespace cloister::system_test
