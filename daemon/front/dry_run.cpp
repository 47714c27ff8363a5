#include "dry_run.hpp"

#include "mount_table.hpp"
#include "plan/kernel_files.hpp"
#include "plan/steps.hpp"
#include "sys/landlock.hpp"

namespace cloister::front {

using varlink::Json;

namespace {

// What the steps of a Plan depend on.
class Conditions {
 public:
  explicit Conditions(plan::View view) : view_(view), h_(view.header()) {}

  bool hold(plan::When when) const {
    using plan::Namespace;
    using plan::When;
    switch (when) {
      case When::always: return true;
      case When::never: return false;
      case When::descriptors: return h_.descriptors.count > 0;
      case When::joins: return joins();
      case When::mounts: return h_.mounts.count > 0;
      case When::disk: return plan::needs_disk(view_);
      case When::mnt: return fresh(Namespace::mnt);
      case When::net: return fresh(Namespace::net);
      case When::ipc: return fresh(Namespace::ipc);
      case When::uts: return fresh(Namespace::uts);
      case When::cgroup: return fresh(Namespace::cgroup);
      case When::user: return fresh(Namespace::user);
      case When::time: return fresh(Namespace::time);
      case When::time_offsets: return has(plan::kTimeOffsets);
      case When::outbound: return has(plan::kOutbound);
      case When::published: return h_.published.count > 0;
      case When::loopback: return has(plan::kLoopbackUp);
      case When::hostname: return h_.hostname.length > 0;
      case When::domainname: return h_.domainname.length > 0;
      case When::sysctls: return h_.sysctls.count > 0;
      case When::unshare: return h_.unshare != 0;
      case When::setsid: return has(plan::kSetsid);
      case When::resetids: return has(plan::kResetIds);
      case When::controlling_terminal: return h_.controlling_fd >= 0;
      case When::pty: return has(plan::kPty);
      case When::actions: return h_.actions.count > 0;
      case When::ioprio: return has(plan::kIoprio);
      case When::landlock: return landlock();
      case When::ambient: return h_.capabilities.ambient != 0;
      case When::no_new_privs: return has(plan::kNoNewPrivs);
      case When::seccomp: return h_.seccomp.count > 0 || box();
    }
    return false;
  }

 private:
  plan::Join join(plan::Namespace which) const {
    return h_.namespaces[static_cast<uint32_t>(which)].join;
  }
  bool fresh(plan::Namespace which) const { return join(which) == plan::Join::fresh; }
  bool has(uint32_t flag) const { return (h_.flags & flag) != 0; }
  bool joins() const {
    for (const plan::NamespaceChoice& choice : h_.namespaces)
      if (choice.join == plan::Join::descriptor || choice.join == plan::Join::job) return true;
    return false;
  }
  bool box() const {
    for (const plan::NamespaceChoice& choice : h_.namespaces)
      if (choice.join != plan::Join::host) return true;
    return false;
  }
  // Its own, that of a leased id, or the scopes of a box.
  bool landlock() const {
    constexpr int kScopesSince = 6;  // Landlock ABI, Linux 6.12
    return h_.landlock.any() || (h_.id_choices & plan::kDynamicIds) ||
           (box() && sys::landlock_abi() >= kScopesSince);
  }

  plan::View view_;
  const plan::Header& h_;
};

// The steps that this Plan takes, in their order, for people.
Json steps_of(plan::View view) {
  const Conditions conditions(view);
  Json steps = Json::array();
  for (const plan::StepInfo& step : plan::kSteps)
    if (conditions.hold(step.when)) steps.push_back(step.name);
  return steps;
}

// What the service mounts beside the Plan.
std::string covers_note() {
  std::string names;
  for (const char* name : plan::kLockedInProc)
    names += std::string(names.empty() ? "" : ", ") + name;
  return "the payload has uid 0 or capabilities on the host: wherever a procfs is mounted, " +
         names +
         " are read-only, sysfs and the cgroup trees are read-only as a whole, and files "
         "that show or change the kernel are hidden";
}

}  // namespace

Json planned_json(const request::Effective& effective, const Resolved& resolved,
                  const plan::Refusal& decision) {
  const plan::View plan(resolved.plan_block.data());
  std::vector<std::string> notes = resolved.notes;
  notes.insert(notes.end(), resolved.warnings.begin(), resolved.warnings.end());
  if (decision.detail & plan::kPlannedCovered) notes.push_back(covers_note());
  return {{"effective", Json::parse(shown_request(effective.request))},
          {"origins", effective.origins},
          {"mounts", mount_table(plan, resolved.mount_fields)},
          {"steps", steps_of(plan)},
          {"degraded", effective.degraded},
          {"policy", decision.policy},
          {"notes", notes}};
}

}  // namespace cloister::front
