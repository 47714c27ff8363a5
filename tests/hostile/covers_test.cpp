// S18: what keeps uid 0 from ruling the host is init's to do, whatever the front
// leaves out. Nothing is written: a file that opens for writing is enough.
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <sstream>

#include "boxes.hpp"
#include "hostile.hpp"
#include "mountinfo.hpp"

namespace cloister::security_test {
namespace {

using plan::MountKind;

// Somebody who may be uid 0 in a box, or administer networks, and has no other power.
Json granted() {
  return rules({{{"name", "granted"},
                 {"users", Json::array({World::get().alice().uid})},
                 {"allow",
                  {{"uids", Json::array({0})},
                   {"gids", Json::array({0})},
                   {"capabilities", Json::array({"CAP_NET_ADMIN"})}}}}});
}

const Json kRoot = {{"ruid", 0}, {"rgid", 0}, {"groups", Json::array({0})}};

// By which root rules the host, as this host has them. The last ones ask for
// nothing that is mounted everywhere.
std::vector<std::string> levers() {
  std::vector<std::string> found;
  for (const char* path :
       {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper", "/sys/kernel/profiling", "/sys/kernel/rcu_normal",
        "/sys/fs/cgroup/memory/cgroup.procs", "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/unified/cgroup.procs", "/sys/fs/cgroup/cgroup.procs"})
    if (access(path, F_OK) == 0) found.push_back(path);
  return found;
}

Json shell(const std::string& script, const std::vector<std::string>& arguments) {
  Json argv = {"sh", "-c", script, "sh"};
  for (const auto& word : arguments) argv.push_back(word);
  return {{"profile", "default"}, {"executable", "/bin/sh"}, {"argv", argv}, {"identity", kRoot}};
}

// Those of `paths` that the payload can open for writing.
std::string writable(Client& client, const hostile::Script& script, Json request) {
  Outcome outcome = client.run(script.in(std::move(request)));
  INFO(outcome.told());
  CHECK(outcome.error == "");
  std::string out = outcome.out;
  CHECK(out.ends_with("end\n"));
  return out.substr(0, out.size() - std::min<size_t>(out.size(), 4));
}

Json opening(const std::vector<std::string>& paths) {
  return shell("id -u >&2; for f; do (: >>\"$f\") 2>/dev/null && echo \"$f\"; done; echo end",
               paths);
}

std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const auto& line : lines) all += line + "\n";
  return all;
}

TEST_CASE("S18: without a box uid 0 opens what rules the host, so the test can tell") {
  NEEDS_ROOT();
  Ruled ruled(granted(), hostile_front());
  Client client = ruled.connect(World::get().alice());
  Json request = opening(levers());
  request["profile"] = "none";
  CHECK(writable(client, {}, request).find("core_pattern") != std::string::npos);
}

TEST_CASE("S18: a front that leaves the covers out changes nothing") {
  NEEDS_ROOT();
  Ruled ruled(granted(), hostile_front());
  Client client = ruled.connect(World::get().alice());
  const hostile::Script script = hostile::Script().drop({MountKind::mask, MountKind::lock});
  CHECK(writable(client, script, opening(levers())) == "");
  // The same through the host's root writable, where nothing of the profile lies.
  const hostile::Script bare = hostile::Script()
                                   .drop({MountKind::mask, MountKind::lock, MountKind::tmpfs,
                                          MountKind::scratch, MountKind::cgroup_view})
                                   .in_mounts(MountKind::bind, offsetof(plan::Mount, flags),
                                              uint32_t{plan::kMountRecursive | plan::kMountNoDev});
  Json request = opening(levers());
  CHECK(writable(client, bare, request) == "");
}

TEST_CASE("S18: no bind shows the kernel's files writable to the host's uid 0") {
  NEEDS_ROOT();
  Ruled ruled(granted(), hostile_front());
  Client client = ruled.connect(World::get().alice());
  struct Row {
    const char* source;
    const char* below;  // of what is shown
    bool recursive = false, file = false;
  };
  const Row rows[] = {
      {"/proc", "/sys/kernel/core_pattern"},
      {"/proc", "/sys/kernel/core_pattern", true},
      {"/proc", "/sysrq-trigger"},
      {"/proc", "/1/oom_score_adj"},
      {"/proc/sys", "/kernel/core_pattern"},
      {"/proc/sys/kernel", "/core_pattern"},
      {"/proc/sys/kernel/core_pattern", "", false, true},
      {"/proc/sysrq-trigger", "", false, true},
      {"/sys", "/kernel/profiling"},
      {"/sys", "/kernel/rcu_normal", true},
      {"/sys/kernel", "/profiling"},
      {"/sys/kernel/profiling", "", false, true},
      {"/sys", "/fs/cgroup/memory/release_agent", true},
      {"/sys/fs/cgroup", "/memory/release_agent", true},
      {"/sys/fs/cgroup/memory", "/release_agent"},
      {"/sys/fs/cgroup/unified", "/cgroup.procs"},
      {"/", "/proc/sys/kernel/core_pattern", true},
      {"/", "/sys/kernel/profiling", true},
  };
  hostile::Script script;
  script.drop({MountKind::mask, MountKind::lock});
  std::vector<std::string> paths;
  int count = 0;
  for (const Row& row : rows) {
    if (access((std::string(row.source) + row.below).c_str(), F_OK) != 0) continue;
    const std::string at = "/run/shown-" + std::to_string(count++);
    script.bind(row.source, at,
                (row.recursive ? plan::kMountRecursive : 0) | (row.file ? plan::kMountIsFile : 0) |
                    plan::kMountNoDev);
    paths.push_back(at + row.below);
  }
  CHECK(count > 10);
  CHECK(writable(client, script, opening(paths)) == "");
  // Each of them is there, and says itself that it is read-only.
  Json listing = shell("for f; do test -e \"$f\" && echo \"$f\"; done; echo end", paths);
  CHECK(writable(client, script, listing) == joined(paths));
  // Without the grant the same binds are those of a user, and are not covered.
  listing["identity"] = "caller";
  CHECK(writable(client, script, listing) == joined(paths));
}

