// ESC-01 to ESC-18: a payload that wants to be on the host.
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

#include <filesystem>
#include <memory>
#include <sstream>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

// What a box is tried by: also by root, whose payload has uid 0 and no powers.
constexpr Way kBoxWays[] = {Way::root, Way::user, Way::rootless};

TEST_CASE("before: escapes") {
  NEEDS_ROOT();
  count_before();
}

TEST_CASE("ESC-01 no program of the launcher's, nor the payload's own, is opened for writing") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::vector<std::string> names = {"cloisterd", "cloister-front", "cloister-init", "probe"};
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
      request["workspace"] = {{"path", workspace}};
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

// uid 0 in a user namespace of its own, where the caller is mapped to it.
Json as_inner_root(World& world, Way way, Json request) {
  const Who& who = world.who(way);
  request["namespaces"]["user"] = "new";
  request["identity"] = {{"ruid", 0}, {"rgid", 0}};
  request["uid_map"] = {{{"inside", 0}, {"outside", who.uid}, {"count", 1}}};
  request["gid_map"] = {{{"inside", 0}, {"outside", who.gid}, {"count", 1}}};
  return request;
}

TEST_CASE("ESC-06 /proc and /sys offer nothing to write, as a user, as root, as root inside") {
  NOT_RUN("/proc is not masked yet");  // PENDING
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::vector<Json> requests = boxed_requests(client, {});
    if (way != Way::root) requests.push_back(as_inner_root(world, way, world.boxed_request()));
    for (Json request : requests) {
      CAPTURE(request["profile"].dump());
      CAPTURE(request["identity"].dump());
      request["argv"] = {"probe", "write-tree", "/proc", "/sys"};
      const Json tree = act(client, request);
      CHECK(tree["tried"] > 1000);
      // /proc/pressure/* is where anybody may ask to be told.
      std::string opened;
      for (const auto& path : tree["opened"])
        if (!path.get<std::string>().starts_with("/proc/pressure/")) opened += path.dump() + " ";
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
    for (const auto& [name, device] : {std::pair{"null", makedev(1, 3)}, {"zero", makedev(1, 5)}}) {
      const std::string path = workspace + "/" + name;
      check(mknod(path.c_str(), S_IFCHR | 0666, device), "mknod");
      check(chmod(path.c_str(), 0666), "chmod");
    }
    for (Json request : boxed_requests(client, {})) {
      request["workspace"] = {{"path", workspace}};
      request["mounts"].push_back({{"at", "/run/shipped"}, {"bind", workspace}, {"access", "rw"}});
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
      check_all_refused(act(client, request), {"EPERM", "ENOSYS"});
    if (way == Way::root) continue;
    // uid 0 of a user namespace of its own has no more.
    check_all_refused(act(client, as_inner_root(world, way, world.boxed_request({"mount-calls"}))),
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
        if (loosens) check_error(answer, name, {"EPERM", "EINVAL", "EBUSY", "ENOSYS", "EACCES"});
      }
    }
  }
}

TEST_CASE("ESC-11 what a kernel offers beyond programs' needs is refused") {
  NOT_RUN("there is no default filter yet");  // PENDING
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : boxed_requests(client, {"calls"}))
      check_all_refused(act(client, request), {"EPERM", "ENOSYS", "EACCES"});
  }
}

// A terminal as a caller has it, in its own session.
struct Sitter {
  Fd master, slave;
  std::unique_ptr<Standing> person;

  explicit Sitter(bool in_session) {
    int ends[2];
    check(openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr), "openpty");
    master = Fd(ends[0]);
    slave = Fd(ends[1]);
    check(fchmod(slave.get(), 0666), "fchmod");
    if (!in_session) return;
    person = std::make_unique<Standing>([&] {
      check(setsid(), "setsid");
      check(ioctl(slave.get(), TIOCSCTTY, 0), "TIOCSCTTY");
    });
  }
};

TEST_CASE("ESC-12 nothing is typed into, or changed about, a terminal that was passed along") {
  NOT_RUN("there is no default filter yet");  // PENDING
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : boxed_requests(client, {"terminal", "0"})) {
      // One of a session, and one that is no session's: a new one could take it.
      for (const bool in_session : {true, false}) {
        CAPTURE(in_session);
        const Sitter sitter(in_session);
        request["stdin"] = {{"passed_fd", 0}};
        const Json answer = act(client, request, {sitter.slave.get()});
        INFO(answer.dump());
        CHECK(answer["isatty"] == nullptr);
        std::vector<std::string> but = {"isatty"};
        if (!in_session) but.push_back("TIOCSCTTY of a new session");
        check_all_refused(answer, {"EPERM", "EIO", "ENOTTY", "EINVAL", "ENOSYS", "EACCES", "EBUSY"},
                          but);
        int discipline = -1, waiting = -1;
        check(ioctl(sitter.slave.get(), TIOCGETD, &discipline), "TIOCGETD");
        CHECK(discipline == N_TTY);
        check(ioctl(sitter.slave.get(), FIONREAD, &waiting), "FIONREAD");
        CHECK(waiting == 0);
        if (!in_session) continue;
        pid_t session = 0;
        check(ioctl(sitter.master.get(), TIOCGSID, &session), "TIOCGSID");
        CHECK(session == sitter.person->pid());
      }
    }
  }
}

