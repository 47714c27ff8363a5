// FS-01 to FS-13: mounts, and who may be led where by them.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <sstream>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

constexpr Way kBoxWays[] = {Way::root, Way::user, Way::rootless};

TEST_CASE("before: files") {
  NEEDS_ROOT();
  count_before();
}

// A process of alice's that exchanges two names as fast as it can.
class Exchanging {
 public:
  Exchanging(const Who& who, const std::string& one, const std::string& other)
      : pid_(child([=] {
          become(who);
          for (;;) syscall(SYS_renameat2, AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), 2);
          return 0;
        })) {}
  ~Exchanging() {
    kill(pid_, SIGKILL);
    wait_for(pid_);
  }
  Exchanging(const Exchanging&) = delete;
  Exchanging& operator=(const Exchanging&) = delete;

 private:
  pid_t pid_;
};

TEST_CASE(
    "FS-01 a source that turns into a link while it is mounted shows what it was, or nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  const int rounds = std::getenv("CLOISTER_SOAK") ? 10'000 : 300;
  if (rounds < 10'000) not_run(std::to_string(rounds) + " of 10,000 rounds; all with --soak");
  const std::string vault = world.directory_of(world.root());
  check(mkdir((vault + "/sub").c_str(), 0700), "mkdir");
  for (const char* file : {"/marker", "/sub/marker"}) write_file(vault + file, "canary");
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string base = world.directory_of(world.alice());
    for (const char* directory : {"/real", "/real/sub"}) {
      check(mkdir((base + directory).c_str(), 0755), "mkdir");
      write_file(base + directory + "/marker", "real");
    }
    check(symlink(vault.c_str(), (base + "/link").c_str()), "symlink");
    REQUIRE(command({"chown", "-hR", world.name_of(world.alice()), base}) == 0);
    const Exchanging swaps(world.alice(), base + "/real", base + "/link");
    int real = 0, refused = 0;
    for (int i = 0; i < rounds; ++i) {
      Json request = world.boxed_request({"read", "/run/bound/marker"});
      switch (i % 3) {
        case 0:
          request["mounts"].push_back({{"at", "/run/bound"}, {"bind", base + "/real"}});
          break;
        case 1:  // a parent of it
          request["mounts"].push_back({{"at", "/run/bound"}, {"bind", base + "/real/sub"}});
          break;
        default:
          request["workspace"] = {{"path", base + "/real"}};
          request["argv"] = {"probe", "read", "marker"};
      }
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      INFO(outcome.out);
      CHECK(outcome.out.find("canary") == std::string::npos);
      if (outcome.out.find("\"real\"") != std::string::npos) {
        ++real;
      } else {
        ++refused;
        CHECK((!outcome.error.empty() || outcome.verdict["ok"] != true));
      }
    }
    CAPTURE(refused);
    CHECK(real > 0);
  }
}

// What is in these directories of the host, with whatever says that it changed.
std::string tree_of(const std::vector<std::string>& directories) {
  std::string out;
  for (const auto& directory : directories) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory)) {
      struct stat status {};
      lstat(entry.path().c_str(), &status);
      names.push_back(entry.path().string() + " " + std::to_string(status.st_mode) + " " +
                      std::to_string(status.st_ino) + "\n");
    }
    std::sort(names.begin(), names.end());
    for (const auto& name : names) out += name;
  }
  return out;
}

