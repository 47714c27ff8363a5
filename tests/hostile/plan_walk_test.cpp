// S9: what the monitor compares is what init applies. The front is hostile and
// alters one member of an honest Plan at a time; each member that plan/schema.hpp
// names has a row here, or the place where it is tried. A number that is carried over as
// it is (same_as) has its row in tests/system/field_modes.json.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <set>

#include "boxes.hpp"
#include "build_paths.hpp"
#include "hostile.hpp"

namespace cloister::security_test {
namespace {

using hostile::Script;
using plan::Header;
using plan::Namespace;

Json hard(uint64_t files) {
  return {{"rlimits", {{"RLIMIT_NOFILE", {{"soft", 64}, {"hard", files}}}}}};
}

constexpr size_t of_namespace(Namespace which) {
  return offsetof(Header, namespaces) + static_cast<size_t>(which) * sizeof(plan::NamespaceChoice);
}
constexpr size_t of_rlimit(int which) {
  return offsetof(Header, rlimits) + static_cast<size_t>(which) * sizeof(plan::Rlimit);
}
constexpr uint32_t kRealtime = 1 << 13;  // IOPRIO_CLASS_RT, ioprio_set(2)
constexpr plan::NamespaceChoice kFresh{plan::Join::fresh, plan::kNone, {}};
constexpr plan::NamespaceChoice kHost{plan::Join::host, plan::kNone, {}};

Script flags(uint32_t also) { return Script().set(&Header::flags, plan::kNoNewPrivs | also); }

// A value that the peer may have, and whether the payload's report shows it.
struct Applied {
  std::string member;  // of the Header
  Script script;
  std::function<bool(const Json& report)> shown;
};

std::function<bool(const Json&)> is(const std::string& pointer, Json value) {
  return [=](const Json& report) {
    return report.value(Json::json_pointer(pointer), Json()) == value;
  };
}

// A number of field_modes.json, which an honest front would carry over: alice's job shows
// it, or she is refused it.
struct Carried {
  const plan::Member& member;
  Json row;

