// masked_paths and readonly_paths. A path that is not there needs neither, unless
// others are mounted in it: then it is made for them, where that is ours to do.
//
// What lies in a directory that is closed to payload and client gets neither of
// itself, or mountinfo would say whether it is there: that directory does, whole.
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>

#include "places.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr uint64_t kDead =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// One in which others are mounted turns read-only when they have their places.
int new_mask(Job& job, uint32_t index, const plan::Mount& mount, int over) {
  if (mount.flags & plan::kMountHolds) {
    constexpr plan::Mount kRoom{
        .kind = plan::MountKind::tmpfs, .flags = plan::kMountNoExec, .mode = 0755};
    return new_tmpfs(job, index, kRoom);
  }
  struct stat status {};
  long looked = call(Call::fstat, over, &status);
  if (looked == -EACCES) looked = look_as_caller(job, over, status);
  must(job, Step::mask, looked, index);
  const int tree = new_empty(job, index, S_ISDIR(status.st_mode));
  restrict_tree(job, Step::mask, index, tree, kDead);
  return tree;
}

// As that of a mask.
int new_lock(Job& job, const Places& places, uint32_t index, const plan::Mount& mount, int over) {
  const int tree =
      must_fd(job, Step::lock,
              call(Call::open_tree, over, "",
                   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_EMPTY_PATH) |
                       static_cast<unsigned>(AT_RECURSIVE)),
              index);
  const bool holds = (mount.flags & plan::kMountHolds) != 0;
  restrict_tree(job, Step::lock, index, tree, holds ? 0 : MOUNT_ATTR_RDONLY);
  if (holds && places.is_ours(over)) remember(job, index, tree, Step::lock);
  return tree;
}

}  // namespace

void cover(Job& job, const Places& places, uint32_t index, const plan::Mount& mount) {
  const bool mask = mount.kind == plan::MountKind::mask;
  const Step step = mask ? Step::mask : Step::lock;
  const char* const at = job.plan().c_str(mount.at);
  long place =
      mount.flags & plan::kMountHolds ? places.open_or_make(at, false, 0755) : places.open(at);
  if (place == -EACCES) {
    place = places.open_closed(at);
    job.over_closed[index] = true;
  }
  if (place == -ENOENT || place == -ENOTDIR) return;
  must(job, step, place, index);
  const int over = static_cast<int>(place);
  job.trees[index] =
      mask ? new_mask(job, index, mount, over) : new_lock(job, places, index, mount, over);
  must(job, step,
       call(Call::move_mount, job.trees[index], "", over, "",
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
       index);
  close(over);
}

}  // namespace cloister::init
