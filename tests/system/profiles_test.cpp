// The shipped profiles: that each can be used, and what it keeps from a payload
// and shows to it.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "build_paths.hpp"
#include "listener.hpp"
#include "reading.hpp"

namespace cloister::system_test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> shipped() {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(PROFILES))
    if (file.path().extension() == ".json") names.push_back(file.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

// Those that keep a payload away from what is the host's. `fetch` needs a network
// to go out by; but for that it is `build`, which a case below sees to. `machine`
// needs a system to run, and ids: it is the work of a test of its own.
std::vector<std::string> boxes() {
  std::vector<std::string> names = shipped();
  std::erase(names, "none");
  std::erase(names, "fetch");
  std::erase(names, "machine");
  return names;
}

Json effective(Client& client, const std::string& profile) {
  Reply reply = client.call("Plan", {{"request", {{"profile", profile}, {"argv", {"/bin/true"}}}}});
  INFO(reply.parameters.dump());
  REQUIRE(reply.error.empty());
  CHECK(!reply.parameters["steps"].empty());
  return reply.parameters["effective"];
}

// The probe under a profile, where it is bound to /run/test.
Json boxed(const std::string& profile, const std::vector<std::string>& arguments = {}) {
  return with(World::get().boxed_request(arguments), {{"profile", profile}});
}

Json error_of(Client& client, const std::string& profile,
              const std::vector<std::string>& arguments) {
  return act(client, boxed(profile, arguments))["error"];
}

class Listening {
 public:
  explicit Listening(const std::string& path) : path_(path) {
    if (path[0] == '@') {
      fd_ = listen_abstract(path.substr(1));
      return;
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    unlink(path.c_str());
    fd_ = listen_at(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    check(chmod(path.c_str(), 0777), "chmod");
  }
  ~Listening() {
    if (path_[0] != '@') unlink(path_.c_str());
  }
  Listening(const Listening&) = delete;

 private:
  std::string path_;
  Fd fd_;
};

TEST_CASE("every shipped profile can be planned, by everybody") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const std::string& name : shipped()) {
      CAPTURE(name);
      if (name == "fetch" && access("/usr/bin/pasta", X_OK) != 0) continue;
      if (name == "machine") {
        // Not by those without subordinate ids, and they are told.
        Reply reply = client.call(
            "Plan", {{"request", {{"profile", name}, {"root", "/usr"}, {"argv", {"/bin/true"}}}}});
        INFO(reply.error, reply.parameters.dump());
        CHECK((reply.error.empty() || reply.error == "Unsupported"));
        if (!reply.error.empty()) CHECK(reply.parameters["feature"] == "uid_map");
        continue;
      }
      CHECK(effective(client, name)["profile"] == name);
    }
  }
}

TEST_CASE("fetch is build with a way out, and browser build with a larger /dev/shm") {
  NEEDS_ROOT();
  if (access("/usr/bin/pasta", X_OK) != 0) SKIP("pasta (package passt) is not installed");
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json build = effective(client, "build");
  Json fetch = effective(client, "fetch");
  CHECK(fetch["network"] == Json{{"outbound", Json::object()}});
  Json browser = effective(client, "browser");
  CHECK(browser["mounts"].back()["at"] == "/dev/shm");
  browser["mounts"].erase(browser["mounts"].size() - 1);
  for (const char* own : {"profile", "network", "seccomp"}) {
    build.erase(own);
    fetch.erase(own);
    browser.erase(own);
  }
  CHECK(fetch == build);
  CHECK(browser == build);
}

TEST_CASE("sockets of the host are reached from none of the boxes") {
  NEEDS_ROOT();
  World& world = World::get();
  // Where buses, container engines, agents and displays have theirs, and our own.
  const std::string under[] = {
      "/run/cloister-canary",     "/var/run/cloister-canary2",         "/tmp/cloister-canary",
      "/var/tmp/cloister-canary", world.directory() + "/alice/canary", "@cloister-canary"};
  std::vector<std::string> sockets(std::begin(under), std::end(under));
  std::vector<std::unique_ptr<Listening>> listening;
  for (const std::string& path : under) listening.push_back(std::make_unique<Listening>(path));
  check(chmod((world.directory() + "/alice").c_str(), 0755), "chmod");
  sockets.push_back(world.system().socket());
  sockets.push_back("/proc/1/root/run/cloister-canary");
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const std::string& path : sockets) {
      CAPTURE(path);
      // Init's root is the box, for who may follow the link at all.
      if (!path.starts_with("/proc"))
        CHECK(act(client, world.probe_request({"connect", path}))["error"] == nullptr);
      for (const std::string& name : boxes()) {
        CAPTURE(name);
        const Json error = error_of(client, name, {"connect", path});
        CHECK((error == "ENOENT" || error == "ECONNREFUSED" || error == "EACCES"));
      }
    }
  }
}

