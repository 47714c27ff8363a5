#include "host/controllers.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "host/cgroup.hpp"
#include "host/cgroup_hold.hpp"
#include "host/cgroup_tree.hpp"

namespace cloister::monitor {
namespace {

using plan::Limits;

bool put(int directory, const std::string& file, const std::string& value) {
  const sys::UniqueFd fd = open_at(directory, file, O_WRONLY);
  return fd &&
         ::write(fd.borrow(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

std::string get(int directory, const std::string& file) {
  const sys::UniqueFd fd = open_at(directory, file, O_RDONLY);
  char text[1024];
  const ssize_t size = fd ? ::read(fd.borrow(), text, sizeof text) : -1;
  return {text, static_cast<size_t>(size < 0 ? 0 : size)};
}

// The number that begins `text`; plan::kNotMeasured if none does.
uint64_t number_at(std::string_view text) {
  uint64_t value = plan::kNotMeasured;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The number in the line "NAME NUMBER"; plan::kNotMeasured if there is no such line.
uint64_t number_of(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.starts_with(name) && line.substr(name.size()).starts_with(' '))
      return number_at(line.substr(name.size() + 1));
  }
  return plan::kNotMeasured;
}

uint64_t or_zero(uint64_t counted) { return counted == plan::kNotMeasured ? 0 : counted; }

// Processor time (the quota) in each period, both in us. The kernel takes no quota below
// 1 ms, and no period above 1 s.
struct Bandwidth {
  std::string quota, period;
  explicit Bandwidth(uint64_t cpu_us) {
    constexpr uint64_t kLeast = 1000, kFactor = 10;
    const bool small = cpu_us < kLeast;
    quota = std::to_string(small ? cpu_us * kFactor : cpu_us);
    period = std::to_string(small ? plan::kCpuPeriodUs * kFactor : plan::kCpuPeriodUs);
  }
};

constexpr uint32_t kMemoryAndSwap = plan::kMemoryThere | plan::kSwapThere;

constexpr struct Controller {
  const char* name;
  uint32_t gives;
} kControllers[] = {
    {"memory", kMemoryAndSwap}, {"pids", plan::kPidsThere}, {"cpu", plan::kCpusThere}};
constexpr const char *kSubtree = "cgroup.subtree_control", *kAside = "cloister-service";

// --- v2 ---------------------------------------------------------------------------

class V2 : public Controllers {
 public:
  V2(int base, std::string above, uint32_t there)
      : base_(base), above_(std::move(above)), there_(there) {}

  bool in_v2() const override { return true; }
  uint32_t limits() const override { return there_; }

  bool limit(Leaves& leaves, const Limits& limits) override {
    std::string wanted;
    if (limits.memory || limits.swap) wanted += "+memory ";
    if (limits.pids) wanted += "+pids ";
    if (limits.cpu_us) wanted += "+cpu ";
    const int leaf = leaves.payload.borrow();
    if (!put(base_, leaves.name + "/" + kSubtree, wanted)) return false;
    if (limits.memory && !put(leaf, "memory.max", std::to_string(limits.memory))) return false;
    if (limits.swap && !put(leaf, "memory.swap.max", std::to_string(limits.swap - 1))) return false;
    if (limits.memory &&
        !put(leaf, "memory.oom.group", limits.on_oom == plan::OnOom::kill_job ? "1" : "0"))
      return false;
    if (limits.pids && !put(leaf, "pids.max", std::to_string(limits.pids))) return false;
    const Bandwidth bandwidth(limits.cpu_us);
    return !limits.cpu_us || put(leaf, "cpu.max", bandwidth.quota + " " + bandwidth.period);
  }

  Counted counted(const Leaves& leaves) const override {
    const int leaf = leaves.payload.borrow();
    Counted seen;
    const std::string events = get(leaf, "memory.events");
    seen.oom.kills = or_zero(number_of(events, "oom_kill"));
    seen.oom.at_limit = or_zero(number_of(events, "oom")) > 0;
    seen.memory_peak = number_at(get(leaf, "memory.peak"));  // Linux 5.19
    seen.pids_peak = number_at(get(leaf, "pids.peak"));      // Linux 6.11
    seen.forks_refused = or_zero(number_of(get(leaf, "pids.events"), "max"));
    seen.cpu_throttled_us = number_of(get(leaf, "cpu.stat"), "throttled_usec");
    return seen;
  }

  bool remove(const std::string&) override { return true; }
  void sweep() override {}
  void let_go() override { undo_controllers(above_); }

 private:
  int base_;
  std::string above_;
  uint32_t there_;
};

// --- v1 ---------------------------------------------------------------------------

class V1 : public Controllers {
 public:
  V1() {
    const std::string own = own_cgroups();
    for (const CgroupTree& tree : cgroup_trees()) {
      if (tree.version != 1) continue;
      const auto place = tree.place_of(own);
      for (Hierarchy& hierarchy : hierarchies_) {
        if (!place || hierarchy.base || !tree.controls(hierarchy.controller)) continue;
        hierarchy.base = base_at(tree.at + *place);
        if (!hierarchy.base) continue;
        there_ |= hierarchy.gives;
        if (hierarchy.gives & plan::kMemoryThere &&
            ::faccessat(hierarchy.at(), kMemorySwap, W_OK, AT_EACCESS) < 0)
          there_ &= ~plan::kSwapThere;  // swapaccount=0
      }
    }
    watch_above();
  }
  ~V1() override {
    for (const Hierarchy& hierarchy : hierarchies_)
      if (hierarchy.base) ::rmdir(hierarchy.base->held.path.c_str());
  }

  bool in_v2() const override { return false; }
  uint32_t limits() const override { return there_; }
  void let_go() override {}
  void sweep() override {
    for (const Hierarchy& hierarchy : hierarchies_)
      if (hierarchy.base) sweep_cgroups(hierarchy.base->above);
  }

  bool limit(Leaves& leaves, const Limits& limits) override {
    leaves.limited = true;
    return (!(limits.memory || limits.swap) || limit_memory(leaves, limits)) &&
           (!limits.pids || limit_pids(leaves, limits)) &&
           (!limits.cpu_us || limit_cpu(leaves, limits));
  }

  Counted counted(const Leaves& leaves) const override {
    Counted seen;
    if (const sys::UniqueFd memory = open(kMemory, leaves.name)) {
      seen.oom.kills = or_zero(number_of(get(memory.borrow(), "memory.oom_control"), "oom_kill"));
      seen.oom.at_limit = leaves.shortages > shortages_above() - leaves.shortages_above;
      seen.memory_peak = number_at(get(memory.borrow(), "memory.max_usage_in_bytes"));
    }
    const sys::UniqueFd pids = open(kPids, leaves.name);
    seen.forks_refused =
        or_zero(number_of(get((pids ? pids : leaves.payload).borrow(), "pids.events"), "max"));
    if (const sys::UniqueFd cpu = open(kCpu, leaves.name)) {
      const uint64_t ns = number_of(get(cpu.borrow(), "cpu.stat"), "throttled_time");
      if (ns != plan::kNotMeasured) seen.cpu_throttled_us = ns / 1000;
    }
    return seen;
  }

  bool remove(const std::string& name) override {
    for (const Hierarchy& hierarchy : hierarchies_)
      if (hierarchy.base && !remove_cgroup(hierarchy.at(), name)) return false;
    return true;
  }

 private:
  enum Kind { kMemory, kPids, kCpu };
  static constexpr const char* kMemorySwap = "memory.memsw.limit_in_bytes";

  struct Base {
    std::string above;  // the cgroup of the daemon
    HeldCgroup held;
  };
  struct Hierarchy {
    const char* controller;
    uint32_t gives;
    std::shared_ptr<Base> base{};  // controllers that are mounted together share one
    int at() const { return base->held.directory.borrow(); }
  };

  std::shared_ptr<Base> base_at(const std::string& above) const {
    for (const Hierarchy& hierarchy : hierarchies_)
      if (hierarchy.base && hierarchy.base->above == above) return hierarchy.base;
    sweep_cgroups(above);
    auto base = std::make_shared<Base>(Base{above, make_held_cgroup(above, "cloister")});
    return base->held.directory ? base : nullptr;
  }

  sys::UniqueFd open(Kind kind, const std::string& name) const {
    if (!hierarchies_[kind].base) return {};
    return open_at(hierarchies_[kind].at(), name, O_RDONLY | O_DIRECTORY);
  }

  // Makes the leaf into which the payload will move itself. Empty with errno.
  sys::UniqueFd make(Kind kind, Leaves& leaves) {
    Hierarchy& hierarchy = hierarchies_[kind];
    if (!hierarchy.base) {
      errno = EOPNOTSUPP;
      return {};
    }
    const auto make_leaf = [&] {
      return ::mkdirat(hierarchy.at(), leaves.name.c_str(), 0755) == 0;
    };
    bool made = make_leaf();
    if (!made && (errno == ENOENT || errno == ENODEV)) {
      // The base is gone: somebody removes empty cgroups by hand. It is made again.
      HeldCgroup again = make_held_cgroup(hierarchy.base->above, "cloister");
      if (!again.directory) return {};
      hierarchy.base->held = std::move(again);
      if (kind == kMemory) watch_above();
      made = make_leaf();
    }
    // Names are never used again, so the leaf that exists was made a moment ago, for a
    // controller that is mounted together with this one.
    const bool shared = !made && errno == EEXIST;
    if (!made && !shared) return {};
    sys::UniqueFd leaf = open(kind, leaves.name);
    if (!leaf || shared) return leaf;
    leaves.hierarchies.push_back(open_at(leaf.borrow(), "tasks", O_WRONLY));
    return leaves.hierarchies.back() ? std::move(leaf) : sys::UniqueFd();
  }

  // An eventfd(2) that counts how often this cgroup, or one above it, has reached its limit
  // of memory and the kernel was about to kill a process of it.
  static sys::UniqueFd oom_events(int cgroup) {
    const sys::UniqueFd control = open_at(cgroup, "memory.oom_control", O_RDONLY);
    sys::UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const bool there = control && event &&
                       put(cgroup, "cgroup.event_control",
                           std::to_string(event.borrow()) + " " + std::to_string(control.borrow()));
    return there ? std::move(event) : sys::UniqueFd();
  }
  // The base has no limit, so its events are those of the cgroups above. The kernel counts
  // an event in the base before it counts it in a job. No file tells whose limit was reached
  // (failcnt stays 0 on Linux 6.18).
  void watch_above() {
    if (hierarchies_[kMemory].base) above_ = oom_events(hierarchies_[kMemory].at());
  }
  uint64_t shortages_above() const {
    uint64_t times = 0;
    if (above_ && ::read(above_.borrow(), &times, sizeof times) == sizeof times)
      shortages_above_ += times;
    return shortages_above_;
  }

  // The limit of memory + swap may not be below that of memory, so memory is set first.
  bool limit_memory(Leaves& leaves, const Limits& limits) {
    constexpr uint64_t kMost = INT64_MAX;  // more than any machine has
    const sys::UniqueFd leaf = make(kMemory, leaves);
    const uint64_t bytes = std::min(limits.memory, kMost);
    const std::string memory = std::to_string(bytes);
    if (!leaf || !put(leaf.borrow(), "memory.limit_in_bytes", memory)) return false;
    if (limits.swap) {
      const uint64_t both = bytes + std::min(limits.swap - 1, kMost - bytes);
      if (!put(leaf.borrow(), kMemorySwap, std::to_string(both))) return false;
    }
    // Buffers of TCP are counted apart; a process that reaches this limit waits. Not every
    // kernel has the file.
    put(leaf.borrow(), "memory.kmem.tcp.limit_in_bytes", memory);
    leaves.shortages_above = shortages_above();
    leaves.oom_event = oom_events(leaf.borrow());
    return bool(leaves.oom_event);
  }

  bool limit_pids(Leaves& leaves, const Limits& limits) {
    const std::string most = std::to_string(limits.pids);
    // Where there is no v2, the leaf itself is in this hierarchy.
    if (leaves.tasks && !leaves.kill) return put(leaves.payload.borrow(), "pids.max", most);
    const sys::UniqueFd leaf = make(kPids, leaves);
    return leaf && put(leaf.borrow(), "pids.max", most);
  }

  bool limit_cpu(Leaves& leaves, const Limits& limits) {
    const sys::UniqueFd leaf = make(kCpu, leaves);
    const Bandwidth bandwidth(limits.cpu_us);
    if (!leaf || !put(leaf.borrow(), "cpu.cfs_period_us", bandwidth.period)) return false;
    // EINVAL: the quota is above that of a parent, which then holds for this cgroup too.
    return put(leaf.borrow(), "cpu.cfs_quota_us", bandwidth.quota) || errno == EINVAL;
  }

  std::array<Hierarchy, 3> hierarchies_ = {
      {{"memory", kMemoryAndSwap}, {"pids", plan::kPidsThere}, {"cpu", plan::kCpusThere}}};
  uint32_t there_ = 0;
  sys::UniqueFd above_;
  mutable uint64_t shortages_above_ = 0;
};

// A cgroup with processes enables no controllers for its children, unless it is the root of
// the tree. A service that is alone in its cgroup moves into a child of it.
bool step_aside(int own) {
  if (get(own, "cgroup.procs") != std::to_string(::getpid()) + "\n") return false;
  if (::mkdirat(own, kAside, 0755) < 0 && errno != EEXIST) return false;
  return put(own, std::string(kAside) + "/cgroup.procs", "0");
}

}  // namespace

std::unique_ptr<Controllers> controllers_v2(int base, const std::string& above) {
  const sys::UniqueFd own = open_at(AT_FDCWD, above, O_RDONLY | O_DIRECTORY);
  if (!own) return nullptr;
  uint32_t there = 0;
  for (const Controller& controller : kControllers) {
    const std::string enable = std::string("+") + controller.name;
    if (!put(own.borrow(), kSubtree, enable) && errno == EBUSY && step_aside(own.borrow()))
      put(own.borrow(), kSubtree, enable);
    // Where that failed, somebody else may have enabled it for the base already.
    if (put(base, kSubtree, enable)) there |= controller.gives;
  }
  if (::access("/proc/swaps", F_OK) < 0) there &= ~plan::kSwapThere;  // CONFIG_SWAP
  return there ? std::make_unique<V2>(base, above, there) : nullptr;
}

std::unique_ptr<Controllers> controllers_v1() {
  auto made = std::make_unique<V1>();
  return made->limits() ? std::move(made) : nullptr;
}

void undo_controllers(const std::string& above) {
  const sys::UniqueFd own = open_at(AT_FDCWD, above, O_RDONLY | O_DIRECTORY);
  if (!own) return;
  for (const Controller& controller : kControllers)
    put(own.borrow(), kSubtree, std::string("-") + controller.name);
  ::unlinkat(own.borrow(), kAside, AT_REMOVEDIR);
}

}  // namespace cloister::monitor
