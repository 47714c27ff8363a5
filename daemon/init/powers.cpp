// Capabilities of this process, and ids that keep them.
#include <asm/errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>

#include "verbs.hpp"

namespace cloister::init {

Sets sets_now(Job& job, Step step) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  must(job, step, call(Call::capget, &head, data));
  const auto both = [](uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; };
  return {both(data[0].effective, data[1].effective), both(data[0].permitted, data[1].permitted),
          both(data[0].inheritable, data[1].inheritable)};
}

long set_sets(const Sets& sets) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  const auto half = [&](int shift) {
    return __user_cap_data_struct{static_cast<uint32_t>(sets.effective >> shift),
                                  static_cast<uint32_t>(sets.permitted >> shift),
                                  static_cast<uint32_t>(sets.inheritable >> shift)};
  };
  const __user_cap_data_struct data[2] = {half(0), half(32)};
  return call(Call::capset, &head, data);
}

// An id without a mapping can create nothing (EOVERFLOW); the capabilities of
// the namespace stay.
void become_mapped(Job& job, uint32_t uid, uint32_t gid) {
  constexpr Step step = Step::become_mapped;
  must(job, step, call(Call::prctl, PR_SET_KEEPCAPS, 1));
  must(job, step, call(Call::setresgid, gid, gid, gid));
  must(job, step, call(Call::setresuid, uid, uid, uid));
  const Sets now = sets_now(job, step);
  must(job, step, set_sets({now.permitted, now.permitted, 0}));
  // The change of uid cleared both, prctl(2); without the first our own files
  // in /proc belong to root, who has no number here.
  must(job, step, call(Call::prctl, PR_SET_DUMPABLE, 1));
  if (!job.in_payload) heed_monitors_death(job, step);
}

void keep_only(Job& job, Step step, uint64_t powers) {
  for (int cap = 0; cap < 64; ++cap) {
    if (powers >> cap & 1) continue;
    const long dropped = call(Call::prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
    if (dropped == -EINVAL) break;  // past the kernel's last capability
    must(job, step, dropped);
  }
  must(job, step, set_sets({powers, powers, 0}));
}

void make_ambient(Job& job, Step step, uint64_t powers) {
  must(job, step, set_sets({powers, powers, powers}));
  for (int cap = 0; cap < 64; ++cap)
    if (powers >> cap & 1)
      must(job, step, call(Call::prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0));
}

}  // namespace cloister::init
