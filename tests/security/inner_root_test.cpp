// uid 0 of a user namespace is not root of the host: what it may do is judged by
// its capabilities and by what they count for.
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "build_paths.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

struct Said {
  int status;
  std::string out, error;
};

// The command in a user namespace of this user's, with its own uid as 0 there, as
// `unshare -r` makes one.
Said run_inside(const Who& who, const std::vector<std::string>& words, int more = 0) {
  World& world = World::get();
  REQUIRE(command({"cp", CLOISTER, world.program("cloister")}) == 0);
  const Fd out = memory_file(), error = memory_file();
  const pid_t pid = child([&] {
    become(who);
    check(unshare(CLONE_NEWUSER | more), "unshare");
    write_proc("/proc/self/setgroups", "deny");
    write_proc("/proc/self/uid_map", "0 " + std::to_string(who.uid) + " 1");
    write_proc("/proc/self/gid_map", "0 " + std::to_string(who.gid) + " 1");
    check(dup2(out.get(), 1), "dup2");
    check(dup2(error.get(), 2), "dup2");
    std::vector<std::string> all = {world.program("cloister"), "--private"};
    all.insert(all.end(), words.begin(), words.end());
    std::vector<char*> argv;
    for (std::string& word : all) argv.push_back(word.data());
    argv.push_back(nullptr);
    check(chdir("/"), "chdir");
    setenv("HOME", "/nonexistent", 1);
    execv(argv[0], argv.data());
    return 99;
  });
  const int status = wait_for(pid);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(out.get()),
          content_of(error.get())};
}

TEST_CASE("U12: private mode works for uid 0 of a user namespace") {
  NEEDS_ROOT();
  if (command({"/usr/bin/unshare", "-U", "/bin/true"}) != 0) SKIP("no user namespaces here");
  World& world = World::get();
  for (const int more : {0, CLONE_NEWNS})
    for (const char* profile : {"none", "default"}) {
      CAPTURE(more);
      CAPTURE(std::string(profile));
      const Said said = run_inside(
          world.alice(),
          {"run", "--profile", profile, "--workspace", "none", "--", "/usr/bin/id", "-u"}, more);
      INFO(said.error);
      CHECK(said.status == 0);
      CHECK(said.out == "0\n");
    }
}

TEST_CASE("U12: uid 0 of a user namespace gets nothing that its user has not") {
  NEEDS_ROOT();
  if (command({"/usr/bin/unshare", "-U", "/bin/true"}) != 0) SKIP("no user namespaces here");
  World& world = World::get();
  const Said said = run_inside(world.alice(), {"run", "--workspace", "none", "--", "/bin/sh", "-c",
                                               "grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status; "
                                               "cat /proc/self/uid_map; touch /usr/x"});
  INFO(said.error);
  CHECK(said.status != 0);
  CHECK(said.out.find("CapEff:\t0000000000000000") != std::string::npos);
  CHECK(said.out.find("CapBnd:\t0000000000000000") != std::string::npos);
  CHECK(said.error.find("Read-only file system") != std::string::npos);
}

}  // namespace
}  // namespace cloister::security_test
