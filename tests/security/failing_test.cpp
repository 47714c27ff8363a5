// ID-08: calls of init's that fail although they never do, by strace's hand. The
// unit suite makes each step fail in init alone; this is a whole launch.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

TEST_CASE("before: failing calls") {
  NEEDS_ROOT();
  count_before();
}

// Inits that were made ahead and wait for their Order.
std::vector<pid_t> waiting_inits(const Service& service) {
  std::vector<pid_t> out;
  if (!inits_of(service).empty()) return out;  // the one before is not gone yet
  for (const pid_t pid : service.processes()) {
    if (status_of(pid, "PPid") == std::to_string(service.pid()) &&
        status_of(pid, "Name").starts_with("memfd:cloister") && status_of(pid, "TracerPid") == "0")
      out.push_back(pid);
  }
  return out;
}

// Makes one call of what these processes start fail, the n-th of each process.
class Injecting {
 public:
  Injecting(const std::vector<pid_t>& inits, const std::string& call, int which) {
    pid_ = child([&] {
      std::vector<std::string> words = {
          "strace",
          "-f",
          "-q",
          "-o",
          "/dev/null",
          "-e",
          "trace=" + call,
          "-e",
          "inject=" + call + ":error=EAGAIN:when=" + std::to_string(which)};
      for (const pid_t each : inits) words.insert(words.end(), {"-p", std::to_string(each)});
      std::vector<char*> argv;
      for (std::string& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      execv("/usr/bin/strace", argv.data());
      return 127;
    });
    attached_ = eventually(
        [&] {
          bool all = true;
          for (const pid_t each : inits)
            all &= status_of(each, "TracerPid") == std::to_string(pid_);
          return all || !alive(pid_);
        },
        20'000);
    attached_ &= alive(pid_);
  }
  ~Injecting() {
    kill(pid_, SIGTERM);
    wait_for(pid_);
  }
  Injecting(const Injecting&) = delete;
  Injecting& operator=(const Injecting&) = delete;
  bool attached() const { return attached_; }

 private:
  pid_t pid_ = -1;
  bool attached_ = false;
};

TEST_CASE("ID-08 a call that fails ends the launch: nothing runs with less than it was to have") {
  NEEDS_ROOT();
  if (access("/usr/bin/strace", X_OK) != 0) NOT_RUN("strace is missing");
  World& world = World::get();
  Service& service = world.system();
  Client client = world.connect(Way::user);
  const Json whole = report_of(client, world.boxed_request());
  for (const auto& [call, most] : {std::pair{"setgroups", 2},
                                   {"setresgid", 3},
                                   {"setresuid", 3},
                                   {"capset", 6},
                                   {"prctl", 12},
                                   {"seccomp", 3},
                                   {"landlock_restrict_self", 2},
                                   {"unshare", 7},
                                   {"mount_setattr", 6},
                                   {"pivot_root", 2},
                                   {"close_range", 3},
                                   {"prlimit64", 3},
                                   {"rt_sigprocmask", 3}}) {
    CAPTURE(std::string(call));
    int stopped = 0;
    for (int which = 1; which <= most; ++which) {
      CAPTURE(which);
      Outcome outcome;
      bool injected = false;
      for (int attempt = 0; !injected && attempt < 10; ++attempt) {
        std::vector<pid_t> inits;
        // A job that starts is what has the next ones made.
        REQUIRE(client.run(world.boxed_request({"noop"})).verdict["ok"] == true);
        REQUIRE(eventually([&] {
          inits = waiting_inits(service);
          usleep(50'000);
          return inits.size() >= 2 && inits == waiting_inits(service);
        }));
        const Injecting injecting(inits, call, which);
        injected = injecting.attached();
        if (injected) outcome = client.run(world.boxed_request());
      }
      if (!injected) NOT_RUN("strace may not attach here");
      INFO(outcome.told());
      if (!outcome.error.empty() || outcome.verdict["ending"] != "exited") {
        ++stopped;
        CHECK(outcome.out == "");
        CHECK(outcome.verdict["ok"] != true);
        continue;
      }
      // There is no such call so often, or it is the payload's own.
      const Json report = Json::parse(outcome.out, nullptr, false);
      REQUIRE(report.is_object());
      for (const char* line : {"Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff",
                               "CapBnd", "CapAmb", "Seccomp", "Seccomp_filters"}) {
        CAPTURE(std::string(line));
        CHECK(report["status"][line] == whole["status"][line]);
      }
      CHECK(report["mountinfo"].size() == whole["mountinfo"].size());
      CHECK(report["securebits"] == whole["securebits"]);
      for (const char* name : {"mnt", "pid", "net", "ipc", "uts", "cgroup"})
        CHECK(report["namespaces"][name] != own_namespace(name));
    }
    // Of those that every launch makes, the first one has failed.
    for (const char* always : {"setgroups", "setresgid", "setresuid", "capset", "prctl", "unshare"})
      if (call == std::string(always)) CHECK(stopped > 0);
  }
}

TEST_CASE("after: failing calls have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
