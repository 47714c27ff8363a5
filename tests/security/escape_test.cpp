// ESC-01 to ESC-09: a payload that wants to be on the host, by its files.
#include <fcntl.h>
#include <linux/capability.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <sstream>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("before: escapes") {
  NEEDS_ROOT();
  count_before();
}

TEST_CASE("ESC-01 no program of the launcher's, nor the payload's own, is opened for writing") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::vector<std::string> names = {
      "cloisterd",       "cloister-front", "cloister-init", "cloister-network",
      "cloister-config", "cloister-sweep", "probe"};
  std::vector<std::string> before;
  for (const auto& name : names) before.push_back(read_file(world.program(name)));
  const std::vector<std::string> errors = {"EACCES", "EROFS", "ETXTBSY", "EPERM", "ENOENT"};
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* how : {"w", "rw"}) {
      for (const Json& request : boxed_requests(
               client, {"open", how, "/proc/self/exe", "/proc/1/exe", "/proc/1/map_files",
                        "/run/test/probe", "/run/test/cloister-init", "/run/test/cloisterd"}))
        check_all_refused(act(client, request), errors, {"/proc/1/map_files"});
    }
  }
  // Without a box, with the numbers of the host.
  Client alice = connect_as(world.alice(), world.system().socket());
  const Held held(alice, world.probe_request({"hold"}));
  Json words = {"probe", "open", "rw"};
  for (const pid_t pid : world.system().processes())
    if (pid != held.pid()) words.push_back("/proc/" + std::to_string(pid) + "/exe");
  words.push_back("/proc/" + std::to_string(world.system().pid()) + "/exe");
  for (const auto& name : names) words.push_back(world.program(name));
  Json request = world.probe_request();
  request["argv"] = words;
  check_all_refused(act(alice, request), errors);
  for (size_t i = 0; i < names.size(); ++i) {
    CAPTURE(names[i]);
    CHECK(read_file(world.program(names[i])) == before[i]);
  }
}

TEST_CASE("ESC-03 no directory, link of /proc or .. leads to a file of the host's /tmp") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string name = "cloister-canary-of-the-host",
                    directory = world.directory_of(world.alice()), canary = directory + "/" + name;
  check(chmod(directory.c_str(), 0755), "chmod");
  write_file(canary, "canary", 0644);
  const Fd file(check(open(canary.c_str(), O_RDONLY | O_CLOEXEC), "open"));
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    CHECK(!act(client, world.probe_request({"climb", canary, name}))["found"].empty());
    for (Json request : boxed_requests(client, {"climb", canary, name})) {
      const auto check_not_found = [&](const Json& found) {
        INFO(found.dump());
        CHECK(found["tried"] > 500);
        CHECK(found["found"] == Json::array());
      };
      check_not_found(act(client, request));
      const std::string workspace = world.directory_of(world.who(way));
      check(chmod(workspace.c_str(), 0755), "chmod");  // for leased ids
      request["workspace"] = workspace_for(request, workspace);
      request["cwd"] = workspace;
      check_not_found(act(client, request));
    }
  }
}

// Run, or not; but never somewhere outside.
void check_inside(Client& client, const Json& request) {
  Outcome outcome = client.run(request);
  INFO(request.dump().substr(0, 1000));
  INFO(outcome.told());
  if (!outcome.error.empty() || outcome.verdict["ok"] != true) return;
  const Json report = Json::parse(outcome.out, nullptr, false);
  REQUIRE(report.is_object());
  CHECK(report["cwd"].is_string());
  CHECK(report["cwd"].dump().find("unreachable") == std::string::npos);
  CHECK(report["root"] == "/");
  for (const auto& line : report["mountinfo"])
    CHECK(line.get<std::string>().find(" / / rw") == std::string::npos);
}

TEST_CASE("ESC-04 no cwd, program or directory action goes by a descriptor of the launcher's") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json base = world.boxed_request();
    for (int fd = 0; fd < 1024; fd = fd < 64 ? fd + 1 : fd * 2 - 1) {
      for (const std::string process : {"self", "1", "thread-self"}) {
        const std::string path = "/proc/" + process + "/fd/" + std::to_string(fd);
        CAPTURE(path);
        const Json there = with(base, {{"cwd", path}});
        // The same place by way of its parents, too.
        for (const Json& request :
             {there, with(base, {{"file_actions", {{{"chdir", {{"path", path}}}}}}})})
          check_inside(client, request);
      }
    }
    for (const std::string path :
         {"/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/proc/self/cwd",
          "/proc/1/root/proc/self/root", "/proc/1/task/1/root"}) {
      CAPTURE(path);
      check_inside(client, with(base, {{"cwd", path}}));
      check_inside(client, with(base, {{"executable", path + "/run/test/probe"}}));
      Json bound = base;
      bound["mounts"].push_back({{"at", "/run/bound"}, {"bind", path}});
      bound["cwd"] = "/run/bound";
      check_inside(client, bound);
      Json linked = base;
      linked["mounts"].push_back({{"at", "/run/link"}, {"symlink", path}});
      linked["cwd"] = "/run/link";
      check_inside(client, linked);
    }
  }
}

