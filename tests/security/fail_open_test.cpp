// What other launchers let happen where they should have refused: that it does
// not happen here. No rows; each case names what was seen in the wild.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("before: failing open") {
  NEEDS_ROOT();
  count_before();
}

// A request whose payload would leave a file in a directory that it can write to.
struct Marked {
  std::string marker;
  Json request;

  Marked(World& world, Way way) {
    const std::string directory = world.directory_of(world.who(way));
    marker = directory + "/it-ran";
    request = world.boxed_request({"create", "/run/mark/it-ran"});
    request["mounts"].push_back({{"at", "/run/mark"}, {"bind", directory}, {"access", "rw"}});
  }
  bool ran() const { return access(marker.c_str(), F_OK) == 0; }
};

void check_never_runs(Client& client, const Marked& marked, const Json& request,
                      const std::string& field) {
  const Outcome outcome = client.run(request);
  INFO(request.dump().substr(0, 1500));
  INFO(outcome.told());
  CHECK_FALSE(marked.ran());
  if (outcome.error.empty()) {
    CHECK(outcome.verdict["ending"] == "not_started");
    CHECK(outcome.verdict["ok"] == false);
    CHECK(outcome.verdict["exit_code"] == nullptr);
    CHECK(outcome.verdict["failure"].dump().find(field) != std::string::npos);
  } else {
    CHECK(outcome.parameters.dump().find(field) != std::string::npos);
  }
}

TEST_CASE("a bind that fails never lets the payload run") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string vault = world.directory_of(world.root());
  write_file(vault + "/secret", "canary");
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Marked marked(world, way);
    std::vector<Json> mounts = {
        {{"at", "/run/x"}, {"bind", "/no/such/source"}},
        {{"at", "/run/x"}, {"bind", "/etc/passwd/below-a-file"}},
        {{"at", "/no/such/place"}, {"bind", "/usr"}},
        {{"at", "/etc/no-such-file"}, {"bind", "/etc/passwd"}},
        {{"at", "/etc/passwd"}, {"bind", "/usr"}},       // a directory on a file
        {{"at", "/usr/bin"}, {"bind", "/etc/passwd"}}};  // a file on a directory
    if (way != Way::root) {
      mounts.push_back({{"at", "/run/x"}, {"bind", vault}});
      mounts.push_back({{"at", "/run/x"}, {"bind", vault + "/secret"}});
    }
    for (const Json& mount : mounts) {
      Json request = marked.request;
      request["mounts"].push_back(mount);
      check_never_runs(client, marked, request, "mounts");
      request["mounts"].back()["access"] = "rw";
      check_never_runs(client, marked, request, "mounts");
    }
    // And without the fault it does run.
    CHECK(client.run(marked.request).verdict["ok"] == true);
    CHECK(marked.ran());
  }
}

TEST_CASE("a tmpfs, or any mount of ours, whose place is missing is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Marked marked(world, way);
    for (const Json& kind : {Json{{"tmpfs", Json::object()}}, Json{{"scratch", Json::object()}},
                             Json{{"proc", Json::object()}}, Json{{"dev", "minimal"}},
                             Json{{"dir", Json::object()}}, Json{{"symlink", "/etc/passwd"}}}) {
      for (const char* at : {"/no/such/place", "/usr/no-such-place", "/etc/a/b/c"}) {
        Json request = marked.request;
        request["mounts"].push_back(with(kind, {{"at", at}}));
        check_never_runs(client, marked, request, "mounts");
        CHECK_FALSE(fs::exists(at));
      }
    }
  }
}

