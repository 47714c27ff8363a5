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
#include <linux/stat.h>

#include "filesystem.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::sources;

// The same file by its path; -ESTALE when the path leads elsewhere by now.
long open_same(int fd, const char* path) {
  open_how how{O_PATH | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS};
  const long again = open_by_rules(AT_FDCWD, path, how);
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

// A descriptor of the monitor's has no path of the plan's; procfs knows it.
long path_of(const Job& job, int fd, char* path, size_t size) {
  Line<32> link;
  link << "self/fd/" << fd;
  const long got = call(Call::readlinkat, job.proc, link.c_str(), path, size - 1);
  if (got >= 0) path[got] = 0;
  return got;
}

// What is to be cloned, opened where cloning is allowed; it may be `fd` itself.
long reach(const Job& job, int fd, const char* source) {
  return job.is_inside() ? open_again(job, fd, source) : fd;
}

long clone_source(Job& job, uint32_t index, const plan::Mount& mount) {
  const bool cgroup = mount.kind == plan::MountKind::cgroup_view;
  if (cgroup && !job.has(plan::kPayloadCgroup)) {
    if (!(mount.flags & plan::kMountOptional)) return -ENOENT;
    // Left out, the host's tree would show with the names of everybody's jobs.
    return new_tmpfs(job, index, plan::Mount{.kind = plan::MountKind::tmpfs, .mode = 0555});
  }
  const int fd = cgroup ? plan::kPayloadCgroupFd : job.descriptors[mount.descriptor];
  const long from = reach(job, fd, cgroup ? nullptr : job.plan().c_str(mount.source));
  if (from < 0) return from;
  const long tree = clone_tree(static_cast<int>(from), mount.flags & plan::kMountRecursive);
  if (from != fd) close(static_cast<int>(from));
  return tree;
}

// The lower layers of an overlay take the places of what the client passed for
// them. They are cloned without what is mounted in them, because in a user
// namespace the kernel makes no layer of a directory in which something is.
void clone_layers(Job& job, uint32_t index, const plan::Mount& mount) {
  for (uint32_t i = 0; i < mount.layers.count; ++i) {
    const plan::Layer& layer = job.plan().at(mount.layers, i);
    if (layer.role != plan::LayerRole::lower) continue;
    const int fd = job.descriptors[layer.descriptor];
    const int from = must_fd(job, kStep, reach(job, fd, job.plan().c_str(layer.source)), index);
    const int made = must_fd(job, kStep, clone_tree(from, false), index);
    if (mount.uid_map.count || mount.gid_map.count) map_ids(job, index, mount, made);
    restrict_tree(job, kStep, index, made, MOUNT_ATTR_RDONLY);
    if (from != fd) close(from);
    must(job, kStep, call(Call::dup3, made, fd, O_CLOEXEC), index);
    close(made);
  }
}

// A device is what it looks like: a node of a file system in memory, as /dev
// is, on a mount that lets it be one.
void check_device(Job& job, uint32_t index, int tree) {
  constexpr long kTmpfsMagic = 0x01021994, kRamfsMagic = 0x858458f6, kNoDev = 4;
  struct stat status {};
  struct statfs kind {};
  must(job, Step::device, call(Call::fstat, tree, &status), index);
  must(job, Step::device, call(Call::fstatfs, tree, &kind), index);
  if (!S_ISCHR(status.st_mode)) fail(job, Step::device, ENODEV, index);
  if (kind.f_type != kTmpfsMagic && kind.f_type != kRamfsMagic)
    fail(job, Step::device, ENODEV, index);
  if (kind.f_flags & kNoDev) fail(job, Step::device, EACCES, index);
}

// JOB, which the monitor has made for this job: nobody else comes there.
int scratch_of(const Job& job) {
  return plan::kFirstJoinFd + static_cast<int>(job.order.join_count + job.order.tasks_count);
}

// A directory of the payload's in it.
int new_scratch_on_disk(Job& job, uint32_t index) {
  constexpr Step step = Step::scratch;
  if (!job.has(plan::kScratch)) fail(job, step, EBADF, index);
  const int store = scratch_of(job);
  Line<16> name;
  name << index;
  must(job, step, call(Call::mkdirat, store, name.c_str(), 0700), index);
  const int made = must_fd(
      job, step,
      call(Call::openat, store, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
      index);
  const Owner owner = payload_outside(job);
  must(job, step, call(Call::fchownat, made, "", owner.uid, owner.gid, AT_EMPTY_PATH), index);
  const int from = must_fd(job, step, reach(job, made, nullptr), index);
  const int tree = remember(job, index, clone_tree(from, false), step);
  if (from != made) close(from);
  close(made);
  return tree;
}

}  // namespace

long open_again(const Job& job, int fd, const char* source) {
  static char path[plan::kMaxPath];
  if (source && *source) return open_same(fd, source);
  const long got = path_of(job, fd, path, sizeof path);
  return got < 0 ? got : open_same(fd, path);
}

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
  if (job.is_inside()) make_mount_namespace(job);
  job.step = kStep;
  const plan::Header& h = job.header();
  for (uint32_t i = 0; i < h.mounts.count; ++i) {
    const plan::Mount& mount = job.plan().at(h.mounts, i);
    if (mount.kind == plan::MountKind::overlay) {
      make_client_space(job, i);
      clone_layers(job, i, mount);
    }
    if (plan::is_on_disk(mount)) {
      job.trees[i] = new_scratch_on_disk(job, i);
    } else {
      if (plan::traits_of(mount.kind).origin != plan::Origin::cloned) continue;
      const long tree = clone_source(job, i, mount);
      if (tree < 0 && (mount.flags & plan::kMountOptional)) continue;
      job.trees[i] = must_fd(job, kStep, tree, i);
    }
    if (mount.kind == plan::MountKind::device) check_device(job, i, job.trees[i]);
    if (mount.uid_map.count || mount.gid_map.count || (mount.flags & plan::kMountOwnerCaller))
      map_ids(job, i, mount, job.trees[i]);
    restrict_tree(job, kStep, i, job.trees[i], plan::restrictions_of(mount.kind, mount.flags));
  }
  // The lock on it is the monitor's, and ends with the monitor.
  if (job.has(plan::kScratch)) close(scratch_of(job));
  if (!job.is_inside()) make_mount_namespace(job);
}

}  // namespace cloister::init
