// The new root: every mount of the plan in list order, then pivot_root(2).
//
// Places are looked up inside the new root only (RESOLVE_IN_ROOT, no magic
// links), and made only on a tmpfs of this job: nothing is ever created in a
// tree of the host's.
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

using plan::Mount;
using plan::MountKind;

constexpr Step kStep = Step::mounts;

class NewRoot {
 public:
  explicit NewRoot(Job& job) : job_(job), h_(job.header()) {}

  void build() {
    call(Call::umask, 0);  // modes below are meant as they are written
    uint32_t first = 0;
    const Mount& root = mount(0);
    if (length(job_.plan().c_str(root.at)) == 1) {
      root_ = root.kind == MountKind::bind ? take_source(0) : new_tree(0, root);
      if (root_ < 0) fail(job_, kStep, EINVAL, 0);
      first = 1;
    } else {
      root_ = new_tmpfs(job_, 0, Mount{.kind = MountKind::tmpfs, .mode = 0755});
    }
    // On top of the old root for now: Linux before 6.15 attaches nothing to a
    // mount that is not attached itself.
    must(job_, kStep, call(Call::move_mount, root_, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), 0);
    for (uint32_t i = first; i < h_.mounts.count; ++i) attach(i, mount(i));
    for (uint32_t i = 0; i < h_.mounts.count; ++i) seal(i, mount(i));
  }

  void enter() {
    job_.step = Step::pivot;
    must(job_, Step::pivot, call(Call::fchdir, root_));
    // The old root ends up on top of the new one and goes at once, pivot_root(2).
    must(job_, Step::pivot, call(Call::pivot_root, ".", "."));
    constexpr int kDetach = 2;  // MNT_DETACH
    must(job_, Step::pivot, call(Call::umount2, ".", kDetach));
    must(job_, Step::pivot, call(Call::chdir, "/"));
    close(root_);
  }

 private:
  const Mount& mount(uint32_t i) const { return job_.plan().at(h_.mounts, i); }
  const char* at(const Mount& mount) const { return job_.plan().c_str(mount.at); }

  int take_source(uint32_t i) {
    const int tree = job_.trees[i];
    job_.trees[i] = 0;
    return tree;
  }

  // A detached mount of the kinds that are filesystems; -1 for the others.
  int new_tree(uint32_t i, const Mount& mount) {
    switch (mount.kind) {
      case MountKind::tmpfs:
      case MountKind::scratch:
      case MountKind::dev: return new_tmpfs(job_, i, mount);
      case MountKind::proc: return new_proc(job_, i);
      default: return -1;
    }
  }

