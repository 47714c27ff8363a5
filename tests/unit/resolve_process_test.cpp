// What the payload's process of a Plan is, in numbers.
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "resolve/landlock.hpp"
#include "resolving.hpp"

using namespace cloister;
using namespace cloister::front;
using namespace cloister::front::test;

TEST_CASE("the program, its arguments and its environment are bytes") {
  const Made made = make(plain(R"("env": {"PATH": "/x:/y", "B": {"base64": "/w=="}, "E": ""})"));
  CHECK(made.text(made->executable) == "prog");
  CHECK(made.texts(made->argv) == std::vector<std::string>{"prog"});
  CHECK(made.texts(made->env) == std::vector<std::string>{"B=\xff", "E=", "PATH=/x:/y"});
  CHECK(made.text(made->search) == "/x:/y");
  CHECK((made->flags & plan::kSearchPath) != 0);
  CHECK(make(kPlain).text(make(kPlain)->search) == "/bin:/usr/bin");
  CHECK((make(plain(R"("executable": "./prog")"))->flags & plan::kSearchPath) == 0);
  CHECK((make(plain(R"("search_path": false)"))->flags & plan::kSearchPath) == 0);
  const Made other = make(plain(R"("executable": "sh")"));
  CHECK(other.text(other->executable) == "sh");
  const auto request = parse(R"({"profile": "none", "argv": [")" + std::string(5000, 'x') + "\"]}");
  const auto effective = complete(*request, profiles(), self());
  CHECK(resolve(*effective, {}, self(), {}).error().field == "argv[0]");
}

TEST_CASE("identities are numbers at the end") {
  const Caller caller = self();
  const Made own = make(kPlain);
  CHECK(own->identity.ruid == caller.uid);
  CHECK(own->identity.sgid == caller.gid);
  CHECK(own->identity.caller_groups == 1);
  CHECK(own.list(own->identity.groups) == caller.groups);

  const Made root = make(plain(R"("identity": {"user": "root"})"));
  CHECK(root->identity.suid == 0);
  CHECK(root->identity.caller_groups == 0);
  const auto groups = root.list(root->identity.groups);
  CHECK(std::count(groups.begin(), groups.end(), 0u) == 1);

  const Made ids = make(plain(R"("identity": {"ruid": "root", "suid": 7, "egid": "tty"})"));
  CHECK((ids->identity.ruid == 0 && ids->identity.euid == 0 && ids->identity.suid == 7));
  CHECK((ids->identity.rgid == caller.gid && ids->identity.egid == 5 && ids->identity.sgid == 5));
  CHECK(ids->identity.groups.count == 0);
  CHECK(ids->identity.caller_groups == 0);

  const Made same = make(plain("\"identity\": {\"ruid\": " + std::to_string(caller.uid) + '}'));
  CHECK(same->identity.caller_groups == 1);
  const Made listed = make(plain(R"("identity": {"groups": [9, "tty"]})"));
  CHECK(listed.list(listed->identity.groups) == std::vector<uint32_t>{9, 5});
  const Made init = make(plain(R"("identity": {"initgroups": "root"})"));
  CHECK(init->identity.ruid == caller.uid);
  const auto of_root = init.list(init->identity.groups);
  CHECK(std::count(of_root.begin(), of_root.end(), caller.gid) == 1);

  refused_as(plain(R"("identity": {"user": "no such user"})"), "identity.user");
  refused_as(plain(R"("identity": {"euid": "no such user"})"), "identity.euid");
  refused_as(plain(R"("identity": {"groups": [1, "no such group"]})"), "identity.groups[1]");
  refused_as(plain(R"("identity": {"initgroups": "no such user"})"), "identity.initgroups");
}

