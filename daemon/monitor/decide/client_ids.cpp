#include "decide/client_ids.hpp"

#include <linux/capability.h>

#include <algorithm>
#include <fstream>

namespace cloister::monitor {
namespace {

using Lines = std::vector<plan::IdMap>;

// What is asked for first is left out last.
class Spans {
 public:
  void add(uint32_t first, uint32_t count = 1) {
    if (spans_.size() < plan::kMaxMapLines && count > 0) spans_.push_back({first, first, count});
  }
  void add_outer(const Lines& map) {
    for (const plan::IdMap& line : map) add(line.outside, line.count);
  }
  // As few lines as there can be, and as many ids as the kernel takes.
  Lines lines() {
    for (;; spans_.pop_back()) {
      Lines merged = merge(spans_);
      if (spans_.size() < 2 || fits_a_map(merged)) return merged;
    }
  }

 private:
  static Lines merge(Lines spans) {
    std::sort(spans.begin(), spans.end(),
              [](const auto& a, const auto& b) { return a.outside < b.outside; });
    Lines out;
    for (const plan::IdMap& span : spans) {
      const uint64_t end = uint64_t{span.outside} + span.count;
      if (out.empty() || uint64_t{out.back().outside} + out.back().count < span.outside) {
        out.push_back(span);
      } else if (uint64_t{out.back().outside} + out.back().count < end) {
        out.back().count = static_cast<uint32_t>(end - out.back().outside);
      }
    }
    return out;
  }

  Lines spans_;
};

// Those that this process's user namespace has: of the host, all.
void add_every(Spans& spans, const char* file) {
  std::ifstream map(file);
  for (plan::IdMap line; map >> line.inside >> line.outside >> line.count;)
    spans.add(line.inside, line.count);
}

}  // namespace

IdMaps client_ids(const Peer& peer, plan::View plan, const IdDecision& ids) {
  const plan::Header& h = plan.header();
  const bool host =
      h.namespaces[static_cast<uint32_t>(plan::Namespace::user)].join == plan::Join::host;
  Spans uids, gids;
  uids.add(peer.uid);
  gids.add(peer.gid);
  uids.add_outer(ids.job.uids);
  gids.add_outer(ids.job.gids);
  if (ids.leased_id) {
    uids.add(ids.leased_id);
    gids.add(ids.leased_id);
  } else if (host) {
    for (const uint32_t uid : {h.identity.ruid, h.identity.euid, h.identity.suid}) uids.add(uid);
    for (const uint32_t gid : {h.identity.rgid, h.identity.egid, h.identity.sgid}) gids.add(gid);
  }
  if (peer.holds(CAP_SETUID)) add_every(uids, "/proc/self/uid_map");
  if (peer.holds(CAP_SETGID)) add_every(gids, "/proc/self/gid_map");
  // What an idmapped layer shows; with a user namespace those are ids of its map.
  for (uint32_t i = 0; host && i < h.mounts.count; ++i) {
    const plan::Mount& mount = plan.at(h.mounts, i);
    if (mount.kind != plan::MountKind::overlay) continue;
    for (uint32_t k = 0; k < mount.uid_map.count; ++k)
      uids.add(plan.at(mount.uid_map, k).inside, plan.at(mount.uid_map, k).count);
    for (uint32_t k = 0; k < mount.gid_map.count; ++k)
      gids.add(plan.at(mount.gid_map, k).inside, plan.at(mount.gid_map, k).count);
  }
  for (const gid_t group : peer.groups) gids.add(group);
  if (host && !ids.leased_id)
    for (uint32_t i = 0; i < h.identity.groups.count; ++i) gids.add(plan.at(h.identity.groups, i));
  return {uids.lines(), gids.lines()};
}

uint64_t client_powers(const Peer& peer, const IdMaps& client) {
  const auto bit = [](int capability) { return uint64_t{1} << capability; };
  // Over files whose owner and group are both in the map: of those the client, or
  // who it may be, is the owner. CAP_SYS_ADMIN is asked for at mount(2) only.
  uint64_t powers = bit(CAP_SYS_ADMIN) | bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) |
                    bit(CAP_DAC_READ_SEARCH) | bit(CAP_FOWNER) | bit(CAP_FSETID);
  // File capabilities are for the root of the user namespace that they were set
  // in: where that is the host's root, owning the file is not enough.
  const bool has_root = std::any_of(client.uids.begin(), client.uids.end(),
                                    [](const plan::IdMap& line) { return line.outside == 0; });
  if (!has_root || peer.holds(CAP_SETFCAP)) powers |= bit(CAP_SETFCAP);
  return powers;
}

}  // namespace cloister::monitor