TEST_CASE("FS-02 a destination is looked up in the new root: no link of it leads to the host") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string tree = world.directory_of(world.who(way));
    const std::pair<const char*, const char*> links[] = {
        {"etc", "/etc"},          {"up", "../../../../../../../.."}, {"self", "/proc/self/root"},
        {"one", "/proc/1/root"},  {"fd", "/proc/self/fd/0"},         {"device", "/dev"},
        {"loop", "loop"},         {"passwd", "/etc/passwd"},         {"none", "/no/such/place"},
        {"out", "/proc/self/cwd"}};
    for (const auto& [name, target] : links)
      check(symlink(target, (tree + "/" + name).c_str()), "symlink");
    write_file(tree + "/file", "a file");
    REQUIRE(command({"chown", "-hR", world.name_of(world.who(way)), tree}) == 0);
    const std::vector<std::string> watched = {"/", "/etc", "/dev", "/run", "/usr", "/var", tree};
    const std::string before = tree_of(watched), mounts = read_file("/proc/self/mountinfo");
    for (const auto& [name, target] : links) {
      for (const std::string tail : {"", "/made", "/made/deeper", "/../made", "/.", "/tmp/made"}) {
        const std::string at = "/run/tree/" + std::string(name) + tail;
        CAPTURE(at);
        for (const Json& kind :
             {Json{{"tmpfs", Json::object()}}, Json{{"dir", Json::object()}},
              Json{{"bind", world.directory() + "/bin"}}, Json{{"symlink", "/etc/passwd"}},
              Json{{"bind", world.probe()}}, Json{{"dev", "minimal"}}}) {
          Json request = world.boxed_request();
          request["mounts"].push_back({{"at", "/run/tree"}, {"bind", tree}, {"access", "rw"}});
          request["mounts"].push_back(with(kind, {{"at", at}}));
          const Outcome outcome = client.run(request);
          INFO(outcome.told());
          // Inside it may be anywhere; it is no host that is changed.
          if (outcome.error.empty() && outcome.verdict["ok"] == true)
            CHECK(Json::parse(outcome.out, nullptr, false).is_object());
          CHECK(outcome.error != "Internal");
        }
      }
    }
    // A file where a directory goes, and the other way round.
    for (const Json& mount : {Json{{"at", "/run/tree/file"}, {"tmpfs", Json::object()}},
                              Json{{"at", "/run/tree/file/below"}, {"tmpfs", Json::object()}},
                              Json{{"at", "/run/tree"}, {"bind", world.probe()}},
                              Json{{"at", "/etc/passwd"}, {"tmpfs", Json::object()}}}) {
      CAPTURE(mount.dump());
      Json request = world.boxed_request({"noop"});
      request["mounts"].push_back({{"at", "/run/tree"}, {"bind", tree}, {"access", "rw"}});
      request["mounts"].push_back(mount);
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      if (mount["at"] != "/run/tree")  // keyed by its place: that one replaces the other
        CHECK((!outcome.error.empty() || outcome.verdict["ending"] == "not_started"));
    }
    CHECK(tree_of(watched) == before);
    CHECK(read_file("/proc/self/mountinfo") == mounts);
  }
}

TEST_CASE("FS-03 a root that ships its own /dev, /proc and /sys fools nobody") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* shape : {"files", "links", "swapped"}) {
      CAPTURE(std::string(shape));
      const std::string root = world.directory_of(world.alice());
      check(chmod(root.c_str(), 0755), "chmod");
      REQUIRE(command({"cp", world.probe(), root + "/probe"}) == 0);
      for (const char* name : {"/etc", "/real"}) check(mkdir((root + name).c_str(), 0755), "mkdir");
      write_file(root + "/etc/passwd", "canary");
      if (shape == std::string("files")) {
        for (const char* name : {"/dev", "/dev/pts", "/proc", "/proc/self", "/sys"})
          check(mkdir((root + name).c_str(), 0777), "mkdir");
        for (const char* name : {"/dev/null", "/dev/console", "/dev/tty", "/proc/self/attr"})
          write_file(root + name, "canary", 0666);
        check(symlink("/etc/passwd", (root + "/dev/zero").c_str()), "symlink");
        check(symlink("/etc", (root + "/dev/shm").c_str()), "symlink");
      } else if (shape == std::string("links")) {
        for (const char* name : {"/dev", "/proc", "/sys"})
          check(symlink("/etc", (root + name).c_str()), "symlink");
      } else {
        check(symlink("/proc", (root + "/dev").c_str()), "symlink");
        check(symlink("/real", (root + "/proc").c_str()), "symlink");
        write_file(root + "/sys", "no directory");
      }
      REQUIRE(command({"chown", "-hR", world.name_of(world.alice()), root}) == 0);
      const std::string before = tree_of({root, root + "/etc"});
      Json request = world.probe_request();
      request["executable"] = "/probe";
      request["cwd"] = "/";
      request["no_new_privs"] = true;
      request["namespaces"] = {{"mnt", "new"}, {"pid", "new"}};
      request["mounts"] = {{{"at", "/"}, {"bind", root}, {"access", "rw"}},
                           {{"at", "/proc"}, {"proc", Json::object()}},
                           {{"at", "/dev"}, {"dev", "minimal"}}};
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      if (outcome.error.empty() && outcome.verdict["ok"] == true) {
        const Json report = outcome.report();
        CHECK(report["ruid"] == world.alice().uid);
        if (report["status"].is_object()) CHECK(report["status"]["NoNewPrivs"] == "1");
        // Standard input is the null device of the host, whatever /dev/null is here.
        CHECK(descriptor(report, 0)["rdev"] == makedev(1, 3));
        request["argv"] = {"probe", "stat", "/dev/null"};
        const Json null = act(client, request);
        if (null["error"].is_null()) CHECK(null["rdev"] == makedev(1, 3));
      }
      CHECK(tree_of({root, root + "/etc"}) == before);
      CHECK(read_file(root + "/etc/passwd") == "canary");
    }
  }
}

