// Layers: how constants, profiles and a request become one, where each value
// came from, what is given up, and which combinations are refused.
#include <ctime>
#include <nlohmann/json.hpp>

#include "cloister/request.hpp"
#include "outcome.hpp"
#include "request/layers.hpp"

using namespace cloister;
using request::Effective;
using request::Layer;

namespace {

Request profile(std::string_view text) {
  const auto parsed = request::parse_profile(text);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().field, ' ', parsed.error().reason);
  return *parsed;
}

// A profile and a request, as the front merges them.
request::Result<Effective> merged(std::string_view lower, std::string_view upper) {
  const Layer layers[] = {{profile(lower), "profile p"}, {profile(upper), request::kFromRequest}};
  return request::merge(layers);
}

Effective effective(std::string_view lower, std::string_view upper) {
  const auto result = merged(lower, upper);
  REQUIRE_MESSAGE(result.has_value(), result.error().field, ' ', result.error().reason);
  return *result;
}

Problem problem(std::string_view lower, std::string_view upper) {
  const auto result = merged(lower, upper);
  CHECK_MESSAGE(result.has_error(), upper);
  return result ? Problem{} : result.error();
}

constexpr const char* kBox = R"({
  "namespaces": {"mnt": "new", "net": "new", "uts": "new", "user": "auto"},
  "network": "none",
  "mounts": [{"at": "/", "bind": "/"}, {"at": "/proc", "proc": {}}, {"at": "/tmp", "tmpfs": {}}],
  "sysctls": {"net.ipv4.ip_unprivileged_port_start": 0},
  "env": {"A": "profile", "B": "profile"}, "tags": {"t": "1"},
  "rlimits": {"RLIMIT_CORE": {"soft": 0, "hard": 0}},
  "lifetime": {"stop_timeout": "1s"}, "nice": 5, "umask": "0077"})";

// A request of that profile, with these members.
std::string asking(std::string_view members) {
  return R"({"argv": ["a"])" + std::string(members.empty() ? "" : ", ") + std::string(members) +
         '}';
}

}  // namespace

TEST_CASE("scalars replace: request over profile over constant, each with its origin") {
  const Effective all = effective(kBox, asking(R"("nice": 7)"));
  CHECK(all.request.nice == 7);
  CHECK(all.origins.at("nice") == "request");
  CHECK(all.request.umask == 077u);
  CHECK(all.origins.at("umask") == "profile p");
  CHECK(all.request.oom_score_adj == 0);
  CHECK(all.origins.at("oom_score_adj") == "constant");
  CHECK_FALSE(all.origins.contains("hostname"));
  CHECK_FALSE(all.request.hostname.has_value());
}

TEST_CASE("what a request implies goes below the profiles, path by path") {
  Request said = *parse(R"({"argv": ["a"], "umask": "0027", "nice": 7, "cwd": "/c",
      "workspace": {"path": "/w"}, "env": {"A": "a", "B": "b", "C.D": "c"},
      "rlimits": {"RLIMIT_CORE": {"soft": 1, "hard": 1}, "RLIMIT_AS": {"soft": 2, "hard": 2}},
      "lifetime": {"stop_timeout": "9s"}, "mounts": [{"at": "/m", "dir": {}}, {"at": "/n", "dir": {}}],
      "implied": ["umask", "workspace", "env.A", "env.C.D", "env.X", "rlimits", "hostname",
                  "lifetime.stop_timeout", "mounts./m"]})");
  const auto implied = request::take_implied(said);
  REQUIRE(implied.has_value());
  CHECK(*implied == *parse(R"({"umask": "0027", "workspace": {"path": "/w"},
      "env": {"A": "a", "C.D": "c"}, "lifetime": {"stop_timeout": "9s"},
      "rlimits": {"RLIMIT_CORE": {"soft": 1, "hard": 1}, "RLIMIT_AS": {"soft": 2, "hard": 2}},
      "mounts": [{"at": "/m", "dir": {}}]})"));
  CHECK(said == *parse(R"({"argv": ["a"], "nice": 7, "cwd": "/c", "env": {"B": "b"},
      "mounts": [{"at": "/n", "dir": {}}]})"));
  Request wrong;
  wrong.implied = {"nicest"};
  CHECK(request::take_implied(wrong).error().field == "implied");
}

