// The fields of a request: each has its place, its form and its way to JSON and back.
#include <chrono>
#include <nlohmann/json.hpp>

#include "cloister/request.hpp"
#include "plan/plan.hpp"
#include "request/layers.hpp"
#include "request/schema.hpp"
#include "requests.hpp"

using namespace cloister;
using namespace cloister::test;

namespace {

Request everything() {
  Request r;
  r.profile = "none";
  r.name = "n\u00e4me";
  r.idempotency_key = "k";
  r.argv = {"make", "", "\xff\xfe", "-j2\n"};
  r.executable = PassedFd{3};
  r.search_path = false;
  r.env = {{"PATH", "/bin"}, {"BYTES", "\x80"}, {"EMPTY", ""}};
  r.unset = {"env.LD_PRELOAD", "mounts./srv"};
  r.cwd = "/src";
  r.umask = 027;
  r.standard_input = Inline{std::string("a\0b", 3)};
  r.standard_output = OpenPath{"out"};
  r.standard_error = LikeStdout{};
  r.file_actions = std::vector<FileAction>{OpenAction{4, "log", 0x241, 0644},
                                           Dup2Action{4, 5, false},
                                           CloseAction{0},
                                           CloseRangeAction{6, 9},
                                           ReceiveAction{1, 7, true},
                                           ChdirAction{"sub"},
                                           FchdirAction{7},
                                           TcsetpgrpAction{0}};
  r.terminal = Terminal{24, 80, 7};
  r.setpgroup = 0;
  r.setsid = true;
  r.resetids = true;
  r.setsigmask = std::vector<int32_t>{10, 37};
  r.setsigdef = std::vector<int32_t>{};
  r.scheduler = Scheduler{6, 0, true, 1000000, 2000000, 3000000};
  r.nice = -5;
  r.affinity = std::vector<uint32_t>{0, 1023};
  r.ioprio = IoPriority{IoClass::best_effort, 7};
  r.oom_score_adj = -1000;
  r.identity =
      Ids{Id{0u}, Id{"ci"}, Id{4294967294u}, {}, {}, {}, std::vector<Id>{Id{5u}, Id{"tty"}}, {}};
  r.namespaces.mnt = NewNamespace{};
  r.namespaces.net = PassedFd{2};
  r.namespaces.ipc = JobNamespace{"j-0"};
  r.namespaces.uts = HostNamespace{};
  r.namespaces.user = AutoNamespace{};
  r.unshare = 0x600;
  r.uid_map = std::vector<IdMapping>{{0, 100000, 65536}};
  r.gid_map = std::vector<IdMapping>{};
  r.hostname = "build";
  r.domainname = "lan";
  r.time_offsets = TimeOffsets{-1, 4611686018427387903};
  r.root = "/r";
  r.root_access = RootAccess::overlay;
  r.workspace = Workspace{"/src", Access::ro, Owner::caller};
  Mount bind;
  bind.at = "/data";
  bind.bind = "/srv/\xfd";
  bind.access = Access::rw;
  bind.nosuid = false;
  bind.nodev = true;
  bind.noatime = true;
  bind.noexec = true;
  bind.recursive = false;
  bind.optional = true;
  Mount tmpfs;
  tmpfs.at = "/tmp";
  tmpfs.tmpfs = Tmpfs{uint64_t{256} << 20, 1000, 01777};
  Mount link;
  link.at = "/bin";
  link.symlink = "usr/bin";
  Mount file;
  file.at = "/etc/resolv.conf";
  file.file = FileContent{"nameserver ::1\n", {}, {}, 0600};
  Mount overlay;
  overlay.at = "/o";
  overlay.overlay = Overlay{{"/a", PassedFd{3}}, "/u", "/w"};
  Mount dev;
  dev.at = "/dev";
  dev.dev = DevKind::minimal;
  Mount scratch;
  scratch.at = "~";
  scratch.scratch = Scratch{ScratchPlace::disk, {}};
  Mount dir;
  dir.at = "/d";
  dir.dir = Directory{0700};
  r.mounts = {bind, tmpfs, link, file, overlay, dev, scratch, dir};
  r.secrets = {{"token", Secret{2}}};
  r.masked_paths = {"/proc/kcore"};
  r.readonly_paths = {"/proc/sys"};
  r.network = Outbound{{{80, 8080, "::1", Protocol::udp}}};
  r.capabilities = Capabilities{kAllCapabilities, {}, 1u << 5, {}, {}, 1};
  r.no_new_privs = true;
  r.set_uid_files = true;
  r.seccomp = Document{R"({"deny":["ptrace"]})"};
  r.landlock = Landlock{std::vector<LandlockPath>{{"/src", 1}}, {}, std::vector<uint32_t>{443}, 1};
  r.devices = std::vector<Device>{{"/dev/kvm", Access::rw}};
  r.rlimits = {{"RLIMIT_NOFILE", {1024, kUnlimited}}};
  r.sysctls = {{"net.ipv4.ip_default_ttl", "64"}};
  r.personality = 0x0040000;
  r.timer_slack_ns = 1;
  r.keyring = Keyring::fresh;
  r.dumpable = true;
  r.limits = {
      uint64_t{512} << 20, 0, 4096, 1.5, std::chrono::seconds(30), std::chrono::milliseconds(250),
      OnOom::kill_job};
  r.cgroup = CgroupPlace::caller;
  r.best_effort = {"limits.pids"};
  r.implied = {"umask"};
  r.lifetime = {OnDisconnect::stop, 15, std::chrono::seconds(5), std::chrono::milliseconds(1)};
  r.tags = {{"pipeline", "123"}, {"empty", ""}};
  return r;
}

bool is_number(const nlohmann::json& property) {
  return property.contains("type") && property["type"] == "integer";
}

}  // namespace

