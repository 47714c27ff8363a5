// New filesystem instances that have no sources.
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>

#include "filesystem.hpp"
#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

// `own` where the map has no such id, and nothing can be owned by it.
uint32_t outer(const Job& job, Job::Lines map, uint32_t id, uint32_t own) {
  if (!job.fresh(Namespace::user)) return id;
  for (uint32_t i = 0; i < map.count; ++i) {
    const plan::IdMap& line = map.begin[i];
    if (id - line.inside < line.count) return line.outside + (id - line.inside);
  }
  return own;
}

long mount_proc(const plan::Mount& mount) {
  Filesystem fs("proc");
  if (mount.flags & plan::kMountSubsetPid) fs.option("subset", "pid");
  return fs.mount(kQuiet | MOUNT_ATTR_NOEXEC);
}

// A procfs shows the pid namespace of who opens it, and init itself never
// enters a joined one: a child that shares init's descriptors does. `keep` is
// the number at which it leaves the mount.
long mount_proc_of_joined(const plan::Mount& mount, int keep) {
  const long child = fork_process(CLONE_FILES);
  if (child < 0) return child;
  if (child == 0) {
    long result = mount_proc(mount);
    if (result >= 0) result = call(Call::dup3, result, keep, O_CLOEXEC);
    exit(result < 0 ? static_cast<int>(-result) : 0);
  }
  const long result = result_of(child);
  return result < 0 ? result : keep;
}

}  // namespace

// A mount that has only what is this job's: mount points may be made on it.
int remember(Job& job, uint32_t index, long tree, Step step) {
  const int made = must_fd(job, step, tree, index);
  if (job.own_mount_count < plan::kMaxMounts)
    job.own_mounts[job.own_mount_count++] = mount_id(job, index, made);
  return made;
}

// Who is uid and gid 0 in the user namespace that the job has of its own.
static bool has_root(Job::Lines map) {
  for (uint32_t i = 0; i < map.count; ++i)
    if (map.begin[i].inside == 0) return true;
  return false;
}
static Owner root_outside(const Job& job) {
  return {outer(job, job.uid_map(), 0, job.order.mapped_uid),
          outer(job, job.gid_map(), 0, job.order.mapped_gid)};
}

uint32_t group_outside(const Job& job, uint32_t group) {
  return outer(job, job.gid_map(), group, kNone);
}
Owner payload_outside(const Job& job) {
  return {outer(job, job.uid_map(), job.identity.ruid, job.order.mapped_uid),
          outer(job, job.gid_map(), job.identity.rgid, job.order.mapped_gid)};
}

// tmpfs, scratch and the body of /dev. Read-only comes later, when what is
// mounted inside has its place.
int new_tmpfs(Job& job, uint32_t index, const plan::Mount& mount) {
  Filesystem fs("tmpfs");
  const uint64_t attributes =
      plan::restrictions_of(mount.kind, mount.flags) & ~uint64_t{MOUNT_ATTR_RDONLY};
  if (mount.size) fs.option("size", mount.size);
  if (mount.inodes) fs.option("nr_inodes", mount.inodes);
  const bool scratch = mount.kind == plan::MountKind::scratch;
  if (scratch || (has_root(job.uid_map()) && has_root(job.gid_map()))) {
    // Without a number inside nobody could make a file in it but by its mode.
    const Owner owner = scratch ? payload_outside(job) : root_outside(job);
    fs.option("uid", owner.uid).option("gid", owner.gid);
  }
  if (scratch) {
    fs.octal("mode", 0700);
  } else if (mount.kind == plan::MountKind::dev) {
    fs.octal("mode", 0755);
  } else if (mount.mode) {
    fs.octal("mode", mount.mode);
  }
  return remember(job, index, fs.mount(attributes), Step::mounts);
}

static int new_proc(Job& job, uint32_t index, const plan::Mount& mount) {
  if (!job.joined(Namespace::pid)) return must_fd(job, Step::mounts, mount_proc(mount), index);
  const int keep =
      must_fd(job, Step::mounts, call(Call::fcntl, job.proc, F_DUPFD_CLOEXEC, 3), index);
  return must_fd(job, Step::mounts, mount_proc_of_joined(mount, keep), index);
}

// A devpts instance of its own: ptys of the host and of other jobs have other
// numbers. Group tty (5) where that id exists.
int new_devpts(Job& job, uint32_t index) {
  Filesystem fs("devpts");
  fs.option("ptmxmode", "0666").option("mode", "0620");
  if (!job.has(plan::kFreshUser) && !job.joined(Namespace::user)) fs.option("gid", uint64_t{5});
  return must_fd(job, Step::mounts, fs.mount(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), index);
}

// It shows the queues of the ipc namespace of who makes it, mq_overview(7), so
// a new one is made now, and not after the mounts.
static int new_mqueue(Job& job, uint32_t index) {
  make_ipc_namespace(job);
  return must_fd(job, Step::mounts, Filesystem("mqueue").mount(kQuiet | MOUNT_ATTR_NOEXEC), index);
}

int new_shm(Job& job, uint32_t index) {
  return must_fd(job, Step::mounts, Filesystem("tmpfs").octal("mode", 01777).mount(kQuiet), index);
}

int new_filesystem(Job& job, uint32_t index, const plan::Mount& mount) {
  using plan::MountKind;
  switch (mount.kind) {
    case MountKind::tmpfs:
    case MountKind::scratch:
    case MountKind::dev: return new_tmpfs(job, index, mount);
    case MountKind::proc: return new_proc(job, index, mount);
    case MountKind::devpts: return new_devpts(job, index);
    case MountKind::mqueue: return new_mqueue(job, index);
    case MountKind::file: return new_file(job, index, mount);
    case MountKind::overlay: return new_overlay(job, index, mount);
    case MountKind::bind:
    case MountKind::cgroup_view:
    case MountKind::device:
    case MountKind::symlink:
    case MountKind::dir:
    case MountKind::secret:
    case MountKind::mask:
    case MountKind::lock:
    case MountKind::count_: return -1;
  }
  return -1;
}

}  // namespace cloister::init
