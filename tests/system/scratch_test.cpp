// Scratch directories on disk: the payload's own while it lives, and gone when
// its end is told.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAt = "/run/scratch";

// Where the services of this way make them.
std::string store_of(Way way) {
  World& world = World::get();
  const bool of_alice = way == Way::rootless || way == Way::alone;
  return world.disk() + (of_alice ? "/" + world.name_of(world.alice()) + "/cloister" : "/system") +
         "/scratch";
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  if (!fs::exists(directory)) return names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename());
  return names;
}

std::string no_disk() {
  struct statfs kind {};
  constexpr long kTmpfs = 0x01021994;
  if (statfs(World::get().disk().c_str(), &kind) == 0 && kind.f_type == kTmpfs)
    return "/var/tmp is in memory here";
  return {};
}

#define NEEDS_DISK() \
  NEEDS_ROOT(); \
  do { \
    if (const std::string reason = no_disk(); !reason.empty()) SKIP(reason); \
  } while (false)

TEST_CASE("the directory is the payload's, on disk, and gone when the end is told") {
  NEEDS_DISK();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json seen = act(client, World::on_disk(world.boxed_request({"stat", kAt}), kAt));
    CHECK(seen["error"] == nullptr);
    CHECK((seen["mode"].get<unsigned>() & 07777) == 0700);
    CHECK(names_in(store_of(way)).empty());

    Json written =
        act(client,
            World::on_disk(world.boxed_request({"file-write", std::string(kAt) + "/f", "x"}), kAt));
    CHECK(written["error"] == nullptr);
    CHECK(names_in(store_of(way)).empty());

    Json littered =
        act(client, World::on_disk(world.boxed_request({"litter", kAt, "200", "/etc"}), kAt));
    for (const auto& [what, error] : littered.get<Json::object_t>()) {
      CAPTURE(what);
      if (what == "chmod") {
        CHECK(error == "EPERM");  // no set-uid files
      } else {
        CHECK(error == nullptr);
      }
    }
    CHECK(names_in(store_of(way)).empty());
  }
}

TEST_CASE("nosuid, nodev, and noexec and noatime where asked for") {
  NEEDS_DISK();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = World::on_disk(world.boxed_request({"mount", kAt}), kAt);
    const std::string line = client.run(request).out;
    CHECK(line.find("nosuid") != line.npos);
    CHECK(line.find("nodev") != line.npos);
    CHECK(line.find("noexec") == line.npos);
    request["mounts"].back()["noexec"] = true;
    const std::string closed = client.run(request).out;
    CHECK(closed.find("noexec") != closed.npos);
    // As of a bind: in a user namespace the kernel keeps the host's choice of atime.
    request["mounts"].back()["noatime"] = true;
    Outcome quiet = client.run(request);
    if (way == Way::root || way == Way::user)
      CHECK(quiet.out.find("noatime") != std::string::npos);
    else
      CHECK(quiet.verdict["failure"]["errno_name"] == "EPERM");
  }
}

TEST_CASE("mount points are made in it, as they are in memory") {
  NEEDS_DISK();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request =
        World::on_disk(world.boxed_request({"read", std::string(kAt) + "/deep/inside/file"}), kAt);
    request["mounts"].push_back(
        {{"at", std::string(kAt) + "/deep/inside/file"}, {"file", {{"text", "here"}}}});
    CHECK(act(client, request)["text"] == "here");
    CHECK(names_in(store_of(way)).empty());
  }
}

TEST_CASE("two in one job, and two jobs at once, have nothing in common") {
  NEEDS_DISK();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way), other = world.connect(way);
    Json request = World::on_disk(World::on_disk(world.boxed_request({"hold"}), kAt), "/run/more");
    request["lifetime"] = {{"on_disconnect", "keep"}};
    Json first = client.call("Start", {{"request", request}}).parameters;
    Json second = other.call("Start", {{"request", request}}).parameters;
    CAPTURE(first.dump());
    REQUIRE(first["id"].is_string());
    REQUIRE(second["id"].is_string());
    const auto jobs = names_in(store_of(way));
    CHECK(jobs.size() == 2);
    for (const auto& job : jobs) {
      struct stat status {};
      check(stat((store_of(way) + "/" + job).c_str(), &status), "stat");
      CHECK((status.st_mode & 07777) == 0700);
      CHECK(status.st_uid == (way == Way::rootless ? world.alice().uid : 0));
      CHECK(names_in(store_of(way) + "/" + job).size() == 2);
      for (const auto& each : names_in(store_of(way) + "/" + job)) {
        check(stat((store_of(way) + "/" + job + "/" + each).c_str(), &status), "stat");
        CHECK(status.st_uid == world.who(way).uid);
        CHECK((status.st_mode & 07777) == 0700);
      }
    }
    client.call("Stop", {{"id", first["id"]}, {"timeout", "0s"}});
    CHECK(names_in(store_of(way)).size() == 1);
    client.call("Stop", {{"id", second["id"]}, {"timeout", "0s"}});
    CHECK(names_in(store_of(way)).empty());
    for (const Json& id : {first["id"], second["id"]}) client.call("Remove", {{"id", id}});
  }
}