// mountinfo, taken apart: proc_pid_mountinfo(5).
struct MountLine {
  int id = 0, parent = 0;
  std::string root, point, options, type, source, whole;
  bool has(const std::string& option) const {
    return ("," + options + ",").find("," + option + ",") != std::string::npos;
  }
};

std::vector<MountLine> mounts_of(const Json& report) {
  std::vector<MountLine> out;
  for (const auto& each : report["mountinfo"]) {
    MountLine line;
    line.whole = each;
    std::istringstream in(line.whole);
    std::string device, word;
    in >> line.id >> line.parent >> device >> line.root >> line.point >> line.options;
    while (in >> word && word != "-") {
    }
    in >> line.type >> line.source;
    out.push_back(line);
  }
  return out;
}

// A filesystem of the test's own, mounted for as long as this lives.
class HostMount {
 public:
  explicit HostMount(const std::string& path) : path_(path) {
    check(mount("cloister-canary", path.c_str(), "tmpfs", 0, "mode=0777"), "mount");
  }
  ~HostMount() { umount2(path_.c_str(), MNT_DETACH); }
  HostMount(const HostMount&) = delete;
  HostMount& operator=(const HostMount&) = delete;

 private:
  std::string path_;
};

TEST_CASE("FS-04 what is to be read-only is, with all that is mounted in it, and no write works") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string base = world.directory_of(world.who(way));
    for (const char* name : {"/sub", "/deep"}) check(mkdir((base + name).c_str(), 0777), "mkdir");
    const HostMount sub(base + "/sub");
    check(mkdir((base + "/sub/sub").c_str(), 0777), "mkdir");
    const HostMount inner(base + "/sub/sub");
    write_file(base + "/sub/sub/file", "kept", 0666);
    Json request = world.boxed_request();
    request["mounts"].push_back({{"at", "/run/base"}, {"bind", base}});
    const Json report = report_of(client, request);
    int seen = 0;
    for (const auto& line : mounts_of(report)) {
      if (!line.point.starts_with("/run/base")) continue;
      ++seen;
      INFO(line.whole);
      for (const char* option : {"ro", "nosuid", "nodev"}) CHECK(line.has(option));
    }
    CHECK(seen == 3);
    for (const char* path : {"/run/base/x", "/run/base/sub/x", "/run/base/sub/sub/x",
                             "/run/base/sub/sub/file", "/run/base/deep/x"}) {
      CAPTURE(std::string(path));
      request["argv"] = {"probe", "file-write", path, "spoilt"};
      CHECK(act(client, request)["error"] == "EROFS");
    }
    CHECK(read_file(base + "/sub/sub/file") == "kept");
    // One that is not recursive shows what is below, not what is mounted there.
    // Without power over the host's mounts nobody may look below one: there it
    // is refused.
    request["mounts"].back()["recursive"] = false;
    request["argv"] = {"probe", "read", "/run/base/sub/sub/file"};
    const Outcome below = client.run(request);
    INFO(below.told());
    if (way == Way::rootless) {
      CHECK(below.verdict["ending"] == "not_started");
      CHECK(below.verdict["failure"]["errno_name"] == "EINVAL");
    } else {
      CHECK(Json::parse(below.out, nullptr, false)["error"] == "ENOENT");
    }
  }
}

