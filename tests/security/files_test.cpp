// FS-01 to FS-05: who may be led where by mounts.
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

TEST_CASE("after: files have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
