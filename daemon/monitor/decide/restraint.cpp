#include "decide/restraint.hpp"

#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/stat.h>

#include <algorithm>

#include "decide/refusal.hpp"

namespace cloister::monitor {
namespace {

using plan::Join;
using plan::Namespace;
using plan::Reason;
using plan::Refusal;
using plan::Restraint;

// Of newer kernels than the oldest headers.
constexpr uint32_t kTruncate = 1 << 14;                 // LANDLOCK_ACCESS_FS_TRUNCATE, ABI 3
constexpr uint32_t kAbstractSockets = 1, kSignals = 2;  // LANDLOCK_SCOPE_*, ABI 6
constexpr int kTruncateSince = 3, kScopesSince = 6;
constexpr uint32_t kChanges =
    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;

Join join(const plan::Header& h, Namespace which) {
  return h.namespaces[static_cast<uint32_t>(which)].join;
}

// Groups of the payload that the peer has by a grant alone.
bool lends_groups(const Peer& peer, plan::View plan, const IdDecision& ids) {
  const plan::Header& h = plan.header();
  const auto others = [&](uint32_t gid) { return !peer.in_group(gid); };
  if (join(h, Namespace::user) == Join::fresh)
    return std::any_of(ids.job.gids.begin(), ids.job.gids.end(), [&](const plan::IdMap& line) {
      return line.count > 1 || others(line.outside);
    });
  if (join(h, Namespace::user) != Join::host) return true;
  const plan::Identity& id = h.identity;
  const uint32_t* const groups = plan.begin(id.groups);
  return others(id.rgid) || others(id.egid) || others(id.sgid) ||
         std::any_of(groups, groups + id.groups.count, others);
}

// A box leaves no program behind that lends others the ids of whoever ran in it.
// Ids that are apart lend nobody those of the caller, and a system of its own has
// such programs. git(1) and cp(1) set the set-gid bit on directories, for groups
// that are the caller's anyway.
Restraint restraint(const Peer& peer, plan::View plan, const IdDecision& ids) {
  if (!is_box(plan.header()) || ids.apart) return Restraint::none;
  if (ids.leased_id != 0) return Restraint::leased;
  const bool powerful = peer.permitted != 0 || ids.lease || lends_groups(peer, plan, ids);
  return powerful ? Restraint::set_ids : Restraint::set_uid;
}

// Another job made it, and the job is there to reach what is in it, which is in
// another domain.
bool visits(const Approved& job, Namespace which) {
  for (const Approved::JobJoin& join : job.job_joins())
    if (join.which == which && (join.of.fresh & bit(which))) return true;
  return false;
}

}  // namespace

bool is_box(const plan::Header& plan) {
  return std::any_of(std::begin(plan.namespaces), std::end(plan.namespaces),
                     [](const plan::NamespaceChoice& choice) { return choice.join != Join::host; });
}

Refusal restrain(const Peer& peer, const Rule& rule, plan::View plan, const Setting& setting,
                 const Approved& so_far, plan::Order& order) {
  const plan::Header& h = plan.header();
  const IdDecision& ids = so_far.ids();
  const auto denied = [&](const char* field, Reason reason, uint64_t requested = 0) {
    return refusal(field, reason, rule.name, 0, requested);
  };
  if (h.flags & plan::kSetUidFiles) {
    if (ids.leased_id != 0) return denied("set_uid_files", Reason::leased_ids_leave_nothing);
    // In a service of its own it can do without us what it wants.
    const bool own = setting.mode != plan::Mode::system || peer.holds(CAP_FSETID);
    if (!own && !rule.set_uid_files)
      return denied("set_uid_files", Reason::set_uid_files_need_a_grant);
  } else {
    order.restraint = restraint(peer, plan, ids);
  }
  // What the request itself opens, before any filter is there.
  const uint32_t bits = order.restraint == Restraint::none      ? 0
                        : order.restraint == Restraint::set_uid ? S_ISUID
                                                                : S_ISUID | S_ISGID;
  for (uint32_t i = 0; i < h.actions.count; ++i) {
    const plan::Action& action = plan.at(h.actions, i);
    if (action.op == plan::Op::open && (action.mode & bits))
      return denied("file_actions", Reason::set_uid_files_need_a_grant, action.mode);
  }
  // Also where no namespace keeps it away: in the host's, by a passed socket or pidfd.
  if (is_box(h) && setting.landlock_abi >= kScopesSince) {
    if (!visits(so_far, Namespace::net)) order.scoped |= kAbstractSockets;
    if (!visits(so_far, Namespace::pid)) order.scoped |= kSignals;
  }
  if (ids.lease)
    order.confined_fs = kChanges | (setting.landlock_abi >= kTruncateSince ? kTruncate : 0);
  return {};
}

}  // namespace cloister::monitor
