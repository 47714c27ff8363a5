// The tree that the payload sees, kind by kind, read from inside; and each kind
// refused where it cannot be had.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "mountinfo.hpp"
#include "reading.hpp"

namespace cloister::system_test {
namespace {

// Of the refusal: the field, and the word for why.
struct Refused {
  std::string error, field, errno_name;
};
Refused refused(Client& client, const Json& request, const std::vector<int>& fds = {}) {
  Outcome outcome = client.run(request, fds);
  INFO(request.dump());
  INFO(outcome.told());
  CHECK(outcome.out.empty());
  if (!outcome.error.empty()) {
    const Json& p = outcome.parameters;
    return {outcome.error, p.value("field", p.value("feature", "")), p.value("errno_name", "")};
  }
  REQUIRE(outcome.verdict["ending"] == "not_started");
  const Json& failure = outcome.verdict["failure"];
  return {"not_started", failure["field"], failure["errno_name"]};
}

Json words(Json request, const std::vector<std::string>& arguments) {
  request["argv"] = {"probe"};
  for (const std::string& word : arguments) request["argv"].push_back(word);
  return request;
}

Json mounted(Json request, const Json& mount) {
  request["mounts"].push_back(mount);
  return request;
}

// What is mounted at a place, seen from inside; the topmost.
MountLine mount_at(Client& client, const Json& request, const std::string& at,
                   const std::vector<int>& fds = {}) {
  MountLine last;
  for (const MountLine& line : mounts_of(report_of(client, words(request, {}), fds)))
    if (line.point == at) last = line;
  return last;
}

Fd open_at(const std::string& path, int flags) {
  return Fd(check(open(path.c_str(), flags | O_CLOEXEC), path.c_str()));
}

// Gives it to `way`'s user, recursively: rootless, nobody else has a number.
void give(Way way, const std::string& path) {
  const Who& who = World::get().who(way);
  REQUIRE(command({"chown", "-R", std::to_string(who.uid) + ':' + std::to_string(who.gid), path}) ==
          0);
}

// A root directory with the probe in it, of `way`'s user.
std::string small_root(Way way) {
  World& world = World::get();
  const std::string root = world.directory_of(world.who(way));
  REQUIRE(command({"cp", world.probe(), root + "/probe"}) == 0);
  for (const char* name : {"/proc", "/dev", "/data"}) mkdir((root + name).c_str(), 0755);
  write_file(root + "/data/file", "of the tree", 0666);
  for (const char* name : {"", "/data"}) REQUIRE(chmod((root + name).c_str(), 0777) == 0);
  give(way, root);
  return root;
}

// Nothing of a profile's but the namespaces.
Json bare_request(const std::vector<std::string>& arguments = {}) {
  Json request = {{"profile", "default"},
                  {"executable", "/probe"},
                  {"argv", {"probe"}},
                  {"unset", {"mounts"}}};
  return arguments.empty() ? request : words(request, arguments);
}

TEST_CASE("root is a directory of the caller's: read-only, writable, or under a lost overlay") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string root = small_root(way);
    Json request = bare_request();
    request["root"] = root;
    CHECK(act(client, words(request, {"read", "/data/file"}))["text"] == "of the tree");
    CHECK(act(client, words(request, {"read", "/etc/passwd"}))["error"] == "ENOENT");
    CHECK(act(client, words(request, {"file-write", "/data/file", "x"}))["error"] == "EROFS");
    const MountLine line = mount_at(
        client, with(request, {{"mounts", {{{"at", "/proc"}, {"proc", Json::object()}}}}}), "/");
    INFO(line.whole);
    for (const char* option : {"ro", "nosuid", "nodev"}) CHECK(line.has(option));

    request["root_access"] = "overlay";
    CHECK(act(client, words(request, {"file-write", "/data/file", "changed"}))["error"] == nullptr);
    CHECK(act(client, words(request, {"file-write", "/data/new", "x"}))["error"] == nullptr);
    CHECK(read_file(root + "/data/file") == "of the tree");
    CHECK(access((root + "/data/new").c_str(), F_OK) != 0);
    CHECK(act(client, words(request, {"read", "/data/file"}))["text"] == "of the tree");
    // Mount points may be made on it, and stay out of the tree.
    const Json made = mounted(request, {{"at", "/made/here"}, {"tmpfs", Json::object()}});
    CHECK(act(client, words(made, {"file-write", "/made/here/x", "x"}))["error"] == nullptr);
    CHECK(access((root + "/made").c_str(), F_OK) != 0);

    request["root_access"] = "rw";
    CHECK(act(client, words(request, {"file-write", "/data/new", "kept"}))["error"] == nullptr);
    CHECK(read_file(root + "/data/new") == "kept");
  }
}

