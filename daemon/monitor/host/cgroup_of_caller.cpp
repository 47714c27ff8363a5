// A payload below its caller's own cgroup: what bounds the caller bounds it.
//
// The payload only. Init stays below the service: a cgroup that the caller owns
// may be frozen, and we wait for the exec of what we clone (CLONE_VFORK).
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "host/cgroup.hpp"
#include "host/cgroup_hold.hpp"
#include "host/cgroup_tree.hpp"

namespace cloister::monitor {
Leaves Cgroups::make_below(const std::string& cgroups) {
  Leaves leaves = make();
  if (!leaves) return leaves;
  const auto give_up = [&](int error) {
    remove(leaves);
    errno = error;
    return Leaves{};
  };
  const std::string own = own_cgroups();
  for (const CgroupTree& tree : cgroup_trees()) {
    const auto place = tree.place_of(cgroups);
    if (tree.version == 2) {
      if (!leaves.below_caller.empty()) continue;  // mounted twice
      if (!place) return give_up(ENOENT);
      sweep_cgroups(tree.at + *place);
      HeldCgroup leaf = make_held_cgroup(tree.at + *place, "cloister-job");
      struct stat made {};
      if (!leaf.directory || ::fstat(leaf.directory.borrow(), &made) < 0) return give_up(errno);
      leaves.below_caller = leaf.path;
      leaves.inode = made.st_ino;
      below_callers_[leaf.path] = leaf.path.substr(tree.at.size());
      leaves.payload = std::move(leaf.directory);
      leaves.kill = open_at(leaves.payload.borrow(), "cgroup.kill", O_WRONLY);
      leaves.tasks = open_at(leaves.payload.borrow(), "cgroup.procs", O_WRONLY);
      if (!leaves.payload || !leaves.kill || !leaves.tasks) return give_up(errno);
      continue;
    }
    // Hybrid: the controllers are there. Into the caller's own, not below it. Not
    // the freezer, which bounds nothing and in which a payload could not be killed.
    if (tree.controls("freezer") || place == tree.place_of(own)) continue;
    if (!place) return give_up(ENOENT);
    leaves.hierarchies.push_back(open_at(AT_FDCWD, tree.at + *place + "/tasks", O_WRONLY));
    if (!leaves.hierarchies.back()) return give_up(errno);
  }
  if (leaves.below_caller.empty()) return give_up(ENOSYS);
  if (leaves.hierarchies.size() >= plan::kMaxTasksFds) return give_up(E2BIG);
  return leaves;
}

bool Cgroups::is_job(std::string_view cgroups) const {
  if (!path_.empty() && cgroups.find(path_ + "/") != std::string_view::npos) return true;
  for (const auto& [directory, place] : below_callers_)
    if (cgroups.find(":" + place) != std::string_view::npos) return true;
  return false;
}

}  // namespace cloister::monitor
