// Staging: a tmpfs of the job's that the payload never sees. It holds what is
// bound from it or lies below an overlay: contents of files, layers, changes.
//
// It lies on the old root, below the new one, so that it is attached: before
// Linux 6.15 nothing may be cloned from a mount that is not. It is unmounted
// with the old root (mounts.cpp).
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "filesystem.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr int kGetSeals = 1034;                 // F_GET_SEALS
constexpr int kContentSeals = 0x2 | 0x4 | 0x8;  // F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE

}  // namespace

void make_staging(Job& job) {
  const plan::Header& h = job.header();
  for (uint32_t i = 0; i < h.mounts.count; ++i) {
    // A mask that hides a part of the kernel's lies there, too.
    const plan::MountTraits& traits = plan::traits_of(job.plan().at(h.mounts, i).kind);
    if (!job.has(plan::kCoverKernel) && traits.backing != plan::Backing::staging) continue;
    job.staging =
        must_fd(job, Step::mounts, Filesystem("tmpfs").octal("mode", 0700).mount(kQuiet), i);
    must(job, Step::mounts,
         call(Call::move_mount, job.staging, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), i);
    return;
  }
}

// A new file in the directory `at` with the bytes of descriptor `from`. That
// is a memfd which nobody can change any more, and which no read can block on:
// seals say so, and only a memfd has them.
long copy_content(int from, int at, const char* name, uint32_t mode, Owner owner) {
  static char buffer[64 * 1024];
  const long seals = call(Call::fcntl, from, kGetSeals);
  if (seals < 0) return -EINVAL;
  if ((seals & kContentSeals) != kContentSeals) return -EPERM;
  open_how how{O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600,
               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
  const long file = open_by_rules(at, name, how);
  if (file < 0) return file;
  long result = 0;
  for (long done = 0; result == 0;) {
    const long got = call(Call::pread64, from, buffer, sizeof buffer, done);
    if (got <= 0) {
      result = got;
      break;
    }
    for (long put = 0; put < got && result >= 0; put += result)
      result = call(Call::write, file, buffer + put, got - put);
    if (result < 0) break;
    result = 0;
    done += got;
  }
  if (result == 0) result = call(Call::fchownat, file, "", owner.uid, owner.gid, AT_EMPTY_PATH);
  // After the change of owner, which clears bits of the mode, chown(2).
  if (result == 0) result = call(Call::fchmod, file, mode);
  close(static_cast<int>(file));
  return result;
}

// A file with the content of `mount`, to be bound.
int new_file(Job& job, uint32_t index, const plan::Mount& mount) {
  Line<24> name;
  name << "file" << index;
  must(job, Step::content,
       copy_content(job.descriptors[mount.descriptor], job.staging, name.c_str(), mount.mode,
                    payload_outside(job)),
       index);
  const int tree = must_fd(
      job, Step::content,
      call(Call::open_tree, job.staging, name.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), index);
  restrict_tree(job, Step::content, index, tree, plan::restrictions_of(mount.kind, mount.flags));
  return tree;
}

// An empty file or directory, one for all: what masks is never written to.
int new_empty(Job& job, uint32_t index, bool directory) {
  const char* const name = directory ? "nothing" : "empty";
  const long made = directory ? call(Call::mkdirat, job.staging, name, 0755)
                              : call(Call::mknodat, job.staging, name, S_IFREG | 0444, 0);
  if (made != -EEXIST) must(job, Step::mask, made, index);
  return must_fd(job, Step::mask,
                 call(Call::open_tree, job.staging, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
                 index);
}

}  // namespace cloister::init
