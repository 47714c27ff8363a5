// The root of a job, and overlays: what changes of them is kept, and what is lost.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "mounts.hpp"

namespace cloister::system_test {
namespace {

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
      return refused(
          client, mounted(world.boxed_request(), {{"at", "/run/over"}, {"overlay", overlay}}), fds);
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
    const Refused busy = asked({{"lower", {own}}, {"upper", own + "/u"}, {"work", own + "/w"}});
    CHECK(busy.field == "mounts./run/over");
    CHECK(busy.errno_name == "ENOTEMPTY");
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
      strangers += std::none_of(lines.begin(), lines.end(),
                                [&](const MountLine& other) { return other.id == line.parent; });
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
