// What root's configuration allows, bounds and requires: each at its limit and
// one past it.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "build_paths.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

// `rule` is what the service calls what was broken; "" when nothing is.
struct Row {
  Json members;
  std::string field, rule;
  Json limit = nullptr, requested = nullptr;
};

void check_rows(Client& client, const Json& base, const std::string& policy,
                const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Reply reply = planned(client, with(base, row.members));
    CAPTURE(row.members.dump());
    CAPTURE(reply.parameters.dump());
    if (row.rule.empty()) {
      CHECK(reply.error == "");
      CHECK(reply.parameters["policy"] == policy);
      continue;
    }
    CHECK(reply.error == "Denied");
    CHECK(reply.parameters["field"] == row.field);
    CHECK(reply.parameters["rule"] == row.rule);
    CHECK(reply.parameters["policy"] == policy);
    if (row.rule.ends_with("/network")) CHECK(reply.parameters["limit"] == nullptr);
    if (!row.limit.is_null()) CHECK(reply.parameters["limit"] == row.limit);
    if (!row.requested.is_null()) CHECK(reply.parameters["requested"] == row.requested);
  }
}

Json hard(uint64_t files) {
  return {{"rlimits", {{"RLIMIT_NOFILE", {{"soft", 64}, {"hard", files}}}}}};
}

Json real_time() { return {{"scheduler", {{"policy", "SCHED_FIFO"}, {"priority", 1}}}}; }

