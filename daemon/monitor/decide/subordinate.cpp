#include "decide/subordinate.hpp"

namespace cloister::monitor {

const std::vector<IdSpan>& SubordinateFile::of(uid_t owner) const {
  static const std::vector<IdSpan> none;
  const auto found = spans_.find(owner);
  return found == spans_.end() ? none : found->second;
}

bool SubordinateFile::holds(uid_t owner, uint32_t first, uint32_t count) const {
  const uint64_t end = uint64_t{first} + count;
  uint64_t at = first;
  for (bool moved = true; moved && at < end;) {
    moved = false;
    for (const IdSpan& span : of(owner)) {
      if (at < span.first || at >= uint64_t{span.first} + span.count) continue;
      at = uint64_t{span.first} + span.count;
      moved = true;
    }
  }
  return count > 0 && at >= end;
}

}  // namespace cloister::monitor
