// Who the payload is: ids and groups, each read back.
#include <asm/errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

// Needed after the uid change: hard limits are raised, the bounding set is cut.
constexpr uint64_t kLate = uint64_t{1} << CAP_SYS_RESOURCE | uint64_t{1} << CAP_SETPCAP;

// The kernel's copy, sorted by it; NGROUPS_MAX of them.
uint32_t groups_now[plan::kMaxGroups];

bool in_groups(uint32_t group, uint32_t count) {
  uint32_t low = 0;
  while (low < count) {
    const uint32_t middle = low + (count - low) / 2;
    if (groups_now[middle] == group) return true;
    if (groups_now[middle] < group)
      low = middle + 1;
    else
      count = middle;
  }
  return false;
}

void verify(Job& job) {
  const plan::Identity& want = job.identity;
  const bool reset = (job.header().flags & plan::kResetIds) != 0;
  uint32_t r = 0, e = 0, s = 0;
  must(job, Step::verify_ids, call(Call::getresuid, &r, &e, &s));
  if (r != want.ruid || e != (reset ? want.ruid : want.euid) || s != want.suid)
    fail(job, Step::verify_ids, EPERM);
  must(job, Step::verify_ids, call(Call::getresgid, &r, &e, &s));
  if (r != want.rgid || e != (reset ? want.rgid : want.egid) || s != want.sgid)
    fail(job, Step::verify_ids, EPERM);
  if (job.has(plan::kFixedGroups)) return;
  const auto count = static_cast<uint32_t>(
      must(job, Step::verify_ids, call(Call::getgroups, plan::kMaxGroups, groups_now)));
  if (count != want.groups.count) fail(job, Step::verify_ids, EPERM);
  for (uint32_t i = 0; i < count; ++i)
    if (!in_groups(job.plan().at(want.groups, i), count)) fail(job, Step::verify_ids, EPERM, i);
}

}  // namespace

// A payload that is uid 0 outside as well, without capabilities, could still set
// limits, priorities and processors of a process with that uid, prlimit(2),
// sched_setaffinity(2). Init keeps its powers and takes a number that is given to nobody;
// where that has no mapping, it stays as it is.
void become_nobodys(Job& job) {
  constexpr Step step = Step::fork;
  if (payload_outside(job).uid != 0) return;
  must(job, step, call(Call::prctl, PR_SET_KEEPCAPS, 1));
  const long changed =
      call(Call::setresuid, plan::kNobodysUid, plan::kNobodysUid, plan::kNobodysUid);
  if (changed == -EINVAL) return;
  must(job, step, changed);
  const Sets now = sets_now(job, step);
  must(job, step, set_sets({now.permitted, now.permitted, 0}));
  // Or our files in /proc, oom_score_adj among them, belong to uid 0, proc(5).
  must(job, step, call(Call::prctl, PR_SET_DUMPABLE, 1));
  heed_monitors_death(job, step);
}

void take_payloads_groups(Job& job) {
  const auto groups = job.identity.groups;
  uint32_t count = 0;
  for (uint32_t i = 0; i < groups.count; ++i) {
    groups_now[count] = group_outside(job, job.plan().at(groups, i));
    if (groups_now[count] != kNone) ++count;
  }
  must(job, Step::setgroups, call(Call::setgroups, count, groups_now));
}

// The change of a file system id from and to 0 changes what may be done with
// files, capabilities(7): so the sets are set, and set back.
FilesOfPayload::FilesOfPayload(Job& job, uint64_t without)
    : job_(job), before_(sets_now(job, job.step)) {
  const Owner payload = payload_outside(job);
  gid_ = call(Call::setfsgid, payload.gid);
  uid_ = call(Call::setfsuid, payload.uid);
  must(job, job.step,
       set_sets({before_.effective & ~without, before_.permitted, before_.inheritable}));
  // Each change clears it, prctl(2), and a file system may take its time to answer.
  heed_monitors_death(job, job.step);
}

FilesOfPayload::~FilesOfPayload() {
  const Owner payload = payload_outside(job_);
  // What they were is all that these calls tell.
  if (call(Call::setfsuid, uid_) != long{payload.uid} ||
      call(Call::setfsgid, gid_) != long{payload.gid})
    fail(job_, job_.step, EPERM);
  must(job_, job_.step, set_sets(before_));
  // Cleared like by any change of ids, prctl(2).
  must(job_, job_.step, call(Call::prctl, PR_SET_DUMPABLE, 1));
  heed_monitors_death(job_, job_.step);
}

void drop_groups_and_ids(Job& job) {
  const plan::Identity& want = job.identity;
  must(job, Step::setresuid, call(Call::prctl, PR_SET_DUMPABLE, 0));
  must(job, Step::setresuid, call(Call::prctl, PR_SET_KEEPCAPS, 1));
  settle_capabilities(job);
  const Sets now = sets_now(job, Step::capabilities);
  if (!job.has(plan::kFixedGroups))
    must(job, Step::setgroups,
         call(Call::setgroups, want.groups.count, job.plan().begin(want.groups)));
  must(job, Step::setresgid, call(Call::setresgid, want.rgid, want.egid, want.sgid));
  must(job, Step::setresuid, call(Call::setresuid, want.ruid, want.euid, want.suid));
  // From here every path is opened with the payload's own rights.
  // Inheritable goes to nothing, and ambient with it, capabilities(7).
  const plan::Capabilities& given = job.order.capabilities;
  must(job, Step::capabilities,
       set_sets({given.effective,
                 given.permitted | (now.permitted & (kLate | power_to_filter(job))), 0}));
  if (job.header().flags & plan::kResetIds) {
    must(job, Step::resetids, call(Call::setresgid, -1, want.rgid, -1));
    must(job, Step::resetids, call(Call::setresuid, -1, want.ruid, -1));
  }
  verify(job);
}

void raise_late_powers(Job& job) {
  const Sets now = sets_now(job, Step::rlimit);
  must(job, Step::rlimit, set_sets({now.permitted, now.permitted, 0}));
}

}  // namespace cloister::init