TEST_CASE("namespaces are joined by file, by pidfd and by job") {
  const Made file =
      make(plain(R"("namespaces": {"uts": {"passed_fd": 0}})"), fds(open_fd("/proc/self/ns/uts")));
  const auto& uts = file->namespaces[static_cast<int>(plan::Namespace::uts)];
  CHECK(uts.join == plan::Join::descriptor);
  CHECK(inode(file.fd(uts.descriptor)) == inode("/proc/self/ns/uts"));

  CHECK(refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}})"), "namespaces.net.passed_fd",
                   fds(open_fd("/proc/self/ns/uts")))
            .got == "uts");
  refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}})"), "namespaces.net.passed_fd",
             fds(open_fd("/dev/null")));

  const Made process =
      make(plain(R"("namespaces": {"net": {"passed_fd": 0}, "uts": {"passed_fd": 0},
                                                    "user": {"passed_fd": 0}})"),
           fds(pidfd_of(::getpid())));
  CHECK(process->descriptors.count == 3);
  for (const auto& [which, name] :
       {std::pair(plan::Namespace::net, "net"), std::pair(plan::Namespace::uts, "uts"),
        std::pair(plan::Namespace::user, "user")}) {
    const auto& choice = process->namespaces[static_cast<int>(which)];
    CHECK(inode(process.fd(choice.descriptor)) == inode(std::string("/proc/self/ns/") + name));
  }
  refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}}, "stdin": {"passed_fd": 0})"),
             "stdin.passed_fd", fds(pidfd_of(::getpid())));

  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  auto dead = pidfd_of(child);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  refused_as(plain(R"("namespaces": {"net": {"passed_fd": 0}})"), "namespaces.net.passed_fd",
             fds(std::move(dead)));

  const Made job =
      make(plain(R"("namespaces": {"net": {"job": "j-000102030405060708090a0b0c0d0e0f"}})"));
  const auto& net = job->namespaces[static_cast<int>(plan::Namespace::net)];
  CHECK(net.join == plan::Join::job);
  for (uint8_t i = 0; i < 16; ++i) CHECK(net.job[i] == i);
  for (const char* id : {"j-1", "", "j-000102030405060708090a0b0c0d0e0g"})
    if (*id)
      refused_as(plain("\"namespaces\": {\"net\": {\"job\": \"" + std::string(id) + "\"}}"),
                 "namespaces.net.job");
}

