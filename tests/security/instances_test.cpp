// Services beside each other over one cgroup tree, also from other pid
// namespaces: what is another's is left alone, what is nobody's goes.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "build_paths.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

// Every directory below these.
std::set<std::string> all_below(const std::vector<std::string>& tops) {
  std::set<std::string> out;
  for (const std::string& top : tops) {
    out.insert(top);
    for (const auto& entry : fs::recursive_directory_iterator(top))
      if (entry.is_directory()) out.insert(entry.path());
  }
  return out;
}

bool has_cgroups(Service& service) {
  return service.connect(World::get().root()).call("Describe").parameters["cgroup_version"] != 0;
}

TEST_CASE("S12: a service in another pid namespace leaves the cgroups of this one alone") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  if (!has_cgroups(ruled.service())) SKIP("no cgroup tree that the service may write");
  if (command({"unshare", "-fp", "--mount-proc", "true"}) != 0) SKIP("unshare(1) is not permitted");
  REQUIRE(command({"cp", CLOISTER, world.program("cloister")}) == 0);
  Client client = ruled.connect(world.alice());
  const Reply held = client.call("Start", {{"request", world.boxed_request({"hold"})}});
  REQUIRE(held.error == "");
  // Until the next job's leaves are there too.
  eventually([] { return false; }, 300);
  const auto before = all_below(cgroups_of(ruled.service().pid()));
  REQUIRE(before.size() > 3);

  const auto run = [&](const std::vector<std::string>& words) {
    std::vector<std::string> all = {
        "unshare", "-fp", "--mount-proc", world.program("cloister"), "--private", "run", "--"};
    all.insert(all.end(), words.begin(), words.end());
    return command(all);
  };
  CHECK(run({"true"}) == 0);
  CHECK(all_below(cgroups_of(ruled.service().pid())) == before);
  // And they are of use: for the job whose leaves were made ahead, and the next.
  for (int i = 0; i < 3; ++i) {
    const Outcome outcome = client.run(world.boxed_request({"noop"}));
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
  }
  CHECK(alive(held.parameters["pid"].get<pid_t>()));
  client.call("Stop", {{"id", held.parameters["id"]}, {"timeout", "0s"}});
}

TEST_CASE("S12: leaves that somebody removed are made again") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  if (!has_cgroups(ruled.service())) SKIP("no cgroup tree that the service may write");
  Client client = ruled.connect(world.alice());
  for (const char* depth : {"leaves of the next job", "all of them"}) {
    CAPTURE(depth);
    REQUIRE(client.run(world.boxed_request({"noop"})).verdict["ok"] == true);
    eventually([] { return false; }, 300);
    for (const std::string& top : cgroups_of(ruled.service().pid())) {
      const auto all = all_below({top});
      // Inits that wait keep theirs until they are ended, as an administrator may.
      if (depth[0] == 'a')
        for (const pid_t pid : ruled.service().processes())
          if (read_file("/proc/" + std::to_string(pid) + "/cgroup")
                  .find(fs::path(top).filename()) != std::string::npos)
            kill(pid, SIGKILL);
      CHECK(eventually([&] {
        for (auto path = all.rbegin(); path != all.rend(); ++path) rmdir(path->c_str());
        return depth[0] != 'a' || access(top.c_str(), F_OK) != 0;
      }));
    }
    for (int i = 0; i < 3; ++i) {
      const Outcome outcome = client.run(world.boxed_request({"noop"}));
      INFO(outcome.told());
      CHECK(outcome.verdict["ok"] == true);
    }
  }
}

TEST_CASE("S12: a running service removes what one that was killed has left, and not before") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled living(Json::object());
  if (!has_cgroups(living.service())) SKIP("no cgroup tree that the service may write");
  Client client = living.connect(world.alice());
  pid_t dead = 0;
  {
    Ruled killed(Json::object());
    dead = killed.service().pid();
    Client other = killed.connect(world.bob());
    REQUIRE(other.run(world.boxed_request({"noop"})).verdict["ok"] == true);
    REQUIRE(!cgroups_of(dead).empty());
    // Nobody takes a living one's, however often it looks.
    for (int i = 0; i < 7; ++i) {
      CHECK(client.run(world.probe_request({"noop"})).verdict["ok"] == true);
      eventually([] { return false; }, 1'000);
    }
    REQUIRE(!cgroups_of(dead).empty());
    check(kill(dead, SIGKILL), "kill");
  }
  CHECK(eventually(
      [&] {
        CHECK(client.run(world.probe_request({"noop"})).verdict["ok"] == true);
        return cgroups_of(dead).empty();
      },
      60'000));
}

}  // namespace
}  // namespace cloister::security_test
