// /proc/PID/stat, proc_pid_stat(5): the one place that takes it apart.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {

struct ProcessStat {
  char state;  // 'Z': dead, and nobody has reaped it
  pid_t parent;
  unsigned flags;       // PF_*
  int32_t wait_status;  // as wait4(2) has it; of one that is dead, to whoever may trace it

  // Until its exec a process that we forked is our own code (PF_FORKNOEXEC).
  bool executed() const { return (flags & 0x40) == 0; }
};

// The directory /proc/PID. It stays the process's that it was opened for.
sys::UniqueFd open_process(pid_t pid);
// `process`, borrowed, is such a directory. Nothing when the process is gone.
std::optional<ProcessStat> stat_of(int process);

}  // namespace cloister::monitor