TEST_CASE("published ports are numbers at the end") {
  const Made made = make(
      R"("network": {"outbound": {"publish": [{"port": 80, "host_port": 8080},
                                              {"port": 53, "address": "::1", "protocol": "udp"}]}})");
  CHECK((made->flags & plan::kOutbound) != 0);
  CHECK((made->flags & plan::kLoopbackUp) != 0);
  const auto ports = made.list(made->published);
  REQUIRE(ports.size() == 2);
  const auto address = [](const plan::Published& port) {
    return std::vector<uint8_t>(port.address, port.address + 16);
  };
  CHECK(address(ports[0]) ==
        std::vector<uint8_t>{127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(address(ports[1]) == std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  CHECK((ports[0].family == plan::kInet && ports[1].family == plan::kInet6));
  CHECK((ports[0].port == 80 && ports[0].host_port == 8080 && ports[0].udp == 0));
  CHECK((ports[1].port == 53 && ports[1].host_port == 53 && ports[1].udp == 1));
  refused_as(R"("network": {"outbound": {"publish": [{"port": 1, "address": "localhost"}]}})",
             "network.outbound.publish[0].address");
  CHECK((make("\"network\": \"none\"")->flags & plan::kOutbound) == 0);
}

TEST_CASE("numbers reach the plan as they are") {
  const Made made = make(plain(R"(
      "setsigmask": ["SIGHUP", 64], "setsigdef": ["SIGPIPE"], "nice": -3, "oom_score_adj": 7,
      "scheduler": {"policy": "SCHED_FIFO", "priority": 9, "reset_on_fork": true},
      "ioprio": {"class": "best_effort", "level": 2}, "personality": ["ADDR_NO_RANDOMIZE"],
      "setsid": true, "resetids": true, "setpgroup": 0, "affinity": [0],
      "unshare": ["CLONE_FS"], "tags": {"k": "v"}, "idempotency_key": "key",
      "lifetime": {"stop_signal": "SIGINT", "stop_timeout": "250ms", "setup_timeout": "1m"})"));
  CHECK(made->signal_mask == ((uint64_t{1} << 63) | 1));
  // Under this profile a signal is ignored that the caller ignores: whoever starts
  // tests in the background may.
  uint64_t own = UINT64_MAX;
  for (int signal = 1; signal <= 64; ++signal) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN)
      own &= ~(uint64_t{1} << (signal - 1));
  }
  CHECK(made->signal_default == own);
  CHECK(made->nice == -3);
  CHECK(made->oom_score_adj == 7);
  CHECK(made->scheduler.set == (plan::kHasPolicy | plan::kHasParameters | plan::kResetOnFork));
  CHECK((made->scheduler.policy == SCHED_FIFO && made->scheduler.priority == 9));
  CHECK(made->ioprio == (2u << 13 | 2u));  // IOPRIO_CLASS_BE, level 2: ioprio_set(2)
  CHECK(made->personality == 0x0040000);
  CHECK(made->timer_slack_ns == 50'000);
  CHECK(make(R"("timer_slack_ns": 77)")->timer_slack_ns == 77);
  CHECK((made->flags & plan::kSetsid) != 0);
  CHECK((made->flags & plan::kResetIds) != 0);
  CHECK((made->flags & plan::kSetpgroup) != 0);
  CHECK(made->affinity[0] == 1);
  CHECK(made->unshare == CLONE_FS);
  CHECK(made.text(made.list(made->tags)[0].value) == "v");
  CHECK(made.text(made->idempotency_key) == "key");
  CHECK(made->stop_signal == SIGINT);
  CHECK(made->stop_timeout_ms == 250);
  CHECK(made->setup_timeout_ms == 60000);
  const Made deadline = make(plain(R"("scheduler": {"policy": "SCHED_DEADLINE", "runtime_ns": 1,
                                      "deadline_ns": 2, "period_ns": 3})"));
  CHECK((deadline->scheduler.runtime_ns == 1 && deadline->scheduler.period_ns == 3));
  const Made box = make(R"("hostname": "h", "domainname": "d", "time_offsets": {"monotonic_ns": -5},
      "namespaces": {"time": "new", "user": "new"},
      "uid_map": [{"inside": 0, "outside": 1000, "count": 1}])");
  CHECK(box.text(box->hostname) == "h");
  CHECK(box.text(box->domainname) == "d");
  CHECK((box->flags & plan::kTimeOffsets) != 0);
  CHECK((box->monotonic_offset_ns == -5 && box->boottime_offset_ns == 0));
  CHECK(box->namespaces[static_cast<int>(plan::Namespace::user)].join == plan::Join::fresh);
  CHECK(box.list(box->uid_map)[0].outside == 1000);
  CHECK(box->gid_map.count == 0);
}

TEST_CASE("a processor that is not there is refused") {
  refused_as(plain(R"("affinity": [0, 1023])"), "affinity[1]");
}

// --- what the exec makes of it ------------------------------------------------------

TEST_CASE("capabilities that the exec would not leave as they are asked for are refused") {
  const auto field = [](const std::string& members) {
    const auto resolved = try_resolve("\"profile\": \"none\", " + members);
    return resolved ? std::string("none") : resolved.error().field;
  };
  const std::string user = R"("identity": {"ruid": 4000, "rgid": 4000, "groups": []}, )";
  const std::string root = R"("identity": {"ruid": 0, "rgid": 0, "groups": []}, )";
  const std::string sealed = R"("no_new_privs": true, )";
  CHECK(field(user + R"("capabilities": {})") == "none");
  CHECK(field(user + R"("capabilities": {"bounding": "all", "inheritable": ["CAP_KILL"]})") ==
        "none");
  CHECK(field(user + R"("capabilities": {"permitted": ["CAP_KILL"]})") == "capabilities.permitted");
  CHECK(field(user + R"("capabilities": {"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                                         "ambient": ["CAP_KILL"]})") == "none");
  CHECK(field(user + R"("capabilities": {"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                                         "ambient": ["CAP_KILL"], "effective": []})") ==
        "capabilities.effective");
  CHECK(field(root + R"("capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]})") ==
        "none");
  CHECK(field(root + R"("capabilities": {"permitted": ["CAP_KILL"]})") == "capabilities.permitted");
  // Without no_new_privs an exec of uid 0 raises permitted to bounding.
  const std::string more = R"("capabilities": {"bounding": "all", "permitted": ["CAP_KILL"]})";
  CHECK(field(root + more) == "capabilities.permitted");
  CHECK(field(root + sealed + more) == "none");
  CHECK(field(root + R"("capabilities": {"bounding": "all", "securebits": ["SECBIT_NOROOT"]})") ==
        "none");
  CHECK(field(R"("identity": {"ruid": 0, "euid": 4000, "rgid": 0, "groups": []},
                 "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]})") ==
        "capabilities.effective");
}

