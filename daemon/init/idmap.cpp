// Mounts that show ids as others: MOUNT_ATTR_IDMAP of mount_setattr(2), Linux
// 5.12.
//
// The kernel takes the map from a user namespace. That is made by a child that
// does nothing else and ends when its maps are read: a namespace that runs
// nothing, made for one mount.
#include <asm/errno.h>
#include <asm/siginfo.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "kernel.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::idmap;

using MapText = Line<plan::kMaxMapLines * 33 + 1>;

// Where the payload's user namespace comes later, its ids are other numbers
// until then. A line has to lie within one of the namespace's own.
bool outer(const Job& job, Job::Lines map, plan::IdMap& line) {
  if (!job.fresh(Namespace::user)) return true;
  for (uint32_t i = 0; i < map.count; ++i) {
    const plan::IdMap& of = map.begin[i];
    const uint32_t skipped = line.inside - of.inside;
    if (line.inside < of.inside || skipped >= of.count || line.count > of.count - skipped) continue;
    line.inside = of.outside + skipped;
    return true;
  }
  return false;
}

// In a map of this kind "inside" is the file system's side.
void add(MapText& text, const plan::IdMap& line) {
  text << line.outside << " " << line.inside << " " << line.count << "\n";
}

void write_map(Job& job, uint32_t index, int process, const char* file, const MapText& text) {
  if (text.overflow()) fail(job, kStep, E2BIG, index);
  const int fd =
      must_fd(job, kStep, call(Call::openat, process, file, O_WRONLY | O_CLOEXEC), index);
  must(job, kStep, call(Call::write, fd, text.c_str(), text.size()), index);
  close(fd);
}

// From here: the child. It shares init's descriptors, so that init finds its
// directory in /proc at the number `keep`, and stops until init has read it.
[[noreturn]] void offer_namespace(const Job& job, int keep) {
  const long self = call(Call::openat, job.proc, "self", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (self < 0) exit(static_cast<int>(-self));
  const long kept = call(Call::dup3, self, keep, O_CLOEXEC);
  if (kept < 0) exit(static_cast<int>(-kept));
  close(static_cast<int>(self));
  call(Call::kill, call(Call::getpid), kSigStop);
  exit(0);
}

void set(Job& job, uint32_t index, int tree, int process) {
  const int space =
      must_fd(job, kStep, call(Call::openat, process, "ns/user", O_RDONLY | O_CLOEXEC), index);
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_IDMAP;
  attr.userns_fd = static_cast<uint64_t>(space);
  must(job, kStep,
       call(Call::mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr),
       index);
  close(space);
}

void end(Job& job, uint32_t index, long child) {
  siginfo_t info{};
  must(job, kStep, call(Call::kill, child, kSigKill), index);
  must(job, kStep, call(Call::waitid, P_PID, child, &info, WEXITED, nullptr), index);
}

}  // namespace

void map_ids(Job& job, uint32_t index, const plan::Mount& mount, int tree) {
  static MapText uids, gids;
  uids = {};
  gids = {};
  if (mount.flags & plan::kMountOwnerCaller) {
    const Owner payload = payload_outside(job);
    if (payload.uid == job.order.caller_uid && payload.gid == job.order.caller_gid) return;
    add(uids, {payload.uid, job.order.caller_uid, 1});
    add(gids, {payload.gid, job.order.caller_gid, 1});
  }
  for (uint32_t i = 0; i < mount.uid_map.count; ++i) {
    plan::IdMap line = job.plan().at(mount.uid_map, i);
    if (!outer(job, job.uid_map(), line)) fail(job, kStep, ERANGE, index);
    add(uids, line);
  }
  for (uint32_t i = 0; i < mount.gid_map.count; ++i) {
    plan::IdMap line = job.plan().at(mount.gid_map, i);
    if (!outer(job, job.gid_map(), line)) fail(job, kStep, ERANGE, index);
    add(gids, line);
  }
  const int keep = must_fd(job, kStep, call(Call::fcntl, job.proc, F_DUPFD_CLOEXEC, 3), index);
  const long child = must(job, kStep, fork_process(CLONE_FILES | CLONE_NEWUSER), index);
  if (child == 0) offer_namespace(job, keep);
  siginfo_t info{};
  must(job, kStep, call(Call::waitid, P_PID, child, &info, WEXITED | WSTOPPED, nullptr), index);
  if (info.si_code != CLD_STOPPED) fail(job, kStep, info.si_status ? info.si_status : EINTR, index);
  write_map(job, index, keep, "uid_map", uids);
  write_map(job, index, keep, "gid_map", gids);
  set(job, index, tree, keep);
  end(job, index, child);
  close(keep);
}

}  // namespace cloister::init
