// Namespaces: each alone, all together, id maps, offsets and names, and joining
// by descriptor, by pidfd and by job.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

const char* const kNames[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};

// Without a box. With no_new_privs, or a user's job in new namespaces would get
// a user namespace as well: it could mount over what a set-user-ID program trusts.
Json own_request() { return with(World::get().probe_request(), {{"no_new_privs", true}}); }

std::string why_no_user_namespaces() {
  const int status = wait_for(child([] {
    become(World::get().alice());
    return unshare(CLONE_NEWUSER) == 0 ? 0 : 1;
  }));
  return status == 0 ? "" : "an unprivileged user may not make user namespaces here";
}

TEST_CASE("each namespace alone is new and leaves the other seven as they were") {
  NEEDS_ROOT();
  if (const auto reason = why_no_user_namespaces(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json host = report_of(client, own_request())["namespaces"];
    for (const char* name : kNames) {
      CAPTURE(std::string(name));
      Json request = own_request();
      request["namespaces"] = {{name, "new"}};
      Outcome outcome = client.run(request);
      INFO(outcome.told());
      REQUIRE(outcome.verdict["ok"] == true);
      Json inside = outcome.report()["namespaces"];
      // A user's own service can make the others only inside a user namespace.
      const bool own_user = way == Way::rootless || way == Way::alone;
      for (const char* other : kNames) {
        CAPTURE(std::string(other));
        // A fresh pid namespace with the host's /proc: /proc/self/ns is not readable there.
        if (inside[other].is_null()) continue;
        if (std::string(other) == name) {
          CHECK(inside[other] != host[other]);
        } else if (!(own_user && std::string(other) == "user")) {
          CHECK(inside[other] == host[other]);
        }
      }
    }
  }
}

TEST_CASE("all eight together, and the payload is not PID 1 but its child") {
  NEEDS_ROOT();
  if (const auto reason = why_no_user_namespaces(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.boxed_request();
    request["namespaces"] = {{"user", "new"}, {"time", "new"}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    REQUIRE(outcome.verdict["ok"] == true);
    Json report = outcome.report();
    for (const char* name : kNames) {
      CAPTURE(std::string(name));
      if (!report["namespaces"][name].is_null()) {
        CHECK(report["namespaces"][name] != own_namespace(name));
      }
    }
    CHECK(report["ppid"] == 1);
    CHECK(report["pid"].get<int>() > 1);
    CHECK(report["pid"].get<int>() < 10);
  }
}

TEST_CASE("hostname and domainname are those of a new uts namespace; the host keeps its own") {
  NEEDS_ROOT();
  World& world = World::get();
  char before[65];
  REQUIRE(gethostname(before, sizeof before) == 0);
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = own_request();
    request["namespaces"] = {{"uts", "new"}};
    request["hostname"] = "box-7";
    request["domainname"] = "example.org";
    Json report = report_of(client, request);
    CHECK(report["hostname"] == "box-7");
    CHECK(report["domainname"] == "example.org");
    request["namespaces"] = {{"uts", "host"}};
    Outcome outcome = client.run(request);
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["field"] == "hostname");
  }
  char after[65];
  REQUIRE(gethostname(after, sizeof after) == 0);
  CHECK(std::string(before) == after);
}

TEST_CASE("time offsets shift the clocks of the payload alone") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = own_request();
    request["namespaces"] = {{"time", "new"}};
    constexpr int64_t kDay = 86'400'000'000'000;
    request["time_offsets"] = {{"monotonic_ns", kDay}, {"boottime_ns", 2 * kDay + 500}};
    const auto now = [](clockid_t id) {
      timespec time;
      clock_gettime(id, &time);
      return time.tv_sec * 1'000'000'000 + time.tv_nsec;
    };
    const int64_t monotonic = now(CLOCK_MONOTONIC), boottime = now(CLOCK_BOOTTIME);
    Json report = report_of(client, request);
    const auto near = [](int64_t difference) {
      return difference >= 0 && difference < 20'000'000'000;
    };
    CHECK(near(report["clocks_ns"]["monotonic"].get<int64_t>() - monotonic - kDay));
    CHECK(near(report["clocks_ns"]["boottime"].get<int64_t>() - boottime - 2 * kDay));
    // The verdict's own times are the host's.
    Outcome outcome = client.run(request);
    CHECK(outcome.verdict["wall_us"].get<int64_t>() < 20'000'000);
  }
}

