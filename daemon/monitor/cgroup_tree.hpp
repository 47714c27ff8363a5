// The cgroup file systems of this host, and where a process is in each.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cloister::monitor {

struct CgroupTree {
  std::string at, root, controllers;  // proc_pid_mountinfo(5)
  int version;

  bool controls(std::string_view controller) const;
  // The path below `at` of the process whose /proc/PID/cgroup is `cgroups`;
  // empty for the top. Nothing when that is not to be seen from here.
  std::optional<std::string> place_of(std::string_view cgroups) const;
};

std::vector<CgroupTree> cgroup_trees();
// /proc/self/cgroup.
std::string own_cgroups();

}  // namespace cloister::monitor
