// What was asked for is read back from the kernel's own list when everything is
// in place: each mount is at its place and has its flags, those below a recursive
// bind have them too, what lies in a locked place is read-only, and nothing but
// the new root hangs on what is not there any more.
//
// The list is all that is asked. A file system of the caller's may answer
// nobody but the caller, fuse(4), so no path is walked for it and no file looked at.
#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>

#include "mountinfo.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::verify_mounts;
// The kernel's own bound is fs.mount-max, 100,000 unless somebody raised it.
constexpr uint32_t kMaxSeen = 1 << 17, kSlots = 1 << 18;

struct Seen {
  uint32_t id, parent;
  uint32_t flags;   // MOUNT_ATTR_* that it has
  uint32_t wanted;  // and that it must have
  uint32_t below;   // and that an unknown mount on it must have
  uint32_t index;   // of the plan's mount, or that it belongs to
  bool known;
  bool listed;  // by the kernel
};

Seen seen[kMaxSeen];
uint32_t slots[kSlots];  // index + 1, by id
uint32_t count;

// The kernel gives the lowest id that is free. So ids are their own best hash:
// they seldom collide, and those of one job lie in a page or two, each of which
// is a fault on its first touch.
Seen* find(uint32_t id) {
  for (uint32_t at = id % kSlots;; at = (at + 1) % kSlots) {
    if (slots[at] == 0) return nullptr;
    if (seen[slots[at] - 1].id == id) return &seen[slots[at] - 1];
  }
}

void insert(uint32_t index) {
  uint32_t at = seen[index].id % kSlots;
  while (slots[at] != 0) at = (at + 1) % kSlots;
  slots[at] = index + 1;
}

struct Word {
  const char* text;
  uint32_t flag;
};
constexpr Word kWords[] = {{"ro", MOUNT_ATTR_RDONLY},
                           {"nosuid", MOUNT_ATTR_NOSUID},
                           {"nodev", MOUNT_ATTR_NODEV},
                           {"noexec", MOUNT_ATTR_NOEXEC},
                           {"noatime", MOUNT_ATTR_NOATIME}};

uint32_t flags_of(const char* from) {
  uint32_t flags = 0;
  while (*from) {
    for (const Word& word : kWords) {
      const size_t size = length(word.text);
      const bool same = starts_with(from, word.text);
      if (same && (from[size] == ',' || !from[size])) flags |= word.flag;
    }
    while (*from && *from != ',') ++from;
    if (*from == ',') ++from;
  }
  return flags;
}

// Whether `point` is this place, or with `above` a directory on the way to it.
bool is_place(const char* point, const char* place, bool above) {
  while (*point && *point == *place) ++point, ++place;
  return !*point && (!*place || (above && *place == '/'));
}

// One of the plan's that is somewhere else got there by a link that nobody
// planned, and may hide what lies there or be hidden.
void take(Job& job, const MountLine& line) {
  Seen* entry = find(line.id);
  if (!entry) {
    if (count == kMaxSeen) fail(job, kStep, EOVERFLOW);
    entry = &seen[count];
    *entry = {};
    entry->id = line.id;
    insert(count++);
  }
  entry->parent = line.parent;
  if (entry->known) {
    const plan::Mount& mount = job.plan().at(job.header().mounts, entry->index);
    if (!is_place(line.point, job.plan().c_str(mount.at), job.over_closed[entry->index]))
      fail(job, kStep, EXDEV, entry->index);
  }
  entry->listed = true;
  entry->flags = flags_of(line.options);
}

// What is mounted on one that was cloned with all below it came with it; on the
// /dev of the job nothing is but devices, terminals and shared memory.
uint32_t below(const plan::Mount& mount) {
  using plan::MountKind;
  const bool whole = mount.kind == MountKind::bind || mount.kind == MountKind::lock;
  if (whole) return plan::restrictions_of(mount.kind, mount.flags);
  return mount.kind == MountKind::dev ? MOUNT_ATTR_NOSUID : 0;
}

void expect(Job& job) {
  const plan::Header& h = job.header();
  for (uint32_t i = 0; i < h.mounts.count; ++i) {
    if (job.mount_ids[i] == 0) continue;  // no mount: a symlink, or one that was left out
    const plan::Mount& mount = job.plan().at(h.mounts, i);
    Seen& entry = seen[count];
    entry = {};
    entry.id = job.mount_ids[i];
    entry.known = true;
    entry.index = i;
    entry.wanted = plan::restrictions_of(mount.kind, mount.flags);
    entry.below = below(mount);
    insert(count++);
  }
}

// The kernel lists a mount before those on it nearly always, so one pass is
// nearly always enough.
void inherit(Job& job) {
  for (bool more = true; more;) {
    more = false;
    bool any = false;
    for (uint32_t i = 0; i < count; ++i) {
      Seen& entry = seen[i];
      if (entry.known) continue;
      const Seen* parent = find(entry.parent);
      if (parent && !parent->known) {
        more = true;
        continue;
      }
      entry.known = any = true;
      entry.index = parent ? parent->index : kNone;
      entry.wanted = entry.below = parent ? parent->below : 0;
    }
    if (more && !any) fail(job, kStep, ELOOP);
  }
}

bool is_lock(Job& job, uint32_t index) {
  return index != kNone && job.plan().at(job.header().mounts, index).kind == plan::MountKind::lock;
}

// What lies in a locked place, at whatever depth, must be read-only.
void look_for_locks(Job& job) {
  bool any = false;
  for (uint32_t i = 0; i < job.header().mounts.count; ++i) any |= is_lock(job, i);
  if (!any) return;
  for (uint32_t i = 0; i < count; ++i)
    for (const Seen* at = find(seen[i].parent); at; at = find(at->parent)) {
      if (is_lock(job, at->index)) seen[i].wanted |= MOUNT_ATTR_RDONLY;
      if (at->parent == at->id) break;
    }
}

}  // namespace

// Without a word to the file system, which may answer nobody but its user: the
// number of the mount is the kernel's own, and comes unasked (Linux 5.8).
long mount_of(int fd, struct statx& status) {
  constexpr int kFlags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  return call(Call::statx, fd, "", kFlags, 0, &status);
}

uint32_t mount_id(Job& job, uint32_t index, int tree) {
  struct statx status {};
  must(job, kStep, mount_of(tree, status), index);
  if (!(status.stx_mask & STATX_MNT_ID)) fail(job, kStep, ENOSYS, index);
  return static_cast<uint32_t>(status.stx_mnt_id);
}

void verify_mounts(Job& job) {
  job.step = kStep;
  expect(job);
  each_mount(job, kStep, [&](const MountLine& line) { take(job, line); });
  inherit(job);
  look_for_locks(job);
  uint32_t roots = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (!seen[i].listed) fail(job, kStep, ENOENT, seen[i].index);
    if (!find(seen[i].parent)) ++roots;
    if ((seen[i].flags & seen[i].wanted) != seen[i].wanted) fail(job, kStep, EPERM, seen[i].index);
  }
  // A second one would be the old root, or something on it.
  if (roots != 1) fail(job, kStep, EBUSY);
}

}  // namespace cloister::init