TEST_CASE("PKG-06 a fault in the configuration is told by its place") {
  NEEDS_ROOT();
  const auto rule = [](const std::string& members) {
    return R"({"rules": [{"name": "r", )" + members + "}]}";
  };
  const auto allow = [&](const std::string& members) {
    return rule(R"("allow": {)" + members + "}");
  };
  const struct {
    std::string text, names;
  } kFaults[] = {
      {"", "syntax error"},
      {"[]", "one JSON object"},
      {"{} {}", "syntax error"},
      {R"({"nonsense": 1})", "nonsense: is unknown"},
      {R"({"grants": []})", "grants: is unknown"},
      {R"({"keep_verdicts_s": 1, "keep_verdicts_s": 2})", "keep_verdicts_s: duplicate key"},
      {R"({"keep_verdicts_s": 0})", "keep_verdicts_s: must be"},
      {R"({"keep_verdicts_s": 1.0})", "keep_verdicts_s: must be"},
      {R"({"keep_verdicts_s": 1e999})", "out_of_range"},
      {R"({"cgroup": "v3"})", "cgroup: must be"},
      {R"({"allow_confined_callers": 1})", "allow_confined_callers: must be"},
      {R"({"quota": {"jobs": 1048577}})", "quota.jobs: must be"},
      {R"({"quota": {"jobs": -1}})", "quota.jobs: must be"},
      {R"({"quota": {"job": 1}})", "quota.job: is unknown"},
      {R"({"rules": {}})", "rules: must be an array"},
      {R"({"rules": [{}]})", "rules[0].name: is missing"},
      {R"({"rules": [{"name": "default"}]})", "rules[0].name:"},
      {R"({"rules": [{"name": "a b"}]})", "rules[0].name:"},
      {R"({"rules": [{"name": "a\u0000b"}]})", "rules[0].name: holds a NUL"},
      {R"({"rules": [{"name": "01234567890123456789012345678901"}]})", "rules[0].name:"},
      {R"({"rules": [{"name": "a"}, {"name": "a"}]})", "rules[1].name:"},
      {rule(R"("users": ["nobody-of-this-name"])"), "rules[0].users[0]: unknown user"},
      {rule(R"("users": [4294967295])"), "rules[0].users[0]: must be"},
      {rule(R"("users": ["root\u0000x"])"), "rules[0].users[0]: holds a NUL"},
      {rule(R"("groups": ["nobody-of-this-name"])"), "rules[0].groups[0]: unknown group"},
      {rule(R"("groups": null)"), "rules[0].groups: must be an array"},
      {rule(R"("alow": {})"), "rules[0].alow: is unknown"},
      {rule(R"("require": {"no_new_privs": true, "no_new_privs": false})"), "duplicate key"},
      {rule(R"("require": {"no_new_privs": "yes"})"), "rules[0].require.no_new_privs: must be"},
      {rule(R"("require": {"namespaces": ["network"]})"), "rules[0].require.namespaces[0]:"},
      {rule(R"("require": {"limits": {}})"), "rules[0].require.limits: is unknown"},
      {allow(R"("uids": [-1])"), "rules[0].allow.uids[0]:"},
      {allow(R"("uids": ["5-4"])"), "rules[0].allow.uids[0]:"},
      {allow(R"("uids": ["1-4294967295"])"), "rules[0].allow.uids[0]:"},
      {allow(R"("gids": ["1-"])"), "rules[0].allow.gids[0]:"},
      {allow(R"("namespaces_joined": ["user"])"), "rules[0].allow.namespaces_joined: user"},
      {allow(R"("namespaces_host": "net")"), "rules[0].allow.namespaces_host:"},
      {allow(R"("network": ["full"])"), "rules[0].allow.network[0]:"},
      {allow(R"("devices": ["/dev/there-is-none"])"), "rules[0].allow.devices[0]: No such"},
      {allow(R"("devices": ["/etc/passwd"])"), "rules[0].allow.devices[0]: is not a device"},
      {allow(R"("capabilities": ["CAP_ALL"])"), "rules[0].allow.capabilities[0]:"},
      {allow(R"("real_time": 0)"), "rules[0].allow.real_time:"},
      {allow(R"("nice": -21)"), "rules[0].allow.nice: must be"},
      {allow(R"("nice": 20)"), "rules[0].allow.nice: must be"},
      {allow(R"("rlimits": {"NOFILE": 1})"), "rules[0].allow.rlimits.NOFILE:"},
      {allow(R"("limits": {"memory": "64m"})"), "rules[0].allow.limits.memory:"},
      {allow(R"("limits": {"memory": -1})"), "rules[0].allow.limits.memory:"},
      {allow(R"("limits": {"pids": 0})"), "rules[0].allow.limits.pids:"},
      {allow(R"("limits": {"cpus": 0})"), "rules[0].allow.limits.cpus:"},
      {allow(R"("limits": {"wall_time": 30})"), "rules[0].allow.limits.wall_time:"},
      {allow(R"("limits": {"cpu_time": "0s"})"), "rules[0].allow.limits.cpu_time:"},
      {allow(R"("limits": {"time": "1s"})"), "rules[0].allow.limits.time:"},
      {allow(R"("rlimits": {"RLIMIT_NOFILE": "many"})"), "rules[0].allow.rlimits.RLIMIT_NOFILE:"},
      {allow(R"("detach": "no")"), "rules[0].allow.detach:"},
  };
  for (const auto& fault : kFaults) {
    CAPTURE(fault.text);
    const std::string complaint = complaint_about(fault.text);
    CAPTURE(complaint);
    CHECK(complaint.find("cloisterd.json: ") != complaint.npos);
    CHECK(complaint.find(fault.names) != complaint.npos);
  }
  CHECK(complaint_about("{}", 0664).find("writable by others") != std::string::npos);
  CHECK(complaint_about("{}", 0646).find("writable by others") != std::string::npos);
  CHECK(complaint_about("{}", 0644, World::get().alice().uid).find("is owned by uid") !=
        std::string::npos);
  CHECK(complaint_about(std::string(1 << 20, ' ') + "{}").find("1 MiB") != std::string::npos);
}

TEST_CASE("PKG-06 the limits of the configuration itself, and the shipped one, are accepted") {
  NEEDS_ROOT();
  CHECK(complaint_about(R"({
    // Comments are allowed.
    "rules": [{"name": "0123456789012345678901234567890", "users": ["root", 4294967294],
      "groups": [], "allow": {"uids": [0, "0-4294967294"], "nice": -20, "real_time": true,
      "namespaces_joined": ["mnt", "pid", "net", "ipc", "uts", "cgroup", "time"],
      "capabilities": ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"], "devices": ["/dev/null"],
      "rlimits": {"RLIMIT_NOFILE": 0, "RLIMIT_RTTIME": "unlimited"}, "network": [],
      "namespaces_host": [], "unfiltered_seccomp": true, "set_uid_files": true, "detach": false},
      "require": {"namespaces": ["user"], "no_new_privs": false, "seccomp_baseline": true},
      "quota": {"jobs": 0, "connections": 1048576}}, {"name": "b", "allow": {"nice": 19}}]})") ==
        "");
  CHECK(complaint_about(read_file(std::string(PROFILES) + "/../cloisterd.json")) == "");
}

