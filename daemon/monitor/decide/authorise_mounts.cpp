#include "decide/authorise_mounts.hpp"

#include <linux/capability.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "decide/refusal.hpp"
#include "plan/places.hpp"

namespace cloister::monitor {

using plan::Reason;
using plan::Refusal;

namespace {

// The ids that `line` shows, as the host counts them: a user namespace of the
// job's own gives them other names. False when they are not of one line of it.
bool outside(const std::vector<plan::IdMap>& map, plan::IdMap& line) {
  for (const plan::IdMap& of : map) {
    const uint32_t skipped = line.inside - of.inside;
    if (line.inside < of.inside || skipped >= of.count || line.count > of.count - skipped) continue;
    line.inside = of.outside + skipped;
    return true;
  }
  return false;
}

struct MapSide {
  plan::Span<plan::IdMap> lines;            // of the mount
  const std::vector<plan::IdMap>& renamed;  // by the job's user namespace
  uint32_t own;
  MayBe may_be;
  Reason not_own;
};

// In the order in which honest fronts have them nothing hides anything.
bool is_ordered(plan::View plan) {
  const plan::Mount* const begin = plan.begin(plan->mounts);
  return std::adjacent_find(begin, begin + plan->mounts.count,
                            [&](const plan::Mount& one, const plan::Mount& next) {
                              return plan::compare_places(plan.c_str(one.at),
                                                          plan.c_str(next.at)) >= 0;
                            }) == begin + plan->mounts.count;
}

// Whether a mount that comes later lies over an earlier one. Bounds what a list
// out of order can cost: there every name of a place is looked up.
bool hides(plan::View plan) {
  constexpr uint32_t kMaxDepth = 32;
  std::unordered_set<std::string_view> later;
  for (uint32_t i = plan->mounts.count; i-- > 0;) {
    const plan::Text text = plan.at(plan->mounts, i).at;
    const std::string_view at(plan.c_str(text), text.length);
    if (plan::depth_of(plan.c_str(text)) > kMaxDepth || later.contains("/")) return true;
    for (size_t end = at.size(); end > 0; end = at.rfind('/', end - 1))
      if (later.contains(at.substr(0, end))) return true;
    later.insert(at);
  }
  return false;
}

}  // namespace

bool has_own_ids(const Peer& peer, const Rule& rule, plan::View plan, const IdDecision& ids) {
  const plan::Header& h = plan.header();
  const auto own_uid = [&](uint32_t uid) { return uid == peer.uid; };
  const auto own_gid = [&](uint32_t gid) { return peer.in_group(gid); };
  const plan::Join user = h.namespaces[static_cast<uint32_t>(plan::Namespace::user)].join;
  // Others in a map are subordinate ids, to which no node belongs, or were granted.
  if (user == plan::Join::fresh) {
    const auto own = [](const plan::IdMap& line, const auto& is_own, bool granted) {
      return (line.count == 1 && is_own(line.outside)) || !granted;
    };
    const auto last = [](const plan::IdMap& line) { return line.outside + line.count - 1; };
    return std::all_of(ids.job.uids.begin(), ids.job.uids.end(),
                       [&](const plan::IdMap& line) {
                         return own(line, own_uid, rule.grants_uids(line.outside, last(line)));
                       }) &&
           std::all_of(ids.job.gids.begin(), ids.job.gids.end(), [&](const plan::IdMap& line) {
             return own(line, own_gid, rule.grants_gids(line.outside, last(line)));
           });
  }
  if (user != plan::Join::host || ids.leased_id) return false;
  const plan::Identity& id = h.identity;
  const uint32_t* const groups = plan.begin(id.groups);
  return own_uid(id.ruid) && own_uid(id.euid) && own_uid(id.suid) && own_gid(id.rgid) &&
         own_gid(id.egid) && own_gid(id.sgid) &&
         std::all_of(groups, groups + id.groups.count, own_gid);
}

bool may_be_user(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high) {
  return (low == peer.uid && high == peer.uid) || peer.holds(CAP_SETUID) ||
         rule.grants_uids(low, high);
}

bool may_be_group(const Peer& peer, const Rule& rule, uint32_t low, uint32_t high) {
  return (low == high && peer.in_group(low)) || peer.holds(CAP_SETGID) ||
         rule.grants_gids(low, high);
}

bool rules_host_itself(const Peer& peer) { return peer.uid == 0 || peer.holds(CAP_SETUID); }

bool is_hosts_root(const Peer& peer, const Rule& rule, plan::View plan, const IdDecision& ids) {
  using plan::Join;
  // A user namespace of its own that it joins has none but ids that it may be.
  if (!may_be_user(peer, rule, 0, 0) || ids.leased_id) return false;
  const plan::Header& h = plan.header();
  const Join user = h.namespaces[static_cast<uint32_t>(plan::Namespace::user)].join;
  if (user == Join::fresh)
    return std::any_of(ids.job.uids.begin(), ids.job.uids.end(),
                       [](const plan::IdMap& line) { return line.outside == 0; });
  if (user != Join::host) return true;
  const plan::Identity& id = h.identity;
  // Who is another becomes root by a set-uid program.
  const bool stays = (h.flags & plan::kNoNewPrivs) || peer.no_new_privs;
  return !stays || id.ruid == 0 || id.euid == 0 || id.suid == 0;
}

uint64_t any_of_sets(const plan::Capabilities& sets) {
  return sets.bounding | sets.effective | sets.permitted | sets.inheritable | sets.ambient;
}

bool has_host_powers(plan::View plan, const plan::Capabilities& sets) {
  const auto user = static_cast<uint32_t>(plan::Namespace::user);
  return plan->namespaces[user].join == plan::Join::host && any_of_sets(sets) != 0;
}

// Who may be both ids could copy the files from the one to the other. Ids of the
// job's own map were decided on with it.
Refusal authorise_mounts(const Peer& peer, const Rule& rule, plan::View plan, const IdDecision& ids,
                         bool lent) {
  const plan::Header& h = plan.header();
  if (!is_ordered(plan) && hides(plan))
    return refusal("mounts", Reason::a_mount_hides_another, rule.name);
  // A copy of the host's own mounts, which nothing is put over.
  if (lent && h.mounts.count == 0) return refusal("mounts", Reason::covers_need_mounts, rule.name);
  // A copy of the host's mounts has all of its devices.
  const bool copy =
      h.mounts.count == 0 &&
      h.namespaces[static_cast<uint32_t>(plan::Namespace::mnt)].join == plan::Join::fresh;
  if (copy && rule.devices) return refusal("mounts", Reason::rule_devices, rule.name);
  const bool any_device =
      !rule.devices && (peer.holds(CAP_MKNOD) || has_own_ids(peer, rule, plan, ids));
  const bool fresh =
      h.namespaces[static_cast<uint32_t>(plan::Namespace::user)].join == plan::Join::fresh;
  for (uint32_t i = 0; i < h.mounts.count; ++i) {
    const plan::Mount& mount = plan.at(h.mounts, i);
    // Each node in there would be a device of the job's.
    if (mount.kind == plan::MountKind::bind && !(mount.flags & plan::kMountNoDev) && !any_device)
      return refusal("mounts", rule.devices ? Reason::rule_devices : Reason::nodev_for_other_ids,
                     rule.name, 0, i);
    for (const MapSide& side :
         {MapSide{mount.uid_map, ids.job.uids, peer.uid, may_be_user, Reason::own_uid},
          MapSide{mount.gid_map, ids.job.gids, peer.gid, may_be_group, Reason::own_groups}})
      for (uint32_t k = 0; k < side.lines.count; ++k) {
        plan::IdMap line = plan.at(side.lines, k);
        const auto refuse = [&](Reason reason, uint32_t id) {
          return refusal("mounts", reason, rule.name, side.own, id);
        };
        const auto may = [&](uint32_t low) {
          return side.may_be(peer, rule, low, low + line.count - 1);
        };
        if (!may(line.outside)) return refuse(side.not_own, line.outside);
        if (fresh && !outside(side.renamed, line))
          return refuse(Reason::ids_of_the_job, line.inside);
        if (!fresh && !may(line.inside)) return refuse(side.not_own, line.inside);
      }
  }
  return {};
}

// In user mode init has the caller's power and no more, and in its user
// namespace nobody a number yet: the owner is asked for in system mode only.
Refusal authorise_device(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                         plan::Mode mode) {
  const auto denied = [&](Reason reason) {
    return refusal("devices", reason, rule.name, 0, fact.rdev);
  };
  if (!S_ISCHR(fact.mode)) return denied(Reason::character_devices_only);
  if (!rule.allows_device({false, fact.rdev})) return denied(Reason::rule_devices);
  // Init binds it with its own power; the mode of the node says who may open it.
  const bool opens = mode != plan::Mode::system || peer.holds(CAP_DAC_OVERRIDE) ||
                     (fact.mode & S_IROTH) || (fact.uid == peer.uid && (fact.mode & S_IRUSR)) ||
                     (peer.in_group(fact.gid) && (fact.mode & S_IRGRP));
  if (!opens) return denied(Reason::own_rights);
  return {};
}

// overlayfs empties work and leaves attributes of its own in both: so they are
// directories of the peer's own. What it may do in them the kernel asks the client.
Refusal authorise_layer(const Peer& peer, const Rule& rule, const plan::Fact& fact,
                        plan::Mode mode) {
  if (!S_ISDIR(fact.mode)) return refusal("mounts", Reason::a_directory, rule.name, 0, fact.mode);
  if (mode == plan::Mode::system && fact.uid != peer.uid && !peer.holds(CAP_DAC_OVERRIDE))
    return refusal("mounts", Reason::own_directories, rule.name, peer.uid, fact.uid);
  return {};
}

}  // namespace cloister::monitor