TEST_CASE("ESC-04 a root made of a link to a descriptor or to another's root is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (int fd = 0; fd < 40; ++fd) {
      const std::string path = "/proc/self/fd/" + std::to_string(fd);
      CAPTURE(path);
      for (const char* field : {"root", "mount"}) {
        Json request = world.boxed_request();
        if (field == std::string("root")) {
          request["root"] = path;
        } else {
          request["profile"] = "none";
          request["namespaces"] = {{"mnt", "new"}};
          request["no_new_privs"] = true;
          request["mounts"] = {{{"at", "/"}, {"bind", path}}};
        }
        const Outcome outcome = client.run(request);
        INFO(outcome.told());
        CHECK((!outcome.error.empty() || outcome.verdict["ending"] == "not_started"));
      }
    }
    Json request = world.boxed_request();
    request["root"] = "/proc/1/root";
    const Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK((!outcome.error.empty() || outcome.verdict["ending"] == "not_started"));
  }
}

TEST_CASE("ESC-05 nothing in the cgroup view can be written, whoever the payload is") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : boxed_requests(client, {"write-tree", "/sys/fs/cgroup"})) {
      const Json answer = act(client, request);
      INFO(answer.dump());
      CHECK(answer["opened"] == Json::array());
      request["argv"] = {"probe",
                         "open",
                         "w",
                         "/sys/fs/cgroup/cgroup.procs",
                         "/sys/fs/cgroup/cgroup.subtree_control",
                         "/sys/fs/cgroup/cgroup.kill",
                         "/sys/fs/cgroup/release_agent",
                         "/sys/fs/cgroup/notify_on_release",
                         "/sys/fs/cgroup/unified/cgroup.procs",
                         "/sys/fs/cgroup/pids/tasks",
                         "/sys/fs/cgroup/devices/devices.allow",
                         "/sys/fs/cgroup/memory/release_agent"};
      check_all_refused(act(client, request), {"EROFS", "EACCES", "EPERM", "ENOENT"});
    }
  }
}

TEST_CASE("ESC-06 /proc and /sys offer nothing to write, as a user, as root, as root inside") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::vector<Json> requests = boxed_requests(client, {});
    if (way != Way::root) requests.push_back(as_inner_root(way, world.boxed_request()));
    for (Json request : requests) {
      CAPTURE(request["profile"].dump());
      CAPTURE(request["identity"].dump());
      request["argv"] = {"probe", "write-tree", "/proc", "/sys"};
      const Json tree = act(client, request);
      CHECK(tree["tried"] > 1000);
      // /proc/pressure/* is where anybody may ask to be told; ns_last_pid says no
      // when it is written. Root of namespaces of its own has what is theirs: that
      // nothing of the host's changes with it is ESC-16.
      std::vector<std::string> own = {"/proc/pressure/"};
      if (way != Way::root || request["profile"] == "untrusted")
        own.push_back("/proc/sys/kernel/ns_last_pid");
      if (request.contains("uid_map"))
        own.insert(own.end(), {"/proc/sys/fs/mqueue/", "/proc/sys/kernel/msg",
                               "/proc/sys/kernel/auto_msgmni", "/proc/sys/kernel/sem",
                               "/proc/sys/kernel/shm", "/proc/sys/net/", "/proc/sys/user/"});
      std::string opened;
      for (const std::string path : tree["opened"]) {
        const auto holds = [&](const std::string& one) { return path.starts_with(one); };
        if (std::none_of(own.begin(), own.end(), holds)) opened += path + " ";
      }
      CHECK(opened == "");
      request["argv"] = {"probe",
                         "open",
                         "w",
                         "/proc/sysrq-trigger",
                         "/proc/sys/kernel/core_pattern",
                         "/proc/sys/kernel/modprobe",
                         "/proc/sys/vm/drop_caches",
                         "/proc/sys/fs/binfmt_misc/register",
                         "/proc/sys/kernel/sysrq",
                         "/proc/irq/0/smp_affinity",
                         "/sys/power/state",
                         "/sys/kernel/uevent_helper",
                         "/sys/kernel/mm/ksm/run"};
      check_all_refused(act(client, request), {"EROFS", "EACCES", "EPERM", "ENOENT"});
      request["argv"] = {"probe",    "open",      "r",         "/proc/kcore",
                         "/dev/mem", "/dev/kmsg", "/proc/kmsg"};
      const Json read = act(client, request);
      for (const auto& [path, error] : read.items()) {
        if (error.is_null()) {  // masked by a file that is empty
          request["argv"] = {"probe", "read", path};
          CHECK(act(client, request)["text"] == "");
        }
      }
    }
  }
}

