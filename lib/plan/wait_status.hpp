// How a process ended, in the two ways in which the kernel tells it: in parts, as
// waitid(2) does, and whole, as wait4(2) does. The only place that knows both.
#pragma once

#include <stdint.h>

namespace cloister::plan {

// si_code of SIGCHLD, the kernel's CLD_EXITED, CLD_KILLED and CLD_DUMPED.
inline constexpr int32_t kExited = 1, kKilled = 2, kDumped = 3;
inline constexpr int32_t kCoreFlag = 0x80;

struct ChildEnd {
  int32_t code, status;  // si_code; the exit code or the signal
  bool operator==(const ChildEnd&) const = default;
};

constexpr int32_t wait_status_of(ChildEnd end) {
  if (end.code == kExited) return (end.status & 0xff) << 8;
  return end.status | (end.code == kDumped ? kCoreFlag : 0);
}

constexpr ChildEnd child_end_of(int32_t wait_status) {
  const int32_t signal = wait_status & 0x7f;
  if (signal == 0) return {kExited, (wait_status >> 8) & 0xff};
  return {(wait_status & kCoreFlag) ? kDumped : kKilled, signal};
}

}  // namespace cloister::plan
