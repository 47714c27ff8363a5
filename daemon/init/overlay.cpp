// overlayfs: lower directories of the client's, and changes that go into
// directories of the client's or are gone with the job.
//
// An overlay acts below itself with the credentials of the process that made
// it, as long as it is there: it looks up names, opens files, and copies owners,
// modes and attributes from the lower ones to the upper. So init must not make
// it: a process for it alone does, that is the client (make_client_space). What
// the client may not read there is not read (EACCES), and a file of somebody
// else's is not copied up (EOVERFLOW; Linux 6.2, 6.1.9).
//
// Layers are named by descriptors, so that no path of a client's is escaped.
// Before Linux 6.15 a layer has to be of the caller's own mount namespace. That
// process has one of its own: it attaches there what init has cloned, and opens
// upper and work, which have to lie below one mount, by their paths.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>

#include "filesystem.hpp"
#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::overlay;
constexpr size_t kMaxOption = 256;  // of fsconfig(2), NUL included

// Kernel-made trees decide on access by who opens a file, and below an overlay
// that is always the client, also where the payload is not.
constexpr long kNoLayers[] = {0x9fa0 /* proc */,
                              0x62656572 /* sysfs */,
                              0x63677270 /* cgroup2 */,
                              0x27e0eb /* cgroup */,
                              0x64626720 /* debugfs */,
                              0x74726163 /* tracefs */,
                              0x73636673 /* securityfs */};

class Overlay {
 public:
  Overlay(Job& job, uint32_t index, const plan::Mount& mount)
      : job_(job), index_(index), mount_(mount) {}

  int make() {
    const bool thrown_away = !find(plan::LayerRole::upper);
    // Read-only comes when what is mounted inside has its place.
    uint64_t attributes =
        plan::restrictions_of(mount_.kind, mount_.flags) & ~uint64_t{MOUNT_ATTR_RDONLY};
    for (uint32_t i = 0; i < mount_.layers.count; ++i) attributes |= inspect(i);
    const int changes = thrown_away ? new_changes() : -1;
    const auto tree = static_cast<int>(check(call(Call::fcntl, job_.proc, F_DUPFD_CLOEXEC, 3)));
    const long child = check(fork_process(CLONE_FILES));
    if (child == 0) mount_as_client(changes, attributes, tree);
    check(result_of(child));
    if (!thrown_away) return tree;
    close(changes);
    return remember(job_, index_, tree, kStep);
  }

 private:
  long check(long result) { return must(job_, kStep, result, index_); }
  const plan::Layer& at(uint32_t i) const { return job_.plan().at(mount_.layers, i); }
  int fd_of(uint32_t i) const { return job_.descriptors[at(i).descriptor]; }

  static Line<32> path(int fd) {
    Line<32> text;
    text << "self/fd/" << fd;
    return text;
  }
  Line<48> name(const char* what) const {
    Line<48> text;
    text << what << index_;
    return text;
  }

  const plan::Layer* find(plan::LayerRole role) const {
    for (uint32_t i = 0; i < mount_.layers.count; ++i)
      if (at(i).role == role) return &at(i);
    return nullptr;
  }

  // --- a process of its own, which shares init's descriptors ----------------------

  [[noreturn]] void mount_as_client(int changes, uint64_t attributes, int tree) {
    job_.in_helper = true;
    const int space = job_.client_space;
    if (space > 0) check(call(Call::setns, space, CLONE_NEWUSER));
    check(call(Call::unshare, CLONE_NEWNS));
    if (space > 0) {
      become_mapped(job_, job_.order.caller_uid, job_.order.caller_gid);
      const uint64_t powers = job_.order.client_powers;
      check(set_sets({powers, powers, 0}));
    }
    check(call(Call::prctl, PR_SET_PDEATHSIG, kSigKill));
    for (uint32_t i = 0; i < mount_.layers.count; ++i)
      if (at(i).role == plan::LayerRole::lower) attach(fd_of(i));
    if (changes >= 0) attach(changes);
    const int upper = changes >= 0 ? directory(changes, "upper") : again(plan::LayerRole::upper);
    const int work = changes >= 0 ? directory(changes, "work") : again(plan::LayerRole::work);
    if (changes < 0) must_be_empty(work);
    check(call(Call::fchdir, job_.proc));  // "self/fd/N" leads to a descriptor from here
    Filesystem fs("overlay");
    lower(fs);
    fs.option("upperdir", path(upper).c_str()).option("workdir", path(work).c_str());
    // trusted.* attributes need power over the host, user.* ones do not; and what
    // the attributes of a medium say about a file's data is not followed.
    fs.flag("userxattr");
    const auto made = static_cast<int>(check(fs.mount(attributes)));
    check(call(Call::dup3, made, tree, O_CLOEXEC));
    close(made);
    close(upper);
    close(work);
    exit(0);
  }