TEST_CASE("without user namespaces a box that needs one is refused, and says so") {
  NEEDS_ROOT();
  World& world = World::get();
  // A user namespace in which no further one may be made, for the service and
  // its client alike: nothing of the host is switched off.
  const std::string directory = world.directory_of(world.alice());
  const Marked marked(world, Way::alone);
  const std::string id = std::to_string(world.alice().uid),
                    group = std::to_string(world.alice().gid);
  Client client = world.connect_alone(world.alice(), [&] {
    check(unshare(CLONE_NEWUSER), "unshare");
    write_proc("/proc/self/setgroups", "deny");
    write_proc("/proc/self/uid_map", id + " " + id + " 1");
    write_proc("/proc/self/gid_map", group + " " + group + " 1");
    write_proc("/proc/sys/user/max_user_namespaces", "0");
  });
  CHECK(client.run(world.probe_request({"noop"})).verdict["ok"] == true);
  const Outcome outcome = client.run(marked.request);
  INFO(outcome.told());
  CHECK_FALSE(marked.ran());
  // Refused, or a verdict that it did not start.
  const std::string told = outcome.error + outcome.parameters.dump() + outcome.verdict.dump();
  CHECK((!outcome.error.empty() || told.find("not_started") != std::string::npos));
  CHECK(told.find("ENOSPC") != std::string::npos);
  CHECK(told.find("amespace") != std::string::npos);
}

TEST_CASE("no mount point is ever made on the host, nor left there") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string base = world.directory_of(world.who(way));
    check(mkdir((base + "/there").c_str(), 0755), "mkdir");
    check(chown((base + "/there").c_str(), world.who(way).uid, world.who(way).gid), "chown");
    const auto listing = [&] {
      std::string out;
      for (const auto& entry : fs::recursive_directory_iterator(base))
        out += entry.path().string() + "\n";
      return out;
    };
    const std::string before = listing();
    // In a tree of the host's that may even be written to.
    for (const std::string at : {"/run/base/made", "/run/base/made/deep", "/run/base/there/made"}) {
      CAPTURE(at);
      for (const Json& kind : {Json{{"tmpfs", Json::object()}}, Json{{"bind", "/usr"}},
                               Json{{"bind", "/etc/passwd"}}, Json{{"dir", Json::object()}},
                               Json{{"symlink", "/usr"}}, Json{{"proc", Json::object()}}}) {
        Json request = world.boxed_request({"noop"});
        request["mounts"].push_back({{"at", "/run/base"}, {"bind", base}, {"access", "rw"}});
        request["mounts"].push_back(with(kind, {{"at", at}}));
        const Outcome outcome = client.run(request);
        INFO(outcome.told());
        CHECK(outcome.verdict["ok"] != true);
        CHECK(listing() == before);
      }
    }
    // The same as workspace, where a place that is there is mounted on.
    Json request = world.boxed_request({"file-write", "there/inside", "x"});
    request["workspace"] = {{"path", base}};
    CHECK(client.run(request).verdict["ok"] == true);
    CHECK(fs::remove(base + "/there/inside"));
    CHECK(listing() == before);
    // On what is the sandbox's own it is made, and gone with it.
    request = world.boxed_request({"stat", "/run/own/deep/er"});
    request["mounts"].push_back({{"at", "/run/own/deep/er"}, {"tmpfs", Json::object()}});
    CHECK(act(client, request)["error"] == nullptr);
    CHECK_FALSE(fs::exists("/run/own"));
  }
}

TEST_CASE("descriptors that the service or its client was started with reach no payload") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.alice());
  const Fd canary = memory_file("canary");
  std::unique_ptr<Service> service;
  std::vector<Fd> inherited;
  // Not close-on-exec, as a careless parent leaves them.
  for (int fd = 40; fd < 60; ++fd) {
    check(dup2(canary.get(), fd), "dup2");
    inherited.emplace_back(fd);
  }
  service = std::make_unique<Service>(world.alice(), directory);
  Client client = service->connect(world.alice());
  Client alone = world.connect_alone(world.alice());
  inherited.clear();
  for (Client* each : {&client, &alone}) {
    for (const Json& request : {world.probe_request(), world.boxed_request()})
      CHECK(descriptor_numbers(report_of(*each, request)) == std::vector<int>{0, 1, 2});
  }
}