TEST_CASE("SEC-07 each bound of a rule holds at its limit, and is refused by name one past it") {
  NEEDS_ROOT();
  World& world = World::get();
  const unsigned bob = world.bob().uid, first = 300'000, last = 300'001;
  Ruled ruled(rules({{{"name", "builds"},
                      {"users", {world.alice().uid}},
                      {"allow",
                       {{"uids", {bob, "300000-300001"}},
                        {"gids", {"300000-300001"}},
                        {"network", {"none", "outbound"}},
                        {"namespaces_host", {"mnt", "pid", "net", "uts", "cgroup", "user", "time"}},
                        {"capabilities", {"CAP_KILL"}},
                        {"real_time", true},
                        {"nice", -5},
                        {"rlimits", {{"RLIMIT_NOFILE", 4096}, {"RLIMIT_CORE", "unlimited"}}},
                        {"detach", false}}}}}));
  Client client = ruled.connect(world.alice());
  const Json base = with(modest(world), hard(4096));
  const auto is = [](const char* id, unsigned value) { return Json{{"identity", {{id, value}}}}; };
  check_rows(
      client, base, "builds",
      {{Json::object(), "", ""},
       {{{"nice", -5}}, "", ""},
       {{{"nice", -6}}, "nice", "builds/nice", -5, -6},
       {real_time(), "", ""},
       {{{"ioprio", {{"class", "realtime"}, {"level", 0}}}}, "", ""},
       {hard(4097), "rlimits.RLIMIT_NOFILE", "builds/rlimits", 4096, 4097},
       {{{"rlimits", {{"RLIMIT_NOFILE", {{"soft", 1}, {"hard", "unlimited"}}}}}},
        "rlimits.RLIMIT_NOFILE",
        "builds/rlimits",
        4096,
        -1},
       {{{"rlimits", {{"RLIMIT_CORE", {{"soft", 0}, {"hard", "unlimited"}}}}}}, "", ""},
       {is("ruid", bob), "", ""},
       {is("ruid", first), "", ""},
       {is("ruid", last), "", ""},
       {is("ruid", last + 1), "identity.uid", "own-uid", world.alice().uid, last + 1},
       {is("ruid", first - 1), "identity.uid", "own-uid"},
       {is("ruid", 0), "identity.uid", "own-uid"},
       {is("rgid", last), "", ""},
       {is("rgid", last + 1), "identity.gid", "own-groups"},
       {{{"namespaces", {{"net", "host"}}}}, "network", "builds/network"},
       {{{"namespaces", {{"ipc", "host"}}}}, "namespaces.ipc", "builds/namespaces_host"},
       {{{"namespaces", {{"uts", "host"}}}}, "", ""},
       {{{"lifetime", {{"on_disconnect", "stop"}, {"stop_timeout", "60s"}}}}, "", ""},
       {{{"lifetime", {{"on_disconnect", "stop"}, {"stop_timeout", "60001ms"}}}},
        "lifetime.stop_timeout",
        "builds/detach",
        60000,
        60001},
       {{{"lifetime", {{"on_disconnect", "kill"}, {"stop_timeout", "1h"}}}}, "", ""},
       {{{"network", {{"outbound", Json::object()}}}, {"identity", "caller"}}, "", ""},
       {{{"capabilities", {{"bounding", {"CAP_KILL"}}}}}, "", ""},
       {{{"capabilities", {{"bounding", {"CAP_KILL", "CAP_CHOWN"}}}}},
        "capabilities",
        "not-beyond-own-capabilities"},
       {{{"lifetime", {{"on_disconnect", "keep"}}}}, "lifetime.on_disconnect", "builds/detach"}});
  // Start keeps its job unless it says otherwise.
  Reply start = client.call("Start", {{"request", base}});
  CHECK(start.error == "Denied");
  CHECK(start.parameters["rule"] == "builds/detach");
  // What is allowed is what the payload has.
  const Json report = report_of(client, with(base, {{"nice", -5}, {"identity", {{"ruid", bob}}}}));
  CHECK(report["ruid"] == bob);
  CHECK(report["nice"] == -5);
  // What nobody asked for gives way, as it does to the caller's own limits.
  Json boxed = report_of(client, world.boxed_request());
  CHECK(boxed["rlimits"]["RLIMIT_NOFILE"]["hard"] == 4096);
}

