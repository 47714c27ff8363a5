// S9: what the monitor compares is what init applies. The front is hostile and
// alters one field of an honest Plan at a time.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

#include "boxes.hpp"
#include "hostile.hpp"

namespace cloister::security_test {
namespace {

using hostile::Script;
using plan::Header;
using plan::MountKind;
using plan::Namespace;

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

// One field of the Plan. `inside`: a value that the peer may have, where the
// payload's report shows it; `past`: one that it may not have, and the answer.
// A new field has its line here.
struct Row {
  const char* name;
  Script inside;
  const char* shown;  // JSON pointer into the report; "": the payload cannot tell
  Json value;
  Script past;
  const char* field;
  const char* rule;
};

std::vector<Row> rows_of_plan() {
  const auto scheduler = [](int32_t policy, int32_t priority) {
    return plan::Scheduler{plan::kHasPolicy | plan::kHasParameters, policy, priority, 0, 0, 0, 0};
  };
  const auto rlimit = [](uint64_t hard) { return plan::Rlimit{64, hard, 1, 0}; };
  const auto identity = [](size_t offset, uint32_t value) {
    return Script().set_at(offsetof(Header, identity) + offset, value);
  };
  const plan::NamespaceChoice fresh{plan::Join::fresh, plan::kNone, {}};
  const plan::NamespaceChoice host{plan::Join::host, plan::kNone, {}};
  plan::Capabilities capable{};
  capable.set = 1;
  capable.bounding = 1;
  return {
      {"nice", Script().set(&Header::nice, 7), "/nice", 7, Script().set(&Header::nice, -1), "nice",
       "not-below-own-nice"},
      {"ioprio",
       Script().set(&Header::ioprio, (2u << 13) | 7),
       "/ioprio",
       {{"class", 2}, {"level", 7}},
       Script().set(&Header::ioprio, kRealtime),
       "ioprio",
       "real-time-needs-CAP_SYS_NICE"},
      {"ioprio, more bits",
       {},
       "",
       {},
       Script().set(&Header::ioprio, (8u << 13) | kRealtime),
       "ioprio",
       "real-time-needs-CAP_SYS_NICE"},
      {"oom_score_adj", Script().set(&Header::oom_score_adj, 500), "/oom_score_adj", 500,
       Script().set(&Header::oom_score_adj, -1), "oom_score_adj", "not-below-own"},
      {"scheduler", Script().set(&Header::scheduler, scheduler(SCHED_BATCH, 0)),
       "/scheduler/policy", SCHED_BATCH, Script().set(&Header::scheduler, scheduler(SCHED_FIFO, 1)),
       "scheduler", "real-time-needs-CAP_SYS_NICE"},
      {"deadline",
       {},
       "",
       {},
       Script().set(&Header::scheduler, scheduler(6, 0)),
       "scheduler",
       "real-time-needs-CAP_SYS_NICE"},
      {"rlimits", Script().set_at(of_rlimit(RLIMIT_NOFILE), rlimit(64)),
       "/rlimits/RLIMIT_NOFILE/hard", 64, Script().set_at(of_rlimit(RLIMIT_NOFILE), rlimit(5000)),
       "rlimits.RLIMIT_NOFILE", "tried/rlimits"},
      {"umask", Script().set(&Header::umask, 077u), "/umask", 077, {}, "", ""},
      {"personality",
       Script().set(&Header::personality, 0x0040000u),
       "/personality",
       0x0040000,
       {},
       "",
       ""},
      {"timer slack",
       Script().set(&Header::timer_slack_ns, uint64_t{70'000}),
       "/timer_slack_ns",
       70'000,
       {},
       "",
       ""},
      {"ruid", {}, "", {}, identity(offsetof(plan::Identity, ruid), 0), "identity.uid", "own-uid"},
      {"euid", {}, "", {}, identity(offsetof(plan::Identity, euid), 0), "identity.uid", "own-uid"},
      {"suid", {}, "", {}, identity(offsetof(plan::Identity, suid), 0), "identity.uid", "own-uid"},
      {"rgid",
       {},
       "",
       {},
       identity(offsetof(plan::Identity, rgid), 0),
       "identity.gid",
       "own-groups"},
      {"egid",
       {},
       "",
       {},
       identity(offsetof(plan::Identity, egid), 0),
       "identity.gid",
       "own-groups"},
      {"sgid",
       {},
       "",
       {},
       identity(offsetof(plan::Identity, sgid), 0),
       "identity.gid",
       "own-groups"},
      {"groups",
       {},
       "",
       {},
       Script()
           .act({{"act", "span"},
                 {"offset", offsetof(Header, identity) + offsetof(plan::Identity, groups)},
                 {"hex", "00000000"},
                 {"count", 1}})
           .set_at(offsetof(Header, identity) + offsetof(plan::Identity, caller_groups), 1u),
       "identity.groups",
       "own-groups"},
      {"capabilities",
       {},
       "",
       {},
       Script().set(&Header::capabilities, capable),
       "capabilities",
       "not-beyond-own-capabilities"},
      {"kept capabilities",
       Script().set(&Header::flags, plan::kKeepCapabilities | plan::kNoNewPrivs),
       "/capabilities/permitted",
       0,
       {},
       "",
       ""},
      {"no_new_privs",
       {},
       "",
       {},
       Script().set(&Header::flags, 0u),
       "no_new_privs",
       "namespaces-need-no-new-privs"},
      {"net namespace",
       {},
       "",
       {},
       Script().set_at(of_namespace(Namespace::net), host),
       "network",
       "tried/network"},
      {"ipc namespace",
       Script().set_at(of_namespace(Namespace::uts), fresh),
       "",
       {},
       Script().set_at(of_namespace(Namespace::ipc), host),
       "namespaces.ipc",
       "tried/namespaces_host"},
      {"unshare", {}, "", {}, Script().set(&Header::unshare, uint32_t{CLONE_NEWNS}), "unshare", ""},
      {"hostname", {}, "", {}, Script().text(&Header::hostname, "elsewhere"), "hostname", ""},
      {"mounts", {}, "", {}, Script().bind("/", "/", 0), "mounts", ""},
      {"sysctls of the host",
       {},
       "",
       {},
       Script().act({{"act", "sysctl"}, {"path", "kernel/core_pattern"}, {"value", "x"}}),
       "sysctls",
       ""},
      {"uid_map",
       {},
       "",
       {},
       Script().list(&Header::uid_map, std::vector<plan::IdMap>{{0, 0, 1}}),
       "uid_map",
       ""},
      {"uid_map of a user namespace",
       {},
       "",
       {},
       Script()
           .set_at(of_namespace(Namespace::user), fresh)
           .list(&Header::uid_map, std::vector<plan::IdMap>{{0, 0, 1}}),
       "uid_map",
       "own-uid"},
      {"leased ids without a box",
       {},
       "",
       {},
       Script().set(&Header::id_choices, plan::kDynamicIds),
       "namespaces.mnt",
       "leased-ids-leave-nothing"},
      {"outbound",
       {},
       "",
       {},
       Script().set(&Header::flags, plan::kNoNewPrivs | plan::kOutbound),
       "network.outbound",
       "tried/network"},
      {"time offsets",
       {},
       "",
       {},
       Script().set(&Header::flags, plan::kNoNewPrivs | plan::kTimeOffsets),
       "time_offsets",
       ""},
      {"on_disconnect",
       {},
       "",
       {},
       Script().set(&Header::on_disconnect, plan::OnDisconnect::keep),
       "lifetime.on_disconnect",
       "tried/detach"},
      {"stop_timeout",
       {},
       "",
       {},
       Script()
           .set(&Header::on_disconnect, plan::OnDisconnect::stop)
           .set(&Header::stop_timeout_ms, uint64_t{60'001}),
       "lifetime.stop_timeout",
       "tried/detach"},
  };
}

TEST_CASE("S9: each field of a Plan is applied as it is, and refused one past what may be") {
  NEEDS_ROOT();
  World& world = World::get();
  Json config = rules({{{"name", "tried"},
                        {"users", Json::array({world.alice().uid})},
                        {"allow",
                         {{"network", Json::array({"none"})},
                          {"devices", Json::array()},
                          {"detach", false},
                          {"rlimits", {{"RLIMIT_NOFILE", 4096}}},
                          {"namespaces_host", {"mnt", "pid", "uts", "cgroup", "user", "time"}}}}}});
  config["lease"] = {{"first", 1879048192}, {"count", 16777216}};
  Ruled ruled(config, hostile_front());
  Client client = ruled.connect(world.alice());
  const Json request = with(modest(world), hard(4096));
  for (const Row& row : rows_of_plan()) {
    CAPTURE(std::string(row.name));
    if (*row.shown) {
      Outcome outcome = client.run(row.inside.in(request));
      INFO(outcome.told());
      REQUIRE(outcome.error == "");
      CHECK(outcome.report()[Json::json_pointer(row.shown)] == row.value);
    }
    if (!*row.field) continue;
    Outcome outcome = client.run(row.past.in(request));
    INFO(outcome.told());
    CHECK((outcome.error == "Denied" || outcome.error == "InvalidRequest"));
    CHECK(outcome.parameters["field"] == row.field);
    if (*row.rule) CHECK(outcome.parameters["rule"] == row.rule);
  }
}

TEST_CASE("S9: no device comes into a box by a bind that the list of devices leaves out") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({{{"name", "none"},
                      {"users", Json::array({world.alice().uid})},
                      {"allow", {{"devices", Json::array()}}}},
                     {{"name", "lent"},
                      {"users", Json::array({world.bob().uid})},
                      {"allow", {{"gids", Json::array({0})}}}}}),
              hostile_front());
  const Json box = {{"profile", "default"},
                    {"executable", "/bin/sh"},
                    {"argv", {"sh", "-c", ": </run/nodes/null && echo opened"}}};
  const Script nodes = Script().bind("/dev", "/run/nodes", plan::kMountReadOnly);
  Client alice = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  Outcome outcome = alice.run(nodes.in(box));
  INFO(outcome.told());
  CHECK(outcome.error == "Denied");
  CHECK(outcome.parameters["rule"] == "none/devices");
  // The honest field says the same.
  Json honest = box;
  honest["mounts"] = {{{"at", "/run/nodes"}, {"bind", "/dev"}, {"nodev", false}}};
  CHECK(alice.run(honest).parameters["rule"] == "none/devices");
  // As oneself one opens what one opens outside; with an id that was lent, not.
  outcome = bob.run(nodes.in(box));
  INFO(outcome.told());
  CHECK(outcome.out == "opened\n");
  Json lent = box;
  lent["identity"] = {{"rgid", 0}, {"groups", {0, world.bob().gid}}};
  CHECK(bob.run(nodes.in(lent)).parameters["rule"] == "nodev-for-other-ids");
}

// A network namespace of alice's own making, for as long as this lives.
class OwnNetwork {
 public:
  explicit OwnNetwork(const Who& who) {
    auto [ready, tell] = pipe();
    auto [wait_end, keep] = pipe();
    child_ = child([&, &tell = tell, &wait_end = wait_end, &keep = keep] {
      keep.reset();
      become(who);
      check(unshare(CLONE_NEWUSER | CLONE_NEWNET), "unshare");
      tell.reset();
      char byte;
      while (read(wait_end.get(), &byte, 1) < 0 && errno == EINTR) {
      }
      return 0;
    });
    tell.reset();
    char byte;
    while (read(ready.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    keep_ = std::move(keep);
    network_ =
        Fd(open(("/proc/" + std::to_string(child_) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC));
  }
  ~OwnNetwork() {
    keep_.reset();
    wait_for(child_);
  }
  int get() const { return network_.get(); }

 private:
  pid_t child_ = -1;
  Fd keep_, network_;
};

TEST_CASE("S9: no network but those of the rule is reached by a descriptor") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(rules({{{"name", "none"},
                      {"users", Json::array({world.alice().uid})},
                      {"allow", {{"network", Json::array({"none"})}}}}}));
  Client alice = ruled.connect(world.alice());
  const OwnNetwork network(world.alice());
  REQUIRE(network.get() >= 0);
  Json joining = modest(world);
  joining["namespaces"]["net"] = {{"passed_fd", 0}};
  Outcome outcome = alice.run(joining, {network.get()});
  INFO(outcome.told());
  CHECK(outcome.error == "Denied");
  CHECK(outcome.parameters["rule"] == "none/network");
  // A socket stays in the network that it was made in.
  for (const int domain : {AF_INET, AF_INET6, AF_UNIX}) {
    CAPTURE(domain);
    const Fd made(socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (made.get() < 0) continue;
    for (const char* profile : {"none", "default"}) {
      Json request = profile == std::string("none") ? modest(world) : world.boxed_request();
      request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 9}}}}};
      outcome = alice.run(request, {made.get()});
      INFO(outcome.told());
      CHECK(outcome.error == (domain == AF_UNIX ? "" : "Denied"));
      if (domain != AF_UNIX) CHECK(outcome.parameters["rule"] == "none/network");
    }
  }
  // Whom no rule bounds, joins its own.
  Client bob = ruled.connect(world.bob());
  const OwnNetwork other(world.bob());
  outcome = bob.run(joining, {other.get()});
  INFO(outcome.told());
  CHECK(outcome.error == "");
}

TEST_CASE("S9: ids are not judged by a user namespace that is the host's") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object(), hostile_front());
  Client client = ruled.connect(world.alice());
  Client other = ruled.connect(world.alice());
  const Held host(other, world.probe_request({"hold"}));
  Json request = world.probe_request();
  request["namespaces"] = {{"user", {{"job", host.id()}}}};
  request["no_new_privs"] = true;
  const Script root = Script().set_at(offsetof(Header, identity), uint32_t{0});
  Outcome outcome = client.run(root.in(request));
  INFO(outcome.told());
  CHECK(outcome.error == "InvalidRequest");
  CHECK(outcome.parameters["field"] == "namespaces.user");
  CHECK(outcome.parameters["reason"].dump().find("not-the-hosts") != std::string::npos);
}

}  // namespace
}  // namespace cloister::security_test
