// masked_paths and readonly_paths: what is there when everything is mounted.
// A path that is not there needs neither.
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

int new_mask(Job& job, uint32_t index, int over) {
  struct stat status {};
  must(job, Step::mask, call(Call::fstat, over, &status), index);
  const int tree = new_empty(job, index, S_ISDIR(status.st_mode));
  restrict_tree(job, Step::mask, index, tree, kDead);
  return tree;
}

int new_lock(Job& job, uint32_t index, int over) {
  const int tree =
      must_fd(job, Step::lock,
              call(Call::open_tree, over, "",
                   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_EMPTY_PATH) |
                       static_cast<unsigned>(AT_RECURSIVE)),
              index);
  restrict_tree(job, Step::lock, index, tree, MOUNT_ATTR_RDONLY);
  return tree;
}

}  // namespace

void cover(Job& job, const Places& places, uint32_t index, const plan::Mount& mount) {
  const bool mask = mount.kind == plan::MountKind::mask;
  const Step step = mask ? Step::mask : Step::lock;
  const long place = places.open(job.plan().c_str(mount.at));
  if (place == -ENOENT || place == -ENOTDIR) return;
  must(job, step, place, index);
  const int over = static_cast<int>(place);
  job.trees[index] = mask ? new_mask(job, index, over) : new_lock(job, index, over);
  must(job, step,
       call(Call::move_mount, job.trees[index], "", over, "",
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
       index);
  close(over);
}

}  // namespace cloister::init
