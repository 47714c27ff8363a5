#include "decide/authorise_ids.hpp"

#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "decide/refusal.hpp"

namespace cloister::monitor {
namespace {

using plan::Join;
using plan::MountKind;
using plan::Namespace;
using plan::Reason;
using plan::Refusal;

using Lines = std::vector<plan::IdMap>;

// Uids or gids: the same rules twice.
struct Side {
  const char* field;
  Reason not_own;
  uint32_t choice;
  plan::Span<plan::IdMap> plan::Header::*lines;
  SubordinateFile SubordinateIds::*file;
  Lines IdMaps::*map;
  uid_t Peer::*own;
  uint32_t plan::Identity::*inside;
  int capability;
};
constexpr Side kUids{"uid_map",
                     Reason::own_uid,
                     plan::kSubordinateUids,
                     &plan::Header::uid_map,
                     &SubordinateIds::uids,
                     &IdMaps::uids,
                     &Peer::uid,
                     &plan::Identity::ruid,
                     CAP_SETUID};
constexpr Side kGids{"gid_map",
                     Reason::own_groups,
                     plan::kSubordinateGids,
                     &plan::Header::gid_map,
                     &SubordinateIds::gids,
                     &IdMaps::gids,
                     &Peer::gid,
                     &plan::Identity::rgid,
                     CAP_SETGID};

// One after the other from 0 on; what adjoins needs one line.
Lines from_zero(const std::vector<IdSpan>& spans) {
  Lines lines;
  uint32_t inside = 0;
  for (const IdSpan& span : spans) {
    if (!lines.empty() && lines.back().outside + lines.back().count == span.first)
      lines.back().count += span.count;
    else
      lines.push_back({inside, span.first, span.count});
    inside += span.count;
  }
  return lines;
}

// Of the file in /proc: the kernel takes less than a page, user_namespaces(7).
size_t bytes_of(const Lines& map) {
  size_t bytes = 0;
  for (const plan::IdMap& line : map)
    for (uint32_t number : {line.inside, line.outside, line.count})
      for (bytes += 2; number >= 10; number /= 10) ++bytes;
  return bytes;
}

class Ids {
 public:
  Ids(const Peer& peer, const Rule& rule, plan::View plan, const IdSources& sources, bool rootless,
      IdDecision& out)
      : peer_(peer),
        rule_(rule),
        plan_(plan),
        h_(plan.header()),
        sources_(sources),
        rootless_(rootless),
        out_(out) {}

  Refusal decide() {
    out_.fixed_groups = rootless_ || (join(Namespace::user) != Join::host && !may(kGids));
    if ((h_.id_choices & plan::kDynamicIds) && !dynamic()) return refusal_;
    if (join(Namespace::user) == Join::fresh) {
      if (needs_lease() ? !leased_block() : !lines(kUids) || !lines(kGids)) return refusal_;
      // newgidmap(1) leaves setgroups(2) on for whom root has given group ids.
      for (const plan::IdMap& line : out_.job.gids)
        if (out_.lease || subordinate(kGids, line)) out_.fixed_groups = false;
    }
    out_.apart = join(Namespace::user) == Join::fresh && join(Namespace::mnt) == Join::fresh &&
                 h_.mounts.count > 0 && apart();
    if (rootless_ && !birth()) return refusal_;
    return {};
  }

 private:
  Join join(Namespace which) const { return h_.namespaces[static_cast<uint32_t>(which)].join; }
  bool may(const Side& side) const { return !rootless_ && peer_.holds(side.capability); }
  bool refuse(const char* field, Reason reason, uint64_t limit = 0, uint64_t requested = 0) {
    refusal_ = refusal(field, reason, rule_.name, limit, requested);
    return false;
  }
  bool chosen(const Side& side) const { return (h_.id_choices & side.choice) != 0; }
  const std::vector<IdSpan>& spans(const Side& side) const {
    static const std::vector<IdSpan> none;
    return sources_.subordinate ? (sources_.subordinate->*side.file).of(peer_.uid) : none;
  }
  bool subordinate(const Side& side, const plan::IdMap& line) const {
    return sources_.subordinate &&
           (sources_.subordinate->*side.file).holds(peer_.uid, line.outside, line.count);
  }
  bool needs_lease() const {
    return (chosen(kUids) && spans(kUids).empty()) || (chosen(kGids) && spans(kGids).empty());
  }

