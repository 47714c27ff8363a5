// The one order: what lies nearer to the root is mounted first, whatever field
// and layer it is from, so that nothing hides what lies deeper. Two mounts at one
// place would hide each other: there the higher layer has it, and two of one
// layer are refused.
#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <unordered_set>

#include "plan/places.hpp"
#include "resolve/places.hpp"

namespace cloister::front {
namespace {

using plan::MountKind;

bool comes_before(const Placed& one, const Placed& other) {
  const int order = plan::compare_places(one.at.c_str(), other.at.c_str());
  return order != 0 ? order < 0 : one.rank > other.rank;
}

// Of two in one layer. /var/run is a link to /run on most hosts, and a profile
// names both; "~" can be /root or /tmp, where it has a tmpfs as well.
bool gives_way(const Placed& placed, const Placed& other) {
  if (!(placed.mount.flags & plan::kMountOptional)) return false;
  if (placed.at != placed.asked) return true;
  const auto anybody = [](const plan::Mount& mount) { return (mount.mode & S_IWOTH) != 0; };
  if (placed.mount.kind == MountKind::tmpfs && other.mount.kind == MountKind::scratch)
    return !anybody(placed.mount);
  return placed.mount.kind == MountKind::scratch && other.mount.kind == MountKind::tmpfs &&
         anybody(other.mount);
}

// What is covered is covered, however often that is said; a lock leaves the
// place to whatever is there.
bool agree(const Placed& one, const Placed& other) {
  return one.mount.kind == other.mount.kind &&
         plan::traits_of(one.mount.kind).origin == plan::Origin::cover;
}

class Settling {
 public:
  using Range = std::vector<Placed>::iterator;

  // One of those at one place, the highest layer first.
  MaybeProblem choose(Range begin, Range end) {
    for (Range each = begin; each != end; ++each)
      if (each->at == "/" && hides_all(*each))
        return refused(each->field, "leads to / and would hide all that is there", "another place",
                       each->asked);
    const auto lock = std::find_if(
        begin, end, [](const Placed& placed) { return placed.mount.kind == MountKind::lock; });
    const bool locked = lock != end;
    std::vector<Placed*> others;
    for (Range each = begin; each != end; ++each)
      if (each->mount.kind != MountKind::lock) others.push_back(&*each);
    if (locked) locked_.insert(begin->at);
    if (others.empty()) {
      if (lock->at == "/")
        return refused(lock->field, "needs a root directory of the job's own", "root", "/");
      settled_.push_back(std::move(*lock));
      return std::nullopt;
    }
    while (others.size() > 1 && others[0]->rank == others[1]->rank) {
      if (agree(*others[0], *others[1]) || gives_way(*others[1], *others[0]))
        others.erase(others.begin() + 1);
      else if (gives_way(*others[0], *others[1]))
        others.erase(others.begin());
      else
        return refused(others[1]->field,
                       "would be hidden: " + others[0]->field + " is mounted at the same place, " +
                           others[0]->at,
                       "one mount for each place");
    }
    settled_.push_back(std::move(*others[0]));
    return std::nullopt;
  }

  // Read-only is what lies in a locked place. In a place that is covered others
  // can be mounted all the same: room is made for them.
  void share_out() {
    std::unordered_map<std::string, plan::Mount*> covers;
    for (Placed& placed : settled_) {
      plan::Mount& mount = placed.mount;
      if (locked_.contains(placed.at)) lock(mount);
      for (size_t end = placed.at.rfind('/'); placed.at.size() > 1;
           end = placed.at.rfind('/', end - 1)) {
        const std::string above = end == 0 ? "/" : placed.at.substr(0, end);
        if (locked_.contains(above)) lock(mount);
        if (const auto cover = covers.find(above); cover != covers.end())
          cover->second->flags |= plan::kMountHolds;
        if (end == 0) break;
      }
      if (plan::traits_of(mount.kind).origin == plan::Origin::cover)
        covers.emplace(placed.at, &mount);
    }
  }

  std::vector<Placed> take() { return std::move(settled_); }

 private:
  // The root is named as such, by `root` or a mount at /; it may be locked.
  static bool hides_all(const Placed& placed) {
    return placed.asked != "/" || placed.mount.kind == MountKind::mask;
  }

  static void lock(plan::Mount& mount) {
    if (plan::traits_of(mount.kind).origin == plan::Origin::entry) return;
    mount.flags |= plan::kMountReadOnly;
    if (mount.kind == MountKind::dev) mount.flags |= plan::kMountRecursive;
  }

  std::vector<Placed> settled_;
  std::unordered_set<std::string> locked_;  // places
};

}  // namespace

MaybeProblem settle(MountList& mounts) {
  std::vector<Placed>& list = mounts.list;
  follow_links(list);
  std::stable_sort(list.begin(), list.end(), comes_before);
  Settling settling;
  for (auto begin = list.begin(); begin != list.end();) {
    const auto end = std::find_if(begin, list.end(),
                                  [&](const Placed& placed) { return placed.at != begin->at; });
    if (auto problem = settling.choose(begin, end)) return problem;
    begin = end;
  }
  settling.share_out();
  list = settling.take();
  return std::nullopt;
}

}  // namespace cloister::front
