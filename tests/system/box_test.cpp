// The default profile: what the sandbox shows and what it keeps from the payload.
#include <sys/stat.h>
#include <unistd.h>

#include "listener.hpp"
#include "mountinfo.hpp"
#include "reading.hpp"

namespace cloister::system_test {
namespace {

TEST_CASE("the host tree is read-only, nosuid and nodev") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json report = report_of(client, world.boxed_request());
    bool root_seen = false;
    for (const MountLine& line : mounts_of(report)) {
      if (line.point != "/") continue;
      root_seen = true;
      INFO(line.whole);
      for (const char* flag : {"ro", "nosuid", "nodev"}) CHECK(line.has(flag));
    }
    CHECK(root_seen);
    for (const char* path : {"/usr/cloister-canary", "/etc/cloister-canary", "/cloister-canary"}) {
      const std::string error =
          act(client, world.boxed_request({"file-write", path, "x"}))["error"];
      CHECK((error == "EROFS" || error == "EACCES"));
      CHECK(access(path, F_OK) != 0);
    }
  }
}

TEST_CASE("/tmp, /run and the homes are private and empty, and gone after the job") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string canary = "/tmp/cloister-canary";
  write_file(canary, "canary", 0644);
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    CHECK(act(client, world.boxed_request({"read", canary}))["error"] == "ENOENT");
    CHECK(act(client, world.boxed_request({"file-write", "/tmp/from-inside", "x"}))["error"] ==
          nullptr);
    CHECK(access("/tmp/from-inside", F_OK) != 0);
    CHECK(act(client, world.boxed_request({"read", "/tmp/from-inside"}))["error"] == "ENOENT");
  }
  unlink(canary.c_str());
}

TEST_CASE("a socket in a private directory cannot be reached") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string socket = world.system().socket();
    CHECK(act(client, world.boxed_request({"connect", socket}))["error"] == "ENOENT");
    CHECK(act(client, world.boxed_request({"connect", "/run/systemd/private"}))["error"] ==
          "ENOENT");
  }
}

TEST_CASE("an abstract socket of the host cannot be reached without its network") {
  NEEDS_ROOT();
  World& world = World::get();
  const Fd listener = listen_abstract("cloister-canary");
  Client client = world.connect(Way::user);
  CHECK(act(client, world.probe_request({"connect", "@cloister-canary"}))["error"] == nullptr);
  CHECK(act(client, world.boxed_request({"connect", "@cloister-canary"}))["error"] ==
        "ECONNREFUSED");
}

TEST_CASE("the workspace is writable and keeps what is written, as the caller's own") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string workspace = world.directory_of(world.who(way));
    Json request = world.boxed_request({"file-write", "result", "made inside"});
    request["workspace"] = {{"path", workspace}};
    CHECK(act(client, request)["error"] == nullptr);
    CHECK(read_file(workspace + "/result") == "made inside");
    struct stat status;
    REQUIRE(stat((workspace + "/result").c_str(), &status) == 0);
    CHECK(status.st_uid == world.who(way).uid);
    // The working directory is the workspace unless the request says another.
    request["argv"] = {"probe"};
    CHECK(report_of(client, request)["cwd"] == workspace);
    request["workspace"]["access"] = "ro";
    request["argv"] = {"probe", "file-write", "result", "again"};
    CHECK(act(client, request)["error"] == "EROFS");
  }
}

TEST_CASE("/, home and system directories are refused as workspace") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (const std::string& path :
       {std::string("/"), std::string("/usr"), std::string("/etc"), std::string("/usr/lib"),
        std::string("/home"), world.directory() + "/alice"}) {
    CAPTURE(path);
    Json request = world.boxed_request();
    request["workspace"] = {{"path", path}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["field"].get<std::string>().starts_with("workspace"));
  }
}

TEST_CASE("HOME is an empty scratch directory at its real path") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    const std::string home = world.directory() + "/alice";
    write_file(home + "/key", "canary", 0644);
    Client client = world.connect(way);
    CHECK(act(client, world.boxed_request({"read", home + "/key"}))["error"] == "ENOENT");
    CHECK(act(client, world.boxed_request({"file-write", home + "/new", "x"}))["error"] == nullptr);
    CHECK(access((home + "/new").c_str(), F_OK) != 0);
  }
}