TEST_CASE("every field goes into JSON and comes back equal") {
  const Request whole = everything();
  const auto back = parse(to_json(whole));
  REQUIRE_MESSAGE(back.has_value(), back.error().field, ' ', back.error().reason, ' ',
                  back.error().got);
  CHECK(*back == whole);
  CHECK(to_json(*back) == to_json(whole));
  // Nothing in the table was left out above, but for the fields of profiles and what the
  // next case tries.
  const auto schema = nlohmann::json::parse(request::schema());
  const auto document = nlohmann::json::parse(to_json(whole));
  for (const auto& [name, property] : schema["properties"].items())
    if (name != "env_pass" && name != "defaults" && !is_number(property))
      CHECK_MESSAGE(document.contains(name), name);
}

TEST_CASE("every number goes into JSON and comes back equal, at both ends of its range") {
  int tried = 0;
  const auto schema = nlohmann::json::parse(request::schema());
  for (const auto& [name, property] : schema["properties"].items()) {
    if (!is_number(property)) continue;
    CAPTURE(name);
    for (const char* const end : {"minimum", "maximum"}) {
      const nlohmann::json asked = {{name, property.at(end)}};
      const auto request = parse(asked.dump());
      REQUIRE(request.has_value());
      CHECK(nlohmann::json::parse(to_json(*request)) == asked);
      CHECK(request::number_of(*request, name) == property.at(end).get<uint64_t>());
    }
    CHECK(!request::number_of(Request(), name));
    ++tried;
  }
  CHECK(tried >= 4);
}

TEST_CASE("an empty request is an empty object") {
  CHECK(to_json(Request{}) == "{}");
  CHECK(parse("{}").has_value());
}

TEST_CASE("the schema lists the members and refuses all others") {
  const auto schema = nlohmann::json::parse(request::schema());
  CHECK(schema["additionalProperties"] == false);
  CHECK(schema["properties"]["nice"]["minimum"] == -20);
  CHECK(schema["properties"]["nice"]["default"] == 0);
  CHECK(schema.dump().find("x-unsupported") == std::string::npos);  // all are implemented
  CHECK(schema["properties"]["lifetime"]["properties"]["stop_signal"]["default"] == "SIGTERM");
}

