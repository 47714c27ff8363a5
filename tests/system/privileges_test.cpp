// Capabilities, securebits and Landlock as the payload has them, and what is
// refused because the exec or this host would not leave it so.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "listener.hpp"
#include "reading.hpp"

namespace cloister::system_test {
namespace {

std::string hex(uint64_t set) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(set));
  return text;
}

// What an act of the probe says.
Json said(Client& client, const Json& request) {
  const Outcome outcome = client.run(request);
  INFO(request.dump());
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  REQUIRE(outcome.verdict["ok"] == true);
  return Json::parse(outcome.out, nullptr, false);
}

// Of the probe's thread report: each thread has exactly these sets.
void check_threads(const Json& threads, uint64_t inheritable, uint64_t permitted, uint64_t bounding,
                   uint64_t ambient) {
  INFO(threads.dump());
  REQUIRE(threads.size() == 4);
  for (const auto& thread : threads) {
    CHECK(thread["CapInh"] == hex(inheritable));
    CHECK(thread["CapPrm"] == hex(permitted));
    CHECK(thread["CapEff"] == hex(permitted));
    CHECK(thread["CapBnd"] == hex(bounding));
    CHECK(thread["CapAmb"] == hex(ambient));
    CHECK(thread["NoNewPrivs"] == "1");
  }
}

Json in_own_namespace(Json request) {
  request["namespaces"] = {{"user", "new"}};
  request["no_new_privs"] = true;
  return request;
}

// In the caller's own sets.
int drop_permitted(int capability) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &head, data) < 0) return -1;
  data[0].permitted &= ~(1u << capability);
  data[0].effective = data[0].permitted;
  return static_cast<int>(syscall(SYS_capset, &head, data));
}

constexpr uint64_t kBind = uint64_t{1} << CAP_NET_BIND_SERVICE, kKill = uint64_t{1} << CAP_KILL;

TEST_CASE("each thread of the payload has exactly the five sets of the request") {
  NEEDS_ROOT();
  World& world = World::get();
  const Json names = {"CAP_KILL", "CAP_NET_BIND_SERVICE"};
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& base : {world.probe_request({"threads"}), world.boxed_request({"threads"})}) {
      Json request = in_own_namespace(base);
      request["capabilities"] = Json::object();
      check_threads(said(client, request), 0, 0, 0, 0);
      request["capabilities"] = {{"permitted", names},
                                 {"inheritable", names},
                                 {"ambient", names},
                                 {"bounding", {"CAP_KILL"}}};
      check_threads(said(client, request), kBind | kKill, kBind | kKill, kKill, kBind | kKill);
      // Bounding alone gives nothing to a payload that can gain nothing.
      request["capabilities"] = {{"bounding", names}};
      check_threads(said(client, request), 0, 0, kBind | kKill, 0);
      request["capabilities"] = {{"inheritable", names}};
      check_threads(said(client, request), kBind | kKill, 0, 0, 0);
    }
  }
}

TEST_CASE("uid 0 of a user namespace of its own has what bounding and permitted both name") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = in_own_namespace(world.boxed_request({"threads"}));
    const Who& who = world.who(way);
    request["uid_map"] = {{{"inside", 0}, {"outside", who.uid}, {"count", 1}}};
    request["gid_map"] = {{{"inside", 0}, {"outside", who.gid}, {"count", 1}}};
    request["capabilities"] = {{"bounding", {"CAP_KILL"}}, {"permitted", {"CAP_KILL"}}};
    check_threads(said(client, request), 0, kKill, kKill, 0);
    // The bounds hold: nothing that is not named is regained.
    request["argv"] = {"probe", "regain"};
    const Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(Json::parse(outcome.out)["capset"] == "EPERM");
    CHECK(Json::parse(outcome.out)["capset_ambient"] == "EPERM");
  }
}

