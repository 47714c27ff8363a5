// The cgroup file systems of this host, where a process is in each, and their files.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/unique_fd.hpp"

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

// openat(2), close-on-exec and through no symbolic link as the last component.
// Empty with its errno. The caller owns what comes.
sys::UniqueFd open_at(int directory, const std::string& path, int flags);

}  // namespace cloister::monitor
