// What every mount of a kind is kept from, beside what its flags say: as init
// makes it and reads it back, and as a dry run shows it. Freestanding.
#pragma once

#include "plan.hpp"

namespace cloister::plan {

// kMountReadOnly and so on; they have the numbers of MOUNT_ATTR_*.
inline uint32_t restrictions_of(const Mount& mount) {
  constexpr uint32_t kQuiet = kMountNoSuid | kMountNoDev, kClosed = kQuiet | kMountNoExec;
  const uint32_t said =
      mount.flags & (kMountReadOnly | kMountNoSuid | kMountNoDev | kMountNoExec | kMountNoAtime);
  switch (mount.kind) {
    case MountKind::bind: return said;
    case MountKind::device: return (said | kMountNoSuid | kMountNoExec) & ~kMountNoDev;
    case MountKind::devpts: return said | kMountNoSuid | kMountNoExec;
    case MountKind::lock: return kMountReadOnly;
    case MountKind::cgroup_view:
    case MountKind::mask: return said | kClosed | kMountReadOnly;
    case MountKind::proc:
    case MountKind::mqueue:
    case MountKind::dev: return said | kClosed;
    default: return said | kQuiet;
  }
}

}  // namespace cloister::plan
