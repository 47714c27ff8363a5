// Whose a directory of cgroups is: its maker's, as long as that holds a lock on
// it, flock(2). A pid would say nothing to a service in another pid namespace
// over the same tree, and a name stays when its maker was killed.
#pragma once

#include <string>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {

struct HeldCgroup {
  std::string path;
  sys::UniqueFd directory;  // the lock ends with its last copy; empty, with errno: not made
};

// Makes PARENT/PREFIX-PID-DIGITS, a name that was nobody's before. PREFIX is
// "cloister" for what a service has, "cloister-job" for a leaf below a caller.
HeldCgroup make_held_cgroup(const std::string& parent, const char* prefix);

// Removes a cgroup, and what a payload has made in it: a service of its own makes some.
// False with errno, EBUSY where there are processes; true if there is none.
bool remove_cgroup(int parent, const std::string& name);

// Removes those below `parent` that nobody holds, with the leaves in them. Looks
// at no more than some hundreds of entries: who owns `parent` may have made more.
void sweep_cgroups(const std::string& parent);

}  // namespace cloister::monitor
