// ESC-11 to ESC-18: a payload that wants to be on the host, by its kernel and services.
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

TEST_CASE("before: the host") {
  NEEDS_ROOT();
  count_before();
}

TEST_CASE("ESC-11 what a kernel offers beyond programs' needs is refused") {
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
    act(client, as_inner_root(way, world.boxed_request({"host-state"})));
    CHECK(host() == before);
  }
}

TEST_CASE("ESC-17 a payload that crashes leaves no core, in its directory or elsewhere") {
  NEEDS_ROOT();
  not_run("a handler behind a pipe in core_pattern is the whole host's: the vm suite");
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string workspace = world.directory_of(world.alice());
    check(chmod(workspace.c_str(), 0755), "chmod");  // for leased ids
    for (Json request : boxed_requests(client, {"signal", "SIGSEGV"})) {
      request["workspace"] = workspace_for(request, workspace);
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK(outcome.verdict["term_signal"] == "SIGSEGV");
      CHECK(outcome.verdict["core_dumped"] == false);
      // With 0 the kernel feeds such a handler all the same, core(5).
      request["argv"] = {"probe"};
      CHECK(report_of(client, request)["rlimits"]["RLIMIT_CORE"] == Json{{"soft", 1}, {"hard", 1}});
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

TEST_CASE("after: attacks on the host have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