TEST_CASE("root is a passed descriptor, or empty and filled by the mounts") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string root = small_root(way);
    const Fd directory = open_at(root, O_PATH | O_DIRECTORY);
    Json request = bare_request({"read", "/data/file"});
    request["root"] = {{"passed_fd", 0}};
    CHECK(act(client, request, {directory.get()})["text"] == "of the tree");

    request["root"] = "empty";
    request["mounts"] = {{{"at", "/probe"}, {"bind", root + "/probe"}}};
    CHECK(act(client, request)["error"] == "ENOENT");
    CHECK(act(client, words(request, {"file-write", "/x", "x"}))["error"] == "EROFS");
    request["root_access"] = "rw";
    const Json written = act(client, words(request, {"file-write", "/x", "x"}));
    // The root of the root service's jobs is root's.
    CHECK(written["error"] == (way == Way::user ? Json("EACCES") : Json(nullptr)));
  }
}

TEST_CASE("a root that the caller cannot read is refused, also as an open descriptor") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string secret = world.directory_of(world.root());
  write_file(secret + "/canary", "canary", 0644);
  const Fd directory = open_at(secret, O_PATH | O_DIRECTORY);
  const std::string file = secret + "/canary";
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = bare_request();
    request["root"] = secret;
    Refused answer = refused(client, request);
    CHECK(answer.field == "root");
    CHECK(answer.errno_name == "EACCES");
    request["root"] = {{"passed_fd", 0}};
    for (const char* root_access : {"ro", "overlay"}) {
      request["root_access"] = root_access;
      answer = refused(client, request, {directory.get()});
      CHECK(answer.field == "root");
      CHECK(answer.errno_name == "EACCES");
    }
    request.erase("root_access");
    request["root"] = "/no/such/root";
    answer = refused(client, request);
    CHECK(answer.field == "root");
    CHECK(answer.errno_name == "ENOENT");
    request["root"] = world.probe();
    CHECK(refused(client, request).field == "root");
  }
}

TEST_CASE("changes to an overlay are lost with the job, or kept in directories of the caller's") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string odd = world.directory_of(world.who(way)) + "/a,b:c\\ d";
    const std::string below = world.directory_of(world.who(way));
    mkdir(odd.c_str(), 0755);
    write_file(odd + "/top", "upper one", 0666);
    write_file(below + "/top", "lower one", 0666);
    write_file(below + "/bottom", "lower one", 0666);
    REQUIRE(chmod(odd.c_str(), 0777) == 0);
    give(way, odd);
    give(way, below);
    Json mount = {{"at", "/run/over"}, {"overlay", {{"lower", {odd, below}}}}};
    const Json request = mounted(world.boxed_request(), mount);
    CHECK(act(client, words(request, {"read", "/run/over/top"}))["text"] == "upper one");
    CHECK(act(client, words(request, {"read", "/run/over/bottom"}))["text"] == "lower one");
    CHECK(act(client, words(request, {"file-write", "/run/over/bottom", "x"}))["error"] == nullptr);
    CHECK(act(client, words(request, {"file-write", "/run/over/new", "x"}))["error"] == nullptr);
    CHECK(read_file(below + "/bottom") == "lower one");
    const MountLine line = mount_at(client, request, "/run/over");
    CHECK(line.type == "overlay");
    for (const char* option : {"rw", "nosuid", "nodev"}) CHECK(line.has(option));

    mount["access"] = "ro";
    mount["noexec"] = true;
    const Json sealed = mounted(world.boxed_request(), mount);
    CHECK(act(client, words(sealed, {"file-write", "/run/over/new", "x"}))["error"] == "EROFS");
    CHECK(mount_at(client, sealed, "/run/over").has("noexec"));

    const std::string kept = world.directory_of(world.who(way));
    for (const char* name : {"/upper", "/work"}) mkdir((kept + name).c_str(), 0755);
    give(way, kept);
    mount = {{"at", "/run/over"},
             {"overlay",
              {{"lower", {odd, below}}, {"upper", kept + "/upper"}, {"work", kept + "/work"}}}};
    const Json keeping = mounted(world.boxed_request(), mount);
    CHECK(act(client, words(keeping, {"file-write", "/run/over/new", "kept"}))["error"] == nullptr);
    CHECK(read_file(kept + "/upper/new") == "kept");
    CHECK(read_file(below + "/bottom") == "lower one");
    // No mount point is made in what outlives the job.
    const Json made = mounted(keeping, {{"at", "/run/over/made"}, {"tmpfs", Json::object()}});
    const Refused answer = refused(client, words(made, {}));
    CHECK(answer.field == "mounts./run/over/made");
    CHECK(answer.errno_name == "ENOENT");
    CHECK(access((kept + "/upper/made").c_str(), F_OK) != 0);
  }
}

