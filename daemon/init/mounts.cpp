// The new root: every mount of the plan in list order, which is the one of
// plan/places.hpp, then pivot_root(2).
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>

#include "places.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

using plan::Mount;
using plan::MountKind;

class NewRoot {
 public:
  explicit NewRoot(Job& job) : job_(job), h_(job.header()) {}

  void build() {
    call(Call::umask, 0);  // modes below are meant as they are written
    if (!job_.is_inside()) take_payloads_groups(job_);
    make_staging(job_);
    uint32_t first = 0;
    const Mount& root = mount(0);
    if (is_root(root)) {
      root_ = root.kind == MountKind::bind ? take_source(0) : new_filesystem(job_, 0, root);
      if (root_ <= 0) fail(job_, Step::mounts, EINVAL, 0);
      first = 1;
    } else {
      root_ = new_tmpfs(job_, 0, Mount{.kind = MountKind::tmpfs, .mode = 0755});
    }
    // On top of the old root for now: Linux before 6.15 attaches nothing to a
    // mount that is not attached itself.
    must(job_, Step::mounts,
         call(Call::move_mount, root_, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), 0);
    for (uint32_t i = first; i < h_.mounts.count; ++i) attach(i, mount(i));
    places().forget();
    // An empty root of our own, which no mount of the plan's names.
    if (first == 0) allow_changes_in(job_, root_);
    for (uint32_t i = 0; i < h_.mounts.count; ++i) seal(i, mount(i));
    if (job_.client_space > 0) close(job_.client_space);
    cover_kernel(job_, root_);
  }

  void enter() {
    job_.step = Step::pivot;
    must(job_, Step::pivot, call(Call::fchdir, root_));
    // The old root ends up on top of the new one and goes at once, pivot_root(2).
    // What is unmounted is always the topmost: the staging area lies on the old root.
    must(job_, Step::pivot, call(Call::pivot_root, ".", "."));
    constexpr int kDetach = 2;  // MNT_DETACH
    if (job_.staging > 0) must(job_, Step::pivot, call(Call::umount2, ".", kDetach));
    must(job_, Step::pivot, call(Call::umount2, ".", kDetach));
    must(job_, Step::pivot, call(Call::chdir, "/"));
    close(root_);
    if (job_.staging > 0) close(job_.staging);
  }

 private:
  const Mount& mount(uint32_t i) const { return job_.plan().at(h_.mounts, i); }
  const char* at(const Mount& mount) const { return job_.plan().c_str(mount.at); }
  bool is_root(const Mount& mount) const { return length(at(mount)) == 1; }
  Places places() const { return Places(job_, root_); }

  int take_source(uint32_t i) {
    const int tree = job_.trees[i];
    job_.trees[i] = 0;
    return tree;
  }

  long link(const Mount& mount) const {
    const char* name = nullptr;
    const long parent = places().open_parent(at(mount), name);
    if (parent < 0) return parent;
    long made = -ENOENT;
    if (places().is_ours(static_cast<int>(parent)))
      made = places().made(
          [&] { return call(Call::symlinkat, job_.plan().c_str(mount.data), parent, name); });
    close(static_cast<int>(parent));
    return made;
  }

  // Takes over `place`.
  long give_to_payload(int place) const {
    const Owner owner = payload_outside(job_);
    const long given = places().is_ours(place)
                           ? call(Call::fchownat, place, "", owner.uid, owner.gid, AT_EMPTY_PATH)
                           : 0;
    close(place);
    return given;
  }

  // Not bound but written where it is seen, on the tmpfs of the job's secrets,
  // so that it is in no other place.
  long put_secret(const Mount& mount) const {
    const char* name = nullptr;
    const long parent = places().open_parent(at(mount), name);
    if (parent < 0) return parent;
    long put = -ENOENT;
    if (places().is_ours(static_cast<int>(parent)))
      put = copy_content(job_.descriptors[mount.descriptor], static_cast<int>(parent), name,
                         mount.mode, payload_outside(job_));
    close(static_cast<int>(parent));
    return put;
  }