TEST_CASE("SEC-07 a rule's limits are asked for by each job, and refused by name one past them") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({{{"name", "bounded"},
                      {"users", {world.alice().uid}},
                      {"allow",
                       {{"limits",
                         {{"memory", "64M"},
                          {"swap", 0},
                          {"pids", 20},
                          {"cpus", 1.5},
                          {"wall_time", "30s"},
                          {"cpu_time", "20s"}}}}}}}));
  Client client = ruled.connect(world.alice());
  Reply described = client.call("Describe");
  for (const char* limit : {"memory", "swap", "pids", "cpus", "cpu_time"})
    if (described.parameters["features"]["host"][std::string("limits.") + limit]["state"] !=
        "available")
      SKIP(std::string("this host cannot enforce limits.") + limit);
  const Json most = {{"memory", "64M"}, {"swap", 0},          {"pids", 20},
                     {"cpus", 1.5},     {"wall_time", "30s"}, {"cpu_time", "20s"}};
  const auto with_limits = [&](const Json& changed) {
    Json limits = most;
    limits.merge_patch(changed);
    return Json{{"limits", limits}};
  };
  constexpr int64_t kMemory = 64 << 20;
  check_rows(
      client, modest(world), "bounded",
      {{with_limits(Json::object()), "", ""},
       {with_limits({{"memory", kMemory + 1}}), "limits.memory", "bounded/limits", kMemory,
        kMemory + 1},
       {with_limits({{"swap", 1}}), "limits.swap", "bounded/limits", 0, 1},
       {with_limits({{"pids", 21}}), "limits.pids", "bounded/limits", 20, 21},
       {with_limits({{"cpus", 1.6}}), "limits.cpus", "bounded/limits", 1500, 1600},
       {with_limits({{"wall_time", "30001ms"}}), "limits.wall_time", "bounded/limits", 30000,
        30001},
       {with_limits({{"cpu_time", "1h"}}), "limits.cpu_time", "bounded/limits", 20000, 3600000},
       {with(with_limits(Json::object()), {{"lifetime", {{"stop_timeout", "60s"}}}}), "", ""},
       {with(with_limits(Json::object()), {{"lifetime", {{"stop_timeout", "60001ms"}}}}),
        "lifetime.stop_timeout", "bounded/stop_timeout", 60000, 60001},
       {with_limits({{"cpus", nullptr}}), "limits.cpus", "bounded/limits", 1500, 0},
       {with_limits({{"wall_time", nullptr}}), "limits.wall_time", "bounded/limits", 30000, 0},
       {Json::object(), "limits.memory", "bounded/limits", kMemory, 0}});
}

TEST_CASE("RES-11 priorities beyond one's own are refused unless a rule grants them") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules(
      {{{"name", "modest-root"}, {"users", {0}}, {"allow", {{"real_time", false}, {"nice", 0}}}}}));
  const std::vector<Json> wishes = {real_time(),
                                    {{"scheduler", {{"policy", "SCHED_RR"}, {"priority", 99}}}},
                                    {{"scheduler",
                                      {{"policy", "SCHED_DEADLINE"},
                                       {"runtime_ns", 1000000},
                                       {"deadline_ns", 10000000},
                                       {"period_ns", 10000000}}}}};
  const auto all = [&](const std::string& nice, const std::string& rest, const Json& limit) {
    std::vector<Row> rows = {{{{"nice", 0}}, "", ""},
                             {{{"nice", -1}}, "nice", nice, limit, -1},
                             {{{"nice", -20}}, "nice", nice, limit, -20},
                             {{{"ioprio", {{"class", "realtime"}, {"level", 7}}}}, "ioprio", rest}};
    for (const Json& wish : wishes) rows.push_back({wish, "scheduler", rest});
    return rows;
  };
  Client alice = ruled.connect(world.alice()), root = ruled.connect(world.root());
  check_rows(alice, world.probe_request(), "default",
             all("not-below-own-nice", "real-time-needs-CAP_SYS_NICE", 0));
  check_rows(root, world.probe_request(), "modest-root",
             all("modest-root/nice", "modest-root/real_time", 0));
  // Nor by a limit that lets the job take them by itself.
  const auto limit = [](const char* name, uint64_t hard) -> Json {
    return {{"rlimits", {{name, {{"soft", 0}, {"hard", hard}}}}}};
  };
  check_rows(root, world.probe_request(), "modest-root",
             {{limit("RLIMIT_RTPRIO", 0), "", ""},
              {limit("RLIMIT_RTPRIO", 1), "rlimits.RLIMIT_RTPRIO", "modest-root/real_time", 0, 1},
              {limit("RLIMIT_NICE", 20), "", ""},
              {limit("RLIMIT_NICE", 21), "rlimits.RLIMIT_NICE", "modest-root/nice", 20, 21}});
}