TEST_CASE("S18: root's own job is covered alike, and mountinfo says so") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::root);
  Outcome outcome = client.run({{"profile", "default"}, {"argv", {"cat", "/proc/self/mountinfo"}}});
  REQUIRE(outcome.error == "");
  std::istringstream lines(outcome.out);
  int locked = 0;
  for (std::string line; std::getline(lines, line);) {
    const bool kernel = line.find(" - sysfs ") != line.npos || line.find(" - cgroup") != line.npos;
    if (line.find(" /proc/sys ") != line.npos || line.find(" /proc/sysrq-trigger ") != line.npos)
      ++locked;
    else if (!kernel)
      continue;
    CAPTURE(line);
    CHECK(line.find(" ro,") != line.npos);
  }
  CHECK(locked >= 1);
}

TEST_CASE("S18: no descriptor leads around the covers") {
  NEEDS_ROOT();
  Ruled ruled(granted(), hostile_front());
  Client client = ruled.connect(World::get().alice());
  const Json request = shell("cat <&3; echo end", {});
  const auto with_action = [&](const std::string& path, int flags, bool directory) {
    Fd fd(check(open(path.c_str(), flags | O_CLOEXEC), "open"));
    Json wanted = request;
    Json receive = {{"passed_fd", 0}, {"fd", 3}};
    if (directory) receive["directory"] = true;
    wanted["file_actions"] = {{{"receive", receive}}};
    return client.run(wanted, {fd.get()});
  };
  for (const char* path : {"/proc/sys/kernel/core_pattern", "/sys/kernel/profiling"}) {
    CAPTURE(std::string(path));
    Outcome outcome = with_action(path, O_RDONLY, false);
    INFO(outcome.told());
    CHECK(outcome.error == "Denied");
    CHECK(outcome.parameters["rule"] == "covers-hold-for-descriptors");
  }
  Outcome outcome = with_action("/", O_RDONLY | O_DIRECTORY, true);
  INFO(outcome.told());
  CHECK(outcome.parameters["rule"] == "covers-hold-for-descriptors");
  outcome = with_action("/etc/hostname", O_RDONLY, false);
  INFO(outcome.told());
  CHECK(outcome.error == "");
  // The current directory is one, too.
  const hostile::Script cwd =
      hostile::Script().pass(plan::Use::cwd, "/", O_PATH | O_DIRECTORY,
                             hostile::Script::offset_of(&plan::Header::cwd_descriptor));
  outcome = client.run(cwd.in(opening({})));
  INFO(outcome.told());
  CHECK(outcome.parameters["rule"] == "covers-hold-for-descriptors");
}

TEST_CASE("S18: what a job without powers has mounted lends nothing to one that joins it") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(granted(), hostile_front());
  Client client = ruled.connect(world.alice());
  Json held = world.boxed_request({"hold"});
  held["mounts"].push_back({{"at", "/run/kernel"}, {"bind", "/proc/sys/kernel"}, {"access", "rw"}});
  const Held job(client, held);
  Json joining = world.probe_request({"noop"});
  joining["namespaces"] = {{"mnt", {{"job", job.id()}}}, {"pid", {{"job", job.id()}}}};
  joining["no_new_privs"] = true;
  joining["executable"] = "/run/test/probe";
  CHECK(client.run(joining).verdict["ok"] == true);
  Json powers = joining;
  for (const char* set : {"bounding", "effective", "permitted", "inheritable", "ambient"})
    powers["capabilities"][set] = Json::array({"CAP_NET_ADMIN"});
  for (const Json& other : {with(joining, {{"identity", kRoot}}), powers}) {
    Outcome outcome = client.run(other);
    INFO(outcome.told());
    CHECK(outcome.parameters["rule"] == "joined-with-own-ids");
  }
}

TEST_CASE("S18: a mount namespace without mounts is not covered, and so refused") {
  NEEDS_ROOT();
  Ruled ruled(granted(), hostile_front());
  Client client = ruled.connect(World::get().alice());
  Json request = World::get().probe_request();
  request["identity"] = kRoot;
  request["namespaces"] = {{"mnt", "new"}};
  request["no_new_privs"] = true;
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.parameters["rule"] == "covers-need-mounts");
  // As little with powers that are lent, whoever has them.
  request.erase("identity");
  for (const char* set : {"bounding", "effective", "permitted", "inheritable", "ambient"})
    request["capabilities"][set] = Json::array({"CAP_NET_ADMIN"});
  outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.parameters["rule"] == "covers-need-mounts");
}

}  // namespace
}  // namespace cloister::security_test
