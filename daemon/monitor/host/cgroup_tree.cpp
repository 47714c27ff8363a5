#include "host/cgroup_tree.hpp"

#include <fcntl.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

namespace cloister::monitor {

bool CgroupTree::controls(std::string_view controller) const {
  std::string wanted = ",";
  wanted.append(controller).append(",");
  return ("," + controllers + ",").find(wanted) != std::string::npos;
}

// Lines are "0::PATH" for v2 and "ID:CONTROLLERS:PATH" for v1, cgroups(7). No
// name of a cgroup holds a newline: the kernel refuses to make one.
std::optional<std::string> CgroupTree::place_of(std::string_view cgroups) const {
  while (!cgroups.empty()) {
    const std::string_view line = cgroups.substr(0, cgroups.find('\n'));
    cgroups.remove_prefix(std::min(line.size() + 1, cgroups.size()));
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view mine = line.substr(first + 1, second - first - 1);
    if (version == 2 ? !mine.empty() : mine.empty() || !controls(mine)) continue;
    std::string path(line.substr(second + 1));
    // Outside of what our cgroup namespace shows, or gone.
    if (!path.starts_with('/') || path.starts_with("/..") || path.ends_with(" (deleted)"))
      return std::nullopt;
    // A container shows the tree from its own root on.
    if (root != "/" && (path + '/').starts_with(root + '/')) path.erase(0, root.size());
    return path == "/" ? "" : path;
  }
  return std::nullopt;
}

std::vector<CgroupTree> cgroup_trees() {
  std::vector<CgroupTree> trees;
  std::ifstream table("/proc/self/mountinfo");
  // ID PARENT DEV ROOT AT OPTIONS [...] - TYPE SOURCE SUPER
  for (std::string line; std::getline(table, line);) {
    const size_t dash = line.find(" - cgroup");
    if (dash == std::string::npos) continue;
    std::istringstream left(line), right(line.substr(dash + 3));
    std::string id, parent, device, type, source;
    CgroupTree tree;
    left >> id >> parent >> device >> tree.root >> tree.at;
    right >> type >> source >> tree.controllers;
    tree.version = type == "cgroup2" ? 2 : 1;
    trees.push_back(tree);
  }
  return trees;
}

std::string own_cgroups() {
  std::ifstream file("/proc/self/cgroup");
  return {std::istreambuf_iterator<char>(file), {}};
}

sys::UniqueFd open_at(int directory, const std::string& path, int flags) {
  return sys::UniqueFd(::openat(directory, path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW));
}

}  // namespace cloister::monitor