TEST_CASE("in the host's user namespace nobody gets more than it holds") {
  NEEDS_ROOT();
  World& world = World::get();
  const Json sets = {
      {"permitted", {"CAP_KILL"}}, {"inheritable", {"CAP_KILL"}}, {"ambient", {"CAP_KILL"}}};
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& base : {world.probe_request({"noop"}), world.boxed_request({"noop"})}) {
      for (const Json& asked : {sets, Json{{"bounding", {"CAP_KILL"}}}, Json{{"bounding", "all"}},
                                Json{{"inheritable", {"CAP_CHOWN"}}}}) {
        CAPTURE(asked.dump());
        const Outcome outcome =
            client.run(with(base, {{"capabilities", asked}, {"no_new_privs", true}}));
        INFO(outcome.told());
        CHECK(outcome.error == "Denied");
        CHECK(outcome.parameters["field"] == "capabilities");
      }
      // To be given nothing needs powers too, where it takes something away.
      const Outcome nothing = client.run(with(base, {{"capabilities", Json::object()}}));
      const bool powerless = way != Way::user && base["profile"] == "none";
      CHECK(nothing.error == (powerless ? "Denied" : ""));
    }
  }
  // Root has what it names, also as another user: ambient survives that exec.
  Client root = world.connect(Way::root);
  Json request = with(world.probe_request({"threads"}),
                      {{"capabilities", sets},
                       {"no_new_privs", true},
                       {"identity", {{"ruid", world.bob().uid}, {"rgid", world.bob().gid}}}});
  check_threads(said(root, request), kKill, kKill, 0, kKill);
  request["identity"] = "caller";
  request["capabilities"] = {{"bounding", "all"}, {"permitted", "all"}};
  const Json threads = said(root, request);
  const std::string own = "\nCapPrm:\t" + threads[0]["CapPrm"].get<std::string>() + "\n";
  CHECK(read_file("/proc/self/status").find(own) != std::string::npos);
}

TEST_CASE("a root caller that dropped capabilities does not get them back here") {
  NEEDS_ROOT();
  World& world = World::get();
  const Who root = world.root();
  // By the bounding set, and by capset(2) alone, which an exec would undo.
  for (const bool bounding : {true, false}) {
    CAPTURE(bounding);
    auto [in, out] = pipe();
    const pid_t pid = child([&, &out = out] {
      if (bounding) {
        check(prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0), "PR_CAPBSET_DROP");
      }
      check(drop_permitted(CAP_KILL), "capset");
      Client client = world.system().connect(root);
      const Json plain = report_of(client, world.probe_request());
      const Outcome asked = client.run(
          with(world.probe_request({"noop"}),
               {{"capabilities", {{"bounding", {"CAP_KILL"}}, {"permitted", {"CAP_KILL"}}}}}));
      const std::string text =
          Json{{"plain", plain["capabilities"]}, {"asked", asked.error}}.dump();
      return write(out.get(), text.data(), text.size()) > 0 ? 0 : 1;
    });
    out.reset();
    const Json said = Json::parse(read_from(in.get()), nullptr, false);
    CHECK(wait_for(pid) == 0);
    REQUIRE(said.is_object());
    CHECK((said["plain"]["bounding"].get<uint64_t>() & kKill) == 0);
    CHECK((said["plain"]["permitted"].get<uint64_t>() & kKill) == 0);
    CHECK(said["plain"]["permitted"].get<uint64_t>() != 0);
    CHECK(said["asked"] == "Denied");
  }
}