TEST_CASE("FS-04 every mount of a box is nosuid, and read-only unless it is the box's own") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : boxed_requests(client, {})) {
      const Json report = report_of(client, request);
      const auto lines = mounts_of(report);
      CHECK(lines.size() > 5);
      for (const auto& line : lines) {
        INFO(line.whole);
        CHECK(line.has("nosuid"));
        const bool own = line.type == "tmpfs" || line.type == "devpts" || line.type == "proc" ||
                         line.type == "overlay" || line.type == "mqueue" ||
                         line.point.starts_with("/dev/");
        if (!own) CHECK(line.has("ro"));
        if (!line.point.starts_with("/dev/")) CHECK(line.has("nodev"));
      }
      if (way != Way::root) continue;
      // uid 0 has a right to most of it; nothing but the mounts keeps it from there.
      request["argv"] = {"probe", "write-tree", "/etc",     "/boot",    "/opt",
                         "/srv",  "/var",       "/usr/bin", "/usr/sbin"};
      const Json tree = act(client, request);
      INFO(tree.dump().substr(0, 2000));
      CHECK(tree["opened"] == Json::array());
      CHECK(tree["tried"] > 10);
    }
  }
}

TEST_CASE("FS-05 a service whose /proc is no procfs starts nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root());
  check(chmod(directory.c_str(), 0755), "chmod");
  const pid_t service = child([&] {
    check(unshare(CLONE_NEWNS), "unshare");
    check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount private");
    // As it looks, but for its kind: a copy of what a program may read there.
    check(mount("fake", "/proc", "tmpfs", 0, "mode=0755"), "mount");
    for (const char* name : {"/proc/self", "/proc/self/fd", "/proc/self/ns", "/proc/sys"})
      mkdir(name, 0755);
    write_file("/proc/self/status", "Uid:\t0\t0\t0\t0\nNoNewPrivs:\t0\n");
    write_file("/proc/self/uid_map", "0 0 4294967295\n");
    execl(world.program("cloisterd").c_str(), "cloisterd", "--socket",
          (directory + "/socket").c_str(), "--socket-mode", "0666", "--runtime-dir",
          (directory + "/run").c_str(), "--front", world.program("cloister-front").c_str(),
          "--init", world.program("cloister-init").c_str(), nullptr);
    return 127;
  });
  const bool listens = eventually(
      [&] { return access((directory + "/socket").c_str(), F_OK) == 0 || !alive(service); },
      10'000);
  CHECK(listens);
  if (alive(service)) {
    bool ran = false;
    try {
      Client client = connect_as(world.root(), directory + "/socket", [pid = service] {
        const Fd own(check(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), "pidfd_open"));
        check(setns(own.get(), CLONE_NEWNS), "setns");
      });
      for (const Json& request : {world.probe_request(), world.boxed_request()}) {
        const auto reply = ask(client, run_text(request));
        if (!reply) break;
        INFO(reply->error << reply->parameters.dump());
        CHECK((!reply->error.empty() || reply->parameters["verdict"]["ending"] == "not_started"));
        ran |= reply->error.empty() && reply->parameters["verdict"]["ok"] == true;
      }
    } catch (const std::exception& error) {
      INFO(error.what());
    }
    CHECK_FALSE(ran);
    kill(service, SIGTERM);
    if (!eventually([&] { return !alive(service); })) kill(service, SIGKILL);
  }
  wait_for(service);
}

