// FS-06 to FS-13: mounts while a job runs, and what is the service's own.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("before: mounts") {
  NEEDS_ROOT();
  count_before();
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
        // That of the leases is the service's alone and no job's.
        const std::string name = fs::path(path).filename();
        CHECK((name == "leases" || name.size() >= 32));
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
  NOT_RUN("needs a clock that may jump: the vm suite");
}

TEST_CASE("FS-11 a helper that is run by hand does nothing, and lends nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.alice());
  for (const char* name :
       {"cloister-front", "cloister-init", "cloister-network", "cloister-config"}) {
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
        // These two have a place to write their record to, and wrote that they started nothing.
        if (name != std::string("cloister-init") && name != std::string("cloister-network"))
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

TEST_CASE("after: mounts have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