TEST_CASE("ESC-12 a terminal that was asked for is the sandbox's own, in a session of its own") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : boxed_requests(client, {"report", "5"})) {
      const Fd file = memory_file();
      request["stdin"] = request["stdout"] = request["stderr"] = "pty";
      request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 5}}}}};
      const Outcome outcome = client.run(request, {file.get()});
      INFO(outcome.told());
      REQUIRE(outcome.error == "");
      const Json report = Json::parse(content_of(file.get()), nullptr, false);
      REQUIRE(report.is_object());
      CHECK(report["controlling_terminal"].is_object());
      CHECK(descriptor(report, 0)["ttyname"].get<std::string>().starts_with("/dev/pts/"));
      struct stat pts {};
      check(stat("/dev/pts", &pts), "stat");
      CHECK(descriptor(report, 0)["dev"] != pts.st_dev);
      CHECK(report["sid"] != 0);
    }
  }
}

TEST_CASE("ESC-13 the service's socket is not in the box; bound into it, it serves nobody there") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string socket =
        way == Way::rootless ? world.rootless().socket() : world.system().socket();
    for (Json request : boxed_requests(client, {"connect", socket})) {
      check_error(act(client, request), "error", {"ENOENT", "EACCES"});
      request["argv"] = {"probe", "connect", "/run/cloister/socket"};
      check_error(act(client, request), "error", {"ENOENT", "EACCES"});
      // The client binds it: the payload may speak, and is told that it may not.
      request["mounts"].push_back({{"at", "/run/service"}, {"bind", socket}});
      request["argv"] = {"probe", "ask", "/run/service",
                         run_text({{"profile", "none"}, {"argv", {"/bin/true"}}})};
      const Json answer = act(client, request);
      INFO(answer.dump());
      if (!answer["error"].is_null()) continue;
      const std::string said = answer["answer"];
      CHECK((said.empty() || said.find("io.cloister.Launcher.Denied") != std::string::npos));
      CHECK(said.find("started") == std::string::npos);
    }
  }
  // A job without a box is one of the service's still, where it has cgroups.
  Client alice = world.connect(Way::user);
  if (alice.call("Describe").parameters["cgroup_version"] == 0) {
    not_run("no cgroups: a job without a box cannot be told from its user");
    return;
  }
  const Json answer = act(alice, world.probe_request({"ask", world.system().socket(),
                                                      run_text({{"argv", {"/bin/true"}}})}));
  INFO(answer.dump());
  CHECK(answer["answer"].get<std::string>().find("confined-caller") != std::string::npos);
}

// A listener at a path of the host's, where that is free, with the directories
// that it needs; all of it gone with the case.
class Planted {
 public:
  explicit Planted(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) == 0) return;  // the host has a real one
    std::string missing;
    for (fs::path up = fs::path(path).parent_path(); !fs::exists(up); up = up.parent_path())
      missing = up;
    fs::create_directories(fs::path(path).parent_path());
    remove_ = missing.empty() ? path : missing;
    listener_ = Fd(check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    check(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    check(listen(listener_.get(), 64), "listen");
    check(chmod(path.c_str(), 0666), "chmod");
  }
  ~Planted() {
    std::error_code failed;
    if (!remove_.empty()) fs::remove_all(remove_, failed);
  }
  Planted(const Planted&) = delete;
  Planted& operator=(const Planted&) = delete;
  bool planted() const { return !remove_.empty(); }

 private:
  Fd listener_;
  std::string remove_;
};