TEST_CASE("the constants of the table satisfy the table") {
  CHECK(request::constants().umask == 022u);
  CHECK(request::constants().rlimits.size() == plan::kRlimits);
  CHECK(request::constants().namespaces.user == NamespaceChoice(AutoNamespace{}));
}

TEST_CASE("a member that nobody knows is refused by its path, null or not") {
  refuses(R"("no_new_priv": true)", "no_new_priv");
  refuses(R"("evn": null)", "evn");
  refuses(R"("lifetime": {"stop_signl": "SIGTERM"})", "lifetime.stop_signl");
  refuses(R"("file_actions": [{"close": {"fd": 0}}, {"opne": {"fd": 1}}])", "file_actions[1].opne");
  refuses(R"("file_actions": [{"open": {"fd": 1, "path": "a", "mod": "0644"}}])",
          "file_actions[0].open.mod");
  refuses(R"("mounts": [{"at": "/a", "tmpfs": {"sise": 1}}])", "mounts[0].tmpfs.sise");
}

TEST_CASE("null is absent") {
  CHECK(accepted(R"("nice": null, "limits": null, "env": {"A": null}, "domainname": null)") ==
        accepted(R"("tags": {})"));
  refuses(R"("nice": null, "affinity": [null])", "affinity[0]");
}

TEST_CASE("scheduling parameters fit their policy") {
  const auto scheduler = [](std::string_view members) {
    return "\"scheduler\": {" + std::string(members) + '}';
  };
  accepted(scheduler(R"("policy": "SCHED_FIFO", "priority": 99)"));
  accepted(scheduler(R"("priority": 0)"));
  accepted(scheduler(
      R"("policy": "SCHED_DEADLINE", "runtime_ns": 1, "deadline_ns": 1, "period_ns": 1)"));
  refuses(scheduler(R"("policy": "SCHED_FIFO")"), "scheduler");
  refuses(scheduler(R"("policy": "SCHED_RR", "priority": 100)"), "scheduler.priority");
  refuses(scheduler(R"("policy": "SCHED_OTHER", "priority": 1)"), "scheduler");
  refuses(scheduler(R"("policy": "SCHED_DEADLINE")"), "scheduler");
  refuses(scheduler(R"("policy": "SCHED_BATCH", "runtime_ns": 1)"), "scheduler");
  refuses(scheduler(R"("policy": 1)"), "scheduler.policy");
  const Answer sporadic = reading(with(scheduler(R"("policy": "SCHED_SPORADIC")")));
  CHECK(sporadic.problem.kind == Problem::Kind::unsupported);
  CHECK(sporadic.problem.field == "scheduler.policy");
}

TEST_CASE("one-of values have exactly one key") {
  refuses(R"("stdin": {"passed_fd": 0, "path": "/x"})", "stdin.path");
  refuses(R"("stdin": {})", "stdin");
  refuses(R"("stdin": "stdout")", "stdin");
  refuses(R"("stdout": {"text": "x"})", "stdout.text");
  refuses(R"("stderr": 2)", "stderr");
  refuses(R"("namespaces": {"net": "auto"})", "namespaces.net");
  refuses(R"("namespaces": {"nett": "new"})", "namespaces.nett");
  refuses(R"("identity": {"user": "a", "ruid": 1})", "identity.ruid");
  refuses(R"("identity": {"groups": [], "initgroups": "a"})", "identity");
  refuses(R"("identity": "root")", "identity");
  CHECK(std::get<User>(*accepted(R"("identity": {"user": "ci"})").identity).name == "ci");
  CHECK(std::get<Ids>(*accepted(R"("identity": {"initgroups": "ci"})").identity).initgroups ==
        "ci");
  CHECK(*accepted(R"("stderr": "stdout")").standard_error == Stream(LikeStdout{}));
}