TEST_CASE("securebits are set, locked, and refused where they could lead others astray") {
  NEEDS_ROOT();
  World& world = World::get();
  const Json locked = {{"securebits", {"SECBIT_NOROOT", "SECBIT_NOROOT_LOCKED"}}};
  for (const Way way : {Way::root, Way::user}) {
    Client client = world.connect(way);
    Json request = with(world.probe_request(), {{"capabilities", locked}, {"no_new_privs", true}});
    CHECK(report_of(client, request)["securebits"] == 3);
    CHECK(report_of(client, world.probe_request())["securebits"] == 0);
    request["no_new_privs"] = false;
    const Outcome outcome = client.run(request);
    if (way == Way::root) {
      CHECK(outcome.verdict["ok"] == true);
    } else {
      CHECK(outcome.error == "Denied");
    }
  }
  for (const Way way : {Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    CHECK(report_of(client,
                    with(world.boxed_request(), {{"capabilities", locked}}))["securebits"] == 3);
    // Without a user namespace there is nobody who could set them.
    const Outcome outcome =
        client.run(with(world.probe_request(), {{"capabilities", locked}, {"no_new_privs", true}}));
    INFO(outcome.told());
    CHECK(outcome.error == "Denied");
  }
}

TEST_CASE("Landlock's ports are the only ones, and its scopes shut in") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(6);
  World& world = World::get();
  // A listener of the host's that a payload without a network namespace finds.
  const std::string name = "cloister-privileges-" + std::to_string(getpid());
  const Fd listener = listen_abstract(name);
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const auto error = [&](const std::vector<std::string>& act, const Json& landlock) {
      Json request = with(world.probe_request(act), {{"no_new_privs", true}});
      if (!landlock.is_null()) request["landlock"] = landlock;
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      REQUIRE(outcome.error.empty());
      return Json::parse(outcome.out)["error"];
    };
    const Json ports = {{"bind_tcp", {18080}}, {"connect_tcp", {18081}}};
    CHECK(error({"tcp-bind", "18080"}, ports).is_null());
    CHECK(error({"tcp-bind", "18081"}, ports) == "EACCES");
    CHECK(error({"tcp-bind", "18081"}, {{"bind_tcp", Json::array()}}) == "EACCES");
    CHECK(error({"tcp-connect", "18081"}, ports) == "ECONNREFUSED");
    CHECK(error({"tcp-connect", "18080"}, ports) == "EACCES");
    CHECK(error({"tcp-connect", "18080"}, {{"bind_tcp", {18080}}}) == "ECONNREFUSED");
    CHECK(error({"connect", "@" + name}, nullptr).is_null());
    CHECK(error({"connect", "@" + name}, {{"scopes", {"LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET"}}}) ==
          "EPERM");
    CHECK(error({"connect", "@" + name}, {{"scopes", {"LANDLOCK_SCOPE_SIGNAL"}}}).is_null());
  }
}

TEST_CASE(
    "Landlock needs no_new_privs, an exec that it allows, and no descriptor of the payload's") {
  NEEDS_ROOT();
  NEEDS_LANDLOCK(1);
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Json bin = {{{"path", world.directory() + "/bin"}, {"access", {"read", "execute"}}}};
  Outcome outcome = client.run(
      with(world.probe_request(), {{"landlock", {{"paths", bin}}}, {"no_new_privs", false}}));
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters["field"] == "landlock");
  Json request = with(world.probe_request(), {{"no_new_privs", true}});
  request["landlock"] = {{"paths", {{{"path", "/usr"}, {"access", {"read"}}}}}};
  outcome = client.run(request);
  CHECK(outcome.verdict["failure"]["step"] == "execve");
  CHECK(outcome.verdict["failure"]["errno_name"] == "EACCES");
  request["landlock"]["paths"][0]["path"] = "/nowhere/at/all";
  outcome = client.run(request);
  CHECK(outcome.verdict["failure"]["step"] == "landlock_rules");
  CHECK(outcome.verdict["failure"]["field"] == "landlock.paths[0]");
  // Opened with the payload's rights.
  const std::string closed = world.directory_of(world.root());
  request["landlock"]["paths"][0]["path"] = closed + "/x";
  outcome = client.run(request);
  CHECK(outcome.verdict["failure"]["errno_name"] == "EACCES");
  // The rules need descriptors, the payload may have none left.
  request["landlock"] = {{"paths", bin}};
  request["landlock"]["paths"].push_back({{"path", "/proc"}, {"access", {"read"}}});
  request["rlimits"] = {{"RLIMIT_NOFILE", {{"soft", 4}, {"hard", 4}}}};
  const Json report = report_of(client, request);
  for (const int fd : descriptor_numbers(report)) CHECK(fd < 3);
}

TEST_CASE("what an exec takes away is refused by name") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Outcome outcome = client.run(with(world.probe_request(), {{"dumpable", false}}));
    CHECK(outcome.error == "Unsupported");
    outcome = client.run(with(world.probe_request(), {{"personality", {"READ_IMPLIES_EXEC"}}}));
    CHECK(outcome.error == "Unsupported");
    const Json report = report_of(
        client,
        with(world.probe_request(),
             {{"personality", {"PER_LINUX32"}}, {"timer_slack_ns", 1}, {"dumpable", true}}));
    CHECK(report["personality"] == PER_LINUX32);
    CHECK(report["timer_slack_ns"] == 1);
    CHECK(report["dumpable"] == 1);
  }
  Client root = world.connect(Way::root);
  const Outcome outcome = root.run(
      with(world.probe_request(),
           {{"scheduler", {{"policy", "SCHED_RR"}, {"priority", 1}}}, {"timer_slack_ns", 5}}));
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters["field"] == "timer_slack_ns");
}

}  // namespace
}  // namespace cloister::system_test
