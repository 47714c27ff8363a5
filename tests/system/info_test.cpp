// What Describe says of this host is what jobs find there: a feature that is
// available works, one that is not refuses the request by name.
#include <map>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

// A request that cannot start without the feature; laid over the default box.
std::map<std::string, Json> users_of_features(const Who& who, const std::string& directory) {
  const auto fresh = [](const char* name) { return Json{{"namespaces", {{name, "new"}}}}; };
  const auto mount = [](Json members) {
    members["at"] = "/run/more";
    return Json{{"mounts", Json::array({std::move(members)})}};
  };
  const auto own = [](uint32_t id) {
    return Json::array({{{"inside", id}, {"outside", id}, {"count", 1}}});
  };
  const Json subordinate = {
      {"namespaces", {{"user", "new"}}}, {"uid_map", "subordinate"}, {"gid_map", "subordinate"}};
  return {
      {"namespaces.mnt", fresh("mnt")},
      {"namespaces.pid", fresh("pid")},
      {"namespaces.net", fresh("net")},
      {"namespaces.ipc", fresh("ipc")},
      {"namespaces.uts", fresh("uts")},
      {"namespaces.cgroup", fresh("cgroup")},
      {"namespaces.time", fresh("time")},
      {"namespaces.user", fresh("user")},
      {"identity.dynamic", {{"identity", "dynamic"}}},
      {"uid_map.subordinate", subordinate},
      {"gid_map.subordinate", subordinate},
      {"network.outbound", {{"network", {{"outbound", Json::object()}}}}},
      {"seccomp", {{"seccomp", {{"deny", {"kexec_load"}}}}}},
      {"landlock", {{"landlock", {{"paths", {{{"path", "/"}, {"access", {"read", "execute"}}}}}}}}},
      {"landlock.connect_tcp", {{"landlock", {{"connect_tcp", {443}}}}}},
      {"landlock.scopes", {{"landlock", {{"scopes", {"LANDLOCK_SCOPE_SIGNAL"}}}}}},
      {"mounts.scratch.disk", mount({{"scratch", {{"on", "disk"}}}})},
      {"mounts.overlay", mount({{"overlay", {{"lower", {"/usr"}}}}})},
      {"mounts.idmap",
       mount({{"bind", directory}, {"idmap", {{"uid", own(who.uid)}, {"gid", own(who.gid)}}}})},
      {"mounts.mqueue", mount({{"mqueue", Json::object()}})},
      {"scheduler.real_time", {{"scheduler", {{"policy", "SCHED_FIFO"}, {"priority", 1}}}}},
      {"keyring", {{"keyring", "new"}}},
      {"limits.memory", {{"limits", {{"memory", "64M"}}}}},
      {"limits.swap", {{"limits", {{"memory", "64M"}, {"swap", 0}}}}},
      {"limits.pids", {{"limits", {{"pids", 10}}}}},
      {"limits.cpus", {{"limits", {{"cpus", 1}}}}},
      {"limits.wall_time", {{"limits", {{"wall_time", "30s"}}}}},
      {"limits.cpu_time", {{"limits", {{"cpu_time", "30s"}}}}},
      {"stdout.capture", {{"stdout", {{"capture", {{"max", "1K"}}}}}}},
  };
}

void compare(Way way) {
  World& world = World::get();
  Client client = world.connect(way);
  Json features = client.call("Describe").parameters["features"]["host"];
  REQUIRE(features.is_object());
  const auto users = users_of_features(world.who(way), world.directory_of(world.who(way)));
  for (const auto& [name, request] : users) {
    CAPTURE(name);
    CHECK(features.contains(name));
  }
  for (auto& [name, feature] : features.items()) {
    CAPTURE(name);
    const auto user = users.find(name);
    REQUIRE(user != users.end());
    const std::string state = feature["state"];
    CHECK((state == "available" || state == "restricted" || state == "absent"));
    if (state != "available") CHECK(feature["detail"].is_string());
    Json asked = world.boxed_request();
    for (const auto& [field, value] : user->second.items()) {
      if (field == "mounts")
        for (const auto& mount : value) asked["mounts"].push_back(mount);
      else
        asked[field] = value;
    }
    Outcome outcome = client.run(asked);
    INFO(asked.dump());
    INFO(outcome.told());
    const bool worked = outcome.error.empty() && outcome.verdict["ok"] == true;
    CHECK(worked == (state == "available"));
    if (!worked && outcome.error.empty()) CHECK(outcome.verdict["ending"] == "not_started");
  }
}

TEST_CASE("what root's service says of the host is what root's jobs find") {
  NEEDS_ROOT();
  compare(Way::root);
}

TEST_CASE("what root's service says of the host is what a user's jobs find") {
  NEEDS_ROOT();
  compare(Way::user);
}

TEST_CASE("what a user's service says of the host is what its jobs find") {
  NEEDS_ROOT();
  compare(Way::rootless);
}

TEST_CASE("what a private service says of the host is what its jobs find") {
  NEEDS_ROOT();
  compare(Way::alone);
}

}  // namespace
}  // namespace cloister::system_test
