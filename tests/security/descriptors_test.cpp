// FD-01 to FD-07 and RES-05: what a payload and the service hold open.
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "people.hpp"

namespace cloister::security_test {
namespace {

std::vector<std::pair<int, std::string>> links_of(pid_t pid) {
  std::vector<std::pair<int, std::string>> out;
  const std::string path = "/proc/" + std::to_string(pid) + "/fd/";
  DIR* directory = opendir(path.c_str());
  if (!directory) return out;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    char target[4096] = {};
    if (readlink((path + entry->d_name).c_str(), target, sizeof target - 1) > 0) {
      out.emplace_back(atoi(entry->d_name), target);
    }
  }
  closedir(directory);
  return out;
}

// A request that reports on descriptor 5, which is the first that is passed.
Json reporting_on_5(Json request) {
  request["argv"] = {"probe", "report", "5"};
  request["stdout"] = "null";
  request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 5}}}}};
  return request;
}

Json report_on_5(Client& client, const Json& request) {
  const Fd file = memory_file();
  const Outcome outcome = client.run(request, {file.get()});
  INFO(request.dump());
  INFO(outcome.told());
  REQUIRE(outcome.error == "");
  const Json report = Json::parse(content_of(file.get()), nullptr, false);
  REQUIRE(report.is_object());
  return report;
}

TEST_CASE("FD-01 the payload holds exactly what was asked for, on every way to start it") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& base : {world.probe_request(), world.boxed_request()}) {
      using List = std::vector<int>;
      CHECK(descriptor_numbers(report_of(client, base)) == List{0, 1, 2});
      CHECK(descriptor_numbers(report_of(client, with(base, {{"stdin", {{"text", "x"}}}}))) ==
            List{0, 1, 2});
      CHECK(descriptor_numbers(report_of(client, with(base, {{"stderr", "stdout"}}))) ==
            List{0, 1, 2});
      CHECK(descriptor_numbers(report_on_5(client, reporting_on_5(base))) == List{0, 1, 2, 5});
      // Passed, but placed nowhere but on standard input.
      auto [end, other] = pipe();
      CHECK(descriptor_numbers(report_of(client, with(base, {{"stdin", {{"passed_fd", 0}}}}),
                                         {end.get()})) == List{0, 1, 2});
      Json terminal = reporting_on_5(base);
      terminal["stdin"] = terminal["stdout"] = terminal["stderr"] = "pty";
      if (base == world.boxed_request()) {
        CHECK(descriptor_numbers(report_on_5(client, terminal)) == List{0, 1, 2, 5});
      }
    }
  }
}

TEST_CASE("FD-05 no open file of a payload is one of the service's or of another job's") {
  NEEDS_ROOT();
  World& world = World::get();
  if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 0, 0) != 0) SKIP("no kcmp(2) here");
  not_run("what a client passes itself is shared with it, as fork(2) would");
  Client alice = connect_as(world.alice(), world.system().socket()),
         bob = connect_as(world.bob(), world.system().socket());
  std::vector<Reply> jobs;
  for (Client* client : {&alice, &bob}) {
    for (const Json& request : {world.probe_request({"hold"}), world.boxed_request({"hold"})}) {
      jobs.push_back(client->call("Start", {{"request", request}}));
      REQUIRE(jobs.back().error == "");
    }
  }
  for (const Reply& job : jobs) {
    const pid_t payload = job.parameters["pid"].get<pid_t>();
    std::vector<pid_t> others = {world.system().pid()};
    for (const Reply& other : jobs) {
      if (&other != &job) others.push_back(other.parameters["pid"].get<pid_t>());
    }
    for (const auto& [fd, target] : links_of(payload)) {
      for (const pid_t pid : others) {
        for (const auto& [other, name] : links_of(pid)) {
          CAPTURE(fd);
          CAPTURE(target);
          CAPTURE(other);
          CAPTURE(name);
          CHECK(syscall(SYS_kcmp, payload, pid, KCMP_FILE, fd, other) != 0);
        }
      }
    }
  }
  for (size_t i = 0; i < jobs.size(); ++i) {
    (i < 2 ? alice : bob).call("Stop", {{"id", jobs[i].parameters["id"]}});
  }
}

