#include "cgroup.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "cgroup_tree.hpp"

namespace cloister::monitor {

Cgroups::Cgroups(CgroupChoice choice) {
  if (choice == CgroupChoice::none) {
    why_not_ = "switched off in the configuration";
    return;
  }
  for (int version : {2, 1}) {
    if (version == 2 && choice == CgroupChoice::v1) continue;
    if (version == 1 && choice == CgroupChoice::v2) continue;
    for (const CgroupTree& tree : cgroup_trees()) {
      // Of v1 the pids hierarchy: every host that has v1 has it.
      if (tree.version != version || (version == 1 && !tree.controls("pids"))) continue;
      const auto own = tree.place_of(own_cgroups());
      if (own && open_base(tree.at, *own, version)) return;
    }
  }
}

// What a monitor left behind that was killed: its inits have ended with it.
void Cgroups::sweep(const std::string& parent) {
  std::error_code none;  // a directory that vanishes meanwhile is what we want
  for (const auto& base : std::filesystem::directory_iterator(parent, none)) {
    const std::string name = base.path().filename();
    pid_t pid = 0;
    if (!name.starts_with("cloister-")) continue;
    std::from_chars(name.data() + 9, name.data() + name.size(), pid);
    if (pid <= 0 || ::kill(pid, 0) == 0 || errno != ESRCH) continue;
    for (const auto& job : std::filesystem::directory_iterator(base, none))
      if (job.is_directory(none))
        for (const char* leaf : {"/payload", "/init", ""})
          ::rmdir((job.path().string() + leaf).c_str());
    ::rmdir(base.path().c_str());
  }
}

bool Cgroups::open_base(const std::string& mount, const std::string& own, int version) {
  const std::string name = "/cloister-" + std::to_string(::getpid());
  sweep(mount + own);
  directory_ = mount + own + name;
  if (::mkdir(directory_.c_str(), 0755) < 0) {
    why_not_ = "cannot make " + directory_ + ": " + std::strerror(errno);
    return false;
  }
  base_ = open_at(AT_FDCWD, directory_, O_RDONLY | O_DIRECTORY);
  path_ = own + name;
  version_ = version;
  why_not_.clear();
  // A tree in which we may make directories is not yet one into which we may
  // put processes (cgroups(7), delegation): try it now, not at the first job.
  Leaves probe = create();
  const bool usable = probe && (version == 1 ? bool(probe.tasks) : bool(probe.kill)) &&
                      ::faccessat(probe.payload.borrow(), "cgroup.procs", W_OK, AT_EACCESS) == 0 &&
                      ::access((mount + own + "/cgroup.procs").c_str(), W_OK) == 0;
  if (usable) {
    spare_ = std::move(probe);
    return true;
  }
  if (probe) remove(probe);
  ::rmdir(directory_.c_str());
  base_.reset();
  version_ = 0;
  path_.clear();
  why_not_ = "no permission to move processes below " + mount + own;
  return false;
}

Cgroups::~Cgroups() {
  if (!version_) return;
  if (spare_) remove(spare_);
  ::rmdir(directory_.c_str());
}

Leaves Cgroups::make() {
  if (spare_) return std::exchange(spare_, Leaves{});
  return create();
}

void Cgroups::prepare() {
  if (version_ && !spare_) spare_ = create();
}

Leaves Cgroups::create() {
  Leaves leaves;
  const std::string name = "job-" + std::to_string(++next_);
  const std::string payload = name + "/payload";
  if (::mkdirat(base_.borrow(), name.c_str(), 0755) < 0 ||
      ::mkdirat(base_.borrow(), (name + "/init").c_str(), 0755) < 0 ||
      ::mkdirat(base_.borrow(), payload.c_str(), 0755) < 0) {
    const int error = errno;
    remove(name);
    errno = error;
    return {};
  }
  leaves.payload = open_at(base_.borrow(), payload, O_RDONLY | O_DIRECTORY);
  if (version_ == 2) {
    leaves.init = open_at(base_.borrow(), name + "/init", O_RDONLY | O_DIRECTORY);
    leaves.kill = open_at(leaves.payload.borrow(), "cgroup.kill", O_WRONLY);
  } else {
    leaves.tasks = open_at(leaves.payload.borrow(), "tasks", O_WRONLY);
  }
  leaves.name = name;
  return leaves;
}

bool Cgroups::remove(const Leaves& leaves) {
  if (!leaves.below_caller.empty()) {
    if (::rmdir(leaves.below_caller.c_str()) < 0 && errno != ENOENT) return false;
    below_callers_.erase(leaves.below_caller);
  }
  return leaves.name.empty() || remove(leaves.name);
}

bool Cgroups::remove(const std::string& name) {
  for (const std::string& leaf : {name + "/payload", name + "/init", name})
    if (::unlinkat(base_.borrow(), leaf.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT) return false;
  return true;
}

bool Cgroups::kill(const Leaves& leaves) {
  return leaves.kill && ::write(leaves.kill.borrow(), "1", 1) == 1;
}

}  // namespace cloister::monitor