TEST_CASE("root maps ids of a new user namespace as it likes") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  Json request = own_request();
  request["namespaces"] = {{"user", "new"}};
  request["uid_map"] = {{{"inside", 0}, {"outside", 100000}, {"count", 1000}},
                        {{"inside", 5000}, {"outside", 200000}, {"count", 1}}};
  request["gid_map"] = {{{"inside", 0}, {"outside", 100000}, {"count", 1000}}};
  request["identity"] = {{"ruid", 7}, {"rgid", 8}, {"groups", Json::array()}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  REQUIRE(outcome.verdict["ok"] == true);
  Json report = outcome.report();
  CHECK(report["ruid"] == 7);
  CHECK(report["rgid"] == 8);
  REQUIRE(report["uid_map"].size() == 2);
  CHECK(report["uid_map"][0].get<std::string>().find("100000") != std::string::npos);
}

TEST_CASE("an unprivileged caller maps its own id and no other") {
  NEEDS_ROOT();
  if (const auto reason = why_no_user_namespaces(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = own_request();
    request["namespaces"] = {{"user", "new"}};
    const auto line = [](uid_t inside, uid_t outside, uint32_t count) {
      return Json::array({{{"inside", inside}, {"outside", outside}, {"count", count}}});
    };
    request["uid_map"] = line(4000, world.alice().uid, 1);
    request["gid_map"] = line(4001, world.alice().gid, 1);
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    REQUIRE(outcome.verdict["ok"] == true);
    CHECK(outcome.report()["ruid"] == 4000);
    CHECK(outcome.report()["rgid"] == 4001);
    for (const Json& map : {line(0, 0, 1), line(0, world.bob().uid, 1),
                            line(0, world.alice().uid, 2), line(0, 0, 4294967295)}) {
      INFO(map.dump());
      Outcome refused = client.run(with(request, {{"uid_map", map}}));
      INFO(refused.told());
      CHECK(refused.error == "Denied");
    }
  }
}

TEST_CASE("id maps that make no sense are refused by their field") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const auto map = [](std::initializer_list<Json> lines) { return Json::array_t(lines); };
  const auto line = [](int64_t inside, int64_t outside, int64_t count) {
    return Json{{"inside", inside}, {"outside", outside}, {"count", count}};
  };
  Json::array_t many;
  for (int i = 0; i < 341; ++i) many.push_back(line(i * 2, 100000 + i * 2, 1));
  for (const Json& bad :
       {Json(map({line(0, 1000, 10), line(5, 2000, 10)})), Json(map({line(0, 1000, 0)})),
        Json(map({line(0, 4294967290, 10)})), Json(map({line(4294967295, 0, 1)})), Json(many)}) {
    Json request = own_request();
    request["namespaces"] = {{"user", "new"}};
    request["uid_map"] = bad;
    request["gid_map"] = map({line(0, 1000, 10)});
    Outcome outcome = client.run(request);
    INFO(bad.dump().substr(0, 200));
    CHECK(outcome.error == "InvalidRequest");
  }
}

