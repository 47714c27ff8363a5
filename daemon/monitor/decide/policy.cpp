#include "decide/policy.hpp"

#include <sys/sysmacros.h>

#include <algorithm>

namespace cloister::monitor {
namespace {

bool any_holds(const std::vector<IdRange>& ranges, uint32_t low, uint32_t high) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const IdRange& range) { return range.holds(low, high); });
}

// admin-guide/devices.txt: what the minimal /dev has, and terminals.
bool in_every_box(Device device) {
  if (device.block) return false;
  const unsigned low = minor(device.number);
  switch (major(device.number)) {
    case 1:
      return low == 3 || low == 5 || low == 7 || low == 8 ||
             low == 9;        // null zero full random urandom
    case 4: return low < 64;  // tty0 to tty63: consoles; above them are serial lines
    case 5: return low <= 2;  // tty, console, ptmx
    default: return major(device.number) >= 136 && major(device.number) <= 143;  // pts
  }
}

}  // namespace

bool Rule::speaks_of(const Peer& peer) const {
  if (!users && !groups) return true;
  if (users && std::find(users->begin(), users->end(), peer.uid) != users->end()) return true;
  return groups && std::any_of(groups->begin(), groups->end(),
                               [&](gid_t group) { return peer.in_group(group); });
}

bool Rule::grants_uids(uint32_t low, uint32_t high) const {
  const bool inits = low <= plan::kNobodysUid && plan::kNobodysUid <= high;
  return !inits && any_holds(uids, low, high);
}

bool Rule::grants_gids(uint32_t low, uint32_t high) const { return any_holds(gids, low, high); }

bool Rule::allows_device(Device device) const {
  if (in_every_box(device)) return true;
  if (!devices) return !device.block;
  return std::find(devices->begin(), devices->end(), device) != devices->end();
}

std::shared_ptr<const Rule> Policy::rule_for(const Peer& peer) const {
  for (const auto& rule : rules)
    if (rule->speaks_of(peer)) return rule;
  return otherwise;
}

}  // namespace cloister::monitor
