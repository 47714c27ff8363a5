// The controllers by which the kernel limits what a job takes as a whole: memory, swap,
// processes and processor time. In the v2 tree where they are delegated to the service;
// else in v1 hierarchies, cgroups(7). What differs is in docs/architecture.md.
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
  // They are below the base that they were found for.
  virtual bool in_v2() const = 0;
  // plan::kMemoryThere | ...
  virtual uint32_t limits() const = 0;
  // Limits what will be in the payload's leaf. False with errno; what was made is removed
  // with the leaves.
  virtual bool limit(Leaves& leaves, const plan::Limits& limits) = 0;
  virtual Counted counted(const Leaves& leaves) const = 0;
  // False while the kernel still holds what limit() made, EBUSY.
  virtual bool remove(const std::string& name) = 0;
  // Removes what services that were killed have left.
  virtual void sweep() = 0;
  // Undoes what finding them has changed outside of the base, which has been removed.
  virtual void let_go() = 0;
};

// `base` is the directory in which the leaves lie, borrowed, in a v2 tree; `above` is the
// path of the cgroup that it is in. Null where no controller can be had there.
std::unique_ptr<Controllers> controllers_v2(int base, const std::string& above);
// Null where no hierarchy can be written.
std::unique_ptr<Controllers> controllers_v1();

// After a service that was killed: what it has changed in the cgroup `above` of its own.
// systemd(1) starts nothing in a cgroup that gives controllers to those below it.
void undo_controllers(const std::string& above);

}  // namespace cloister::monitor
