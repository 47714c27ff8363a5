// The controllers by which the kernel limits what a job takes as a whole: memory, swap,
// processes and processor time. The v2 controllers are used where they are delegated to the
// service, else those of v1 hierarchies, cgroups(7). docs/architecture.md has the differences.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plan/limits.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

struct Leaves;

// What the controllers of a job have counted until now.
struct Counted {
  plan::OutOfMemory oom{};
  uint64_t memory_peak = plan::kNotMeasured, pids_peak = plan::kNotMeasured;
  uint64_t cpu_throttled_us = plan::kNotMeasured;
  uint64_t forks_refused = 0;
};

class Controllers {
 public:
  virtual ~Controllers() = default;
  // True: the leaves below `base` have the limits. False: v1 cgroups of the same name do.
  virtual bool in_v2() const = 0;
  // Which limits can be enforced: plan::kMemoryThere | ...
  virtual uint32_t limits() const = 0;
  // Limits what will be in the payload's leaf. False with errno. What it has made is
  // removed together with the leaves.
  virtual bool limit(Leaves& leaves, const plan::Limits& limits) = 0;
  virtual Counted counted(const Leaves& leaves) const = 0;
  // False while the kernel still holds what limit() made, EBUSY.
  virtual bool remove(const std::string& name) = 0;
  // Removes the cgroups that services that were killed have left.
  virtual void sweep() = 0;
  // Undoes what controllers_v2() has changed in the cgroup above the base. Only after the
  // base has been removed.
  virtual void let_go() = 0;
};

// `base`: the directory of the leaves in a v2 tree, borrowed. `above`: the path of the cgroup
// that contains it. Null where no controller can be enabled there.
std::unique_ptr<Controllers> controllers_v2(int base, const std::string& above);
// Null where no hierarchy can be written.
std::unique_ptr<Controllers> controllers_v1();

// Undoes what a service has changed in its own cgroup `above`, also after it was killed:
// systemd(1) starts nothing in a cgroup that enables controllers for its children.
void undo_controllers(const std::string& above);

}  // namespace cloister::monitor