TEST_CASE("files of all ids that a job has are removed") {
  NEEDS_DISK();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = World::on_disk(world.boxed_request({"litter", kAt, "3", "/etc"}), kAt);
    request["namespaces"]["user"] = "new";
    request["uid_map"] = request["gid_map"] = "subordinate";
    request["identity"] = {{"ruid", 12}, {"rgid", 12}, {"groups", Json::array()}};
    Json seen = act(client, request);
    CHECK(seen["inside"] == nullptr);
    CHECK(names_in(store_of(way)).empty());
  }
}

TEST_CASE("a job whose ids are leased may have one") {
  NEEDS_DISK();
  NEEDS_LANDLOCK(2);
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = World::on_disk(world.boxed_request({"litter", kAt, "3", "/etc"}), kAt);
    request["identity"] = "dynamic";
    CHECK(act(client, request)["inside"] == nullptr);
    CHECK(names_in(store_of(way)).empty());
  }
}

TEST_CASE("a job that does not start, or is killed, leaves nothing") {
  NEEDS_DISK();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = World::on_disk(world.boxed_request(), kAt);
    request["executable"] = "/nonexistent";
    Outcome failed = client.run(request);
    CHECK(failed.verdict["failure"]["field"] == "executable");
    CHECK(names_in(store_of(way)).empty());
    Json killed = World::on_disk(world.boxed_request({"signal", "9"}), kAt);
    CHECK(client.run(killed).verdict["term_signal"] == "SIGKILL");
    CHECK(names_in(store_of(way)).empty());
  }
}

// Its init is gone by then, and the number of that may be another process's.
TEST_CASE("a job whose files are being removed has ended: nobody joins it or changes how") {
  NEEDS_DISK();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = World::on_disk(world.boxed_request({"litter", kAt, "3000", "/etc"}), kAt);
  request["lifetime"] = {{"on_disconnect", "keep"}};
  Json started = client.call("Start", {{"request", request}}).parameters;
  REQUIRE(started["id"].is_string());
  const Json job = {{"id", started["id"]}};
  Service& service = world.system();
  const auto sweeps = [&] {
    for (const pid_t pid : service.processes()) {
      std::ifstream in("/proc/" + std::to_string(pid) + "/comm");  // it may have ended by now
      std::string name;
      std::getline(in, name);
      if (name.starts_with("cloister-sweep")) return true;
    }
    return false;
  };
  REQUIRE(eventually([&] { return sweeps(); }));
  Json joining = world.probe_request({"noop"});
  joining["namespaces"] = {{"uts", {{"job", started["id"]}}}};
  Outcome joined = client.run(joining);
  INFO(joined.told());
  CHECK(joined.error == "NoSuchJob");
  Json signal = job;
  signal["signal"] = "SIGKILL";
  CHECK(client.call("Signal", signal).error == "");
  CHECK(sweeps());  // still: or this case has shown nothing
  Json stop = job;
  stop["timeout"] = "0s";
  client.call("Stop", stop);
  Json ended = client.call("Wait", job).parameters["verdict"];
  INFO(ended.dump());
  CHECK(ended["ending"] == "exited");
  CHECK(ended["cause"] == "payload");
  CHECK(ended["killed_by"] == nullptr);
  CHECK(names_in(store_of(Way::user)).empty());
  client.call("Remove", job);
}

