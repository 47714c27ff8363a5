// Fail closed: for each field a bad value, and for each feature of the host its
// absence, is a refusal that names the field. Nothing runs without it.
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <set>

#include "build_paths.hpp"
#include "rows.hpp"

namespace cloister::security_test {
namespace {

// --- a bad value for each field of the schema ---------------------------------

struct Bad {
  Json document;
  std::string field;
};

// No field takes 12.5, but those that take any number.
Json bad_value(const Json& schema) {
  if (schema.value("type", Json()) == "number") return "many";
  return 12.5;
}

// Each place of the schema where a value can stand, with a bad one in it.
void spoil(const Json& schema, const std::function<Json(Json)>& wrap, const std::string& field,
           std::vector<Bad>& out) {
  if (!field.empty()) out.push_back({wrap(bad_value(schema)), field});
  if (schema.contains("oneOf")) {
    for (const auto& one : schema["oneOf"]) {
      // The alternative that is a single key: what is below it.
      if (!one.contains("properties") || one["properties"].size() != 1) continue;
      const auto only = one["properties"].begin();
      const std::string key = only.key();
      spoil(
          only.value(),
          [&](Json value) {
            return wrap({{key, std::move(value)}});
          },
          field + '.' + key, out);
    }
  }
  if (schema.contains("properties"))
    for (const auto& [name, member] : schema["properties"].items())
      spoil(
          member,
          [&, name = name](Json value) {
            return wrap({{name, std::move(value)}});
          },
          field + (field.empty() ? "" : ".") + name, out);
  if (schema.contains("items"))
    spoil(
        schema["items"], [&](Json value) { return wrap(Json::array({std::move(value)})); },
        field + "[0]", out);
}

TEST_CASE("a bad value in any field is refused by the field's name") {
  NEEDS_ROOT();
  World& world = World::get();
  std::vector<Bad> bad;
  spoil(
      Json::parse(read_file(REQUEST_SCHEMA)), [](Json value) { return value; }, "", bad);
  CHECK(bad.size() > 150);
  Client client = world.connect(Way::user);
  std::set<std::string> seen;
  for (const Bad& each : bad) {
    if (!seen.insert(each.document.dump()).second) continue;
    Json request = world.probe_request();
    request.merge_patch(each.document);
    CAPTURE(request.dump());
    const Reply reply = client.call("Run", {{"request", request}});
    CHECK((reply.error == "InvalidRequest" || reply.error == "Unsupported"));
    Json told = reply.parameters;
    const std::string field = told.value(reply.error == "Unsupported" ? "feature" : "field", "");
    CHECK(field == each.field);
  }
}

// --- a host without a feature --------------------------------------------------

struct Missing {
  std::string what;
  int call;
  std::vector<scmp_arg_cmp> arguments;
  int error;
  Json request;  // laid over the box of the default profile
  std::string field, or_field = field;
};

std::vector<scmp_arg_cmp> first_is(uint64_t value) { return {SCMP_A0_64(SCMP_CMP_EQ, value)}; }

std::vector<Missing> missing_features() {
  const Json any = Json::object();
  const auto fresh = [](const char* name) { return Json{{"namespaces", {{name, "new"}}}}; };
  const auto bind = [](Json members) {
    members["at"] = "/run/more";
    return Json{{"mounts", Json::array({std::move(members)})}};
  };
  return {
      {"mount namespaces", SCMP_SYS(unshare), first_is(CLONE_NEWNS), EINVAL, any, "namespaces.mnt"},
      {"network namespaces", SCMP_SYS(unshare), first_is(CLONE_NEWNET), EINVAL, any,
       "namespaces.net"},
      {"IPC namespaces", SCMP_SYS(unshare), first_is(CLONE_NEWIPC), EINVAL, any, "namespaces.ipc"},
      {"UTS namespaces", SCMP_SYS(unshare), first_is(CLONE_NEWUTS), EINVAL, any, "namespaces.uts"},
      {"cgroup namespaces", SCMP_SYS(unshare), first_is(CLONE_NEWCGROUP), EINVAL, any,
       "namespaces.cgroup"},
      {"time namespaces", SCMP_SYS(unshare), first_is(CLONE_NEWTIME), EINVAL, fresh("time"),
       "namespaces.time"},
      {"user namespaces", SCMP_SYS(unshare), first_is(CLONE_NEWUSER), ENOSPC, fresh("user"),
       "namespaces.user"},
      {"open_tree(2)", SCMP_SYS(open_tree), {}, ENOSYS, any, "mounts"},
      // Root's box has masks, which are made first.
      {"fsopen(2)", SCMP_SYS(fsopen), {}, ENOSYS, any, "mounts", "masked_paths"},
      {"move_mount(2)", SCMP_SYS(move_mount), {}, ENOSYS, any, "mounts", "masked_paths"},
      // Rootless, what it makes private first is the whole namespace.
      {"mount_setattr(2)", SCMP_SYS(mount_setattr), {}, ENOSYS, any, "mounts", "namespaces.mnt"},
      {"pivot_root(2)", SCMP_SYS(pivot_root), {}, EINVAL, any, "mounts"},
      {"host names", SCMP_SYS(sethostname), {}, EPERM, {{"hostname", "box"}}, "hostname"},
      {"domain names", SCMP_SYS(setdomainname), {}, EPERM, {{"domainname", "lan"}}, "domainname"},
      {"policies",
       SCMP_SYS(sched_setattr),
       {},
       ENOSYS,
       {{"scheduler", {{"policy", "SCHED_IDLE"}}}},
       "scheduler"},
      {"affinity", SCMP_SYS(sched_setaffinity), {}, ENOSYS, {{"affinity", {0}}}, "affinity"},
      {"nice", SCMP_SYS(setpriority), {}, EPERM, {{"nice", 3}}, "nice"},
      {"I/O priorities",
       SCMP_SYS(ioprio_set),
       {},
       ENOSYS,
       {{"ioprio", {{"class", "idle"}}}},
       "ioprio"},
      {"personality(2)",
       SCMP_SYS(personality),
       {},
       EPERM,
       {{"personality", {"UNAME26"}}},
       "personality"},
      {"timer slack",
       SCMP_SYS(prctl),
       first_is(PR_SET_TIMERSLACK),
       EINVAL,
       {{"timer_slack_ns", 60'000}},
       "timer_slack_ns"},
      {"umask",
       SCMP_SYS(umask),
       {SCMP_A0_64(SCMP_CMP_EQ, 033)},
       EPERM,
       {{"umask", "0033"}},
       "umask"},
      {"process groups", SCMP_SYS(setpgid), {}, EPERM, {{"setpgroup", 0}}, "setpgroup"},
      {"a source that is gone",
       SCMP_SYS(getppid),
       {},
       0,
       bind({{"bind", "/nowhere/at/all"}}),
       "mounts./run/more"},
  };
}

void take_away(const Missing& feature) {
  if (feature.error == 0) return;
  // Without CAP_SYS_ADMIN this brings no_new_privs with it.
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  const bool loaded =
      filter && (geteuid() != 0 || seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) == 0) &&
      seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<uint32_t>(feature.error)),
                             feature.call, static_cast<unsigned>(feature.arguments.size()),
                             feature.arguments.data()) == 0 &&
      seccomp_load(filter) == 0;
  if (!loaded) fail("seccomp");
}

std::string refused_field(Outcome& outcome) {
  if (outcome.error == "Unsupported") return outcome.parameters["feature"];
  if (!outcome.error.empty()) return outcome.parameters["field"];
  CHECK(outcome.verdict["ending"] == "not_started");
  CHECK(outcome.verdict["started_at"] == nullptr);
  return outcome.verdict["failure"]["field"];
}

// The field itself, or one of its elements.
bool names(const std::string& told, const std::string& field) {
  return told == field || told.starts_with(field + '.') || told.starts_with(field + '[');
}

void drive(const Who& who, bool needs_user_namespace) {
  World& world = World::get();
  for (const Missing& feature : missing_features()) {
    // Rootless, the box itself is the user namespace, which clone3(2) makes.
    if (needs_user_namespace && feature.what == "user namespaces") continue;
    CAPTURE(feature.what);
    Service service(who, world.directory_of(who), {}, [&] { take_away(feature); });
    Client client = service.connect(who);
    Json asked = world.boxed_request();
    for (const auto& [name, value] : feature.request.items()) {
      if (name == "mounts")
        for (const auto& mount : value) asked["mounts"].push_back(mount);
      else
        asked[name] = value;
    }
    Outcome outcome = client.run(asked);
    INFO(outcome.told());
    CHECK(outcome.out.empty());
    const std::string field = refused_field(outcome);
    CAPTURE(field);
    CHECK((names(field, feature.field) || names(field, feature.or_field)));
  }
}

TEST_CASE("a feature that this host lacks refuses what asks for it, under root's service") {
  NEEDS_ROOT();
  drive(World::get().root(), false);
}

TEST_CASE("a feature that this host lacks refuses what asks for it, under a user's service") {
  NEEDS_ROOT();
  drive(World::get().alice(), true);
}

}  // namespace
}  // namespace cloister::security_test