  bool is_own(const Side& side, const plan::IdMap& line) const {
    if (line.count != 1) return false;
    return line.outside == peer_.*side.own ||
           (side.capability == CAP_SETGID && !rootless_ && peer_.in_group(line.outside));
  }
  bool granted(const Side& side, const plan::IdMap& line) const {
    const uint32_t last = line.outside + line.count - 1;
    return !rootless_ && (side.capability == CAP_SETUID ? rule_.grants_uids(line.outside, last)
                                                        : rule_.grants_gids(line.outside, last));
  }

  bool apart() const {
    // Other jobs can be made that show files of those ids as this one's, and lend it
    // a directory.
    if (!rule_.uids.empty() || !rule_.gids.empty()) return false;
    for (const plan::IdMap& line : out_.job.uids) {
      const auto holds = [&](uint32_t id) { return id - line.outside < line.count; };
      if (holds(peer_.uid) || holds(0)) return false;
      if (!out_.lease && !subordinate(kUids, line)) return false;
    }
    // A set-gid file lends a group just so.
    for (const plan::IdMap& line : out_.job.gids)
      if (!out_.lease && !subordinate(kGids, line) && !is_own(kGids, line)) return false;
    for (uint32_t i = 0; i < h_.mounts.count; ++i) {
      const plan::Mount& mount = plan_.at(h_.mounts, i);
      const bool renamed = (mount.flags & plan::kMountOwnerCaller) || mount.uid_map.count;
      if (renamed && !(mount.flags & plan::kMountReadOnly)) return false;
    }
    return true;
  }

  bool lines(const Side& side) {
    Lines& map = out_.job.*side.map;
    if (chosen(side)) {
      map = from_zero(spans(side));
      return fits(side, map);
    }
    const plan::Span<plan::IdMap> asked = h_.*side.lines;
    map.assign(plan_.begin(asked), plan_.begin(asked) + asked.count);
    if (map.empty()) map.push_back({h_.identity.*side.inside, peer_.*side.own, 1});
    for (const plan::IdMap& line : map)
      if (!is_own(side, line) && !may(side) && !granted(side, line) && !subordinate(side, line))
        return refuse(side.field, side.not_own, peer_.*side.own, line.outside);
    return fits(side, map);
  }

  bool fits(const Side& side, const Lines& map) {
    const auto page = static_cast<size_t>(::getpagesize());
    if (map.size() > plan::kMaxMapLines)
      return refuse(side.field, Reason::lines_340, plan::kMaxMapLines, map.size());
    if (const size_t bytes = bytes_of(map); bytes >= page)
      return refuse(side.field, Reason::less_than_a_page, page - 1, bytes);
    return true;
  }

  bool leased_block() {
    const char* field = chosen(kUids) ? kUids.field : kGids.field;
    if (!sources_.leases || !sources_.leases->has_blocks())
      return refuse(field, Reason::no_subordinate_ids);
    if (!chosen(kUids) || !chosen(kGids)) return refuse(field, Reason::a_lease_is_for_both_maps);
    if (!leaves_nothing()) return false;
    out_.lease = sources_.leases->take_block();
    if (!out_.lease)
      return refuse(field, Reason::lease, sources_.leases->blocks(), sources_.leases->blocks());
    out_.job.uids = out_.job.gids = {{0, out_.lease->first, out_.lease->count}};
    return true;
  }

  bool dynamic() {
    if (!sources_.leases || !sources_.leases->has_ids())
      return refuse("identity", Reason::no_lease);
    if (join(Namespace::user) != Join::host)
      return refuse("namespaces.user", Reason::leased_ids_are_the_hosts);
    if (!leaves_nothing()) return false;
    out_.lease = sources_.leases->take_id();
    if (!out_.lease)
      return refuse("identity", Reason::lease, sources_.leases->ids(), sources_.leases->ids());
    out_.leased_id = out_.lease->first;
    return true;
  }

