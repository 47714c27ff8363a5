#include "host/cgroup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "host/cgroup_hold.hpp"
#include "host/cgroup_tree.hpp"
#include "plan/limits.hpp"

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
      // Of the v1 hierarchies that of pids: every host with v1 has it.
      if (tree.version != version || (version == 1 && !tree.controls("pids"))) continue;
      const auto own = tree.place_of(own_cgroups());
      if (!own || !open_base(tree.at, *own, version)) continue;
      find_controllers(choice);
      return;
    }
  }
}

void Cgroups::find_controllers(CgroupChoice choice) {
  if (version_ == 2) controllers_ = controllers_v2(base_.borrow(), mount_ + own_);
  if (!controllers_ && choice != CgroupChoice::v2) controllers_ = controllers_v1();
}

uint32_t Cgroups::limits() const {
  return (version_ == 2 ? plan::kCpuTimeThere : 0) | (controllers_ ? controllers_->limits() : 0);
}

bool Cgroups::limit(Leaves& leaves, const plan::Limits& limits) {
  errno = EOPNOTSUPP;  // below its own cgroup the caller could undo them
  return controllers_ && leaves && leaves.below_caller.empty() &&
         controllers_->limit(leaves, limits);
}

Counted Cgroups::counted(const Leaves& leaves) const {
  return controllers_ && leaves ? controllers_->counted(leaves) : Counted{};
}

Leaves Leaves::names() const {
  Leaves names;
  names.name = name;
  names.below_caller = below_caller;
  names.inode = inode;
  names.limited = limited;
  return names;
}

// Removes what other services have left. Runs at the start and again later: a service that
// was killed may have left processes that end only later.
void Cgroups::sweep() {
  swept_ = std::chrono::steady_clock::now();
  sweep_cgroups(mount_ + own_);
  if (controllers_) controllers_->sweep();
  std::erase_if(left_, [this](const Left& left) { return remove(left.leaves); });
}

bool Cgroups::make_base() {
  HeldCgroup base = make_held_cgroup(mount_ + own_, "cloister");
  if (!base.directory) return false;
  base_ = std::move(base.directory);
  directory_ = base.path;
  path_ = directory_.substr(mount_.size());
  if (version_ == 2 && controllers_ && controllers_->in_v2())
    controllers_ = controllers_v2(base_.borrow(), mount_ + own_);
  return true;
}

bool Cgroups::open_base(const std::string& mount, const std::string& own, int version) {
  mount_ = mount;
  own_ = own;
  sweep();
  if (!make_base()) {
    why_not_ = "cannot make a cgroup below " + mount + own + ": " + std::strerror(errno);
    return false;
  }
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
  if (controllers_) controllers_->let_go();
}

void Cgroups::clean_up() {
  for (const CgroupTree& tree : cgroup_trees()) {
    if (tree.version != 2) continue;
    std::optional<std::string> own = tree.place_of(own_cgroups());
    // systemd(1) runs the other commands of a delegated unit (ExecStopPost=, ...) there.
    constexpr std::string_view kControl = "/.control";
    if (!own) continue;
    if (own->ends_with(kControl)) own->resize(own->size() - kControl.size());
    sweep_cgroups(tree.at + *own);
    undo_controllers(tree.at + *own);
  }
}

Leaves Cgroups::make() {
  Leaves spare = std::exchange(spare_, Leaves{});
  return spare && there(spare) ? std::move(spare) : create();
}

bool Cgroups::there(const Leaves& leaves) const {
  return ::faccessat(base_.borrow(), (leaves.name + "/payload").c_str(), F_OK, AT_EACCESS) == 0;
}

void Cgroups::prepare() {
  if (!version_) return;
  if (!spare_) spare_ = create();
  constexpr std::chrono::seconds kPause{5};
  if (std::chrono::steady_clock::now() - swept_ >= kPause) sweep();
}

Leaves Cgroups::create() {
  Leaves leaves;
  const std::string name = "job-" + std::to_string(++next_);
  const std::string payload = name + "/payload";
  // Whoever removes empty cgroups by hand may have removed ours, with no job in it.
  const auto make = [&] { return ::mkdirat(base_.borrow(), name.c_str(), 0755) == 0; };
  const bool made = make() || ((errno == ENOENT || errno == ENODEV) && make_base() && make());
  if (!made || ::mkdirat(base_.borrow(), (name + "/init").c_str(), 0755) < 0 ||
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
    // The caller owns the directory above. It may have removed the leaf while that was
    // empty, and made another of the same name, which is not ours.
    struct stat now {};
    const bool ours = ::stat(leaves.below_caller.c_str(), &now) == 0 && now.st_ino == leaves.inode;
    if (ours && ::rmdir(leaves.below_caller.c_str()) < 0 && errno != ENOENT) return false;
    below_callers_.erase(leaves.below_caller);
  }
  if (leaves.limited && !controllers_->remove(leaves.name)) return false;
  return leaves.name.empty() || remove(leaves.name);
}

bool Cgroups::remove(const std::string& name) {
  for (const std::string& leaf : {name + "/payload", name + "/init", name})
    if (!remove_cgroup(base_.borrow(), leaf)) return false;
  return true;
}

void Cgroups::leave(Leaves leaves, std::shared_ptr<const void> until) {
  left_.push_back({std::move(leaves), std::move(until)});
}

uint64_t Cgroups::cpu_time_us(const Leaves& leaves) {
  constexpr std::string_view kName = "usage_usec ";
  if (!leaves.kill) return plan::kNotMeasured;
  const sys::UniqueFd file = open_at(leaves.payload.borrow(), "cpu.stat", O_RDONLY);
  char text[512];
  const ssize_t size = file ? ::read(file.borrow(), text, sizeof text) : -1;
  if (size < 0 || !std::string_view(text, static_cast<size_t>(size)).starts_with(kName))
    return plan::kNotMeasured;
  uint64_t used = plan::kNotMeasured;
  std::from_chars(text + kName.size(), text + size, used);
  return used;
}

bool Cgroups::kill(const Leaves& leaves) {
  return leaves.kill && ::write(leaves.kill.borrow(), "1", 1) == 1;
}

}  // namespace cloister::monitor