TEST_CASE("FD-03 file actions have their POSIX meaning: same number, swaps, cycles") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Fd a = memory_file("a"), b = memory_file("bb");
    const auto inode = [](const Fd& fd) {
      struct stat status;
      check(fstat(fd.get(), &status), "fstat");
      return status.st_ino;
    };
    Json request = world.probe_request();
    const auto move = [](int fd, int new_fd) {
      return Json{{"dup2", {{"fd", fd}, {"new_fd", new_fd}}}};
    };
    request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 10}}}},
                               {{"receive", {{"passed_fd", 1}, {"fd", 11}}}},
                               move(10, 10),
                               move(10, 12),
                               move(11, 10),
                               move(12, 11),
                               {{"close", {{"fd", 12}}}}};
    const Json report = report_of(client, request, {a.get(), b.get()});
    CHECK(descriptor_numbers(report) == std::vector<int>{0, 1, 2, 10, 11});
    CHECK(descriptor(report, 10)["ino"] == inode(b));
    CHECK(descriptor(report, 11)["ino"] == inode(a));
    CHECK(descriptor(report, 10)["cloexec"] == false);
  }
}

TEST_CASE("FD-03 targets that are descriptors of ours are as good as any others") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : {world.probe_request(), world.boxed_request()}) {
      // All of 3 to 40 by dup2, then closed again, then one received on each.
      Json actions = Json::array();
      for (int fd = 3; fd <= 40; ++fd) actions.push_back({{"dup2", {{"fd", 0}, {"new_fd", fd}}}});
      actions.push_back({{"closerange", {{"fd_low", 3}, {"fd_high", 41}}}});
      request["file_actions"] = actions;
      CHECK(descriptor_numbers(report_of(client, request)) == std::vector<int>{0, 1, 2});
      for (int fd : {3, 4, 5, 6, 7, 8, 9, 10, 12, 20}) {
        CAPTURE(fd);
        request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", fd}}}}};
        const Fd file = memory_file("x");
        CHECK(descriptor_numbers(report_of(client, request, {file.get()})) ==
              std::vector<int>{0, 1, 2, fd});
      }
    }
  }
}

TEST_CASE("FD-03 what is not open, out of range or past the limit is a failure of that action") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    // dup2(2) from what is not open: EBADF, and never a descriptor of init's.
    for (int fd = 3; fd < 24; ++fd) {
      CAPTURE(fd);
      const Outcome outcome = client.run(with(
          world.probe_request(), {{"file_actions", {{{"dup2", {{"fd", fd}, {"new_fd", 30}}}}}}}));
      INFO(outcome.told());
      CHECK(outcome.error == "");
      CHECK(outcome.verdict["ending"] == "not_started");
      CHECK(outcome.verdict["failure"]["errno_name"] == "EBADF");
    }
    for (const Json& action :
         {Json{{"close", {{"fd", -1}}}}, Json{{"dup2", {{"fd", -1}, {"new_fd", 3}}}},
          Json{{"dup2", {{"fd", 0}, {"new_fd", -1}}}},
          Json{{"closerange", {{"fd_low", -1}, {"fd_high", 4}}}},
          Json{{"close", {{"fd", 2147483647}}}}, Json{{"close", {{"fd", 2147483648}}}}}) {
      CAPTURE(action.dump());
      CHECK(client.run(with(world.probe_request(), {{"file_actions", {action}}})).error ==
            "InvalidRequest");
    }
    // One past what any process may have, and still in the range of the field.
    const Outcome outcome = client.run(with(
        world.probe_request(), {{"file_actions", {{{"dup2", {{"fd", 0}, {"new_fd", 1048575}}}}}}}));
    INFO(outcome.told());
    if (outcome.error.empty()) CHECK(outcome.verdict["ending"] == "not_started");
  }
}