TEST_CASE("no box has a capability, another's processes, or a way to new privileges") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const std::string& name : boxes()) {
      CAPTURE(name);
      Json report = report_of(client, boxed(name));
      INFO(report.dump());
      CHECK(report["no_new_privs"] == 1);
      for (const auto& [set, value] : report["capabilities"].items()) {
        CAPTURE(set);
        if (set != "last_cap") CHECK(value == 0);
      }
      for (const char* space : {"mnt", "pid", "net", "ipc", "uts", "cgroup"}) {
        CAPTURE(std::string(space));
        CHECK(report["namespaces"][space] != own_namespace(space));
      }
      CHECK(descriptor_numbers(report) == std::vector<int>{0, 1, 2});
    }
  }
}

TEST_CASE("build shows the toolchains of the home, read-only, and no credential") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string home = world.directory() + "/alice";
  const auto put = [&](const std::string& file) {
    const std::string path = home + "/" + file;
    fs::create_directories(fs::path(path).parent_path());
    write_file(path, "canary", 0755);
  };
  const std::vector<std::string> tools = {".cargo/bin/tool",    ".rustup/toolchains/one/bin/tool",
                                          ".nvm/versions/tool", ".pyenv/shims/tool",
                                          ".local/bin/tool",    "go/bin/tool"};
  for (const std::string& file : tools) put(file);
  const std::vector<std::string> credentials = {".cargo/credentials.toml",
                                                ".ssh/id_ed25519",
                                                ".netrc",
                                                ".npmrc",
                                                ".pypirc",
                                                ".git-credentials",
                                                ".gnupg/key",
                                                ".aws/credentials",
                                                ".docker/config.json",
                                                ".kube/config",
                                                ".config/gh/hosts",
                                                ".local/share/keyrings/login",
                                                "go/pkg/mod/private"};
  for (const std::string& file : credentials) put(file);
  REQUIRE(command({"/bin/chown", "-R", world.name_of(world.alice()), home}) == 0);

  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* name : {"build", "browser"}) {
      CAPTURE(std::string(name));
      for (const std::string& file : tools) {
        CAPTURE(file);
        CHECK(act(client, boxed(name, {"read", home + "/" + file}))["text"] == "canary");
        CHECK(error_of(client, name, {"file-write", home + "/" + file, "x"}) == "EROFS");
      }
      for (const std::string& file : credentials) {
        CAPTURE(file);
        CHECK(error_of(client, name, {"read", home + "/" + file}) == "ENOENT");
      }
      // Caches beside the programs can be made, and are gone with the job.
      for (const char* made : {"/.cargo/made", "/.local/made", "/go/made", "/made"}) {
        CAPTURE(std::string(made));
        CHECK(error_of(client, name, {"file-write", home + made, "x"}) == nullptr);
        CHECK(access((home + made).c_str(), F_OK) != 0);
      }
    }
  }
}

TEST_CASE("untrusted shows the system's programs, nobody's files, and writes in memory") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string home = world.directory() + "/alice";
  write_file(home + "/key", "canary", 0644);
  const std::string workspace = world.directory_of(world.alice());
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string hidden[] = {home + "/key", workspace, "/home",          "/root",
                                  "/var",        "/srv",    "/etc/shadow",    "/etc/hostname",
                                  "/etc/ssh",    "/boot",   "/etc/machine-id"};
    for (const std::string& path : hidden) {
      CAPTURE(path);
      CHECK(error_of(client, "untrusted", {"stat", path}) == "ENOENT");
    }
    for (const char* path : {"/usr/bin/env", "/bin/sh", "/etc/alternatives", "/work", "/tmp"}) {
      CAPTURE(std::string(path));
      CHECK(error_of(client, "untrusted", {"stat", path}) == nullptr);
    }
    for (const char* path : {"/work/made", "/tmp/made", "/dev/shm/made"}) {
      CAPTURE(std::string(path));
      CHECK(error_of(client, "untrusted", {"file-write", path, "x"}) == nullptr);
    }
    for (const char* path :
         {"/usr/made", "/bin/made", "/etc/alternatives/made", "/made", "/etc/made"}) {
      CAPTURE(std::string(path));
      const Json error = error_of(client, "untrusted", {"file-write", path, "x"});
      CHECK((error == "EROFS" || error == "EACCES"));
    }
    // What a client fills in from where it runs is not its business.
    Json request = boxed("untrusted");
    request["workspace"] = {{"path", workspace}};
    request["env"] = {{"HOME", home}, {"USER", "alice"}};
    request["implied"] = {"workspace", "env.HOME", "env.USER"};
    Json report = report_of(client, request);
    CHECK(report["cwd"] == "/work");
    CHECK(report["hostname"] == "job");
    std::vector<std::string> environment = report["environ"];
    std::sort(environment.begin(), environment.end());
    CHECK(environment == std::vector<std::string>{"HOME=/work", "LOGNAME=job",
                                                  "PATH=/usr/local/bin:/usr/bin:/bin",
                                                  "SHELL=/bin/sh", "USER=job"});
  }
}

TEST_CASE("build works for a user without any of these toolchains") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string home = world.directory() + "/alice";
  for (const char* gone : {".cargo", ".rustup", ".nvm", ".pyenv", ".local", "go"})
    fs::remove_all(home + "/" + gone);
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json report = report_of(client, boxed("build"));
    std::vector<std::string> environment = report["environ"];
    CHECK(std::find(environment.begin(), environment.end(), "CI=true") != environment.end());
  }
}

}  // namespace
}  // namespace cloister::system_test