TEST_CASE("SEC-07 nobody goes below a floor, by whatever way") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({}));
  Client client = ruled.connect(world.bob());
  // Started before there was a floor, in the host's network.
  Reply before = client.call(
      "Start", {{"request", with(modest(world, {"hold"}), {{"namespaces", {{"net", "host"}}}})}});
  REQUIRE(before.error == "");
  ruled.write(
      rules({{{"name", "floor"},
              {"groups", {world.bob().gid}},
              {"require", {{"namespaces", {"mnt", "pid", "net"}}, {"no_new_privs", true}}}}})
          .dump());
  ruled.reload();
  const std::string floor = "floor/require.namespaces";
  check_rows(
      client, world.boxed_request(), "floor",
      {{Json::object(), "", ""},
       {{{"namespaces", {{"net", "host"}}}}, "namespaces.net", floor},
       {{{"namespaces", {{"pid", "host"}}}}, "namespaces.pid", floor},
       {{{"namespaces", {{"uts", "host"}}}}, "", ""},
       {{{"namespaces", {{"net", {{"job", before.parameters["id"]}}}}}}, "namespaces.net", floor}});
  check_rows(
      client, world.probe_request(), "floor",
      {{Json::object(), "namespaces.mnt", floor},
       {{{"namespaces", {{"mnt", "new"}}}, {"no_new_privs", true}}, "namespaces.pid", floor}});
  const Json own = {{"user", "new"}, {"mnt", "new"}, {"pid", "new"}, {"net", "new"}};
  check_rows(client, with(world.probe_request(), {{"namespaces", own}}), "floor",
             {{{{"no_new_privs", true}}, "", ""},
              {{{"no_new_privs", false}}, "no_new_privs", "floor/require.no_new_privs"}});
  // A descriptor of one's own may be of the host's.
  const Fd net(check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "open"));
  const Outcome joined = client.run(
      with(world.boxed_request(), {{"namespaces", {{"net", {{"passed_fd", 0}}}}}}), {net.get()});
  CHECK(joined.error == "Denied");
  CHECK(joined.parameters["rule"] == floor);
  // A job that was held to the floor can be joined.
  Reply held = client.call("Start", {{"request", world.boxed_request({"hold"})}});
  REQUIRE(held.error == "");
  const Json report = report_of(
      client,
      with(world.boxed_request(), {{"namespaces", {{"net", {{"job", held.parameters["id"]}}}}}}));
  CHECK(report["namespaces"]["net"] != own_namespace("net"));
  client.call("Stop", {{"id", held.parameters["id"]}, {"timeout", "0s"}});
  client.call("Stop", {{"id", before.parameters["id"]}, {"timeout", "0s"}});
  // It binds those whom it speaks of.
  Client alice = ruled.connect(world.alice());
  check_rows(alice, world.probe_request(), "default", {{Json::object(), "", ""}});
}

TEST_CASE("the first rule that speaks of a caller holds, by user or by any of its groups") {
  NEEDS_ROOT();
  World& world = World::get();
  const auto nice = [](const char* name, int lowest, const Json& who) {
    return with({{"name", name}, {"allow", {{"nice", lowest}}}}, who);
  };
  Ruled ruled(rules({nice("nobody", 0, {{"users", Json::array()}}),
                     nice("by-group", 1, {{"groups", {4242}}}),
                     nice("by-user", 2, {{"users", {world.alice().uid}}}),
                     nice("alice-again", 3, {{"users", {world.alice().uid}}}),
                     nice("everybody", 4, Json::object())}));
  Who member = world.alice();
  member.groups.push_back(4242);
  const std::pair<Who, std::pair<std::string, int>> kWho[] = {{member, {"by-group", 1}},
                                                              {world.alice(), {"by-user", 2}},
                                                              {world.bob(), {"everybody", 4}},
                                                              {world.root(), {"everybody", 4}}};
  for (const auto& [who, rule] : kWho) {
    Client client = ruled.connect(who);
    check_rows(client, world.probe_request(), rule.first,
               {{{{"nice", rule.second}}, "", ""},
                {{{"nice", rule.second - 1}}, "nice", rule.first + "/nice", rule.second}});
  }
}