  // Where it can be found does not matter, and "/" is always there.
  void attach(int clone) {
    check(call(Call::move_mount, clone, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
  }

  int directory(int at, const char* name) {
    return static_cast<int>(
        check(call(Call::openat, at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)));
  }

  int again(plan::LayerRole role) {
    const plan::Layer* const layer = find(role);
    if (!layer) fail(job_, kStep, EINVAL, index_);
    return static_cast<int>(check(
        open_again(job_, job_.descriptors[layer->descriptor], job_.plan().c_str(layer->source))));
  }

  // --- init again ------------------------------------------------------------------

  // What the overlay takes over from the layer's mount: the files in it are
  // the same, so a noexec must not be lost.
  uint64_t inspect(uint32_t i) {
    struct statfs kind {};
    check(call(Call::fstatfs, fd_of(i), &kind));
    for (const long magic : kNoLayers)
      if (kind.f_type == magic) fail(job_, kStep, EINVAL, index_);
    return static_cast<uint64_t>(kind.f_flags) & MOUNT_ATTR_NOEXEC;
  }

  // As one option where that has room, which every kernel takes; one by one,
  // since Linux 6.8, where it has not.
  void lower(Filesystem& fs) {
    Line<kMaxOption> all;
    uint32_t count = 0;
    while (count < mount_.layers.count && at(count).role == plan::LayerRole::lower) {
      all << (count ? ":" : "") << path(fd_of(count)).c_str();
      ++count;
    }
    if (!all.overflow()) {
      fs.option("lowerdir", all.c_str());
      return;
    }
    for (uint32_t i = 0; i < count; ++i) fs.option("lowerdir+", path(fd_of(i)).c_str());
  }

  // Where changes go that are gone with the job: "upper" and "work" in a clone of
  // the staging area. The overlay's own root looks like "upper", so that one looks
  // like the topmost lower directory.
  int new_changes() {
    const auto called = name("changes");
    check(call(Call::mkdirat, job_.staging, called.c_str(), 0755));
    const auto changes = static_cast<int>(check(
        call(Call::open_tree, job_.staging, called.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
    struct stat top {};
    check(call(Call::fstat, fd_of(0), &top));
    check(call(Call::mkdirat, changes, "upper", 0700));
    const long owned = call(Call::fchownat, changes, "upper", top.st_uid, top.st_gid, 0);
    // Rootless: the owner may have no number in here, and it stays ours.
    const bool unmapped = owned == -EINVAL && job_.has(plan::kFreshUser);
    if (!unmapped) check(owned);
    check(call(Call::fchmodat, changes, "upper", top.st_mode & 07777));
    check(call(Call::mkdirat, changes, "work", 0700));
    if (!job_.is_inside())
      check(call(Call::fchownat, changes, "work", job_.order.caller_uid, job_.order.caller_gid, 0));
    return changes;
  }

  // The kernel empties "work" inside it, and who names the wrong directory should
  // not lose what is in there. An overlay before may have left it empty.
  void must_be_empty(int work) {
    const Listing in = list(work, ".");
    if (in.names == 0) return;
    if (in.names > 1 || !in.work || list(work, "work").names > 0)
      fail(job_, kStep, ENOTEMPTY, index_);
  }

  struct Listing {
    uint32_t names;
    bool work;  // the name is among them
  };
  Listing list(int at, const char* path) {
    open_how how{O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS};
    const int directory = static_cast<int>(check(open_by_rules(at, path, how)));
    Listing found{};
    alignas(8) char entries[1024];
    const long got = check(call(Call::getdents64, directory, entries, sizeof entries));
    for (long i = 0; i < got;) {
      const char* name = entries + i + 19;  // struct linux_dirent64
      const bool dots = name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
      if (!dots) ++found.names;
      if (length(name) == 4 && starts_with(name, "work")) found.work = true;
      i += *reinterpret_cast<const uint16_t*>(entries + i + 16);
    }
    close(directory);
    return found;
  }

  Job& job_;
  const uint32_t index_;
  const plan::Mount& mount_;
};

}  // namespace

// One for all overlays of a job: each id that the client may be, as itself, and no
// other (daemon/monitor/decide/client_ids.hpp). It is made before anything is mounted on
// the root, because then we would count as in a chroot(2), where there are none.
void make_client_space(Job& job, uint32_t index) {
  if (job.client_space > 0 || job.is_inside()) return;
  job.client_space = new_user_namespace(job, kStep, index, job.client_uids(), job.client_gids());
}

int new_overlay(Job& job, uint32_t index, const plan::Mount& mount) {
  return Overlay(job, index, mount).make();
}

}  // namespace cloister::init
