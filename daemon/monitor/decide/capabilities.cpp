#include "decide/capabilities.hpp"

#include <linux/capability.h>

#include <algorithm>
#include <fstream>

#include "decide/refusal.hpp"

namespace cloister::monitor {
namespace {

bool reads(const char* path, long value) {
  std::ifstream file(path);
  long now = 0;
  return file >> now && now == value;
}

// The host keeps unprivileged users from the powers of a user namespace; a
// caller must not get them through us.
bool user_namespaces_are_restricted() {
  return reads("/proc/sys/kernel/unprivileged_userns_clone", 0) ||
         reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1);
}

// What could not be seen of the caller is not given: securebits may keep a root
// caller from ever having again what its bounding set still names.
uint64_t held_by(const Peer& peer) { return peer.permitted & peer.bounding; }

// By which a job could take what the rule bounds.
uint64_t withheld_by(const Rule& rule) {
  const bool bounds_priority = rule.nice || rule.real_time == false;
  const bool bounds_limits = std::any_of(rule.rlimits.begin(), rule.rlimits.end(),
                                         [](const auto& ceiling) { return ceiling.has_value(); });
  return (bounds_priority ? uint64_t{1} << CAP_SYS_NICE : 0) |
         (bounds_limits ? uint64_t{1} << CAP_SYS_RESOURCE : 0);
}

}  // namespace

plan::Refusal authorise_capabilities(const Peer& peer, const Rule& rule, plan::View plan,
                                     bool rootless, plan::Capabilities& out) {
  const plan::Header& h = plan.header();
  const plan::Capabilities& asked = h.capabilities;
  out = {};
  if (!asked.set) {
    if (h.flags & plan::kKeepCapabilities) {
      out.permitted = out.effective = peer.permitted & ~withheld_by(rule);
      out.bounding = held_by(peer) & ~withheld_by(rule);
    }
    return {};
  }
  out = asked;
  const auto denied = [&](plan::Reason reason, uint64_t limit, uint64_t requested) {
    return refusal("capabilities", reason, rule.name, limit, requested);
  };
  const uint64_t most =
      asked.bounding | asked.effective | asked.permitted | asked.inheritable | asked.ambient;
  const plan::Join user = h.namespaces[static_cast<uint32_t>(plan::Namespace::user)].join;
  const uint64_t held = (held_by(peer) | rule.capabilities) & ~withheld_by(rule);
  if (user == plan::Join::fresh) {
    const bool own = rootless || peer.holds(CAP_SYS_ADMIN) || (most & ~rule.capabilities) == 0;
    if (!own && user_namespaces_are_restricted())
      return denied(plan::Reason::user_namespaces_are_restricted, rule.capabilities, most);
    return {};
  }
  // Without any new namespace we are this user and no more: nothing can be cut.
  bool powerless = rootless;
  for (const plan::NamespaceChoice& choice : h.namespaces)
    if (choice.join == plan::Join::fresh) powerless = false;
  if (powerless || (most != 0 && (rootless || user != plan::Join::host)))
    return denied(plan::Reason::capabilities_need_new_user_namespace, 0, most);
  // "all" is all that this caller may have, which is something or is refused.
  for (uint64_t* set :
       {&out.bounding, &out.effective, &out.permitted, &out.inheritable, &out.ambient}) {
    if (*set == plan::kEveryCapability && held != 0) *set = held;
    if (*set & ~held) return denied(plan::Reason::not_beyond_own_capabilities, held, *set);
  }
  // A set-uid program that does not expect them could be led astray, capabilities(7).
  const bool sealed = (h.flags & plan::kNoNewPrivs) || peer.no_new_privs;
  if (asked.securebits != 0 && !sealed && !(held >> CAP_SETPCAP & 1))
    return denied(plan::Reason::securebits_need_no_new_privs, 0, asked.securebits);
  return {};
}

}  // namespace cloister::monitor