TEST_CASE("FS-06 no mount gets in later, and none gets out") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string base = world.directory_of(world.who(way));
    check(mkdir((base + "/later").c_str(), 0777), "mkdir");
    // Also from a mount that passes on what it gets.
    const HostMount shared(base + "/later");
    check(mkdir((base + "/later/inner").c_str(), 0777), "mkdir");
    check(mount(nullptr, (base + "/later").c_str(), nullptr, MS_SHARED, nullptr), "mount shared");
    const std::string before = read_file("/proc/self/mountinfo");
    auto [end, write_end] = pipe();
    auto [answer, answer_write] = pipe();
    Json request = world.boxed_request();
    request["mounts"].push_back({{"at", "/run/base"}, {"bind", base}, {"access", "rw"}});
    request["executable"] = "/bin/sh";
    request["argv"] = {"sh", "-c",
                       "echo ready; read line; ls /run/base/later/inner; /run/test/probe "
                       "nested-mount-calls >/dev/null; /run/test/probe mount-calls >/dev/null; "
                       "grep -c later/inner /proc/self/mountinfo; echo done; read line"};
    request["stdin"] = {{"passed_fd", 0}};
    request["stdout"] = {{"passed_fd", 1}};
    client.post("Run", {{"request", request}}, {end.get(), answer_write.get()}, {{"more", true}});
    answer_write.reset();
    REQUIRE(read_from(answer.get(), 6) == "ready\n");
    CHECK(read_file("/proc/self/mountinfo") == before);
    {
      const HostMount later(base + "/later/inner");
      write_file(base + "/later/inner/canary", "canary");
      check(static_cast<int>(write(write_end.get(), "\n", 1)), "write");
      CHECK(read_from(answer.get(), 7) == "0\ndone\n");
    }
    CHECK(read_file("/proc/self/mountinfo") == before);
    write_end.reset();
    until(client, "ended");
    CHECK(read_file("/proc/self/mountinfo") == before);
  }
}

TEST_CASE("FS-07 nothing of the old root is left: no mount, descriptor, directory or root") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : boxed_requests(client, {})) {
      const Json report = report_of(client, request);
      const auto lines = mounts_of(report);
      std::vector<int> ids;
      for (const auto& line : lines) ids.push_back(line.id);
      int roots = 0;
      for (const auto& line : lines) {
        INFO(line.whole);
        // Hangs below another that is listed, or is the one root.
        const bool known = std::find(ids.begin(), ids.end(), line.parent) != ids.end();
        if (line.point == "/") ++roots;
        CHECK((known || line.point == "/"));
        CHECK(line.whole.find("//deleted") == std::string::npos);
      }
      CHECK(roots == 1);
      CHECK(report["root"] == "/");
      CHECK(report["cwd"].get<std::string>().starts_with("/"));
      CHECK(report["cwd"].get<std::string>().find("unreachable") == std::string::npos);
      CHECK(descriptor_numbers(report) == std::vector<int>{0, 1, 2});
    }
  }
}