  Script script() const {
    const auto value = row["set"][member.field].get<uint64_t>();
    return member.size == sizeof value
               ? Script().set_at(member.offset, value)
               : Script().set_at(member.offset, static_cast<uint32_t>(value));
  }
};

std::vector<Carried> carried(const std::string& outcome) {
  std::vector<Carried> found;
  const Json rows = Json::parse(read_file(FIELD_MODES));
  for (const plan::Member& member : plan::schema::kHeaderMembers) {
    if (!member.is_carried_over() || !rows.contains(member.field)) continue;
    const Json& row = rows[member.field];
    if (row["user"] == outcome && row["set"][member.field].is_number_integer())
      found.push_back({member, row});
  }
  return found;
}

ino_t host_namespace(const std::string& which) {
  struct stat status {};
  REQUIRE(stat(("/proc/self/ns/" + which).c_str(), &status) == 0);
  return status.st_ino;
}

std::vector<Applied> applied(const World& world) {
  const std::string probe = world.program("probe");
  const std::string folder = probe.substr(0, probe.rfind('/'));
  uint8_t first_processor[plan::kCpuBytes] = {1};
  const auto rlimit = plan::Rlimit{64, 64, 1, 0};
  const auto scheduler = plan::Scheduler{plan::kHasPolicy | plan::kHasParameters, SCHED_BATCH};
  std::vector<Applied> rows{
      {"flags", flags(plan::kSetsid), [](const Json& r) { return r["sid"] == r["pid"]; }},
      {"umask", Script().set(&Header::umask, 077u), is("/umask", 077)},
      {"executable",
       Script()
           .text(&Header::executable, "/bin/sh")
           .texts(&Header::argv, {"sh", "-c", "echo '{\"altered\": true}'"}),
       is("/altered", true)},
      {"executable_descriptor",
       Script()
           .pass(plan::Use::executable, probe, O_PATH, offsetof(Header, executable_descriptor))
           .text(&Header::executable, "/nonexistent"),
       [](const Json& r) { return r.contains("pid"); }},
      {"cwd_descriptor",
       Script()
           .pass(plan::Use::cwd, "/usr", O_PATH | O_DIRECTORY, offsetof(Header, cwd_descriptor),
                 true)
           .text(&Header::cwd, ""),
       is("/cwd", "/usr")},
      {"search",
       flags(plan::kSearchPath).text(&Header::executable, "probe").text(&Header::search, folder),
       [](const Json& r) { return r.contains("pid"); }},
      {"cwd", Script().text(&Header::cwd, "/usr"), is("/cwd", "/usr")},
      {"argv", Script().texts(&Header::argv, {"altered"}), is("/argv/0", "altered")},
      {"env", Script().texts(&Header::env, {"A=b"}), is("/environ", Json::array({"A=b"}))},
      {"signal_mask", Script().set(&Header::signal_mask, uint64_t{1} << (SIGUSR1 - 1)),
       is("/signals/blocked", Json::array({SIGUSR1}))},
      {"signal_default", Script().set(&Header::signal_default, ~(uint64_t{1} << (SIGUSR2 - 1))),
       is("/signals/ignored", Json::array({SIGUSR2}))},
      {"setpgroup", flags(plan::kSetpgroup).set(&Header::setpgroup, 0),
       [](const Json& r) { return r["pgid"] == r["pid"]; }},
      {"scheduler", Script().set(&Header::scheduler, scheduler),
       is("/scheduler/policy", SCHED_BATCH)},
      {"ioprio", Script().set(&Header::ioprio, (2u << 13) | 7),
       is("/ioprio", {{"class", 2}, {"level", 7}})},
      {"personality", Script().set(&Header::personality, 0x0040000u),
       is("/personality", 0x0040000)},
      {"affinity", Script().set(&Header::affinity, first_processor),
       is("/affinity", Json::array({0}))},
      {"rlimits", Script().set_at(of_rlimit(RLIMIT_NOFILE), rlimit),
       is("/rlimits/RLIMIT_NOFILE/hard", 64)},
      {"namespaces", Script().set_at(of_namespace(Namespace::uts), kFresh),
       [](const Json& r) { return r["namespaces"]["uts"] != host_namespace("uts"); }},
      {"hostname",
       Script().set_at(of_namespace(Namespace::uts), kFresh).text(&Header::hostname, "elsewhere"),
       is("/hostname", "elsewhere")},
      {"domainname",
       Script().set_at(of_namespace(Namespace::uts), kFresh).text(&Header::domainname, "elsewhere"),
       is("/domainname", "elsewhere")},
      {"boottime_offset_ns",
       flags(plan::kTimeOffsets)
           .set_at(of_namespace(Namespace::time), kFresh)
           .set(&Header::boottime_offset_ns, int64_t{5'000'000'000}),
       [](const Json& r) {
         return r["timens_offsets"][1].get<std::string>().ends_with(" 5         0");
       }},
      {"monotonic_offset_ns",
       flags(plan::kTimeOffsets)
           .set_at(of_namespace(Namespace::time), kFresh)
           .set(&Header::monotonic_offset_ns, int64_t{5'000'000'000}),
       [](const Json& r) {
         return r["timens_offsets"][0].get<std::string>().ends_with(" 5         0");
       }},
      {"seccomp",
       Script().list(&Header::seccomp, std::vector<plan::Instruction>{{0x06, 0, 0, 0x7fff0000}}),
       is("/seccomp", 2)},
  };
  const auto has_row = [&](const std::string& member) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](const Applied& row) { return row.member == member; });
  };
  for (const Carried& number : carried("works")) {
    const std::string read = number.row["read"], report = "report:";
    if (read.starts_with(report) && !has_row(number.member.name))
      rows.push_back({number.member.name, number.script(),
                      is(read.substr(report.size()), number.row["expect"])});
  }
  return rows;
}

// One past what the peer may have, and the answer.
struct Refused {
  std::string member;
  Script script;
  std::string field;
  std::string rule;
};

std::vector<Refused> refused() {
  const auto scheduler = [](int32_t policy, int32_t priority) {
    return Script().set(&Header::scheduler,
                        plan::Scheduler{plan::kHasPolicy | plan::kHasParameters, policy, priority});
  };
  const auto id = [](size_t offset) {
    return Script().set_at(offsetof(Header, identity) + offset, 0u);
  };
  const auto root_group =
      Script()
          .act({{"act", "span"},
                {"offset", offsetof(Header, identity) + offsetof(plan::Identity, groups)},
                {"hex", "00000000"},
                {"count", 1}})
          .set_at(offsetof(Header, identity) + offsetof(plan::Identity, caller_groups), 1u);
  plan::Capabilities capable{};
  capable.set = 1;
  capable.bounding = 1;
  const std::vector<plan::IdMap> root{{0, 0, 1}};
  const std::vector<plan::Published> port{{{127, 0, 0, 1}, plan::kInet, 0, 80, 8080}};
  std::vector<Refused> rows{
      {"nice", Script().set(&Header::nice, -1), "nice", "not-below-own-nice"},
      {"ioprio", Script().set(&Header::ioprio, kRealtime), "ioprio",
       "real-time-needs-CAP_SYS_NICE"},
      {"oom_score_adj", Script().set(&Header::oom_score_adj, -1), "oom_score_adj", "not-below-own"},
      {"scheduler", scheduler(SCHED_FIFO, 1), "scheduler", "real-time-needs-CAP_SYS_NICE"},
      {"scheduler", scheduler(6 /* SCHED_DEADLINE */, 0), "scheduler",
       "real-time-needs-CAP_SYS_NICE"},
      {"rlimits", Script().set_at(of_rlimit(RLIMIT_NOFILE), plan::Rlimit{64, 5000, 1, 0}),
       "rlimits.RLIMIT_NOFILE", "tried/rlimits"},
      {"limits", Script().set_at(offsetof(Header, limits), uint64_t{0}), "limits.wall_time",
       "tried/limits"},
      {"limits", Script().set_at(offsetof(Header, limits), uint64_t{60'001}), "limits.wall_time",
       "tried/limits"},
      {"identity", id(offsetof(plan::Identity, ruid)), "identity.uid", "own-uid"},
      {"identity", id(offsetof(plan::Identity, euid)), "identity.uid", "own-uid"},
      {"identity", id(offsetof(plan::Identity, suid)), "identity.uid", "own-uid"},
      {"identity", id(offsetof(plan::Identity, rgid)), "identity.gid", "own-groups"},
      {"identity", id(offsetof(plan::Identity, egid)), "identity.gid", "own-groups"},
      {"identity", id(offsetof(plan::Identity, sgid)), "identity.gid", "own-groups"},
      {"identity", root_group, "identity.groups", "own-groups"},
      {"capabilities", Script().set(&Header::capabilities, capable), "capabilities",
       "not-beyond-own-capabilities"},
      {"flags", Script().set(&Header::flags, 0u), "no_new_privs", "namespaces-need-no-new-privs"},
      {"flags", flags(plan::kOutbound), "network.outbound", "tried/network"},
      {"flags", flags(plan::kTimeOffsets), "time_offsets", "needs-new-time"},
      {"namespaces", Script().set_at(of_namespace(Namespace::net), kHost), "network",
       "tried/network"},
      {"namespaces", Script().set_at(of_namespace(Namespace::ipc), kHost), "namespaces.ipc",
       "tried/namespaces_host"},
      {"unshare", Script().set(&Header::unshare, uint32_t{CLONE_NEWNS}), "unshare",
       "not-a-namespace"},
      {"hostname", Script().text(&Header::hostname, "elsewhere"), "hostname", "needs-new-uts"},
      {"domainname", Script().text(&Header::domainname, "elsewhere"), "domainname",
       "needs-new-uts"},
      {"mounts", Script().bind("/", "/", 0), "mounts", "needs-new-mnt"},
      {"sysctls",
       Script().act({{"act", "sysctl"}, {"path", "kernel/core_pattern"}, {"value", "x"}}),
       "sysctls", "needs-new-net"},
      {"published", Script().list(&Header::published, port), "network", "needs-outbound"},
      {"uid_map", Script().list(&Header::uid_map, root), "uid_map", "needs-new-user"},
      {"uid_map",
       Script().set_at(of_namespace(Namespace::user), kFresh).list(&Header::uid_map, root),
       "uid_map", "own-uid"},
      {"gid_map", Script().list(&Header::gid_map, root), "gid_map", "needs-new-user"},
      {"id_choices", Script().set(&Header::id_choices, plan::kDynamicIds), "namespaces.mnt",
       "leased-ids-leave-nothing"},
      {"on_disconnect", Script().set(&Header::on_disconnect, plan::OnDisconnect::keep),
       "lifetime.on_disconnect", "tried/detach"},
      {"stop_timeout_ms",
       Script()
           .set(&Header::on_disconnect, plan::OnDisconnect::stop)
           .set(&Header::stop_timeout_ms, uint64_t{60'001}),
       "lifetime.stop_timeout", "tried/stop_timeout"},
  };
  for (const Carried& number : carried("Denied"))
    rows.push_back({number.member.name, number.script(), number.member.field, number.row["rule"]});
  return rows;
}

// No row: what it does shows elsewhere.
const std::map<std::string, std::string> kElsewhere = {
    {"profile", "is told of the job, and not applied"},
    {"name", "is told of the job, and not applied"},
    {"idempotency_key", "tells jobs apart, and is not applied"},
    {"degraded", "is told of the job, and not applied"},
    {"tags", "are told of the job, and not applied"},
    {"capture", "shows in what is kept: tests/system/output_test.cpp"},
    {"actions", "tests/system/seeds_descriptors_test.cpp: by what each of them does"},
    {"descriptors", "bypass_test.cpp, covers_test.cpp: by what each of them is for"},
    {"controlling_fd", "of a terminal: tests/system/seeds_session_test.cpp"},
    {"rows", "of a terminal: tests/system/cli_signals_test.py"},
    {"columns", "of a terminal: tests/system/cli_signals_test.py"},
    {"landlock", "shows in what is refused: tests/system/privileges_test.cpp"},
    {"caller_cgroup", "leads below the caller's own: tests/system/jobs_test.cpp"},
    {"seccomp_flags", "say what the instructions do: tests/security/filters_test.cpp"},
    {"stop_signal", "shows in an end: tests/system/signals_test.cpp"},
    {"setup_timeout_ms", "shows in a launch that hangs: tests/hostile/waits_test.cpp"},
};

TEST_CASE("a hostile front alters what it is told to, and nothing else") {
  NEEDS_ROOT();
  Ruled ruled(Json::object(), hostile_front());
  Client client = ruled.connect(World::get().alice());
  const Json request = World::get().probe_request();
  Outcome honest = client.run(request);
  Outcome altered = client.run(Script().set(&Header::nice, 7).in(request));
  INFO(altered.told());
  CHECK(honest.report()["nice"] == 0);
  CHECK(altered.report()["nice"] == 7);
}

TEST_CASE("S9: each member of a Plan is tried, and what authorise() judges is refused once") {
  std::set<std::string> tried, turned_down;
  for (const Applied& row : applied(World::get())) tried.insert(row.member);
  for (const Refused& row : refused()) turned_down.insert(row.member);
  for (const plan::Member& member : plan::schema::kHeaderMembers) {
    CAPTURE(std::string(member.name));
    const bool fronts_own = !*member.field && member.judged == plan::Judged::no;
    if (fronts_own && std::string(member.name) != "flags") continue;
    const bool elsewhere = kElsewhere.count(member.name) != 0;
    CHECK((tried.count(member.name) + turned_down.count(member.name) != 0) != elsewhere);
    if (member.judged == plan::Judged::authorise && !elsewhere)
      CHECK((turned_down.count(member.name) != 0 || std::string(member.name) == "seccomp"));
  }
}

TEST_CASE("S9: each member of a Plan is applied as it is, and refused one past what may be") {
  NEEDS_ROOT();
  World& world = World::get();
  Json config = rules({{{"name", "tried"},
                        {"users", Json::array({world.alice().uid})},
                        {"allow",
                         {{"network", Json::array({"none"})},
                          {"devices", Json::array()},
                          {"detach", false},
                          {"rlimits", {{"RLIMIT_NOFILE", 4096}}},
                          {"limits", {{"wall_time", "60s"}}},
                          {"namespaces_host", {"mnt", "pid", "uts", "cgroup", "user", "time"}}}}}});
  config["lease"] = {{"first", 1879048192}, {"count", 16777216}};
  Ruled ruled(config, hostile_front());
  Client client = ruled.connect(world.alice());
  Json request = with(modest(world), hard(4096));
  request["limits"] = {{"wall_time", "60s"}};
  for (const Applied& row : applied(world)) {
    CAPTURE(row.member);
    Outcome outcome = client.run(row.script.in(request));
    INFO(outcome.told());
    REQUIRE(outcome.error == "");
    CHECK(row.shown(outcome.report()));
  }
  for (const Refused& row : refused()) {
    CAPTURE(row.member);
    Outcome outcome = client.run(row.script.in(request));
    INFO(outcome.told());
    CHECK((outcome.error == "Denied" || outcome.error == "InvalidRequest"));
    CHECK(outcome.parameters["field"] == row.field);
    const std::string rule = outcome.parameters.value("rule", "");
    const std::string reason = outcome.parameters.value("reason", "");
    CHECK((rule == row.rule || reason.find(row.rule) != std::string::npos));
  }
}

}  // namespace
}  // namespace cloister::security_test
