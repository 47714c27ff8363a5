// Mount sources: what the client opened becomes a detached mount.
//
// open_tree(OPEN_TREE_CLONE) works only in the mount namespace in which the
// descriptor was opened, and with power over it. As root that is before
// unshare(CLONE_NEWNS). In a user namespace power comes only with the new mount
// namespace: there the path is opened again and has to be the same file.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::sources;

uint64_t attributes_of(const plan::Mount& mount) {
  uint64_t attributes = 0;
  if (mount.flags & plan::kMountReadOnly) attributes |= MOUNT_ATTR_RDONLY;
  if (mount.flags & plan::kMountNoSuid) attributes |= MOUNT_ATTR_NOSUID;
  if (mount.flags & plan::kMountNoDev) attributes |= MOUNT_ATTR_NODEV;
  if (mount.flags & plan::kMountNoExec) attributes |= MOUNT_ATTR_NOEXEC;
  if (mount.flags & plan::kMountNoAtime) attributes |= MOUNT_ATTR_NOATIME;
  return attributes;
}

// The same file by its path; -ESTALE when the path leads elsewhere by now.
long open_again(int fd, const char* path) {
  open_how how{O_PATH | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS};
  const long again = call(Call::openat2, AT_FDCWD, path, &how, sizeof how);
  if (again < 0) return again;
  struct stat then {
  }, now{};
  long result = call(Call::fstat, fd, &then);
  if (result == 0) result = call(Call::fstat, again, &now);
  if (result == 0 && (then.st_dev != now.st_dev || then.st_ino != now.st_ino)) result = -ESTALE;
  if (result == 0) return again;
  close(static_cast<int>(again));
  return result;
}

long clone_tree(int fd, bool recursive) {
  return call(Call::open_tree, fd, "",
              OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_EMPTY_PATH) |
                  (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0));
}

// The monitor's descriptor has no path of the plan's; procfs knows it.
long path_of(const Job& job, int fd, char* path, size_t size) {
  Line<32> link;
  link << "self/fd/" << fd;
  const long got = call(Call::readlinkat, job.proc, link.c_str(), path, size - 1);
  if (got >= 0) path[got] = 0;
  return got;
}

long clone_source(Job& job, const plan::Mount& mount, bool inside) {
  const bool cgroup = mount.kind == plan::MountKind::cgroup_view;
  if (cgroup && !job.has(plan::kPayloadCgroup)) return -ENOENT;
  int fd = cgroup ? plan::kPayloadCgroupFd : job.descriptors[mount.descriptor];
  const bool recursive = !cgroup && (mount.flags & plan::kMountRecursive);
  if (!inside) return clone_tree(fd, recursive);
  static char path[plan::kMaxPath];
  const char* source = path;
  if (cgroup) {
    const long got = path_of(job, fd, path, sizeof path);
    if (got < 0) return got;
  } else {
    source = job.plan().c_str(mount.source);
  }
  const long again = open_again(fd, source);
  if (again < 0) return again;
  const long tree = clone_tree(static_cast<int>(again), recursive);
  close(static_cast<int>(again));
  return tree;
}

}  // namespace

// Sets and reads back: what was asked to be read-only is, or nothing runs.
void restrict_tree(Job& job, Step step, uint32_t index, int tree, uint64_t attributes) {
  mount_attr attr{};
  attr.attr_set = attributes;
  if (attributes & MOUNT_ATTR_NOATIME) attr.attr_clr = MOUNT_ATTR__ATIME;
  attr.propagation = 1 << 18;  // MS_PRIVATE: a clone stays in its source's peer group
  must(job, step,
       call(Call::mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr),
       index);
  struct statfs status {};
  must(job, step, call(Call::fstatfs, tree, &status), index);
  // ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC have the numbers of MOUNT_ATTR_*.
  const uint64_t checked = attributes & 15;
  if ((static_cast<uint64_t>(status.f_flags) & checked) != checked) fail(job, step, EPERM, index);
}

void clone_sources(Job& job) {
  const bool inside = job.has(plan::kFreshUser) || job.joined(Namespace::user);
  if (inside) make_mount_namespace(job);
  job.step = kStep;
  const plan::Header& h = job.header();
  for (uint32_t i = 0; i < h.mounts.count; ++i) {
    const plan::Mount& mount = job.plan().at(h.mounts, i);
    const bool cgroup = mount.kind == plan::MountKind::cgroup_view;
    if (mount.kind != plan::MountKind::bind && !cgroup) continue;
    const long tree = clone_source(job, mount, inside);
    if (tree < 0 && (mount.flags & plan::kMountOptional)) continue;
    job.trees[i] = must_fd(job, kStep, tree, i);
    restrict_tree(job, kStep, i, job.trees[i],
                  cgroup
                      ? MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
                      : attributes_of(mount));
  }
  if (!inside) make_mount_namespace(job);
}

}  // namespace cloister::init
