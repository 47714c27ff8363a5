// U9: home is every place that home is; HOME is always set, and what is there is
// the job's own.
#include <sys/stat.h>
#include <unistd.h>

#include "mounts.hpp"

namespace cloister::system_test {
namespace {

std::string variable(const Json& report, const std::string& name) {
  for (const Json& each : report["environ"]) {
    const std::string entry = each;
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "(unset)";
}

// Where neither a profile nor the system has anything of its own.
class Outside {
 public:
  explicit Outside(const Who& who) {
    char name[] = "/var/lib/cloister-home-XXXXXX";
    if (!mkdtemp(name)) fail("mkdtemp");
    path_ = name;
    check(chmod(name, 0755), "chmod");
    check(chown(name, who.uid, who.gid), "chown");
  }
  ~Outside() { command({"rm", "-rf", path_}); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Json at_home(const std::string& home) {
  Json request = World::get().boxed_request();
  request["env"] = {{"HOME", home}};
  request["implied"] = {"env.HOME"};
  return request;
}

TEST_CASE("U9: a home that HOME alone names is private, and so is where its link leads") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    const Outside outside(world.who(way));
    const std::string home = outside.path() + "/me", link = outside.path() + "/link";
    REQUIRE(mkdir(home.c_str(), 0755) == 0);
    REQUIRE(symlink("me", link.c_str()) == 0);
    write_file(home + "/key", "canary", 0644);
    give(way, outside.path());
    Client client = world.connect(way);
    for (const std::string& named : {home, link, home + "/", outside.path() + "/./link"}) {
      CAPTURE(named);
      const Json request = at_home(named);
      CHECK(act(client, words(request, {"read", home + "/key"}))["error"] == "ENOENT");
      CHECK(act(client, words(request, {"read", link + "/key"}))["error"] == "ENOENT");
      CHECK(act(client, words(request, {"file-write", named + "/made", "x"}))["error"] == nullptr);
      CHECK(access((home + "/made").c_str(), F_OK) != 0);
    }
    CHECK(variable(report_of(client, at_home(link)), "HOME") == link);
    // What is asked for lies above it.
    const Json shown = mounted(at_home(home), {{"at", home}, {"bind", home}});
    CHECK(act(client, words(shown, {"read", home + "/key"}))["text"] == "canary");
    // The request's own word is not changed.
    Json said = world.boxed_request();
    said["env"] = {{"HOME", "/"}};
    CHECK(variable(report_of(client, said), "HOME") == "/");
  }
}

TEST_CASE("U9: HOME is set where nobody says it, and taken away where somebody does") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string home = way == Way::root ? "/root" : world.directory() + "/alice";
    const Json request = world.boxed_request();
    CHECK(variable(report_of(client, request), "HOME") == home);
    CHECK(act(client, words(request, {"file-write", home + "/made", "x"}))["error"] == nullptr);
    CHECK(variable(report_of(client, with(request, {{"unset", {"env.HOME"}}})), "HOME") ==
          "(unset)");
    CHECK(variable(report_of(client, world.probe_request()), "HOME") == "(unset)");
    const Json relative = with(at_home("not/absolute"), {{"implied", {"env.HOME"}}});
    CHECK(variable(report_of(client, relative), "HOME") == home);
  }
}

TEST_CASE(
    "U9: a home that no directory of the job's can be at is elsewhere, and the plan says so") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* home : {"/", "/usr/sbin", "/bin", "/dev", "/proc", "/nonexistent", "/usr",
                             "/var/lib", "/etc/no/such"}) {
      CAPTURE(std::string(home));
      const Json request = at_home(home);
      const Json report = report_of(client, request);
      CHECK(variable(report, "HOME") == "/run/home");
      CHECK(act(client, words(request, {"file-write", "/run/home/made", "x"}))["error"] == nullptr);
      for (const char* kept : {"/usr/bin/env", "/bin/sh", "/dev/null", "/usr/sbin/useradd"})
        CHECK(act(client, words(request, {"stat", kept}))["error"] == nullptr);
      const Reply plan = client.call("Plan", {{"request", request}});
      int notes = 0;
      for (const Json& note : plan.parameters["notes"])
        notes += note.get<std::string>().starts_with("HOME is /run/home");
      CHECK(notes == 1);
    }
  }
}

TEST_CASE("U9: a home in the workspace is the workspace's, and a workspace is no home") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string tree = world.directory_of(world.who(way));
    REQUIRE(mkdir((tree + "/home").c_str(), 0755) == 0);
    give(way, tree);
    Json request = at_home(tree + "/home");
    request["workspace"] = {{"path", tree}};
    CHECK(act(client, words(request, {"file-write", tree + "/home/made", "x"}))["error"] ==
          nullptr);
    CHECK(read_file(tree + "/home/made") == "x");
    CHECK(variable(report_of(client, request), "HOME") == tree + "/home");
    request = at_home(tree);
    request["workspace"] = {{"path", tree}};
    CHECK(refused(client, request).field == "workspace.path");
  }
}

TEST_CASE("U9: a uid that no database knows has a home all the same") {
  NEEDS_ROOT();
  World& world = World::get();
  const Who stranger{54321, 54321, {54321}};
  Client client = world.system().connect(stranger);
  CHECK(variable(report_of(client, world.boxed_request()), "HOME") == "/run/home");
  const Outside outside(stranger);
  write_file(outside.path() + "/key", "canary", 0644);
  const Json request = at_home(outside.path());
  CHECK(variable(report_of(client, request), "HOME") == outside.path());
  CHECK(act(client, words(request, {"read", outside.path() + "/key"}))["error"] == "ENOENT");
}

// U20: on many hosts /etc/resolv.conf is a link into /run, which is private.
TEST_CASE("U20: resolv.conf is there wherever there is a network") {
  NEEDS_ROOT();
  World& world = World::get();
  if (access("/etc/resolv.conf", R_OK) != 0) SKIP("this host has no resolver");
  const std::string host = read_file("/etc/resolv.conf");
  for (const Way way : {Way::user, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.boxed_request({"read", "/etc/resolv.conf"});
    request["network"] = "host";
    CHECK(act(client, request)["text"] == host);
    // As a link: /etc of another tree, bound over the host's.
    const std::string etc = world.directory_of(world.who(way));
    REQUIRE(symlink("../run/systemd/resolve/stub-resolv.conf", (etc + "/resolv.conf").c_str()) ==
            0);
    give(way, etc);
    request = mounted(request, {{"at", "/etc"}, {"bind", etc}});
    CHECK(act(client, request)["text"] == host);
    request["network"] = "none";
    CHECK(act(client, request)["error"] == "ENOENT");
    // Nothing of the host's, and what the request says is what it is.
    Json empty = bare_request({"read", "/etc/resolv.conf"});
    empty["root"] = "empty";
    empty["network"] = "host";
    empty["executable"] = "/run/test/probe";
    empty["mounts"] = world.boxed_request()["mounts"];
    CHECK(act(client, empty)["text"] == host);
    empty["mounts"].push_back({{"at", "/etc/resolv.conf"}, {"file", {{"text", "mine"}}}});
    CHECK(act(client, empty)["text"] == "mine");
  }
}

}  // namespace
}  // namespace cloister::system_test