TEST_CASE("a namespace is joined by its descriptor") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const struct {
    const char* name;
    int flag;
  } kinds[] = {{"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC}, {"net", CLONE_NEWNET}};
  for (const auto& kind : kinds) {
    CAPTURE(std::string(kind.name));
    const Standing holder([&] { check(unshare(kind.flag), "unshare"); });
    const std::string path = "/proc/" + std::to_string(holder.pid()) + "/ns/" + kind.name;
    const Fd ns(check(open(path.c_str(), O_RDONLY | O_CLOEXEC), "open"));
    struct stat status;
    REQUIRE(fstat(ns.get(), &status) == 0);
    Json request = own_request();
    request["namespaces"] = {{kind.name, {{"passed_fd", 0}}}};
    Outcome outcome = client.run(request, {ns.get()});
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    if (outcome.verdict["ok"] == true) {
      CHECK(outcome.report()["namespaces"][kind.name] == status.st_ino);
    }
    // A descriptor of another type than the field says is refused.
    const char* wrong = std::string(kind.name) == "uts" ? "ipc" : "uts";
    request["namespaces"] = {{wrong, {{"passed_fd", 0}}}};
    CHECK(client.run(request, {ns.get()}).verdict["ok"] != true);
  }
}

TEST_CASE("a pidfd serves several namespaces at once") {
  NEEDS_ROOT();
  if (const auto reason = why_no_user_namespaces(); !reason.empty()) SKIP(reason);
  World& world = World::get();
  const char* const names[] = {"user", "uts", "ipc", "net"};
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Standing holder([&] {
      become(world.alice());
      check(unshare(CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET), "unshare");
    });
    const std::string process = "/proc/" + std::to_string(holder.pid());
    const std::string uid = std::to_string(world.alice().uid);
    const std::string gid = std::to_string(world.alice().gid);
    write_proc(process + "/setgroups", "deny");
    write_proc(process + "/uid_map", uid + " " + uid + " 1");
    write_proc(process + "/gid_map", gid + " " + gid + " 1");
    const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, holder.pid(), 0)));
    REQUIRE(pidfd);
    Json request = own_request();
    for (const char* name : names) request["namespaces"][name] = {{"passed_fd", 0}};
    Outcome outcome = client.run(request, {pidfd.get()});
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    if (outcome.verdict["ok"] != true) continue;
    for (const char* name : names) {
      struct stat status;
      REQUIRE(stat((process + "/ns/" + name).c_str(), &status) == 0);
      CHECK(outcome.report()["namespaces"][name] == status.st_ino);
    }
  }
}

TEST_CASE("U13: root joins the namespaces of a process by its pidfd, whosever it is") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const char* const names[] = {"mnt", "net", "ipc", "uts", "cgroup"};
  constexpr int kAll = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  const Standing roots([] { check(unshare(kAll), "unshare"); });
  // In namespaces of root's, as another user.
  const Standing anothers([&] {
    check(unshare(kAll), "unshare");
    become(world.alice());
  });
  for (const Standing* holder : {&roots, &anothers}) {
    const std::string process = "/proc/" + std::to_string(holder->pid());
    const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, holder->pid(), 0)));
    REQUIRE(pidfd);
    Json request = own_request();
    for (const char* name : names) request["namespaces"][name] = {{"passed_fd", 0}};
    Outcome outcome = client.run(request, {pidfd.get()});
    INFO(outcome.told());
    REQUIRE(outcome.verdict["ok"] == true);
    for (const char* name : names) {
      struct stat status;
      REQUIRE(stat((process + "/ns/" + name).c_str(), &status) == 0);
      CHECK(outcome.report()["namespaces"][name] == status.st_ino);
    }
    // Also in a pid namespace of the job's own, where that process has no number.
    request["namespaces"]["pid"] = "new";
    outcome = client.run(request, {pidfd.get()});
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    request["namespaces"].erase("pid");
    // To others both are what they were: closed.
    for (const Who& who : {world.alice(), world.bob()}) {
      Client other = world.system().connect(who);
      Outcome refused = other.run(request, {pidfd.get()});
      INFO(refused.told());
      CHECK(refused.verdict["ok"] != true);
    }
  }
  // Of a process that is gone nothing is left to join.
  Fd gone;
  {
    const Standing brief([] { check(unshare(CLONE_NEWUTS), "unshare"); });
    gone = Fd(static_cast<int>(syscall(SYS_pidfd_open, brief.pid(), 0)));
  }
  Json request = own_request();
  request["namespaces"] = {{"uts", {{"passed_fd", 0}}}};
  CHECK(client.run(request, {gone.get()}).verdict["ok"] != true);
  // A descriptor that is neither is refused by name.
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(client.run(request, {null.get()}).error == "InvalidRequest");
}