TEST_CASE("/dev holds null zero full random urandom tty ptmx pts shm and no more devices") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = {{"profile", "default"},
                    {"argv", {"/bin/sh", "-c", "ls /dev | sort | tr '\\n' ' '"}}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.out == "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
    const struct {
      const char* path;
      unsigned long device;
    } nodes[] = {{"/dev/null", 0x103},   {"/dev/zero", 0x105},    {"/dev/full", 0x107},
                 {"/dev/random", 0x108}, {"/dev/urandom", 0x109}, {"/dev/tty", 0x500}};
    for (const auto& node : nodes) {
      CAPTURE(std::string(node.path));
      CHECK(act(client, world.boxed_request({"stat", node.path}))["rdev"] == node.device);
    }
    CHECK(act(client, world.boxed_request({"file-write", "/dev/shm/x", "x"}))["error"] == nullptr);
  }
}

TEST_CASE("/proc shows the sandbox's own processes only") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Outcome outcome = client.run(
        {{"profile", "default"},
         {"argv", {"/bin/sh", "-c", "for p in /proc/[0-9]*; do echo ${p#/proc/}; done"}}});
    INFO(outcome.told());
    std::istringstream lines(outcome.out);
    int count = 0;
    for (int pid; lines >> pid; ++count) CHECK(pid < 10);
    CHECK(count == 2);  // init and the shell
  }
}

TEST_CASE("binds and other mounts are where the request says and as it says") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string source = world.directory_of(world.who(way));
    write_file(source + "/inside", "bound", 0644);
    Json request = world.boxed_request();
    request["mounts"].push_back({{"at", "/run/ro"}, {"bind", source}});
    request["mounts"].push_back({{"at", "/run/rw"}, {"bind", source}, {"access", "rw"}});
    request["mounts"].push_back(
        {{"at", "/run/mem"}, {"tmpfs", {{"size", "1M"}, {"mode", "0711"}}}, {"noexec", true}});
    request["mounts"].push_back({{"at", "/run/link"}, {"symlink", "/run/ro/inside"}});
    request["mounts"].push_back({{"at", "/run/dir"}, {"dir", {{"mode", "0750"}}}});
    request["mounts"].push_back(
        {{"at", "/run/gone"}, {"bind", "/no/such/source"}, {"optional", true}});
    const auto run = [&](std::vector<std::string> words) {
      words.insert(words.begin(), "probe");
      return act(client, with(request, {{"argv", words}}));
    };
    CHECK(run({"read", "/run/link"})["text"] == "bound");
    CHECK(run({"file-write", "/run/ro/inside", "x"})["error"] == "EROFS");
    CHECK(run({"file-write", "/run/rw/made", "x"})["error"] == nullptr);
    CHECK(access((source + "/made").c_str(), F_OK) == 0);
    CHECK(run({"stat", "/run/mem"})["mode"] == (S_IFDIR | 0711));
    CHECK(run({"stat", "/run/dir"})["mode"] == (S_IFDIR | 0750));
    CHECK(run({"stat", "/run/gone"})["error"] == "ENOENT");
    Outcome missing = client.run(with(
        world.boxed_request(), {{"mounts", {{{"at", "/run/gone"}, {"bind", "/no/such/source"}}}}}));
    INFO(missing.told());
    CHECK(missing.verdict["ok"] != true);
    CHECK(missing.parameters["field"] == "mounts./run/gone");
    CHECK(missing.parameters["errno_name"] == "ENOENT");
  }
}

TEST_CASE("a bind source is opened as the caller: what it cannot reach is not mounted") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string secret = world.directory_of(world.root());
  write_file(secret + "/canary", "canary", 0644);
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const std::string& source : {secret, secret + "/canary"}) {
      Json request = world.boxed_request({"read", "/run/secret"});
      request["mounts"].push_back({{"at", "/run/secret"}, {"bind", source}});
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK(outcome.out.find("canary\"") == std::string::npos);
    }
  }
}

TEST_CASE("the mount table of the host is the same before and after") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string before = read_file("/proc/self/mountinfo");
  for (const Way way : kWays) {
    Client client = world.connect(way);
    report_of(client, world.boxed_request());
  }
  CHECK(read_file("/proc/self/mountinfo") == before);
}

TEST_CASE("core dumps are off and the file limit is 1024 of 524288 or the caller's") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json limits = report_of(client, world.boxed_request())["rlimits"];
  CHECK(limits["RLIMIT_CORE"] == Json{{"soft", 1}, {"hard", 1}});
  CHECK(limits["RLIMIT_NOFILE"]["soft"] == 1024);
  CHECK(limits["RLIMIT_NOFILE"]["hard"].get<long>() <= 524288);
}

TEST_CASE("a payload may bind a low port in its own network") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    CHECK(act(client, world.boxed_request(
                          {"read", "/proc/sys/net/ipv4/ip_unprivileged_port_start"}))["text"] ==
          "0\n");
  }
}

}  // namespace
}  // namespace cloister::system_test