TEST_CASE("ESC-15 sockets of the host's services and container engines are not there") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string user = std::to_string(world.alice().uid);
  for (const std::string& path : {std::string("/run/dbus/system_bus_socket"),
                                  std::string("/run/systemd/private"),
                                  std::string("/run/systemd/notify"),
                                  std::string("/run/systemd/journal/socket"),
                                  std::string("/run/systemd/journal/stdout"),
                                  std::string("/run/systemd/journal/dev-log"),
                                  std::string("/run/nscd/socket"),
                                  std::string("/run/docker.sock"),
                                  std::string("/run/containerd/containerd.sock"),
                                  std::string("/run/podman/podman.sock"),
                                  std::string("/run/crio/crio.sock"),
                                  std::string("/run/libvirt/libvirt-sock"),
                                  std::string("/run/cloister/socket"),
                                  std::string("/run/snapd.socket"),
                                  "/run/user/" + user + "/bus",
                                  "/run/user/" + user + "/podman/podman.sock",
                                  std::string("/tmp/.X11-unix/X99"),
                                  std::string("/dev/log"),
                                  std::string("/var/lib/incus/unix.socket"),
                                  std::string("/var/lib/lxd/unix.socket"),
                                  std::string("/var/snap/lxd/common/lxd/unix.socket")}) {
    CAPTURE(path);
    const Planted canary(path);
    for (const Way way : kUserWays) {
      CAPTURE(name_of(way));
      Client client = world.connect(way);
      if (canary.planted())
        CHECK(act(client, world.probe_request({"connect", path}))["error"] == nullptr);
      for (const std::string& name : {path, "/proc/1/root" + path, "/proc/self/root" + path})
        for (const Json& request : boxed_requests(client, {"connect", name}))
          check_error(act(client, request), "error", {"ENOENT", "EACCES", "ENOTDIR"});
    }
  }
}

TEST_CASE("ESC-16 names, clocks and IPC limits of the host stay as they are") {
  NEEDS_ROOT();
  World& world = World::get();
  const auto host = [] {
    utsname names{};
    uname(&names);
    std::string all = std::string(names.nodename) + "/" + names.domainname;
    for (const char* file : {"shmmax", "msgmax", "sem"})
      all += "/" + read_file(std::string("/proc/sys/kernel/") + file);
    return all + read_file("/proc/self/timens_offsets");
  };
  const std::string before = host();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : boxed_requests(client, {"host-state"})) {
      const Json answer = act(client, request);
      INFO(answer.dump());
      for (const char* name : {"clock_settime", "settimeofday", "adjtimex"})
        check_error(answer, name, {"EPERM", "ENOSYS"});
    }
    CHECK(host() == before);
    if (way == Way::root) continue;
    act(client, as_inner_root(world, way, world.boxed_request({"host-state"})));
    CHECK(host() == before);
  }
}

TEST_CASE("ESC-17 a payload that crashes leaves no core, in its directory or elsewhere") {
  NEEDS_ROOT();
  not_run("a handler behind a pipe in core_pattern is the whole host's: tests/vm");
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string workspace = world.directory_of(world.alice());
    for (Json request : boxed_requests(client, {"signal", "SIGSEGV"})) {
      request["workspace"] = {{"path", workspace}};
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK(outcome.verdict["term_signal"] == "SIGSEGV");
      CHECK(outcome.verdict["core_dumped"] == false);
      CHECK(fs::is_empty(workspace));
    }
  }
}

TEST_CASE("ESC-18 no word of a client's makes a second line, or a control character, in the log") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), log = directory + "/log";
  check(chmod(directory.c_str(), 0755), "chmod");
  {
    const Fd file(check(open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), "open")),
        own(check(dup(STDERR_FILENO), "dup"));
    check(dup2(file.get(), STDERR_FILENO), "dup2");
    std::unique_ptr<Service> service;
    try {
      service = std::make_unique<Service>(world.root(), directory);
    } catch (...) {
      dup2(own.get(), STDERR_FILENO);
      throw;
    }
    check(dup2(own.get(), STDERR_FILENO), "dup2");
    const std::string forged = "\nMESSAGE=forged\ncloisterd: forged \x1b[31m\r\xe2\x80\xae%n%s";
    Client client = connect_as(world.alice(), service->socket());
    for (const std::string& text : {forged, forged + std::string(200'000, 'x')}) {
      for (Json request :
           {world.probe_request({"exit", "3"}), world.boxed_request({"exit", "3"})}) {
        request["argv"].push_back(text);
        request["env"] = {{"TEXT", text}};
        client.run(request);
        client.run(with(request, {{"name", text.substr(0, 60)}}));
        client.run(with(request, {{"name", text}}));
        client.run(with(request, {{"tags", {{"tag", text.substr(0, 60)}}}}));
        client.run(with(request, {{"executable", "/tmp/" + text}}));
        client.run(with(request, {{"profile", text.substr(0, 60)}}));
        client.run(with(request, {{"identity", {{"user", text.substr(0, 30)}}}}));
        client.run(with(request, {{"identity", {{"ruid", 0}}}}));
        client.run(with(request, {{"argv", {"probe", "signal", "SIGKILL", text}}}));
      }
    }
  }
  const std::string text = read_file(log);
  INFO(text.substr(0, 4000));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    CHECK_FALSE(line.starts_with("MESSAGE="));
    CHECK_FALSE(line.starts_with("cloisterd: forged"));
    CHECK(line.size() <= 4096);
    CHECK(line.find("\xe2\x80\xae") == line.npos);
    for (const char c : line) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) FAIL_CHECK("a control character");
    }
  }
}

TEST_CASE("after: escapes have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