TEST_CASE("a namespace that belongs to root is not joined by an unprivileged caller") {
  NEEDS_ROOT();
  World& world = World::get();
  const Standing holder([] { check(unshare(CLONE_NEWUTS), "unshare"); });
  const std::string path = "/proc/" + std::to_string(holder.pid()) + "/ns/uts";
  const Fd ns(check(open(path.c_str(), O_RDONLY | O_CLOEXEC), "open"));
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = own_request();
    request["namespaces"] = {{"uts", {{"passed_fd", 0}}}};
    Outcome outcome = client.run(request, {ns.get()});
    INFO(outcome.told());
    // A user's own service leaves it to the kernel.
    CHECK((outcome.error == "Denied" ||
           (way != Way::user && outcome.verdict["failure"]["errno_name"] == "EPERM")));
  }
}

TEST_CASE("a job joins the namespaces of another job of the same owner, by its id") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json first = world.boxed_request({"hold"});
    first["hostname"] = "first";
    first["lifetime"] = {{"on_disconnect", "kill"}};
    Reply started = client.call("Start", {{"request", first}});
    INFO(started.parameters.dump());
    REQUIRE(started.error == "");
    const std::string id = started.parameters["id"];
    Json request = own_request();
    request["namespaces"] = {
        {"uts", {{"job", id}}}, {"ipc", {{"job", id}}}, {"net", {{"job", id}}}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    if (outcome.verdict["ok"] == true) CHECK(outcome.report()["hostname"] == "first");
    // To somebody else the job does not exist.
    Client other = world.system().connect(world.bob());
    Outcome refused = other.run(request);
    INFO(refused.told());
    CHECK((refused.error == "NoSuchJob" || refused.error == "Denied"));
    CHECK(client.call("Stop", {{"id", id}, {"timeout", "1s"}}).error == "");
    CHECK(client.call("Remove", {{"id", id}}).error == "");
  }
}

TEST_CASE("the CLONE_ flags that name no namespace are accepted as unshare accepts them") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* flag : {"CLONE_FS", "CLONE_FILES", "CLONE_SYSVSEM", "CLONE_THREAD",
                             "CLONE_SIGHAND", "CLONE_VM"}) {
      CAPTURE(std::string(flag));
      Outcome outcome = client.run(with(own_request(), {{"unshare", Json::array({flag})}}));
      INFO(outcome.told());
      CHECK(outcome.verdict["ok"] == true);
    }
    Outcome outcome = client.run(with(own_request(), {{"unshare", {"CLONE_NEWNET"}}}));
    CHECK(outcome.error == "InvalidRequest");
  }
}

TEST_CASE("network none is a namespace of its own with loopback up and nothing else") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json report = report_of(client, world.boxed_request());
    REQUIRE(report["namespaces"]["net"] != own_namespace("net"));
    bool loopback = false;
    for (const auto& interface : report["interfaces"]) {
      if (interface["name"] == "lo") {
        loopback = interface["up"].get<bool>();
      } else {
        CHECK(interface["up"] == false);
      }
    }
    CHECK(loopback);
    Json host = report_of(client, with(world.boxed_request(), {{"network", "host"}}));
    CHECK(host["namespaces"]["net"] == own_namespace("net"));
  }
}

}  // namespace
}  // namespace cloister::system_test
