// overlayfs: lower directories of the client's, and changes that go into
// directories of the client's or are gone with the job.
//
// Layers are named by descriptors, so that no path of a client's is looked up
// or escaped. Before Linux 6.15 a layer has to be of the caller's own mount
// namespace, and upper and work have to lie below one mount. So an overlay with
// an upper directory is made where sources are cloned, from what the client
// opened; one without is made after that, from clones attached to the staging
// area, where the changes go as well.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "filesystem.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::overlay;
constexpr size_t kMaxOption = 256;  // of fsconfig(2), NUL included

// Kernel-made trees decide on access by who opens a file, and below an overlay
// that is always init.
constexpr long kNoLayers[] = {0x9fa0 /* proc */,        0x62656572 /* sysfs */,
                              0x63677270 /* cgroup2 */, 0x27e0eb /* cgroup */,
                              0x64626720 /* debugfs */, 0x74726163 /* tracefs */,
                              0x73636673 /* securityfs */};

class Overlay {
 public:
  Overlay(Job& job, uint32_t index, const plan::Mount& mount)
      : job_(job), index_(index), mount_(mount) {}

  int make() {
    check(call(Call::fchdir, job_.proc));  // "self/fd/N" leads to a descriptor from here
    const bool thrown_away = !has_upper(job_, mount_);
    // Read-only comes when what is mounted inside has its place.
    uint64_t attributes = (attributes_of(mount_) | kQuiet) & ~uint64_t{MOUNT_ATTR_RDONLY};
    for (uint32_t i = 0; i < mount_.layers.count; ++i) {
      attributes |= inspect(i);
      if (thrown_away) attach(i);
    }
    Filesystem fs("overlay");
    lower(fs);
    int upper = -1, work = -1;
    if (thrown_away) {
      upper = changes();
      work = directory("work", 0700);
    } else {
      for (uint32_t i = 0; i < mount_.layers.count; ++i) {
        if (at(i).role == plan::LayerRole::upper) upper = fd_of(i);
        if (at(i).role == plan::LayerRole::work) work = fd_of(i);
      }
      must_be_empty(work);
    }
    fs.option("upperdir", path(upper).c_str()).option("workdir", path(work).c_str());
    // trusted.* attributes need power over the host, user.* ones do not.
    if (job_.has(plan::kFreshUser) || job_.joined(Namespace::user)) fs.flag("userxattr");
    const long tree = fs.mount(attributes);
    if (thrown_away) {
      close(upper);
      close(work);
      return remember(job_, index_, tree, kStep);
    }
    return static_cast<int>(check(tree));
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

  int directory(const char* what, uint32_t mode) {
    const auto called = name(what);
    check(call(Call::mkdirat, job_.staging, called.c_str(), mode));
    return static_cast<int>(check(call(Call::openat, job_.staging, called.c_str(),
                                       O_PATH | O_DIRECTORY | O_CLOEXEC)));
  }

  // What the overlay takes over from the layer's mount: the files in it are
  // the same, so a noexec must not be lost.
  uint64_t inspect(uint32_t i) {
    struct statfs kind {};
    check(call(Call::fstatfs, fd_of(i), &kind));
    for (const long magic : kNoLayers)
      if (kind.f_type == magic) fail(job_, kStep, EINVAL, index_);
    return static_cast<uint64_t>(kind.f_flags) & MOUNT_ATTR_NOEXEC;
  }

  void attach(uint32_t i) {
    Line<48> called = name("layer");
    called << "." << i;
    check(call(Call::mkdirat, job_.staging, called.c_str(), 0700));
    check(call(Call::move_mount, fd_of(i), "", job_.staging, called.c_str(),
               MOVE_MOUNT_F_EMPTY_PATH));
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

  // Where changes go that are gone with the job. The overlay's own root looks
  // like this directory, so this one looks like the topmost lower one.
  int changes() {
    struct stat top {};
    check(call(Call::fstat, fd_of(0), &top));
    const auto called = name("changes");
    const int made = directory("changes", 0700);
    const long owned =
        call(Call::fchownat, made, "", top.st_uid, top.st_gid, AT_EMPTY_PATH);
    // Rootless: the owner may have no number in here, and it stays ours.
    const bool unmapped = owned == -EINVAL && job_.has(plan::kFreshUser);
    if (!unmapped) check(owned);
    check(call(Call::fchmodat, job_.staging, called.c_str(), top.st_mode & 07777));
    return made;
  }

  // The kernel empties "work" inside it with init's power, and what lies there
  // need not be the client's to remove. An overlay before may have left it empty.
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
    const int directory =
        static_cast<int>(check(open_by_rules(at, path, how)));
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

bool has_upper(const Job& job, const plan::Mount& mount) {
  for (uint32_t i = 0; i < mount.layers.count; ++i)
    if (job.plan().at(mount.layers, i).role == plan::LayerRole::upper) return true;
  return false;
}

int new_overlay(Job& job, uint32_t index, const plan::Mount& mount) {
  return Overlay(job, index, mount).make();
}

}  // namespace cloister::init