TEST_CASE("file actions are whole and in order") {
  const auto actions = *accepted(R"("file_actions": [
    {"open": {"fd": 4, "path": "out.log", "flags": ["O_WRONLY", "O_CREAT"], "mode": "0644"}},
    {"dup2": {"fd": 4, "new_fd": 5}}, {"close": {"fd": 0}},
    {"closerange": {"fd_low": 6, "fd_high": 9}}, {"receive": {"passed_fd": 1, "fd": 7}},
    {"chdir": {"path": "sub"}}, {"fchdir": {"fd": 7}}, {"tcsetpgrp": {"fd": 0}}])")
                            .file_actions;
  REQUIRE(actions.size() == 8);
  CHECK(std::get<OpenAction>(actions[0]) == OpenAction{4, "out.log", 0101, 0644});
  CHECK(std::get<Dup2Action>(actions[1]) == Dup2Action{4, 5, std::nullopt});
  CHECK(std::get<ReceiveAction>(actions[4]) == ReceiveAction{1, 7, std::nullopt});
  refuses(R"("file_actions": [{"dup2": {"fd": 4}}])", "file_actions[0].dup2.new_fd");
  refuses(R"("file_actions": [{"open": {"fd": 4, "path": "a", "flags": ["O_WRONLY", "O_RDWR"]}}])",
          "file_actions[0].open");
  refuses(R"("file_actions": [{"open": {"fd": 4, "path": "a", "flags": ["O_FOO"]}}])",
          "file_actions[0].open.flags[0]");
  refuses(R"("file_actions": [{"closerange": {"fd_low": 6, "fd_high": 5}}])",
          "file_actions[0].closerange");
  refuses(R"("file_actions": [{"close": {"fd": 1}, "chdir": {"path": "a"}}])",
          "file_actions[0].chdir");
}

TEST_CASE("a mount has one place, one kind, and the options of its kind") {
  accepted(R"("mounts": [{"at": "/a", "bind": {"passed_fd": 0}, "nosuid": false}])");
  refuses(R"("mounts": [{"bind": "/a"}])", "mounts[0].at");
  refuses(R"("mounts": [{"at": "/a"}])", "mounts[0]");
  refuses(R"("mounts": [{"at": "/a", "bind": "/a", "tmpfs": {}}])", "mounts[0]");
  refuses(R"("mounts": [{"at": "/a", "tmpfs": {}, "nosuid": false}])", "mounts[0]");
  refuses(R"("mounts": [{"at": "/a", "proc": {}, "access": "ro"}])", "mounts[0]");
  refuses(R"("mounts": [{"at": "/a", "symlink": "b", "noexec": true}])", "mounts[0]");
  refuses(R"("mounts": [{"at": "/a", "tmpfs": {"mode": "0"}}])", "mounts[0].tmpfs");
  refuses(R"("mounts": [{"at": "/a", "bind": "/a", "access": "r"}])", "mounts[0].access");
  refuses(R"("mounts": [{"at": "/a", "bind": "/a"}, {"at": "//a/.", "bind": "/b"}])",
          "mounts[1].at");
}

TEST_CASE("id maps stay below the last id and within 340 lines") {
  accepted(R"("uid_map": [{"inside": 0, "outside": 0, "count": 4294967295}])");
  refuses(R"("uid_map": [{"inside": 1, "outside": 0, "count": 4294967295}])", "uid_map[0]");
  refuses(R"("uid_map": [{"inside": 0, "outside": 0, "count": 0}])", "uid_map[0].count");
  const auto lines = [](int count) {
    std::string list;
    for (int i = 0; i < count; ++i)
      list += std::string(i ? "," : "") + R"({"inside": )" + std::to_string(i) +
              R"(, "outside": 1, "count": 1})";
    return "\"gid_map\": [" + list + ']';
  };
  accepted(lines(340));
  refuses(lines(341), "gid_map");
}