TEST_CASE("env, tags, rlimits, sysctls, namespaces and lifetime merge by key") {
  const Effective all = effective(kBox, asking(R"(
      "env": {"B": "request", "C": "request"}, "tags": {"u": "2"},
      "rlimits": {"RLIMIT_NOFILE": {"soft": 9, "hard": 9}},
      "sysctls": {"net.ipv4.ip_default_ttl": 9}, "namespaces": {"time": "new"},
      "lifetime": {"stop_signal": "SIGINT"})"));
  CHECK(all.request.env ==
        std::map<std::string, std::string>{{"A", "profile"}, {"B", "request"}, {"C", "request"}});
  CHECK(all.origins.at("env.A") == "profile p");
  CHECK(all.origins.at("env.B") == "request");
  CHECK(all.request.tags.size() == 2);
  CHECK(all.request.rlimits.at("RLIMIT_CORE").hard == 0);
  CHECK(all.origins.at("rlimits.RLIMIT_NOFILE") == "request");
  CHECK(all.origins.at("rlimits.RLIMIT_CORE") == "profile p");
  CHECK(all.origins.at("rlimits.RLIMIT_CPU") == "constant");
  CHECK(all.request.sysctls.size() == 2);
  CHECK(all.request.namespaces.time == NamespaceChoice(NewNamespace{}));
  CHECK(all.origins.at("namespaces.mnt") == "profile p");
  CHECK(all.origins.at("namespaces.ipc") == "constant");
  CHECK(all.request.lifetime.stop_signal == 2);
  CHECK(all.request.lifetime.stop_timeout == std::chrono::seconds(1));
  CHECK(all.origins.at("lifetime.setup_timeout") == "constant");
}

TEST_CASE("mounts append, and one at the same place takes its turn") {
  const Effective all = effective(kBox, asking(R"("mounts": [
      {"at": "/data", "bind": "/srv"}, {"at": "//tmp/.", "bind": "/var/tmp"}])"));
  std::vector<std::string> places;
  for (const Mount& mount : all.request.mounts) places.push_back(mount.at);
  CHECK(places == std::vector<std::string>{"/", "/proc", "/tmp", "/data"});
  CHECK(all.request.mounts[2].bind.has_value());
  CHECK_FALSE(all.request.mounts[2].tmpfs.has_value());
  CHECK(all.origins.at("mounts./tmp") == "request");
  CHECK(all.origins.at("mounts./proc") == "profile p");
}

TEST_CASE("U1: each layer's mounts and paths have the rank of that layer") {
  const Effective all = effective(kBox, asking(R"("mounts": [{"at": "/tmp/", "bind": "/var/tmp"}],
      "masked_paths": ["/x"], "workspace": {"path": "/w"})"));
  CHECK(all.ranks.at("mounts./tmp") > all.ranks.at("mounts./proc"));
  CHECK(all.ranks.at("masked_paths./x") == all.ranks.at("workspace"));
  CHECK(all.ranks.at("workspace") == all.ranks.at("mounts./tmp"));
  CHECK_FALSE(all.ranks.contains("secrets"));
}

TEST_CASE("root and a mount at / are one place: the higher layer has it") {
  const Effective rooted = effective(kBox, asking(R"("root": "/r", "root_access": "overlay")"));
  CHECK(std::get<std::string>(*rooted.request.root) == "/r");
  for (const Mount& mount : rooted.request.mounts) CHECK(mount.at != "/");
  CHECK_FALSE(rooted.origins.contains("mounts./"));

  const char* const profile =
      R"({"namespaces": {"mnt": "new"}, "root": "/r", "root_access": "rw"})";
  const Effective bound = effective(profile, asking(R"("mounts": [{"at": "/", "bind": "/b"}])"));
  CHECK_FALSE(bound.request.root);
  CHECK_FALSE(bound.request.root_access);
  CHECK_FALSE(bound.origins.contains("root"));
  CHECK(bound.request.mounts.size() == 1);
  // A way to mount it may come from below.
  CHECK(effective(profile, asking(R"("root": "/other")")).request.root_access == RootAccess::rw);

  CHECK(problem("{}", asking(R"("root": "/r", "mounts": [{"at": "//", "bind": "/b"}])")).field ==
        "root");
  CHECK(problem(kBox, asking(R"("root_access": "rw")")).field == "root_access");
  for (const char* members :
       {R"("root": "/r")", R"("secrets": {"a": {"passed_fd": 0}})", R"("masked_paths": ["/x"])",
        R"("readonly_paths": ["/x"])", R"("devices": [{"path": "/dev/null"}])"}) {
    CAPTURE(members);
    const Problem got = problem("{}", asking(members));
    CHECK(got.kind == Problem::Kind::invalid);
    CHECK(std::string(members).find('"' + got.field + '"') == 0);
    const bool root = got.field == "root";
    if (!root)
      CHECK(problem(R"({"namespaces": {"mnt": "new"}})", asking(members)).field == got.field);
  }
}

TEST_CASE("masked and read-only paths of all layers count") {
  const Effective all = effective(R"({"namespaces": {"mnt": "new"}, "root": "/r",
      "masked_paths": ["/a"], "readonly_paths": ["/x"]})",
                                  asking(R"("masked_paths": ["/b"], "readonly_paths": ["/y"])"));
  CHECK(all.request.masked_paths == std::vector<std::string>{"/a", "/b"});
  CHECK(all.request.readonly_paths == std::vector<std::string>{"/x", "/y"});
}

TEST_CASE("null and an absent member remove nothing") {
  const Effective plain = effective(kBox, asking(""));
  CHECK(
      effective(kBox, asking(R"("mounts": null, "limits": null, "env": {"A": null}, "nice": null)"))
          .request == plain.request);
}

TEST_CASE("unset takes away what a lower layer gave, and the constant is back") {
  const Effective all = effective(kBox, asking(R"(
      "unset": ["env.A", "mounts./tmp", "rlimits.RLIMIT_CORE", "nice", "tags", "lifetime.stop_timeout"],
      "env": {"A": "mine"})"));
  CHECK(all.request.env.at("A") == "mine");
  CHECK(all.request.env.at("B") == "profile");
  CHECK(all.request.mounts.size() == 2);
  CHECK_FALSE(all.origins.contains("mounts./tmp"));
  CHECK(all.request.rlimits.at("RLIMIT_CORE").hard == kUnlimited);
  CHECK(all.origins.at("rlimits.RLIMIT_CORE") == "constant");
  CHECK(all.request.nice == 0);
  CHECK(all.origins.at("nice") == "constant");
  CHECK(all.request.tags.empty());
  CHECK(all.request.lifetime.stop_timeout == std::chrono::seconds(5));
  // Nothing to take away is no mistake; a path that no request has is.
  effective(kBox, asking(R"("unset": ["env.NOT_THERE", "hostname", "mounts./not/there"])"));
  for (const char* path :
       {"evn.A", "env.", "nice.x", "rlimits.NOFILE", "mounts.tmp", "lifetime.x", "."})
    CHECK(problem(kBox, asking("\"unset\": [\"" + std::string(path) + "\"]")).field == "unset");
}

TEST_CASE("what the host lacks is unsupported with its reason, or given up where that is said") {
  const request::Lacks lacks{"no subuids", "no subgids", "no leases", "no memory",
                             "no swap",    "no pids",    "no cpus",   "no cgroup"};
  const std::string user = R"("namespaces": {"user": "new"}, )";
  struct Row {
    const char *members, *field;
    const std::string& reason;
  };
  for (const Row& row :
       {Row{R"("uid_map": "subordinate")", "uid_map", lacks.subordinate_uids},
        Row{R"("gid_map": "subordinate")", "gid_map", lacks.subordinate_gids},
        Row{R"("identity": "dynamic")", "identity", lacks.leased_ids},
        Row{R"("limits": {"memory": "1M"})", "limits.memory", lacks.memory},
        Row{R"("limits": {"pids": 1})", "limits.pids", lacks.pids},
        Row{R"("limits": {"cpus": 1})", "limits.cpus", lacks.cpus},
        Row{R"("limits": {"cpu_time": "1s"})", "limits.cpu_time", lacks.cpu_time}}) {
    CAPTURE(std::string(row.members));
    const std::vector<request::Layer> layers = {
        {*request::parse_profile("{}"), "profile"},
        {*parse(R"({"argv": ["a"], )" + user + row.members + '}'), request::kFromRequest}};
    const auto refused = request::merge(layers, lacks);
    REQUIRE(refused.has_error());
    CHECK(refused.error().kind == Problem::Kind::unsupported);
    CHECK(refused.error().field == row.field);
    CHECK(refused.error().reason == row.reason);
    CHECK(request::merge(layers).has_value());

    const std::vector<request::Layer> willing = {
        {*request::parse_profile("{}"), "profile"},
        {*parse(R"({"argv": ["a"], "best_effort": [")" + std::string(row.field) + "\"], " + user +
                row.members + '}'),
         request::kFromRequest}};
    const auto given_up = request::merge(willing, lacks);
    REQUIRE(given_up.has_value());
    CHECK(given_up->degraded == std::vector<std::string>{row.field});
    CHECK(!given_up->request.uid_map);
    CHECK(given_up->request.identity == Identity(CallerIdentity{}));
    CHECK(given_up->request.limits == Limits{});
  }
}

TEST_CASE("a field without a room is unsupported by name, wherever it stands") {
  const auto unsupported = [](std::string_view members, std::string_view feature) {
    CAPTURE(members);
    const Problem got = problem("{}", asking(members));
    CHECK(got.kind == Problem::Kind::unsupported);
    CHECK(got.field == feature);
    CHECK_FALSE(got.reason.empty());
  };
  unsupported(R"("dumpable": false)", "dumpable");
  unsupported(R"("sysctls": {"kernel.pid_max": "1"})", "sysctls.kernel.pid_max");
  unsupported(R"("sysctls": {"net.core.rmem_max": "1"})", "sysctls.net.core.rmem_max");
}

TEST_CASE("what was merged is a profile that stands alone") {
  const Effective all = effective(R"({"nice": -3, "umask": "0077", "affinity": [0, 2]})",
                                  asking(R"("nice": 7, "oom_score_adj": -5, "setpgroup": 0)"));
  const auto again = request::read_layer(request::to_document(all.request), request::Kind::profile);
  REQUIRE(again.has_value());
  CHECK(*again == all.request);
  CHECK(again->nice == 7);
}

TEST_CASE("best_effort gives up what is unsupported, and says so") {
  const Effective all = effective("{}", asking(R"(
      "dumpable": false, "stdout": {"capture": {}},
      "best_effort": ["dumpable", "stdout", "nice"], "nice": 3)"));
  CHECK(all.degraded == std::vector<std::string>{"dumpable"});
  CHECK(all.request.standard_output == Stream(Capture{}));  // supported, so kept
  CHECK(all.request.nice == 3);
  // A request may give up what its profile asks for, a profile not what the request does.
  CHECK(effective(R"({"dumpable": false})", asking(R"("best_effort": ["dumpable"])"))
            .degraded.size() == 1);
  CHECK(effective(R"({"dumpable": false, "best_effort": ["dumpable"]})", asking(""))
            .degraded.size() == 1);
  CHECK(problem(R"({"best_effort": ["dumpable"]})", asking(R"("dumpable": false)")).field ==
        "dumpable");
  CHECK(problem("{}", asking(R"("best_effort": ["dump"])")).field == "best_effort");
  CHECK(problem("{}", asking(R"("dumpable": false, "best_effort": ["dumpabl"])")).field ==
        "best_effort");
}

TEST_CASE("limits that are one list are given up one by one") {
  request::Lacks lacks;
  lacks.memory = lacks.swap = "no memory controller";
  const std::vector<request::Layer> layers = {
      {*request::parse_profile(R"({"limits": {"memory": "64M", "swap": 0, "pids": 9,
                                   "on_oom": "kill_process"}, "best_effort": ["limits"]})"),
       "profile"},
      {*parse(R"({"argv": ["a"]})"), request::kFromRequest}};
  const auto merged = request::merge(layers, lacks);
  REQUIRE(merged.has_value());
  CHECK(merged->degraded ==
        std::vector<std::string>{"limits.memory", "limits.on_oom", "limits.swap"});
  CHECK(merged->request.limits.pids == 9u);
  CHECK_FALSE(merged->request.limits.memory);
}

TEST_CASE("limits that are about memory need one, and none holds below the caller's cgroup") {
  CHECK(problem("{}", asking(R"("limits": {"swap": 0})")).field == "limits.swap");
  CHECK(problem("{}", asking(R"("limits": {"on_oom": "kill_job"})")).field == "limits.on_oom");
  for (const char* limit :
       {R"("memory": "1M")", R"("pids": 1)", R"("cpus": 1)", R"("cpu_time": "1s")"}) {
    CAPTURE(std::string(limit));
    const std::string limits = std::string(R"("limits": {)") + limit + '}';
    effective("{}", asking(limits));
    CHECK(problem("{}", asking(R"("cgroup": "caller", )" + limits)).field.starts_with("limits."));
  }
  effective("{}", asking(R"("cgroup": "caller", "limits": {"wall_time": "1s"})"));
}

TEST_CASE("network and the network namespace follow each other") {
  const Effective host = effective(kBox, asking(R"("network": "host")"));
  CHECK(host.request.namespaces.net == NamespaceChoice(HostNamespace{}));
  CHECK(host.origins.at("namespaces.net") == "request");
  CHECK(host.request.sysctls.empty());
  const Effective joined = effective(kBox, asking(R"("namespaces": {"net": {"passed_fd": 0}})"));
  CHECK_FALSE(joined.request.network.has_value());
  CHECK_FALSE(joined.origins.contains("network"));
  const Effective none = effective("{}", asking(R"("network": "none")"));
  CHECK(none.request.namespaces.net == NamespaceChoice(NewNamespace{}));
  const Effective again =
      effective(R"({"network": "host"})", asking(R"("namespaces": {"net": "new"})"));
  CHECK_FALSE(again.request.network.has_value());
  const Effective kept = effective(kBox, asking(R"("namespaces": {"net": "new"})"));
  CHECK(kept.request.network == Network(NoNetwork{}));
  CHECK(problem("{}", asking(R"("network": "none", "namespaces": {"net": "host"})")).field ==
        "network");
  CHECK(problem("{}", asking(R"("network": "host", "namespaces": {"net": "new"})")).field ==
        "network");
  const Effective outbound = effective(kBox, asking(R"("network": {"outbound": {}})"));
  CHECK(outbound.request.network == Network(Outbound{}));
  CHECK(outbound.request.namespaces.net == NamespaceChoice(NewNamespace{}));
  CHECK_FALSE(outbound.request.sysctls.empty());  // its own, as without a way out
  const Effective still =
      effective(R"({"network": {"outbound": {}}})", asking(R"("namespaces": {"net": "new"})"));
  CHECK(still.request.network == Network(Outbound{}));
  CHECK(problem("{}", asking(R"("network": {"outbound": {}}, "namespaces": {"net": "host"})"))
            .field == "network");
  CHECK(problem(kBox, asking(R"("network": "host", "sysctls": {"net.ipv4.ip_default_ttl": 1})"))
            .field == "sysctls.net.ipv4.ip_default_ttl");
}

TEST_CASE("combinations that no kernel has are refused by their rule") {
  const auto refuses = [](std::string_view lower, std::string_view members, std::string_view field,
                          std::string_view rule) {
    CAPTURE(members);
    const Problem got = problem(lower, asking(members));
    CHECK(got.kind == Problem::Kind::invalid);
    CHECK(got.field == field);
    CHECK_MESSAGE(got.reason.find(rule) != std::string::npos, got.reason);
  };
  CHECK(problem("{}", "{}").field == "argv");
  refuses("{}", R"("hostname": "a")", "hostname", "uts namespace");
  refuses("{}", R"("domainname": "a")", "domainname", "uts namespace");
  refuses(kBox, R"("hostname": "a", "namespaces": {"uts": {"passed_fd": 0}})", "hostname", "uts");
  refuses("{}", R"("network": {"outbound": {}}, "namespaces": {"user": {"passed_fd": 0}})",
          "network.outbound", "joined user namespace");
  refuses("{}",
          R"("network": {"outbound": {"publish": [{"port": 1, "host_port": 9}, {"port": 9}]}})",
          "network.outbound.publish[1]", "as element 0");
  refuses(
      "{}",
      R"("network": {"outbound": {"publish": [{"port": 1, "host_port": 9, "protocol": "udp"}]}})",
      "network.outbound.publish[0].port", "loses UDP packets");
  refuses("{}", R"("time_offsets": {"boottime_ns": 1})", "time_offsets", "time namespace");
  refuses(kBox, R"("uid_map": [])", "uid_map", "user namespace");
  refuses("{}", R"("gid_map": [{"inside": 0, "outside": 0, "count": 1}])", "gid_map",
          "user namespace");
  refuses("{}", R"("namespaces": {"user": "new"}, "uid_map": [
      {"inside": 0, "outside": 0, "count": 9}, {"inside": 8, "outside": 100, "count": 1}])",
          "uid_map[1]", "overlaps");
  refuses("{}", R"("namespaces": {"user": "new"}, "uid_map": [
      {"inside": 0, "outside": 0, "count": 9}, {"inside": 9, "outside": 8, "count": 1}])",
          "uid_map[1]", "overlaps");
  refuses(kBox, R"("namespaces": {"mnt": "host"})", "mounts", "mount namespace");
  refuses(kBox, R"("namespaces": {"mnt": {"job": "j-1"}})", "mounts", "mount namespace");
  refuses("{}", R"("workspace": {"path": "/w"})", "workspace", "mount namespace");
  refuses(kBox, R"("cwd": {"passed_fd": 0})", "cwd", "outside the new root");
  refuses(kBox, R"("no_new_privs": false)", "no_new_privs", "none");
  refuses("{}", R"("no_new_privs": false)", "no_new_privs", "none");
  refuses("{}", R"("namespaces": {"mnt": "new"}, "mounts": [{"at": "/", "tmpfs": {}}])", "mounts./",
          "bind");
  refuses("{}", R"("terminal": {"rows": 1})", "terminal", "pty");
  refuses("{}", R"("terminal": {"controlling_fd": 0})", "terminal.controlling_fd",
          "passed descriptor");
  refuses("{}", R"("terminal": {"controlling_fd": 0}, "stdin": "pty")", "terminal.controlling_fd",
          "second controlling terminal");
  refuses("{}", R"("setsid": true, "setpgroup": 5)", "setpgroup", "session leader");
  refuses("{}", R"("stdin": "pty", "setpgroup": 5)", "setpgroup", "session leader");
}

