// The kernel's own file systems, for a payload that rules the host: uid 0
// outside, or capabilities in the host's user namespace. What is mounted is read
// from mountinfo, not from the Plan: a bind may bring any of them along, also a
// part or a single file of one (proc_pid_mountinfo(5) says which in `root`).
//
// A mount that another hides is left alone: no path leads there, and the
// payload could take nothing away that it cannot take away here.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "mountinfo.hpp"
#include "places.hpp"
#include "plan/kernel_files.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

using plan::KernelFiles;

constexpr long kReadOnly = 1;  // ST_RDONLY

// The first names of `path` are `prefix`; what follows them, without a slash.
// Both without a slash in front.
const char* behind(const char* path, const char* prefix) {
  if (!*prefix) return path;
  if (!starts_with(path, prefix)) return nullptr;
  path += length(prefix);
  if (*path == '/') return path + 1;
  return *path ? nullptr : path;
}

class Covers {
 public:
  Covers(Job& job, int root, bool act) : job_(job), root_(root), act_(act) {}

  void examine(const MountLine& line) {
    for (const plan::KernelFileSystem& known : plan::kKernelFileSystems) {
      if (!same(line.type, known.type)) continue;
      const long top = Places(job_, root_).open_as_init(line.point);
      if (top < 0) return;  // nobody gets there
      if (mount_id(job_, kNone, static_cast<int>(top)) == line.id)
        treat(line, known.treatment, static_cast<int>(top));
      close(static_cast<int>(top));
      return;
    }
  }

 private:
  static bool same(const char* a, const char* b) { return starts_with(a, b) && !a[length(b)]; }

  void treat(const MountLine& line, KernelFiles how, int top) {
    const bool proc = how == KernelFiles::proc;
    const bool sys = same(line.type, "sysfs");
    if (how == KernelFiles::hide) return hide(top);
    const char* const part = line.root + 1;  // what of the file system is shown
    if (!proc || !is_own_proc(line.id)) lock(top);
    if (proc) {
      // A part of it is never the job's own procfs, and so locked already.
      if (!*part)
        for (const char* name : plan::kLockedInProc) lock_below(top, name);
      for (const char* name : plan::kHiddenInProc) hide_part(top, part, name);
    }
    if (sys)
      for (const char* name : plan::kHiddenInSys) hide_part(top, part, name);
  }

  // Made for this job: there is no more in it than the job may have, but what
  // is the whole kernel's.
  bool is_own_proc(uint32_t id) const {
    const plan::Header& h = job_.header();
    for (uint32_t i = 0; i < h.mounts.count; ++i)
      if (job_.mount_ids[i] == id) return job_.plan().at(h.mounts, i).kind == plan::MountKind::proc;
    return false;
  }

  // `name` of the whole file system, where only `part` of it is shown at `top`.
  void hide_part(int top, const char* part, const char* name) {
    if (behind(part, name)) return hide(top);
    const char* const below = behind(name, part);
    if (!below) return;
    const long place = open_below(top, below);
    if (place < 0) return;
    if (is_same_file_system(top, static_cast<int>(place))) hide(static_cast<int>(place));
    close(static_cast<int>(place));
  }

  void lock_below(int top, const char* name) {
    const long place = open_below(top, name);
    if (place < 0) return;
    const int over = static_cast<int>(place);
    if (is_same_file_system(top, over) && !is_read_only(over)) {
      must_act();
      const int tree =
          must_fd(job_, Step::lock,
                  call(Call::open_tree, over, "",
                       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_EMPTY_PATH) |
                           static_cast<unsigned>(AT_RECURSIVE)));
      restrict_tree(job_, Step::lock, kNone, tree, MOUNT_ATTR_RDONLY);
      put(Step::lock, tree, over);
    }
    close(over);
  }

  // The whole mount, and nothing that is mounted on it.
  void lock(int top) {
    if (is_read_only(top)) return;
    must_act();
    mount_attr attr{};
    attr.attr_set = MOUNT_ATTR_RDONLY;
    must(job_, Step::lock, call(Call::mount_setattr, top, "", AT_EMPTY_PATH, &attr, sizeof attr));
  }

  void hide(int over) {
    must_act();
    struct stat status {};
    must(job_, Step::mask, call(Call::fstat, over, &status));
    const int tree = new_empty(job_, kNone, S_ISDIR(status.st_mode));
    restrict_tree(job_, Step::mask, kNone, tree,
                  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
                      MOUNT_ATTR_NOATIME);
    put(Step::mask, tree, over);
  }

  void put(Step step, int tree, int over) {
    must(job_, step,
         call(Call::move_mount, tree, "", over, "",
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
    close(tree);
  }

  // When everything is in place, what is still to be done was not done.
  void must_act() {
    if (!act_) fail(job_, Step::verify_mounts, EPERM);
  }

  // What another one lies over is hidden, or has a line of its own.
  bool is_same_file_system(int top, int place) {
    struct stat above {
    }, found{};
    must(job_, Step::lock, call(Call::fstat, top, &above));
    must(job_, Step::lock, call(Call::fstat, place, &found));
    return above.st_dev == found.st_dev;
  }

  long open_below(int top, const char* name) const {
    open_how how{O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    return call(Call::openat2, top, name, &how, sizeof how);
  }

  bool is_read_only(int fd) {
    struct statfs status {};
    must(job_, Step::lock, call(Call::fstatfs, fd, &status));
    return (status.f_flags & kReadOnly) != 0;
  }

  Job& job_;
  const int root_;
  const bool act_;
};

}  // namespace

static void examine_all(Job& job, int root, bool act) {
  if (!job.has(plan::kCoverKernel)) return;
  job.step = act ? Step::lock : Step::verify_mounts;
  Covers covers(job, root, act);
  each_mount(job, job.step, [&](const MountLine& line) { covers.examine(line); });
}

void cover_kernel(Job& job, int root) { examine_all(job, root, true); }

void verify_covers(Job& job) {
  const int root = must_fd(job, Step::verify_mounts,
                           call(Call::openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  examine_all(job, root, false);
  close(root);
}

}  // namespace cloister::init