TEST_CASE("what a killed service left is removed by the next, and nothing that is in use") {
  NEEDS_DISK();
  World& world = World::get();
  for (const bool of_root : {true, false}) {
    CAPTURE(of_root);
    const Way way = of_root ? Way::root : Way::rootless;
    const Who& who = world.who(way);
    const std::string config = world.directory() + "/scratch.json";
    write_file(config, Json{{"scratch", store_of(way)}}.dump());
    const std::vector<std::string> options =
        of_root ? std::vector<std::string>{"--config", config} : std::vector<std::string>{};
    // Of the service that all tests use: it lives on.
    Client living = world.connect(way);
    Json request = World::on_disk(world.boxed_request({"hold"}), kAt);
    request["lifetime"] = {{"on_disconnect", "keep"}};
    Json kept = living.call("Start", {{"request", request}}).parameters;
    REQUIRE(kept["id"].is_string());
    {
      Service killed(who, world.directory_of(who), options);
      Client client = killed.connect(who);
      Json lost = World::on_disk(world.boxed_request({"litter", kAt, "20", "/etc"}), kAt);
      lost["argv"] = {"sh", "-c", "/run/test/probe litter /run/scratch 20 /etc; sleep 1000"};
      lost["executable"] = "/bin/sh";
      lost["lifetime"] = {{"on_disconnect", "keep"}};
      REQUIRE(client.call("Start", {{"request", lost}}).error.empty());
      REQUIRE(eventually([&] { return names_in(store_of(way)).size() == 2; }));
      kill(killed.pid(), SIGKILL);
      eventually([&] { return !alive(killed.pid()); });
    }
    CHECK(names_in(store_of(way)).size() == 2);
    {
      Service next(who, world.directory_of(who), options);
      CHECK(eventually([&] { return names_in(store_of(way)).size() == 1; }));
    }
    living.call("Stop", {{"id", kept["id"]}, {"timeout", "0s"}});
    CHECK(names_in(store_of(way)).empty());
    living.call("Remove", {{"id", kept["id"]}});
  }
}

// What the answer to a request for one is, from a private service of alice's.
Outcome answer_with(const std::string& cache, const char* home) {
  World& world = World::get();
  Client client = world.connect_alone(world.alice(), [&] {
    cache.empty() ? unsetenv("XDG_CACHE_HOME") : setenv("XDG_CACHE_HOME", cache.c_str(), 1);
    home ? setenv("HOME", home, 1) : unsetenv("HOME");
  });
  return client.run(World::on_disk(world.boxed_request({"noop"}), kAt));
}

TEST_CASE("where there is no disk for it the request is refused, with the reason") {
  NEEDS_DISK();
  World& world = World::get();
  struct Case {
    std::string cache;
    const char* home;
    const char* reason;
  } cases[] = {{"", nullptr, "no home directory to keep"},
               {"/dev/shm", "/", "the service's scratch directory is in memory"},
               {"/proc/1", "/", "the service cannot write its scratch directory"},
               {"/etc", "/", "the service cannot write its scratch directory"}};
  for (const Case& each : cases) {
    CAPTURE(each.reason);
    Outcome outcome = answer_with(each.cache, each.home);
    INFO(outcome.told());
    CHECK(outcome.error == "Unsupported");
    CHECK(outcome.told().find(each.reason) != std::string::npos);
  }
  // With HOME alone it is below that.
  const std::string home = world.disk() + "/" + world.name_of(world.alice()) + "/home";
  Outcome outcome = answer_with("", home.c_str());
  INFO(outcome.told());
  CHECK(outcome.verdict["ok"] == true);
  CHECK(fs::exists(home + "/.cache/cloister/scratch"));
}

TEST_CASE("a store that others can enter is used by nobody") {
  NEEDS_DISK();
  World& world = World::get();
  const std::string cache = world.disk() + "/" + world.name_of(world.alice()) + "/open";
  const std::string store = cache + "/cloister/scratch";
  fs::create_directories(store);
  REQUIRE(command({"chown", "-R", world.name_of(world.alice()), cache}) == 0);
  check(chmod(store.c_str(), 0755), "chmod");
  Outcome outcome = answer_with(cache, "/");
  INFO(outcome.told());
  CHECK(outcome.verdict["ending"] == "not_started");
  CHECK(outcome.verdict["failure"]["step"] == "scratch_store");
  CHECK(outcome.verdict["failure"]["errno_name"] == "EPERM");
  CHECK(names_in(store).empty());
  // Nor one that a link leads to.
  check(chmod(store.c_str(), 0700), "chmod");
  check(rename(store.c_str(), (cache + "/moved").c_str()), "rename");
  check(symlink((cache + "/moved").c_str(), store.c_str()), "symlink");
  CHECK(answer_with(cache, "/").verdict["failure"]["step"] == "scratch_store");
  CHECK(names_in(cache + "/moved").empty());
}

TEST_CASE("it is not made by who is nobody: in a joined user namespace") {
  NEEDS_DISK();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Standing owner([&] {
      become(world.alice());
      check(unshare(CLONE_NEWUSER), "unshare");
    });
    const Fd space(check(
        open(("/proc/" + std::to_string(owner.pid()) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC),
        "open"));
    Json request = World::on_disk(world.boxed_request({"noop"}), kAt);
    request["namespaces"]["user"] = {{"passed_fd", 0}};
    Outcome outcome = client.run(request, {space.get()});
    INFO(outcome.told());
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["field"] == "mounts./run/scratch.scratch.on");
    CHECK(names_in(store_of(way)).empty());
  }
}

}  // namespace
}  // namespace cloister::system_test