  // Whoever has the ids next must find nothing of theirs: no file, no SysV
  // object, no process.
  bool leaves_nothing() {
    if (join(Namespace::mnt) != Join::fresh)
      return refuse("namespaces.mnt", Reason::leased_ids_leave_nothing);
    if (join(Namespace::ipc) != Join::fresh)
      return refuse("namespaces.ipc", Reason::leased_ids_leave_nothing);
    if (join(Namespace::pid) != Join::fresh && (!sources_.jobs_have_cgroup || h_.caller_cgroup))
      return refuse("namespaces.pid", Reason::leased_ids_leave_nothing);
    for (uint32_t i = 0; i < h_.mounts.count; ++i)
      if (!is_private(plan_.at(h_.mounts, i)))
        return refuse("mounts", Reason::leased_ids_leave_nothing, 0, i);
    return true;
  }

  // What is written there is gone with the job, or nothing can be written.
  bool is_private(const plan::Mount& mount) const {
    // Shown as the payload's, what it makes there is the caller's.
    if (mount.kind == MountKind::bind)
      return (mount.flags & (plan::kMountReadOnly | plan::kMountOwnerCaller)) != 0;
    if (mount.kind == MountKind::overlay) {
      const plan::Layer* const begin = plan_.begin(mount.layers);
      return std::all_of(begin, begin + mount.layers.count, [](const plan::Layer& layer) {
        return layer.role == plan::LayerRole::lower;
      });
    }
    return plan::traits_of(mount.kind).writes != plan::Writes::stay;
  }

  // Where root does not help, new namespaces need a user namespace around them.
  // In it the ids have their own numbers, so that what the job's own maps has
  // a number there.
  bool birth() {
    bool needed = false;
    for (const plan::NamespaceChoice& choice : h_.namespaces) needed |= choice.join == Join::fresh;
    if (!needed || join(Namespace::user) == Join::descriptor || join(Namespace::user) == Join::job)
      return true;
    for (const Side& side : {kUids, kGids}) {
      Lines& map = out_.birth.*side.map;
      map = {{peer_.*side.own, peer_.*side.own, 1}};
      for (const plan::IdMap& line : out_.job.*side.map)
        if (line.count != 1 || line.outside != peer_.*side.own)
          map.push_back({line.outside, line.outside, line.count});
      if (!fits(side, map)) return false;
    }
    return true;
  }

  const Peer& peer_;
  const Rule& rule_;
  plan::View plan_;
  const plan::Header& h_;
  const IdSources& sources_;
  const bool rootless_;
  IdDecision& out_;
  Refusal refusal_{};
};

}  // namespace

bool fits_a_map(const Lines& map) {
  return map.size() <= plan::kMaxMapLines && bytes_of(map) < static_cast<size_t>(::getpagesize());
}

uint32_t ids_of(const IdSources& sources, uid_t uid) {
  uint32_t ids = 0;
  if (sources.subordinate && !sources.subordinate->uids.of(uid).empty()) ids |= plan::kSubuids;
  if (sources.subordinate && !sources.subordinate->gids.of(uid).empty()) ids |= plan::kSubgids;
  if (sources.leases && sources.leases->has_blocks()) ids |= plan::kLeasedBlocks;
  if (sources.leases && sources.leases->has_ids()) ids |= plan::kLeasedIds;
  return ids;
}

Refusal decide_ids(const Peer& peer, const Rule& rule, plan::View plan, const IdSources& sources,
                   bool rootless, IdDecision& out) {
  return Ids(peer, rule, plan, sources, rootless, out).decide();
}

// A directory on the host is a place to leave files in.
Refusal authorise_leased_fact(const Rule& rule, const plan::Fact& fact) {
  if (!S_ISDIR(fact.mode)) return {};
  return refusal("file_actions", Reason::leased_ids_leave_nothing, rule.name, 0, fact.index);
}

}  // namespace cloister::monitor
