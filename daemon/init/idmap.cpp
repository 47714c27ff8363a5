// User namespaces in which nothing runs, and mounts that show ids as others.
//
// The kernel takes a map of ids from a user namespace only. A child makes one,
// does nothing else, and ends when its maps are written; the namespace lasts as
// long as what refers to it: a mount with MOUNT_ATTR_IDMAP, mount_setattr(2),
// Linux 5.12, or an overlay (overlay.cpp).
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

// In a map of this kind "inside" is the file system's side.
struct Map {
  plan::IdMap lines[plan::kMaxMapLines + 1];
  uint32_t count;
  void add(const plan::IdMap& line) { lines[count++] = {line.outside, line.inside, line.count}; }
  operator Job::Lines() const { return {lines, count}; }
};

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

void end(Job& job, Step step, uint32_t index, long child) {
  siginfo_t info{};
  must(job, step, call(Call::kill, child, kSigKill), index);
  must(job, step, call(Call::waitid, P_PID, child, &info, WEXITED, nullptr), index);
}

}  // namespace

// 0 or -errno. A map has to arrive in one write(2), user_namespaces(7).
long write_map(int process, const char* file, Job::Lines map) {
  static Line<(plan::kMaxMapLines + 1) * 33 + 1> text;
  text = {};
  for (uint32_t i = 0; i < map.count; ++i)
    text << map.begin[i].inside << " " << map.begin[i].outside << " " << map.begin[i].count << "\n";
  const long fd = call(Call::openat, process, file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  const long written = call(Call::write, static_cast<int>(fd), text.c_str(), text.size());
  close(static_cast<int>(fd));
  return written < 0 ? written : 0;
}

int new_user_namespace(Job& job, Step step, uint32_t index, Job::Lines uids, Job::Lines gids) {
  const int keep = must_fd(job, step, call(Call::fcntl, job.proc, F_DUPFD_CLOEXEC, 3), index);
  const long child = must(job, step, fork_process(CLONE_FILES | CLONE_NEWUSER), index);
  if (child == 0) offer_namespace(job, keep);
  siginfo_t info{};
  must(job, step, call(Call::waitid, P_PID, child, &info, WEXITED | WSTOPPED, nullptr), index);
  if (info.si_code != CLD_STOPPED) fail(job, step, info.si_status ? info.si_status : EINTR, index);
  must(job, step, write_map(keep, "uid_map", uids), index);
  must(job, step, write_map(keep, "gid_map", gids), index);
  const int space =
      must_fd(job, step, call(Call::openat, keep, "ns/user", O_RDONLY | O_CLOEXEC), index);
  end(job, step, index, child);
  close(keep);
  return space;
}

void map_ids(Job& job, uint32_t index, const plan::Mount& mount, int tree) {
  static Map uids, gids;
  uids.count = gids.count = 0;
  if (mount.flags & plan::kMountOwnerCaller) {
    const Owner payload = payload_outside(job);
    if (payload.uid == job.order.caller_uid && payload.gid == job.order.caller_gid) return;
    uids.add({payload.uid, job.order.caller_uid, 1});
    gids.add({payload.gid, job.order.caller_gid, 1});
  }
  for (uint32_t i = 0; i < mount.uid_map.count; ++i) {
    plan::IdMap line = job.plan().at(mount.uid_map, i);
    if (!outer(job, job.uid_map(), line)) fail(job, kStep, ERANGE, index);
    uids.add(line);
  }
  for (uint32_t i = 0; i < mount.gid_map.count; ++i) {
    plan::IdMap line = job.plan().at(mount.gid_map, i);
    if (!outer(job, job.gid_map(), line)) fail(job, kStep, ERANGE, index);
    gids.add(line);
  }
  const int space = new_user_namespace(job, kStep, index, uids, gids);
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_IDMAP;
  attr.userns_fd = static_cast<uint64_t>(space);
  must(job, kStep,
       call(Call::mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr),
       index);
  close(space);
}

}  // namespace cloister::init
