// Init's own image is no program for a payload, by whatever name it is found.
// The process that becomes the payload runs it until its exec.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

// Refused at the exec, with the reason that the kernel gives for no permission.
void check_no_program(Client& client, const Json& request, const std::vector<int>& fds = {}) {
  const Outcome outcome = client.run(request, fds);
  INFO(request.dump());
  INFO(outcome.told());
  Json verdict = outcome.verdict;
  CHECK(outcome.error == "");
  CHECK(verdict["ending"] == "not_started");
  CHECK(verdict["failure"]["step"] == "execve");
  CHECK(verdict["failure"]["errno_name"] == "EACCES");
  CHECK(verdict["started_at"] == nullptr);
}

std::string script(const World& world, const std::string& name, const std::string& interpreter) {
  const std::string path = world.program(name);
  write_file(path, "#!" + interpreter + "\n", 0755);
  check(chmod(path.c_str(), 0755), "chmod");
  return path;
}

constexpr const char* kNames[] = {"/proc/self/exe", "/proc/thread-self/exe",
                                  "/proc/self/task/../exe", "/dev/../proc/self/exe"};

TEST_CASE("S15: nothing executes init's image, by its names in /proc or as an interpreter") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string direct = script(world, "of-self", "/proc/self/exe"),
                    with_word = script(world, "of-self-word", "/proc/self/exe -c"),
                    nested = script(world, "of-script", direct),
                    link = world.program("link-to-self");
  if (symlink("/proc/self/exe", link.c_str()) < 0 && errno != EEXIST) fail("symlink");
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& base : {world.probe_request(), world.boxed_request()}) {
      const bool boxed = !base.contains("profile") || base["profile"] != "none";
      const std::string in = boxed ? "/run/test/" : world.directory() + "/bin/";
      std::vector<std::string> names(std::begin(kNames), std::end(kNames));
      for (const char* name : {"of-self", "of-self-word", "of-script", "link-to-self"})
        names.push_back(in + name);
      // In the box the path of the interpreter is another.
      if (boxed) std::erase(names, in + "of-script");
      for (const std::string& name : names) {
        Json request = base;
        request["executable"] = name;
        check_no_program(client, request);
      }
      Json searched = base;
      searched["executable"] = nullptr;
      searched["argv"] = {"exe"};
      searched["search_path"] = true;
      searched["env"] = {{"PATH", "/proc/self"}};
      check_no_program(client, searched);
    }
    // A script by descriptor.
    const Fd file(check(open(direct.c_str(), O_RDONLY | O_CLOEXEC), "open"));
    Json passed = world.probe_request();
    passed["executable"] = {{"passed_fd", 0}};
    check_no_program(client, passed, {file.get()});
  }
}

TEST_CASE("S15: who may look into init cannot execute what it runs, nor change that it cannot") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const Held held(client, world.probe_request({"hold"}));
  std::vector<pid_t> inits = inits_of(world.system());
  REQUIRE(!inits.empty());
  for (const pid_t init : inits) {
    const std::string path = "/proc/" + std::to_string(init) + "/exe";
    struct stat image {};
    check(stat(path.c_str(), &image), "stat");
    CHECK((image.st_mode & 07777) == 0);
    // Root of the host, with every capability.
    CHECK(access(path.c_str(), X_OK) != 0);
    const Fd fd(check(open(path.c_str(), O_PATH | O_CLOEXEC), "open"));
    check_no_program(client, with(world.probe_request(), {{"executable", path}}));
    Json passed = world.probe_request();
    passed["executable"] = {{"passed_fd", 0}};
    check_no_program(client, passed, {fd.get()});
  }
  // And the service goes on starting it.
  CHECK(client.run(world.probe_request({"noop"})).verdict["ok"] == true);
}

}  // namespace
}  // namespace cloister::security_test