TEST_CASE("ESC-07 device nodes are neither made nor, where the host's tree ships them, opened") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string workspace = world.directory_of(world.who(way));
    check(chmod(workspace.c_str(), 0755), "chmod");  // for leased ids
    for (const auto& [name, device] : {std::pair{"null", makedev(1, 3)}, {"zero", makedev(1, 5)}}) {
      const std::string path = workspace + "/" + name;
      check(mknod(path.c_str(), S_IFCHR | 0666, device), "mknod");
      check(chmod(path.c_str(), 0666), "chmod");
    }
    for (Json request : boxed_requests(client, {})) {
      request["workspace"] = workspace_for(request, workspace);
      request["mounts"].push_back({{"at", "/run/shipped"},
                                   {"bind", workspace},
                                   {"access", workspace_for(request, workspace)["access"]}});
      for (const std::string& place : {workspace, std::string("/run/shipped"), std::string("/tmp"),
                                       std::string("/dev"), std::string("/dev/shm")}) {
        CAPTURE(place);
        request["argv"] = {"probe", "devices", place};
        const Json answer = act(client, request);
        std::vector<std::string> but;
        // /dev's own are its own.
        for (const char* own : {"null", "zero", "full", "random", "urandom", "tty", "ptmx"})
          if (place == "/dev") but.push_back(std::string("shipped ") + own);
        check_all_refused(answer, {"EPERM", "EACCES", "EROFS", "ENOSYS"}, but);
        if (place == workspace || place == "/run/shipped") {
          CHECK(answer["shipped null"] == "EACCES");
          CHECK(answer["shipped zero"] == "EACCES");
        }
      }
    }
  }
}

// The file capability of all powers, capabilities(7): VFS_CAP_REVISION_2.
void give_capabilities(const std::string& path) {
  const uint32_t data[5] = {0x02000001, ~0u, 0, 0x1ff, 0};
  check(setxattr(path.c_str(), "security.capability", data, sizeof data, 0), "setxattr");
}

TEST_CASE("ESC-08 set-uid, set-gid and file capabilities give a payload nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root());
  check(chmod(directory.c_str(), 0755), "chmod");
  for (const char* name : {"suid", "sgid", "caps"})
    REQUIRE(command({"cp", world.probe(), directory + "/" + name}) == 0);
  check(chmod((directory + "/suid").c_str(), 04755), "chmod");
  check(chmod((directory + "/sgid").c_str(), 02755), "chmod");
  give_capabilities(directory + "/caps");
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const unsigned uid = world.alice().uid, gid = world.alice().gid;
    for (Json request : boxed_requests(client, {})) {
      request["mounts"].push_back({{"at", "/run/shipped"}, {"bind", directory}});
      for (const char* name : {"suid", "sgid", "caps"}) {
        CAPTURE(std::string(name));
        request["executable"] = "/run/shipped/" + std::string(name);
        const Json report = report_of(client, request);
        if (request["profile"] != "untrusted") {
          CHECK(report["euid"] == uid);
          CHECK(report["egid"] == gid);
        }
        CHECK(report["euid"] != 0);
        CHECK(report["euid"] == report["ruid"]);
        CHECK(report["egid"] == report["rgid"]);
        CHECK(report["capabilities"]["effective"] == 0);
        CHECK(report["capabilities"]["permitted"] == 0);
        CHECK(report["capabilities"]["bounding"] == 0);
        CHECK(report["status"]["NoNewPrivs"] == "1");
        for (const auto& entry : report["mountinfo"]) {
          INFO(entry);
          CHECK(entry.get<std::string>().find("nosuid") != std::string::npos);
        }
      }
    }
  }
}

TEST_CASE("ESC-09 a payload mounts, unmounts, remounts and moves nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : boxed_requests(client, {"mount-calls"}))
      check_all_refused(act(client, request), {"EPERM", "ENOSYS", "ENOENT"});
    if (way == Way::root) continue;
    // uid 0 of a user namespace of its own has no more.
    check_all_refused(act(client, as_inner_root(way, world.boxed_request({"mount-calls"}))),
                      {"EPERM", "ENOSYS"});
  }
}

TEST_CASE("ESC-09 in a user namespace of the payload's own what is masked stays so") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : boxed_requests(client, {"nested-mount-calls"})) {
      const Json answer = act(client, request);
      INFO(answer.dump());
      if (!answer["unshare"].is_null()) {
        check_error(answer, "unshare", {"EPERM", "ENOSYS"});
        continue;
      }
      for (const auto& [name, error] : answer.items()) {
        const bool loosens = name.starts_with("remount") || name.starts_with("umount") ||
                             name == "mount_setattr" || name == "open_tree" ||
                             name == "mount sysfs" || name == "move_mount";
        if (loosens)
          check_error(answer, name, {"EPERM", "EINVAL", "EBUSY", "ENOSYS", "EACCES", "ENOENT"});
      }
    }
  }
}

TEST_CASE("after: escapes have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