TEST_CASE("rlimits have kernel names and a soft limit below the hard one") {
  accepted(R"("rlimits": {"RLIMIT_FSIZE": {"soft": "1G", "hard": "unlimited"}})");
  refuses(R"("rlimits": {"NOFILE": {"soft": 1, "hard": 1}})", "rlimits.NOFILE");
  refuses(R"("rlimits": {"RLIMIT_CPU": {"soft": 2, "hard": 1}})", "rlimits.RLIMIT_CPU");
  refuses(R"("rlimits": {"RLIMIT_CPU": {"soft": 2}})", "rlimits.RLIMIT_CPU.hard");
}

TEST_CASE("names of sysctls cannot leave /proc/sys") {
  for (const char* name : {"net/ipv4/ip_default_ttl", "net..ipv4", "net.ipv4.", ".net", "net",
                           "net.ipv4.+x", "net. ipv4", "net.ipv4.IP"})
    refuses("\"sysctls\": {\"" + std::string(name) + "\": \"1\"}", "sysctls." + std::string(name));
  refuses(R"("sysctls": {"net.ipv4.ip_default_ttl": "1\n2"})", "sysctls.net.ipv4.ip_default_ttl");
  CHECK(accepted(R"("sysctls": {"net.ipv4.ip_default_ttl": 64})").sysctls.begin()->second == "64");
}

TEST_CASE("fields without a room are checked all the same") {
  refuses(R"("seccomp": [])", "seccomp");
  refuses(R"("devices": {})", "devices");
  refuses(R"("capabilities": {"bounding": ["CAP_FOO"]})", "capabilities.bounding[0]");
  refuses(R"("limits": {"cpus": "1"})", "limits.cpus");
  refuses(R"("limits": {"cpus": 0})", "limits.cpus");
  refuses(R"("limits": {"on_oom": "panic"})", "limits.on_oom");
  refuses(R"("stdout": {"capture": {"max": "10M", "on_limit": "drop"}})",
          "stdout.capture.on_limit");
  refuses(R"("network": {"outbound": {"publish": [{"port": 0}]}})",
          "network.outbound.publish[0].port");
  refuses(R"("landlock": {"paths": [{"path": "/a", "access": ["all"]}]})",
          "landlock.paths[0].access[0]");
  refuses(R"("landlock": {"paths": [{"path": "/a", "access": []}]})", "landlock.paths[0]");
  refuses(R"("landlock": {})", "landlock");
  refuses(R"("landlock": {"scopes": []})", "landlock");
  refuses(R"("capabilities": {"effective": ["CAP_KILL"]})", "capabilities");
  refuses(R"("capabilities": {"ambient": ["CAP_KILL"], "permitted": ["CAP_KILL"]})",
          "capabilities");
  refuses(R"("capabilities": {"securebits": ["SECBIT_KEEP_CAPS"]})", "capabilities");
  refuses(R"("secrets": {"a/b": {"passed_fd": 0}})", "secrets.a/b");
  refuses(R"("secrets": {"..": {"passed_fd": 0}})", "secrets...");
  refuses(R"("mounts": [{"at": "/a", "file": {"text": "", "base64": ""}}])", "mounts[0].file");
  refuses(R"("dumpable": 1)", "dumpable");
}

TEST_CASE("what belongs in a profile is refused in a request, and comments too") {
  refuses(R"("env_pass": ["LC_*"])", "env_pass");
  CHECK(request::parse_profile(R"({"implied": ["nice"]})").error().field == "implied");
  refuses(R"("defaults": "caller")", "defaults");
  CHECK_FALSE(reading("{\"argv\": [\"a\"] /* no */}").accepted);
  const auto profile = request::parse_profile(
      "// why\n{\"env_pass\": [\"LC_*\"], /* how */ \"defaults\": \"caller\"}");
  REQUIRE(profile.has_value());
  CHECK(profile->env_pass == std::vector<std::string>{"LC_*"});
  CHECK(request::parse_profile("{\"nice\": 1, \"nice\": 2}").has_error());
}