TEST_CASE("combinations that work are left alone") {
  effective("{}", asking(R"("setsid": true, "setpgroup": 0)"));
  effective("{}", asking(R"("terminal": {"controlling_fd": 0}, "stdin": {"passed_fd": 0})"));
  effective("{}", asking(R"("terminal": {"controlling_fd": 9},
      "file_actions": [{"receive": {"passed_fd": 0, "fd": 9}}])"));
  effective("{}", asking(R"("terminal": {"rows": 1, "columns": 2}, "stdout": "pty")"));
  effective("{}", asking(R"("cwd": {"passed_fd": 0})"));
  effective(R"({"defaults": "caller"})", asking(R"("no_new_privs": false)"));
  effective(kBox, asking(R"("hostname": "a", "workspace": {"path": "/w"})"));
  effective("{}", asking(R"("namespaces": {"user": "new"}, "uid_map": [
      {"inside": 0, "outside": 0, "count": 9}, {"inside": 9, "outside": 9, "count": 1}])"));
}

TEST_CASE("paths are made normal without looking at the system") {
  for (const auto& [path, normal] : std::map<std::string, std::string>{{"/", "/"},
                                                                       {"//", "/"},
                                                                       {"/.", "/"},
                                                                       {"/a/", "/a"},
                                                                       {"//a//./b/", "/a/b"},
                                                                       {"~", "~"},
                                                                       {"~/", "~"},
                                                                       {"~/./x", "~/x"},
                                                                       {"/...", "/..."}})
    CHECK(request::normal_path(path) == normal);
}

TEST_CASE("thousands of mounts merge without comparing each with each") {
  Request lower = profile("{}"), upper = profile(R"({"argv": ["a"]})");
  lower.namespaces.mnt = NewNamespace{};
  for (int i = 0; i < 8000; ++i) {
    Mount mount;
    mount.at = "/a/rather/long/path/to/mount/at/" + std::to_string(i);
    mount.tmpfs = Tmpfs{};
    (i % 2 ? lower : upper).mounts.push_back(mount);
  }
  const Layer layers[] = {{lower, "profile p"}, {upper, request::kFromRequest}};
  const std::clock_t start = std::clock();
  const auto effective = request::merge(layers);
  const std::clock_t spent = std::clock() - start;
  REQUIRE(effective.has_value());
  CHECK(effective->request.mounts.size() == 8000);
  CHECK(spent < CLOCKS_PER_SEC / 2);
}