TEST_CASE("no limit is lower than the caller's, but for those that the profile names") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json plain = report_of(client, world.probe_request())["rlimits"];
    const Json boxed = report_of(client, world.boxed_request())["rlimits"];
    // proc_pid_limits(5): name, soft and hard in columns, in the order of RLIMIT_*.
    std::istringstream limits(read_file("/proc/" + std::to_string(client.helper()) + "/limits"));
    std::string line;
    std::getline(limits, line);
    for (const char* word :
         {"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS",
          "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"}) {
      REQUIRE(std::getline(limits, line));
      const std::string name = std::string("RLIMIT_") + word;
      CAPTURE(line);
      std::istringstream columns(line.substr(26));
      std::string soft, hard;
      columns >> soft >> hard;
      const auto value = [](const std::string& text) {
        return text == "unlimited" ? Json(text) : Json(std::stoull(text));
      };
      CHECK(plain[name]["soft"] == value(soft));
      CHECK(plain[name]["hard"] == value(hard));
      if (name == "RLIMIT_NOFILE" || name == "RLIMIT_CORE") continue;
      const auto number = [](const Json& limit) {
        return limit == "unlimited" ? RLIM_INFINITY : limit.get<rlim_t>();
      };
      CHECK(number(boxed[name]["hard"]) >= number(value(hard)));
      CHECK(number(boxed[name]["soft"]) >= number(value(soft)));
    }
    CHECK(boxed["RLIMIT_NOFILE"]["soft"] == 1024);
  }
}

TEST_CASE("nice stays 0, the policy SCHED_OTHER and every processor allowed") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : {world.probe_request(), world.boxed_request()}) {
      const Json report = report_of(client, request);
      CHECK(report["nice"] == 0);
      CHECK(report["scheduler"]["policy"] == 0);
      CHECK(report["affinity"].size() == static_cast<size_t>(sysconf(_SC_NPROCESSORS_ONLN)));
      CHECK(report["oom_score_adj"] ==
            std::stoi(read_file("/proc/" + std::to_string(client.helper()) + "/oom_score_adj")));
    }
  }
}

TEST_CASE("the payload is not PID 1: a signal's default action works, and orphans are reaped") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : boxed_requests(client, {})) {
      const Json report = report_of(client, request);
      CHECK(report["pid"] != 1);
      CHECK(report["ppid"] == 1);
      request["executable"] = "/bin/sh";
      for (const char* name : {"TERM", "INT", "HUP", "QUIT", "USR1", "ALRM"}) {
        request["argv"] = {"sh", "-c", std::string("kill -") + name + " $$; exit 0"};
        CHECK(client.run(request).verdict["term_signal"] == std::string("SIG") + name);
      }
      // Children whose parents are gone: their state once they have ended.
      request["argv"] = {"sh", "-c",
                         "for i in 1 2 3 4 5 6 7 8; do (sh -c 'exit 5' & ); done; "
                         "n=0; while [ $n -lt 200 ]; do "
                         "grep -qs '^State:.Z' /proc/[0-9]*/status || { echo none; exit 0; }; "
                         "n=$((n+1)); sleep 0.01; done; echo zombies"};
      CHECK(client.run(request).out == "none\n");
    }
  }
}

TEST_CASE("the exit code is the payload's, not that of whoever ends last") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : {world.probe_request(), world.boxed_request()}) {
      request["executable"] = "/bin/sh";
      request["argv"] = {"sh", "-c",
                         "(sleep 0.3; exit 7) & (trap '' TERM; sleep 60; exit 8) & exit 3"};
      Outcome outcome;
      CHECK(milliseconds([&] { outcome = client.run(request); }) < 20'000);
      INFO(outcome.told());
      CHECK(outcome.verdict["exit_code"] == 3);
      CHECK(outcome.verdict["ending"] == "exited");
      CHECK(outcome.verdict["leftover_processes_killed"] > 0);
      request["argv"] = {"sh", "-c", "(exit 9) & wait; (sleep 0.1; kill -KILL $$) & exec sleep 60"};
      outcome = client.run(request);
      CHECK(outcome.verdict["term_signal"] == "SIGKILL");
    }
  }
}

TEST_CASE("after: failing open has left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
