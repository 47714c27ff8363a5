// Profile none is posix_spawn(3) as oneself: the same program, started both ways by
// one caller with odd attributes, reports the same. What is chosen to differ is
// listed here, and in cloister(1) under NONE.
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "build_paths.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

void be_somebody() {
  check(chdir("/usr/lib"), "chdir");
  umask(027);
  setpriority(PRIO_PROCESS, 0, 3);
  sched_param none{};
  check(sched_setscheduler(0, SCHED_BATCH, &none), "sched_setscheduler");
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  check(sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
  write_proc("/proc/self/oom_score_adj", "200");
  for (const int signal : {SIGINT, SIGUSR1, SIGPIPE, SIGALRM, SIGRTMIN + 2})
    std::signal(signal, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : {SIGUSR2, SIGTERM, SIGWINCH, SIGRTMIN + 3}) sigaddset(&blocked, signal);
  sigprocmask(SIG_SETMASK, &blocked, nullptr);
  const auto limit = [](__rlimit_resource which, rlim_t soft, rlim_t hard) {
    rlimit now{};
    getrlimit(which, &now);
    const rlimit both{std::min(soft, now.rlim_max), std::min(hard, now.rlim_max)};
    check(setrlimit(which, &both), "setrlimit");
  };
  limit(RLIMIT_NOFILE, 300, 400);
  limit(RLIMIT_CORE, 0, 1 << 20);
  limit(RLIMIT_FSIZE, 1 << 30, RLIM_INFINITY);
  limit(RLIMIT_STACK, 1 << 22, RLIM_INFINITY);
  limit(RLIMIT_CPU, 5000, 6000);
  limit(RLIMIT_SIGPENDING, 500, 600);
  setenv("ODD", "1", 1);
}

// What cloister(1) says is chosen: whose child it is, its session and terminal,
// descriptors, keyring, and the service's own cgroup; and what it cannot see of a
// caller or does not hand on unasked.
constexpr const char* kChosen[] = {
    "pid",       "ppid",      "pgid", "sid", "controlling_terminal", "keyring", "cgroup",
    "pdeathsig", "clocks_ns", "argv", "fds"};
constexpr const char* kChosenOfStatus[] = {"Pid",
                                           "PPid",
                                           "Tgid",
                                           "NSpid",
                                           "NStgid",
                                           "NSpgid",
                                           "NSsid",
                                           "Ngid",
                                           "FDSize",
                                           "TracerPid",
                                           "voluntary_ctxt_switches",
                                           "nonvoluntary_ctxt_switches"};

Json comparable(const std::string& path) {
  Json report = Json::parse(read_file(path), nullptr, false);
  REQUIRE(report.is_object());
  for (const char* each : kChosen) report.erase(each);
  for (const char* each : kChosenOfStatus) report["status"].erase(each);
  std::vector<std::string> sizes;
  for (const auto& [name, value] : report["status"].items())
    if (name.starts_with("Vm") || name.starts_with("Rss") || name == "HugetlbPages")
      sizes.push_back(name);
  for (const std::string& name : sizes) report["status"].erase(name);
  report["handed_on"].erase("autogroup");
  std::sort(report["environ"].begin(), report["environ"].end());
  return report;
}

TEST_CASE("U14: profile none is posix_spawn as oneself, attribute by attribute") {
  NEEDS_ROOT();
  World& world = World::get();
  REQUIRE(command({"cp", CLOISTER, world.program("cloister")}) == 0);
  const std::string socket = world.system().socket();
  for (const Who& who : {world.alice(), world.root()})
    for (const bool alone : {false, true}) {
      CAPTURE(who.uid);
      CAPTURE(alone);
      const std::string directory = world.directory_of(who), spawned = directory + "/spawned",
                        ran = directory + "/ran";
      const Fd error = memory_file();
      const pid_t pid = child([&] {
        become(who);
        be_somebody();
        check(dup2(error.get(), 2), "dup2");
        const auto start = [](std::vector<std::string> words) {
          std::vector<char*> argv;
          for (std::string& word : words) argv.push_back(word.data());
          argv.push_back(nullptr);
          pid_t started = -1;
          if (posix_spawn(&started, argv[0], nullptr, nullptr, argv.data(), environ) != 0)
            return 90;
          int status = 0;
          waitpid(started, &status, 0);
          return WIFEXITED(status) ? WEXITSTATUS(status) : 91;
        };
        if (const int code = start({world.probe(), "report-file", spawned})) return code;
        std::vector<std::string> words = {world.program("cloister")};
        if (alone)
          words.push_back("--private");
        else
          words.insert(words.end(), {"--socket", socket});
        words.insert(words.end(), {"run", "--profile", "none", "--env-all", "--", world.probe(),
                                   "report-file", ran});
        return start(words);
      });
      const int status = wait_for(pid);
      INFO(content_of(error.get()));
      REQUIRE(WIFEXITED(status));
      REQUIRE(WEXITSTATUS(status) == 0);
      Json wanted = comparable(spawned), got = comparable(ran);
      // Root's service gives nobody else's set-uid programs a capability.
      if (who.uid != 0 && !alone) {
        CHECK(got["capabilities"]["bounding"] == 0);
        got["capabilities"]["bounding"] = wanted["capabilities"]["bounding"];
        got["status"]["CapBnd"] = wanted["status"]["CapBnd"];
      }
      for (const auto& [name, value] : wanted.items()) {
        CAPTURE(name);
        INFO("posix_spawn: " << value.dump());
        INFO("cloister:    " << got.value(name, Json()).dump());
        CHECK(got.value(name, Json()) == value);
      }
      CHECK(got.size() == wanted.size());
    }
}

}  // namespace
}  // namespace cloister::security_test