TEST_CASE("NET-03 the host's network, and one by descriptor, only where policy leaves it") {
  NEEDS_ROOT();
  World& world = World::get();
  const Standing other([] { check(unshare(CLONE_NEWNET), "unshare"); });
  const std::string path = "/proc/" + std::to_string(other.pid()) + "/ns/net";
  const Fd net(check(open(path.c_str(), O_RDONLY | O_CLOEXEC), "open"));
  struct stat there {};
  check(stat(path.c_str(), &there), "stat");
  Ruled ruled(rules({{{"name", "routed"},
                      {"users", {world.alice().uid}},
                      {"allow", {{"network", {"none"}}, {"namespaces_joined", {"net"}}}}},
                     {{"name", "boxed"}, {"allow", {{"network", Json::array()}}}}}));
  Json request = modest(world);
  request["namespaces"] = {{"net", {{"passed_fd", 0}}}};
  Client alice = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  CHECK(report_of(alice, request, {net.get()})["namespaces"]["net"] == there.st_ino);
  Outcome refused = bob.run(request, {net.get()});
  CHECK(refused.error == "Denied");
  CHECK(refused.parameters["rule"] == "namespace-owner");
  CHECK(refused.parameters["policy"] == "boxed");
  for (Client* client : {&alice, &bob}) {
    refused = client->run(world.probe_request());
    CHECK(refused.error == "Denied");
    CHECK(refused.parameters["field"] == "network");
  }
  const Json own = report_of(bob, modest(world));
  CHECK(own["namespaces"]["net"] != own_namespace("net"));
  refused = bob.run(with(modest(world), {{"network", {{"outbound", Json::object()}}}}));
  CHECK(refused.error == "Denied");
  CHECK(refused.parameters["rule"] == "boxed/network");
  // Root may join what root owns, where its rule bounds no network: where its owner
  // has led this one is not to be seen. And the host's is the host's by any name.
  Client root = ruled.connect(world.root());
  refused = root.run(request, {net.get()});
  CHECK(refused.error == "Denied");
  CHECK(refused.parameters["rule"] == "boxed/network");
  const Fd hosts(check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "open"));
  for (Client* client : {&root, &alice}) {
    refused = client->run(request, {hosts.get()});
    CHECK(refused.error == "Denied");
    CHECK(refused.parameters["field"] == "network");
  }
  // Nor by way of a job from before the rule.
  ruled.write("{}");
  ruled.reload();
  const Reply before = alice.call("Start", {{"request", world.probe_request({"hold"})}});
  REQUIRE(before.error == "");
  ruled.write(rules({{{"name", "boxed"}, {"allow", {{"network", Json::array()}}}}}).dump());
  ruled.reload();
  request["namespaces"] = {{"net", {{"job", before.parameters["id"]}}}};
  refused = alice.run(request);
  CHECK(refused.error == "Denied");
  CHECK(refused.parameters["field"] == "network");
  alice.call("Stop", {{"id", before.parameters["id"]}, {"timeout", "0s"}});
}

TEST_CASE("a device comes into a box only if the rule lists it, or every box has it") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string character = "/dev/kmsg", block = "/dev/loop0";
  struct stat there {};
  if (stat(character.c_str(), &there) != 0 || !S_ISCHR(there.st_mode)) SKIP("no /dev/kmsg here");
  const bool blocks = stat(block.c_str(), &there) == 0 && S_ISBLK(there.st_mode);
  Json listed = {character};
  if (blocks) listed.push_back(block);
  const auto rule = [](const char* name, const Who& who, const Json& devices) {
    return Json{{"name", name}, {"users", {who.uid}}, {"allow", {{"devices", devices}}}};
  };
  Ruled ruled(
      rules({rule("listed", world.alice(), listed), rule("none", world.bob(), Json::array())}));
  const auto passes = [&](Client& client, const std::string& path) {
    const Fd device(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    Json request = world.boxed_request({"noop"});
    request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 7}}}}};
    const int fd = device ? device.get() : check(open(path.c_str(), O_PATH | O_CLOEXEC), "open");
    Outcome outcome = client.run(request, {fd});
    if (!device) close(fd);
    return outcome.error.empty() ? std::string() : outcome.parameters["rule"].get<std::string>();
  };
  Client alice = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  CHECK(passes(alice, character) == "");
  CHECK(passes(bob, character) == "none/devices");
  for (const char* path : {"/dev/null", "/dev/urandom", "/dev/ptmx"})
    CHECK(passes(bob, path) == "");
  const Fd opened(open(block.c_str(), O_RDONLY | O_CLOEXEC));
  if (!blocks || !opened) {
    MESSAGE("no block device can be opened here");
    return;
  }
  CHECK(passes(alice, block) == "");
  CHECK(passes(bob, block) == "none/devices");
  Client other = world.system().connect(world.alice());
  CHECK(passes(other, block) == "no-block-devices");
}

}  // namespace
}  // namespace cloister::security_test
