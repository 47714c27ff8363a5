// What each kind of mount is, once for the front, the monitor and init.
//
// Freestanding: init reads this too.
#pragma once

#include <stdint.h>

#include "steps.hpp"
#include "use.hpp"

namespace cloister::plan {

inline constexpr uint32_t kMountReadOnly = 1, kMountNoSuid = 2, kMountNoDev = 4, kMountNoExec = 8,
                          kMountNoAtime = 16, kMountRecursive = 32, kMountOptional = 64,
                          kMountIsFile = 128, kMountSubsetPid = 256, kMountOwnerCaller = 512,
                          kMountOnDisk = 1024;
// A mask or a lock in which others are mounted: places for them are made there.
inline constexpr uint32_t kMountHolds = 2048;
inline constexpr uint32_t kMountAllFlags = 4095;
inline constexpr uint32_t kMountQuiet = kMountNoSuid | kMountNoDev,
                          kMountClosed = kMountQuiet | kMountNoExec;

// How init comes by it.
enum class Origin : uint8_t {
  made,    // a file system of the job's
  cloned,  // a mount that was there before, open_tree(2)
  cover,   // over, or of, what is at its place, if anything is
  entry,   // no mount: an entry of a file system that is mounted
};

// What becomes of what the payload writes there.
enum class Writes : uint8_t {
  none,      // nothing can be written
  with_job,  // gone with the job
  stay,      // they stay, but in an overlay without an upper layer
};

// Whether a home directory that is missing is made in it.
enum class HomeIn : uint8_t { never, made, if_writable };

// On what the files that it shows lie.
enum class Backing : uint8_t {
  own,
  staging,  // daemon/init/staging.cpp
};

// X(kind, field of the request, step, origin, use of its descriptor, writes, home in it,
//   backing, flags it always has, flags it never has)
// clang-format off
// Those of which `mounts` of a request has a member, by its name.
#define CLOISTER_REQUEST_MOUNTS(X) \
  /* its descriptor, or source */ \
  X(bind, "mounts", mounts, cloned, mount, stay, never, own, 0, 0) \
  /* size, inodes, mode */ \
  X(tmpfs, "mounts", mounts, made, none, with_job, made, own, kMountQuiet, 0) \
  X(proc, "mounts", mounts, made, none, with_job, never, own, kMountClosed, 0) \
  /* a tmpfs with null zero full random urandom tty ptmx pts shm */ \
  X(dev, "mounts", mounts, made, none, with_job, never, own, kMountClosed, 0) \
  /* to `data` */ \
  X(symlink, "mounts", mounts, entry, none, none, never, own, kMountQuiet, 0) \
  X(dir, "mounts", mounts, entry, none, none, never, own, kMountQuiet, 0) \
  /* the payload's own leaf */ \
  X(cgroup_view, "mounts", mounts, cloned, none, none, never, own, \
    kMountClosed | kMountReadOnly, 0) \
  /* a directory of the payload's alone; on disk with kMountOnDisk */ \
  X(scratch, "mounts", mounts, made, none, with_job, made, own, kMountQuiet, 0) \
  X(devpts, "mounts", mounts, made, none, with_job, never, own, \
    kMountNoSuid | kMountNoExec, 0) \
  /* of the job's ipc namespace */ \
  X(mqueue, "mounts", mounts, made, none, with_job, never, own, kMountClosed, 0) \
  /* a copy of what its descriptor holds */ \
  X(file, "mounts", mounts, made, content, with_job, never, staging, kMountQuiet, 0) \
  X(overlay, "mounts", mounts, made, none, stay, if_writable, staging, kMountQuiet, 0)

// And those that have a field of their own.
#define CLOISTER_MOUNT_KINDS(X) \
  CLOISTER_REQUEST_MOUNTS(X) \
  /* a copy of what its descriptor holds, the payload's, 0400, on a tmpfs of this job */ \
  X(secret, "secrets", secret, entry, content, none, never, own, kMountQuiet, 0) \
  /* the node that its descriptor is */ \
  X(device, "devices", device, cloned, device, with_job, never, own, \
    kMountNoSuid | kMountNoExec, kMountNoDev) \
  /* an empty file or directory */ \
  X(mask, "masked_paths", mask, cover, none, none, never, staging, \
    kMountClosed | kMountReadOnly, 0) \
  /* what is there, read-only */ \
  X(lock, "readonly_paths", lock, cover, none, none, never, own, kMountReadOnly, 0)
// clang-format on

enum class MountKind : uint32_t {
#define X(kind, ...) kind,
  CLOISTER_MOUNT_KINDS(X)
#undef X
      count_
};

struct MountTraits {
  const char* word;   // as `cloister plan` and Inspect name it
  const char* field;  // of the request
  Step step;          // at which init makes it
  Origin origin;
  Use use;  // what its descriptor is for
  Writes writes;
  HomeIn home_in;
  Backing backing;
  uint32_t always, never;  // flags
};

inline constexpr MountTraits kMountTraits[] = {
#define X(kind, field, step, origin, use, writes, home_in, backing, always, never) \
  {#kind,          field,           Step::step,       Origin::origin, Use::use, \
   Writes::writes, HomeIn::home_in, Backing::backing, always,         never},
    CLOISTER_MOUNT_KINDS(X)
#undef X
};

// `kind` has been checked.
inline constexpr const MountTraits& traits_of(MountKind kind) {
  return kMountTraits[static_cast<uint32_t>(kind)];
}

// What a mount is kept from: as init makes it and reads it back, and as a dry run
// shows it. `flags` are the Plan's; all have the numbers of MOUNT_ATTR_*.
inline constexpr uint32_t restrictions_of(MountKind kind, uint32_t flags) {
  const MountTraits& traits = traits_of(kind);
  // A lock leaves the flags of what it locks.
  const uint32_t own = kind == MountKind::lock ? 0
                                               : kMountReadOnly | kMountNoSuid | kMountNoDev |
                                                     kMountNoExec | kMountNoAtime;
  return ((flags & own) | traits.always) & ~traits.never;
}

}  // namespace cloister::plan