TEST_CASE("FD-04 a service started without 0, 1 and 2 gives no job a descriptor of its own") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root());
  check(chmod(directory.c_str(), 0755), "chmod");
  // The service closes and opens in the child that becomes it: so this shell does.
  const std::string line = "exec 0<&- 1>&- 2>&-; exec " + world.program("cloisterd") +
                           " --socket " + directory + "/socket --socket-mode 0666 --runtime-dir " +
                           directory + "/run --front " + world.program("cloister-front") +
                           " --init " + world.program("cloister-init");
  const pid_t service = child([&] {
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    return 127;
  });
  REQUIRE(eventually([&] { return access((directory + "/socket").c_str(), F_OK) == 0; }, 30'000));
  {
    Client client = connect_as(world.alice(), directory + "/socket");
    for (const Json& base : {world.probe_request(), world.boxed_request()}) {
      const Json report = report_on_5(client, reporting_on_5(base));
      CHECK(descriptor_numbers(report) == std::vector<int>{0, 1, 2, 5});
      for (int fd : {0, 1, 2}) {
        CAPTURE(fd);
        CHECK(descriptor(report, fd)["type"] == "character");
        CHECK(descriptor(report, fd)["rdev"] == makedev(1, 3));
      }
    }
  }
  // Nothing of the service's own is in 0 to 2.
  for (const auto& [fd, target] : links_of(service)) {
    if (fd <= 2) CHECK(target == "/dev/null");
  }
  kill(service, SIGTERM);
  CHECK(eventually([&] { return !alive(service); }, 30'000));
  wait_for(service);
}

TEST_CASE("FD-06 into a box go files, pipes, memory and Unix sockets") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Json request = with(world.boxed_request(),
                            {{"file_actions", {{{"receive", {{"passed_fd", 0}, {"fd", 7}}}}}}});
  int pair[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
  const Fd one(pair[0]), other(pair[1]),
      memory = memory_file("x"), file(check(open("/etc/passwd", O_RDONLY | O_CLOEXEC), "open")),
      null(check(open("/dev/null", O_RDWR | O_CLOEXEC), "open"));
  auto [end, write_end] = pipe();
  for (const int fd : {one.get(), memory.get(), file.get(), null.get(), end.get()}) {
    CHECK(descriptor_numbers(report_of(client, request, {fd})) == std::vector<int>{0, 1, 2, 7});
  }
}

TEST_CASE("FD-06 out of a box leads no descriptor: directories, O_PATH, netlink, namespaces") {
  NEEDS_ROOT();
  World& world = World::get();
  const Fd directory(check(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open")),
      path(check(open("/tmp", O_PATH | O_CLOEXEC), "open")),
      file_path(check(open("/etc/passwd", O_PATH | O_CLOEXEC), "open")),
      netlink(check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket")),
      space(check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "open")),
      user_space(check(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC), "open"));
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const auto& [name, fd] : std::initializer_list<std::pair<const char*, const Fd*>>{
             {"directory", &directory},
             {"O_PATH directory", &path},
             {"O_PATH", &file_path},
             {"netlink", &netlink},
             {"net namespace", &space},
             {"user namespace", &user_space}}) {
      CAPTURE(std::string(name));
      for (const Json& members :
           {Json{{"file_actions", {{{"receive", {{"passed_fd", 0}, {"fd", 7}}}}}}},
            Json{{"stdin", {{"passed_fd", 0}}}}}) {
        const Outcome outcome = client.run(with(world.boxed_request(), members), {fd->get()});
        INFO(outcome.told());
        CHECK(outcome.error == "Denied");
      }
    }
    // A directory that is named as one is granted.
    const Json granted = with(
        world.boxed_request(),
        {{"file_actions", {{{"receive", {{"passed_fd", 0}, {"fd", 7}, {"directory", true}}}}}}});
    CHECK(descriptor_numbers(report_of(client, granted, {directory.get()})) ==
          std::vector<int>{0, 1, 2, 7});
  }
}

TEST_CASE("FD-06 from a directory that is granted \"..\" leads on to all that is the client's") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string roots = world.directory_of(world.root());
  write_file(roots + "/canary", "root's", 0600);
  const std::string up = "../../../../../../../..";
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Who& who = world.who(way);
    const std::string base = world.directory_of(who);
    check(mkdir((base + "/granted").c_str(), 0700), "mkdir");
    write_file(base + "/canary", "beside it", 0600);
    for (const char* name : {"/granted", "/canary"})
      check(chown((base + name).c_str(), who.uid, who.gid), "chown");
    const Fd directory(
        check(open((base + "/granted").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
    const auto received = [&](const Json& more, const std::vector<std::string>& words) {
      Json action = {{"passed_fd", 0}, {"fd", 7}};
      action.update(more);
      return with(world.boxed_request(words), {{"file_actions", {{{"receive", action}}}}});
    };

    // It takes the client's own word for it.
    for (const Json& more : {Json::object(), Json{{"directory", false}}}) {
      Outcome outcome = client.run(received(more, {"read", "../canary", "7"}), {directory.get()});
      INFO(outcome.told());
      CHECK(outcome.error == "Denied");
      CHECK(outcome.parameters["field"] == "file_actions");
      CHECK(outcome.parameters["rule"] == "directories-are-granted-by-name");
      CHECK(outcome.out.empty());
    }

    // Then it is no part of the box: not what lies above it, up to the root of
    // the host, nor the read-only of the box. What bounds it is whose ids these are.
    const auto granted = [&](const std::vector<std::string>& words) {
      return act(client, received({{"directory", true}}, words), {directory.get()});
    };
    CHECK(granted({"read", base + "/canary"})["error"] == "ENOENT");
    CHECK(granted({"read", "../canary", "7"})["text"] == "beside it");
    CHECK(granted({"read", up + base + "/canary", "7"})["text"] == "beside it");
    CHECK(granted({"file-write", "../made", "inside", "7"})["error"] == nullptr);
    CHECK(read_file(base + "/made") == "inside");
    if (way != Way::root)
      CHECK(granted({"read", up + roots + "/canary", "7"})["error"] == "EACCES");
    if (syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) > 0) {
      Json ruled = received({{"directory", true}}, {"read", "../canary", "7"});
      ruled["landlock"] = {{"paths", {{{"path", "/run/test"}, {"access", {"read", "execute"}}}}}};
      CHECK(act(client, ruled, {directory.get()})["error"] == "EACCES");
    }

    // The same directory bound has the box above it.
    Json bound = world.boxed_request({"read", "../canary", "7"});
    bound["mounts"].push_back({{"at", "/run/bound"}, {"bind", base + "/granted"}});
    bound["file_actions"] = {
        {{"open", {{"fd", 7}, {"path", "/run/bound"}, {"flags", {"O_RDONLY", "O_DIRECTORY"}}}}}};
    CHECK(act(client, bound)["error"] == "ENOENT");
    bound["argv"] = {"probe", "read", up + base + "/canary", "7"};
    CHECK(act(client, bound)["error"] == "ENOENT");
  }
}

TEST_CASE("FD-07 fronts and inits hold only what their work is") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Fd passed = memory_file("x");
  Json request = world.boxed_request({"hold"});
  request["stdin"] = {{"passed_fd", 0}};
  client.post("Run", {{"request", request}}, {passed.get()}, {{"more", true}});
  until(client, "started");
  const auto only = [](pid_t pid, const std::vector<std::string>& kinds, size_t most) {
    const auto links = links_of(pid);
    CHECK(links.size() > 3);
    CHECK(links.size() <= most);
    for (const auto& [fd, target] : links) {
      CAPTURE(fd);
      CAPTURE(target);
      CHECK(std::any_of(kinds.begin(), kinds.end(), [&, &name = target](const std::string& kind) {
        return name.starts_with(kind);
      }));
    }
  };
  const auto fronts = fronts_of(world.system(), world.alice().uid);
  REQUIRE(fronts.size() == 1);
  only(fronts[0],
       {"/dev/null", "pipe:", "socket:", "/memfd:", "anon_inode:[event", "anon_inode:[timerfd]",
        "anon_inode:[pidfd]"},
       24);
  // Init forks the payload; what is called init and is root is init.
  const auto inits = inits_of(world.system());
  REQUIRE(inits.size() == 1);
  // It closes what the client passed after it has told of the start.
  eventually([&] {
    const auto links = links_of(inits[0]);
    return std::none_of(links.begin(), links.end(),
                        [](const auto& link) { return link.second.starts_with("/memfd:test"); });
  });
  only(inits[0],
       {"/dev/null", "pipe:", "socket:", "/memfd:", "/proc", "/sys/fs/cgroup/",
        "anon_inode:", "pidfd:", "net:", "mnt:", world.directory() + "/system/run/"},
       32);
  // No file of the client's stays with init once the payload has it.
  struct stat wanted;
  check(fstat(passed.get(), &wanted), "fstat");
  for (const auto& [fd, target] : links_of(inits[0])) {
    struct stat status;
    const std::string path = "/proc/" + std::to_string(inits[0]) + "/fd/" + std::to_string(fd);
    if (stat(path.c_str(), &status) < 0) continue;
    CAPTURE(target);
    CHECK_FALSE((status.st_ino == wanted.st_ino && status.st_dev == wanted.st_dev));
  }
}

TEST_CASE("RES-05 253 descriptors with each message, in a loop, leave nothing with the service") {
  NEEDS_ROOT();
  World& world = World::get();
  Service& service = world.system();
  const Fd file = memory_file("x");
  {
    Client warm = connect_as(world.alice(), service.socket());
    REQUIRE(warm.run(world.probe_request({"noop"})).error == "");
  }
  // Until what is made ahead is there, and nothing moves any more.
  int before = 0;
  CHECK(eventually([&] {
    before = descriptors_of(service.pid());
    return !eventually([&] { return descriptors_of(service.pid()) != before; }, 400);
  }));
  const std::vector<int> many(253, file.get());
  Json used = world.probe_request({"noop"});
  used["file_actions"] = Json::array();
  for (int i = 0; i < 253; ++i) {
    used["file_actions"].push_back({{"receive", {{"passed_fd", i}, {"fd", 10 + i}}}});
  }
  int peak = 0;
  for (int round = 0; round < 10; ++round) {
    {  // Surplus: refused.
      Client client = connect_as(world.alice(), service.socket());
      const auto reply = ask(client, run_text(world.probe_request({"noop"})), many);
      if (reply) CHECK(reply->error == "InvalidRequest");
      peak = std::max(peak, descriptors_of(service.pid()));
    }
    {  // All used: the job has them.
      Client client = connect_as(world.alice(), service.socket());
      const auto reply = ask(client, run_text(used), many);
      REQUIRE(reply);
      INFO(reply->parameters.dump());
      CHECK(reply->error == "");
      peak = std::max(peak, descriptors_of(service.pid()));
    }
    {  // No message at all, and gone.
      Client client = connect_as(world.alice(), service.socket());
      client.send_bytes("{", many);
    }
    {  // A caller that is refused.
      Client client = connect_as(Who{65534, 65534, {}}, service.socket());
      const auto reply = ask(client, run_text(used), many);
      const std::string told = reply ? reply->error + reply->parameters.dump() : "closed";
      INFO(told);
      if (reply) CHECK(reply->error == "Denied");
    }
  }
  CHECK(peak < before + 60);
  int now = 0;
  CHECK(eventually([&] { return (now = descriptors_of(service.pid())) <= before; }, 30'000));
  CAPTURE(before);
  CAPTURE(now);
}

}  // namespace
}  // namespace cloister::security_test