TEST_CASE("what the exec clears is refused by name") {
  const auto refused = [](std::string_view members) {
    const auto resolved = try_resolve(members);
    REQUIRE(!resolved.has_value());
    return resolved.error().field;
  };
  CHECK(refused(R"("personality": ["READ_IMPLIES_EXEC"])") == "personality");
  CHECK(refused(R"("scheduler": {"policy": "SCHED_FIFO", "priority": 1}, "timer_slack_ns": 5)") ==
        "timer_slack_ns");
  CHECK(refused(R"("dumpable": true, "identity": {"euid": 4000})") == "dumpable");
  CHECK(make(R"("personality": ["PER_LINUX32"], "dumpable": true)")->personality == 8);
}

// --- Landlock -------------------------------------------------------------------------

TEST_CASE("S13: what a kernel without scopes leaves open is said") {
  const auto notes = [](const std::string& request, int abi) {
    const auto parsed = parse(request);
    REQUIRE(parsed.has_value());
    const Caller caller = self();
    const auto effective = complete(*parsed, profiles(), caller);
    REQUIRE(effective.has_value());
    Draft draft{*effective, effective->request, caller, Descriptors({}), {}, {}, {}};
    const auto choose = [&](plan::Namespace which, plan::Join join) {
      draft.plan->namespaces[static_cast<uint32_t>(which)].join = join;
    };
    choose(plan::Namespace::mnt, plan::Join::fresh);
    const bool shared = parsed->network.has_value();
    choose(plan::Namespace::net, shared ? plan::Join::host : plan::Join::fresh);
    choose(plan::Namespace::pid, plan::Join::fresh);
    note_open_ways(draft, abi);
    return draft.notes.size();
  };
  const std::string shared = R"({"argv": ["prog"], "network": "host"})",
                    own = R"({"argv": ["prog"]})";
  for (const int abi : {-95, 1, 5}) CHECK(notes(shared, abi) == 1);
  CHECK(notes(shared, 6) == 0);
  CHECK(notes(own, 5) == 0);
}

TEST_CASE("a Landlock that the kernel is too old for is refused by name, on each ABI") {
  const auto field = [](const std::string& landlock, int abi) {
    const auto request = parse(R"({"argv": ["prog"], "landlock": )" + landlock + '}');
    REQUIRE_MESSAGE(request.has_value(), request.error().field, ' ', request.error().reason);
    const Caller caller = self();
    const auto effective = complete(*request, profiles(), caller);
    REQUIRE(effective.has_value());
    Draft draft{*effective, effective->request, caller, Descriptors({}), {}, {}, {}};
    const auto problem = resolve_landlock(draft, abi);
    if (!problem) return std::to_string(draft.plan->landlock.handled_fs);
    CHECK(problem->kind == Problem::Kind::unsupported);
    CHECK(!problem->reason.empty());
    return problem->field;
  };
  const std::string read = R"({"paths": [{"path": "/", "access": ["read"]}]})";
  const std::string write = R"({"paths": [{"path": "/", "access": ["write"]}]})";
  const std::string refer = R"({"paths": [{"path": "/", "access": ["LANDLOCK_ACCESS_FS_REFER"]}]})";
  const std::string ioctl =
      R"({"paths": [{"path": "/", "access": ["LANDLOCK_ACCESS_FS_IOCTL_DEV"]}]})";
  CHECK(field(read, -ENOSYS) == "landlock");
  CHECK(field(read, -EOPNOTSUPP) == "landlock");
  // All that the ABI has is governed.
  CHECK(field(read, 1) == "8191");
  CHECK(field(read, 2) == "16383");
  CHECK(field(read, 3) == "32767");
  CHECK(field(read, 5) == "65535");
  CHECK(field(read, 7) == "65535");
  CHECK(field(refer, 1) == "landlock.paths[0].access");
  CHECK(field(refer, 2) == "16383");
  CHECK(field(write, 2) == "landlock.paths[0].access");
  CHECK(field(write, 3) == "32767");
  CHECK(field(ioctl, 4) == "landlock.paths[0].access");
  CHECK(field(ioctl, 5) == "65535");
  CHECK(field(R"({"bind_tcp": []})", 3) == "landlock.bind_tcp");
  CHECK(field(R"({"connect_tcp": [80]})", 3) == "landlock.connect_tcp");
  CHECK(field(R"({"bind_tcp": [], "connect_tcp": [80]})", 4) == "0");
  CHECK(field(R"({"scopes": ["LANDLOCK_SCOPE_SIGNAL"]})", 5) == "landlock.scopes");
  CHECK(field(R"({"scopes": ["LANDLOCK_SCOPE_SIGNAL"]})", 6) == "0");
}
