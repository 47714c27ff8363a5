// Who the payload is: ids, groups, capabilities, each read back.
#include <asm/errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

struct Capabilities {
  uint64_t effective, permitted, inheritable;
};

long get_capabilities(Capabilities& out) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  const long result = call(Call::capget, &head, data);
  const auto both = [](uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; };
  out = {both(data[0].effective, data[1].effective), both(data[0].permitted, data[1].permitted),
         both(data[0].inheritable, data[1].inheritable)};
  return result;
}

// What is not inheritable is not ambient either, capabilities(7).
long set(uint64_t effective, uint64_t permitted, uint64_t inheritable = 0) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct data[2] = {
      {static_cast<uint32_t>(effective), static_cast<uint32_t>(permitted),
       static_cast<uint32_t>(inheritable)},
      {static_cast<uint32_t>(effective >> 32), static_cast<uint32_t>(permitted >> 32),
       static_cast<uint32_t>(inheritable >> 32)}};
  return call(Call::capset, &head, data);
}

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
  const plan::Identity& want = job.header().identity;
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

// An id without a mapping can create nothing (EOVERFLOW); the capabilities of
// the namespace stay.
void become_mapped(Job& job, uint32_t uid, uint32_t gid) {
  constexpr Step step = Step::become_mapped;
  must(job, step, call(Call::prctl, PR_SET_KEEPCAPS, 1));
  must(job, step, call(Call::setresgid, gid, gid, gid));
  must(job, step, call(Call::setresuid, uid, uid, uid));
  Capabilities now{};
  must(job, step, get_capabilities(now));
  must(job, step, set(now.permitted, now.permitted));
  // The change of uid cleared both, prctl(2); without the first our own files
  // in /proc belong to root, who has no number here.
  must(job, step, call(Call::prctl, PR_SET_DUMPABLE, 1));
  if (call(Call::getpid) == 1) must(job, step, call(Call::prctl, PR_SET_PDEATHSIG, kSigKill));
}

void keep_only(Job& job, Step step, uint64_t powers) {
  for (int cap = 0; cap < 64; ++cap) {
    if (powers >> cap & 1) continue;
    const long dropped = call(Call::prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
    if (dropped == -EINVAL) break;  // past the kernel's last capability
    must(job, step, dropped);
  }
  must(job, step, set(powers, powers));
}

void make_ambient(Job& job, Step step, uint64_t powers) {
  must(job, step, set(powers, powers, powers));
  for (int cap = 0; cap < 64; ++cap)
    if (powers >> cap & 1)
      must(job, step, call(Call::prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0));
}

void drop_groups_and_ids(Job& job) {
  const plan::Identity& want = job.header().identity;
  must(job, Step::setresuid, call(Call::prctl, PR_SET_DUMPABLE, 0));
  must(job, Step::setresuid, call(Call::prctl, PR_SET_KEEPCAPS, 1));
  Capabilities now{};
  must(job, Step::capabilities, get_capabilities(now));
  if (!job.has(plan::kFixedGroups))
    must(job, Step::setgroups,
         call(Call::setgroups, want.groups.count, job.plan().begin(want.groups)));
  must(job, Step::setresgid, call(Call::setresgid, want.rgid, want.egid, want.sgid));
  must(job, Step::setresuid, call(Call::setresuid, want.ruid, want.euid, want.suid));
  // From here every path is opened with the payload's own rights.
  must(job, Step::capabilities,
       set(job.order.permitted, job.order.permitted | (now.permitted & kLate)));
  if (job.header().flags & plan::kResetIds) {
    must(job, Step::resetids, call(Call::setresgid, -1, want.rgid, -1));
    must(job, Step::resetids, call(Call::setresuid, -1, want.ruid, -1));
  }
  verify(job);
}

void raise_late_powers(Job& job) {
  Capabilities now{};
  must(job, Step::rlimit, get_capabilities(now));
  must(job, Step::rlimit, set(now.permitted, now.permitted));
}

void set_capabilities(Job& job) {
  Capabilities now{};
  must(job, Step::capabilities, get_capabilities(now));
  // Without CAP_SETPCAP (rootless and no user namespace) the bounding set is
  // the caller's own and stays so.
  if (now.permitted >> CAP_SETPCAP & 1)
    for (int cap = 0; cap < 64; ++cap) {
      if (job.order.bounding >> cap & 1) continue;
      const long dropped = call(Call::prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
      if (dropped == -EINVAL) break;  // past the kernel's last capability
      must(job, Step::capabilities, dropped, static_cast<uint32_t>(cap));
    }
  must(job, Step::capabilities, set(job.order.permitted, job.order.permitted));
  Capabilities end{};
  must(job, Step::capabilities, get_capabilities(end));
  if (end.permitted != job.order.permitted || end.effective != job.order.permitted ||
      end.inheritable != 0)
    fail(job, Step::capabilities, EPERM);
}

}  // namespace cloister::init