TEST_CASE("FS-08 nosuid, nodev, noexec and read-only are as asked, and locked") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string bin = world.directory() + "/bin";
    const struct {
      Json members;
      std::vector<const char*> has, lacks;
    } wanted[] = {
        {Json::object(), {"ro", "nosuid", "nodev"}, {"noexec"}},
        {{{"access", "rw"}}, {"rw", "nosuid", "nodev"}, {"noexec"}},
        {{{"noexec", true}}, {"ro", "nosuid", "nodev", "noexec"}, {}},
        {{{"nosuid", true}, {"nodev", true}, {"noatime", true}},
         {"nosuid", "nodev", "noatime"},
         {}},
    };
    for (const auto& each : wanted) {
      CAPTURE(each.members.dump());
      // The kernel locks relatime, too: mount_namespaces(7).
      if (way == Way::rootless && each.members.contains("noatime")) continue;
      Json request = world.boxed_request();
      request["mounts"].push_back(with(each.members, {{"at", "/run/more"}, {"bind", bin}}));
      const Json report = report_of(client, request);
      for (const auto& line : mounts_of(report)) {
        if (line.point != "/run/more") continue;
        INFO(line.whole);
        for (const char* option : each.has) CHECK(line.has(option));
        for (const char* option : each.lacks) CHECK_FALSE(line.has(option));
      }
      // In a user namespace of the payload's own, where that is allowed, the
      // kernel keeps what it was given.
      request["executable"] = "/bin/sh";
      request["argv"] = {"sh", "-c",
                         "for o in rw suid dev exec; do mount -o remount,bind,$o /run/more && "
                         "echo $o; unshare -Ur mount -o remount,bind,rw,suid,dev,exec /run/more && "
                         "echo inner $o; done 2>/dev/null; grep ' /run/more ' /proc/self/mountinfo "
                         "| cut -d' ' -f6"};
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      std::istringstream lines(outcome.out);
      std::string first, rest;
      std::getline(lines, first);
      for (const char* option : each.has)
        CHECK(("," + first + ",").find("," + std::string(option) + ",") != std::string::npos);
      CHECK_FALSE(std::getline(lines, rest));
    }
    Json request = world.boxed_request({"noop"});
    request["mounts"].push_back({{"at", "/run/more"}, {"bind", bin}, {"noexec", true}});
    request["executable"] = "/run/more/probe";
    const Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.verdict["failure"]["errno_name"] == "EACCES");
  }
}

TEST_CASE(
    "FS-09 the service's directories are its own, closed to others, with names nobody guesses") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Service& service = way == Way::rootless ? world.rootless() : world.system();
    const uid_t owner = way == Way::rootless ? world.alice().uid : 0;
    const Held job(client, world.boxed_request({"hold"}));
    const std::string directory = service.socket().substr(0, service.socket().size() - 6) + "run";
    CAPTURE(directory);
    int files = 0;
    const auto look = [&](const std::string& path) {
      struct stat status {};
      check(lstat(path.c_str(), &status), "lstat");
      CAPTURE(path);
      CHECK(status.st_uid == owner);
      if (S_ISDIR(status.st_mode)) CHECK((status.st_mode & 0777) == 0700);
      if (S_ISREG(status.st_mode)) {
        ++files;
        CHECK((status.st_mode & 0077) == 0);
        CHECK(fs::path(path).filename().string().size() >= 32);
      }
    };
    struct stat top {};
    check(stat(directory.c_str(), &top), "stat");
    CHECK(top.st_uid == owner);
    CHECK((top.st_mode & 0022) == 0);
    for (const auto& entry : fs::recursive_directory_iterator(directory)) look(entry.path());
    CHECK(files > 0);
  }
}

TEST_CASE("FS-10 a cleaner that removes by age") {
  NOT_RUN("needs systemd-tmpfiles and a clock that may jump: tests/vm");
}

TEST_CASE("FS-11 a helper that is run by hand does nothing, and lends nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.alice());
  for (const char* name : {"cloister-front", "cloister-init"}) {
    CAPTURE(std::string(name));
    const std::string program = world.program(name);
    struct stat status {};
    check(stat(program.c_str(), &status), "stat");
    CHECK((status.st_mode & 06000) == 0);
    char data[64];
    CHECK(getxattr(program.c_str(), "security.capability", data, sizeof data) < 0);
    REQUIRE(command({"cp", program, directory + "/copy"}) == 0);
    REQUIRE(command({"ln", "-f", program, directory + "/hardlink"}) == 0);
    for (const std::string& path : {program, directory + "/copy", directory + "/hardlink"}) {
      for (const std::vector<std::string>& words :
           {std::vector<std::string>{}, {"--nursery"}, {"--private", "3"}, {"/bin/sh"}}) {
        CAPTURE(path);
        const std::string made = directory + "/made";
        const pid_t pid = child([&] {
          // Descriptors where its private channels are, that lead to what it might write to.
          const int file = open((directory + "/fd").c_str(), O_RDWR | O_CREAT, 0666);
          for (int fd = 3; fd < 12; ++fd) check(dup2(file, fd), "dup2");
          become(world.alice());
          std::vector<char*> argv = {const_cast<char*>(name)};
          for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
          argv.push_back(nullptr);
          std::string library = "LD_PRELOAD=/no/such/library", socket = "NOTIFY_SOCKET=@x";
          char* environment[] = {library.data(), socket.data(), nullptr};
          alarm(20);  // one that waits for ever is ended, and fails
          check(dup2(open("/dev/null", O_RDWR), 1), "dup2");
          check(dup2(1, 2), "dup2");
          execve(path.c_str(), argv.data(), environment);
          return 70;
        });
        const int result = wait_for(pid);
        CAPTURE(result);
        // Init has a place to write its record to, and wrote that it started nothing.
        if (name != std::string("cloister-init"))
          CHECK_FALSE((WIFEXITED(result) && WEXITSTATUS(result) == 0));
        CHECK_FALSE((WIFSIGNALED(result) && WTERMSIG(result) == SIGALRM));
        CHECK(access(made.c_str(), F_OK) != 0);
      }
    }
  }
}