TEST_CASE("an overlay of what is not the caller's, or not there, is refused by name") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string secret = world.directory_of(world.root());
  const Fd directory = open_at(secret, O_PATH | O_DIRECTORY);
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string own = world.directory_of(world.who(way));
    const auto asked = [&](const Json& overlay, const std::vector<int>& fds = {}) {
      return refused(client,
                     mounted(world.boxed_request(), {{"at", "/run/over"}, {"overlay", overlay}}),
                     fds);
    };
    const std::string field = "mounts./run/over.overlay.";
    CHECK(asked({{"lower", {secret}}}).field == field + "lower[0]");
    CHECK(asked({{"lower", {own, {{"passed_fd", 0}}}}}, {directory.get()}).errno_name == "EACCES");
    CHECK(asked({{"lower", {"/no/such"}}}).errno_name == "ENOENT");
    CHECK(asked({{"lower", {world.probe()}}}).field == field + "lower[0]");
    CHECK(asked({{"lower", {own}}, {"upper", "/tmp"}, {"work", own}}).field == field + "upper");
    CHECK(asked({{"lower", {own}}, {"upper", own}, {"work", secret}}).field == field + "work");
    CHECK(asked({{"lower", {"/proc/sys"}}}).field == "mounts./run/over");
    // What lies in work would be removed with init's power.
    for (const char* name : {"/u", "/w", "/w/work", "/w/work/kept"})
      mkdir((own + name).c_str(), 0755);
    give(way, own);
    const Refused busy =
        asked({{"lower", {own}}, {"upper", own + "/u"}, {"work", own + "/w"}});
    CHECK(busy.field == "mounts./run/over");
    CHECK(busy.errno_name == "ENOTEMPTY");
  }
}

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

    Json missing = mounted(world.boxed_request(),
                           {{"at", "/usr/no/such/place"}, {"file", {{"text", "x"}}}});
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
    const Json status =
        act(client, words(request, {"stat", "/run/secrets/token"}), {fd.get()});
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
    const Reply started =
        client.call("Start", {{"request", words(request, {"hold"})}}, {fd.get()});
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
    Json request = mounted(world.boxed_request(),
                           {{"at", "/run/tree"}, {"bind", tree}, {"access", "rw"}});
    // Another mount inside what is to be locked.
    request["mounts"].push_back({{"at", "/run/tree/locked/deep"}, {"bind", tree + "/locked/deep"}, {"access", "rw"}});
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
    for (const char* at : {"/run/tree/hidden", "/run/tree/key", "/run/tree/locked",
                           "/run/tree/locked/deep"})
      CHECK(mount_at(client, request, at).has("ro"));
  }
}

TEST_CASE("the host's root finds the dangerous parts of /proc and /sys covered; others need none") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  for (const char* path : {"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
                           "/proc/sys/kernel/hostname"}) {
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
    CHECK(act(other, world.boxed_request({"file-write", "/proc/sys/kernel/core_pattern", "x"}))
              ["error"] != nullptr);
  }
}

mode_t mode_of(const char* path) {
  struct stat status;
  check(stat(path, &status), path);
  return status.st_mode;
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
  World& world = World::get();
  const Who& alice = world.alice();
  const std::string tree = world.directory_of(alice);
  write_file(tree + "/file", "x", 0644);
  give(Way::user, tree);
  REQUIRE(chmod(tree.c_str(), 0755) == 0);
  const auto idmap = [&](uint32_t inside, uint32_t outside_uid, uint32_t outside_gid) {
    return mounted(
        world.boxed_request({"stat", "/run/map/file"}),
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

TEST_CASE("the old root is gone, also where more than the new one lay on it") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = mounted(world.boxed_request(), {{"at", "/run/x"}, {"file", {{"text", "x"}}}});
    request["masked_paths"] = {"/etc/passwd"};
    const Json report = report_of(client, words(request, {}));
    INFO(report["mountinfo"].dump());
    const auto lines = mounts_of(report);
    CHECK(std::count_if(lines.begin(), lines.end(),
                        [](const MountLine& line) { return line.point == "/"; }) == 1);
    int strangers = 0;
    for (const MountLine& line : lines)
      strangers += std::none_of(lines.begin(), lines.end(), [&](const MountLine& other) {
        return other.id == line.parent;
      });
    CHECK(strangers == 1);  // the parent of the root itself
  }
}

TEST_CASE("nothing of it is left in the host's mount table") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string before = read_file("/proc/self/mountinfo");
  for (const Way way : kWays) {
    Client client = world.connect(way);
    Json request = bare_request({"exit", "0"});
    request["root"] = small_root(way);
    request["root_access"] = "overlay";
    request["masked_paths"] = {"/data"};
    act(client, words(request, {"read", "/data/file"}));
  }
  CHECK(read_file("/proc/self/mountinfo") == before);
}

}  // namespace
}  // namespace cloister::system_test