  long open_inside(const char* path, uint64_t flags = 0) const {
    open_how how{O_PATH | O_CLOEXEC | flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return call(Call::openat2, root_, path, &how, sizeof how);
  }

  bool is_ours(int fd) const {
    struct stat status {};
    if (call(Call::fstat, fd, &status) < 0) return false;
    for (uint32_t i = 0; i < job_.own_device_count; ++i)
      if (job_.own_devices[i] == status.st_dev) return true;
    return false;
  }

  // Opens the directory that holds the last name of `path`, made on the way
  // where that is ours to do, and points `name` at that last name.
  long open_parent(const char* path, const char*& name) const {
    static char prefix[plan::kMaxPath];
    const size_t whole = length(path);
    size_t end = whole;
    while (end > 0 && path[end - 1] == '/') --end;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') --begin;
    if (begin == end) return -EEXIST;  // "/" itself
    name = path + begin;
    long parent = open_inside("/");
    for (size_t at = 1; parent >= 0 && at < begin; ++at) {
      prefix[at - 1] = path[at - 1];
      if (path[at] != '/' || path[at - 1] == '/') continue;
      prefix[at] = 0;
      long next = open_inside(prefix, O_DIRECTORY);
      if (next == -ENOENT) {
        size_t last = at;
        while (last > 0 && prefix[last - 1] != '/') --last;
        next = make(static_cast<int>(parent), prefix + last, 0755, false);
        if (next == 0) next = open_inside(prefix, O_DIRECTORY);
      }
      close(static_cast<int>(parent));
      parent = next;
    }
    return parent;
  }

  long make(int parent, const char* name, uint32_t mode, bool file) const {
    if (!is_ours(parent)) return -ENOENT;
    return file ? call(Call::mknodat, parent, name, S_IFREG | mode, 0)
                : call(Call::mkdirat, parent, name, mode);
  }

  // The place to mount at.
  long place(const char* path, bool file, uint32_t mode) const {
    const long found = open_inside(path);
    if (found != -ENOENT) return found;
    const char* name = nullptr;
    const long parent = open_parent(path, name);
    if (parent < 0) return parent;
    const long made = make(static_cast<int>(parent), name, mode, file);
    close(static_cast<int>(parent));
    return made < 0 ? made : open_inside(path);
  }

  long link(const Mount& mount) const {
    const char* name = nullptr;
    const long parent = open_parent(at(mount), name);
    if (parent < 0) return parent;
    long made = -ENOENT;
    if (is_ours(static_cast<int>(parent)))
      made = call(Call::symlinkat, job_.plan().c_str(mount.data), parent, name);
    close(static_cast<int>(parent));
    return made;
  }

  // Takes over `place`.
  long give_to_payload(int place) const {
    const Owner owner = payload_outside(job_);
    const long given =
        is_ours(place) ? call(Call::fchownat, place, "", owner.uid, owner.gid, AT_EMPTY_PATH) : 0;
    close(place);
    return given;
  }

  long try_attach(uint32_t i, const Mount& mount) {
    if (mount.kind == MountKind::symlink) return link(mount);
    const uint32_t mode = mount.kind == MountKind::dir && mount.mode ? mount.mode : 0755;
    const bool file = (mount.flags & plan::kMountIsFile) != 0;
    const long place_fd = place(at(mount), file, file ? mode & 0666 : mode);
    if (place_fd < 0) return place_fd;
    if (mount.kind == MountKind::dir) return give_to_payload(static_cast<int>(place_fd));
    if (job_.trees[i] == 0) job_.trees[i] = new_tree(i, mount);
    const long moved = call(Call::move_mount, job_.trees[i], "", place_fd, "",
                            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    close(static_cast<int>(place_fd));
    if (moved == 0 && mount.kind == MountKind::dev) fill_dev(job_, i, job_.trees[i]);
    return moved;
  }

  void attach(uint32_t i, const Mount& mount) {
    const bool cloned = mount.kind == MountKind::bind || mount.kind == MountKind::cgroup_view;
    if (cloned && job_.trees[i] == 0) return;  // optional, and its source is not there
    const long result = try_attach(i, mount);
    if (result < 0 && !(mount.flags & plan::kMountOptional)) fail(job_, kStep, -result, i);
  }

  // What we made ourselves turns read-only when everything inside is in place.
  void seal(uint32_t i, const Mount& mount) {
    const bool made = mount.kind != MountKind::bind && mount.kind != MountKind::cgroup_view;
    const bool is_root = i == 0 && length(at(mount)) == 1;
    const int tree = is_root ? root_ : job_.trees[i];
    if (made && (mount.flags & plan::kMountReadOnly) && tree > 0) seal_one(i, tree);
    if (job_.trees[i] > 0) close(job_.trees[i]);
  }

  // Not recursive: what is mounted inside keeps its own flags.
  void seal_one(uint32_t i, int tree) {
    mount_attr attr{};
    attr.attr_set = MOUNT_ATTR_RDONLY;
    must(job_, kStep, call(Call::mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr), i);
  }

  Job& job_;
  const plan::Header& h_;
  int root_ = -1;
};

}  // namespace

void attach_mounts(Job& job) {
  if (job.header().mounts.count == 0) return;
  job.step = kStep;
  if (!job.fresh(Namespace::mnt)) fail(job, kStep, EINVAL);  // it would be the host's
  NewRoot root(job);
  root.build();
  root.enter();
}

}  // namespace cloister::init