TEST_CASE("FS-13 names with newlines, spaces, backslashes and other bytes are names, whole") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kBoxWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string base = world.directory_of(world.who(way));
    check(chmod(base.c_str(), 0755), "chmod");
    int i = 0;
    for (const std::string name :
         {"new\nline", " space at both ends ", "back\\slash", "\\040", "tab\there", "#hash", "-rf",
          "a,b=c:d", "quote'\"`$(x)", "\xff\xfe", "\xc3\x28", "caf\xc3\xa9"}) {
      CAPTURE(name);
      const std::string path = base + "/" + name;
      check(mkdir(path.c_str(), 0755), "mkdir");
      write_file(path + "/marker", std::to_string(++i), 0644);
      REQUIRE(command({"chown", "-R", world.name_of(world.who(way)), path}) == 0);
      const bool text = name != "\xff\xfe" && name != "\xc3\x28";
      const auto json = [&](const std::string& bytes) {
        if (text) return Json(bytes);
        // Paths are bytes: where JSON cannot carry them, base64 does.
        const std::string file = base + "/encoded";
        REQUIRE(command({"sh", "-c", "printf %s \"$1\" | base64 -w0 >\"$2\"", "sh", bytes, file}) ==
                0);
        return Json{{"base64", read_file(file)}};
      };
      Json request = world.boxed_request({"read", "marker"});
      request["mounts"].push_back({{"at", json("/run/" + name)}, {"bind", json(path)}});
      request["cwd"] = json("/run/" + name);
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      // A field that takes text only says so; what it takes it takes whole.
      if (!text && outcome.error == "InvalidRequest") continue;
      CHECK(outcome.error == "");
      CHECK(Json::parse(outcome.out, nullptr, false)["text"] == std::to_string(i));
      Json workspace = world.boxed_request({"read", "marker"});
      workspace["workspace"] = {{"path", json(path)}};
      outcome = client.run(workspace);
      INFO(outcome.told());
      if (!text && outcome.error == "InvalidRequest") continue;
      CHECK(Json::parse(outcome.out, nullptr, false)["text"] == std::to_string(i));
    }
    for (const size_t length : {size_t{4096}, size_t{5000}, size_t{100'000}}) {
      CAPTURE(length);
      std::string path = "/";
      while (path.size() < length) path += path.size() % 200 ? "a" : "/";
      for (const Json& mount : {Json{{"at", "/run/long"}, {"bind", path}},
                                Json{{"at", path}, {"tmpfs", Json::object()}},
                                Json{{"at", "/run/long"}, {"symlink", path}}}) {
        Json request = world.boxed_request({"noop"});
        request["mounts"].push_back(mount);
        const Outcome outcome = client.run(request);
        INFO(outcome.told().substr(0, 2000));
        CHECK((!outcome.error.empty() || outcome.verdict["ending"] == "not_started"));
      }
    }
  }
}

TEST_CASE("after: files have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