  long try_attach(uint32_t i, const Mount& mount) {
    const bool beside = mount.kind == MountKind::bind || mount.kind == MountKind::file;
    if (!beside) places().forget();
    if (mount.kind == MountKind::symlink) return link(mount);
    if (mount.kind == MountKind::secret) return put_secret(mount);
    const bool dir = mount.kind == MountKind::dir;
    const bool file = (mount.flags & plan::kMountIsFile) != 0;
    const uint32_t mode = dir && mount.mode ? mount.mode : file ? 0644 : 0755;
    const long place = places().open_or_make(at(mount), file, mode);
    if (place < 0) return place;
    if (dir) return give_to_payload(static_cast<int>(place));
    if (job_.trees[i] == 0) job_.trees[i] = new_filesystem(job_, i, mount);
    const long moved = call(Call::move_mount, job_.trees[i], "", place, "",
                            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    close(static_cast<int>(place));
    if (moved == 0 && mount.kind == MountKind::dev) fill_dev(job_, i, job_.trees[i]);
    return moved;
  }

  void attach(uint32_t i, const Mount& mount) {
    if (plan::traits_of(mount.kind).origin == plan::Origin::cover)
      return cover(job_, places(), i, mount);
    if (plan::traits_of(mount.kind).origin == plan::Origin::cloned && job_.trees[i] == 0)
      return;  // optional, and its source is not there
    const long result = try_attach(i, mount);
    if (result >= 0) return;
    if (!(mount.flags & plan::kMountOptional))
      fail(job_, plan::traits_of(mount.kind).step, -result, i);
    if (job_.trees[i] > 0) close(take_source(i));  // its place is not there: left out
  }

  // What was made here turns read-only when everything inside is in place.
  void seal(uint32_t i, const Mount& mount) {
    const int tree = i == 0 && is_root(mount) ? root_ : job_.trees[i];
    if (plan::traits_of(mount.kind).origin != plan::Origin::cloned &&
        (mount.flags & plan::kMountReadOnly) && tree > 0)
      seal_one(i, mount, tree);
    if (tree > 0 && (ends_with_job(mount) || is_lent(mount, tree))) allow_changes_in(job_, tree);
    if (tree > 0) job_.mount_ids[i] = mount_id(job_, i, tree);
    if (job_.trees[i] > 0) close(job_.trees[i]);
  }

  bool has_upper(const Mount& mount) const {
    for (uint32_t i = 0; i < mount.layers.count; ++i)
      if (job_.plan().at(mount.layers, i).role == plan::LayerRole::upper) return true;
    return false;
  }

  // What is changed there is gone with the job.
  bool ends_with_job(const Mount& mount) const {
    if (mount.kind == MountKind::overlay) return !has_upper(mount);
    return plan::traits_of(mount.kind).writes == plan::Writes::with_job;
  }

  // Shown as the payload's, and what it makes there is the caller's. A rule on the
  // directory itself would also hold for a descriptor of it that comes from outside
  // the box, without the mount that makes it so. Where the mount point lies on what
  // is the job's own, the rule for that holds here too, and there is no need of one.
  bool is_lent(const Mount& mount, int tree) const {
    const bool writable =
        (mount.flags & plan::kMountOwnerCaller) && !(mount.flags & plan::kMountReadOnly);
    if (mount.kind != MountKind::bind || !writable) return false;
    const long above = call(Call::openat, tree, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (above < 0) return false;
    const bool covered = places().is_ours(static_cast<int>(above));
    close(static_cast<int>(above));
    return !covered;
  }

  // What is mounted inside keeps its own flags, unless the whole is meant.
  void seal_one(uint32_t i, const Mount& mount, int tree) {
    mount_attr attr{};
    attr.attr_set = MOUNT_ATTR_RDONLY;
    const bool lock = mount.kind == MountKind::lock;
    const int whole = lock || (mount.flags & plan::kMountRecursive) ? AT_RECURSIVE : 0;
    must(job_, Step::mounts,
         call(Call::mount_setattr, tree, "", AT_EMPTY_PATH | whole, &attr, sizeof attr), i);
  }

  Job& job_;
  const plan::Header& h_;
  int root_ = -1;
};

}  // namespace

void attach_mounts(Job& job) {
  if (job.header().mounts.count == 0) return;
  job.step = Step::mounts;
  if (!job.fresh(Namespace::mnt)) fail(job, Step::mounts, EINVAL);  // it would be the host's
  NewRoot root(job);
  root.build();
  root.enter();
  verify_mounts(job);
  verify_covers(job);
}

}  // namespace cloister::init
