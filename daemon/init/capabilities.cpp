// The payload's capabilities: five sets and the securebits, capabilities(7),
// each read back.
//
// The order is the kernel's. Inheritable grows within permitted and the
// bounding set, so it comes before that is cut; ambient grows within permitted
// and inheritable, and before a securebit forbids it; the securebits and the
// bounding set need CAP_SETPCAP, which goes last.
#include <asm/errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr int kCapabilities = 64;  // what a mask holds; the kernel has fewer

bool has(uint64_t set, int capability) { return (set >> capability & 1) != 0; }

void raise_ambient(Job& job, uint64_t wanted) {
  for (int capability = 0; capability < kCapabilities; ++capability) {
    if (!has(wanted, capability)) continue;
    must(job, Step::ambient,
         call(Call::prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0),
         static_cast<uint32_t>(capability));
  }
}

// What is locked stays as the service was started with, unless a request says
// otherwise: that cannot be given.
void set_securebits(Job& job, bool able) {
  constexpr Step step = Step::securebits;
  const bool asked = job.header().capabilities.set != 0;
  const auto now = static_cast<uint32_t>(must(job, step, call(Call::prctl, PR_GET_SECUREBITS)));
  const uint32_t locks = now & SECURE_ALL_LOCKS;
  const uint32_t fixed = locks | locks >> 1;
  const uint32_t given = job.order.capabilities.securebits;
  const uint32_t wanted = (given & ~fixed) | (now & fixed);
  if (asked && wanted != given) fail(job, step, EPERM);
  // Init's own, and cleared by execve(2) in any case.
  if ((now & ~uint32_t{SECBIT_KEEP_CAPS}) == wanted) return;
  if (!able && !asked) return;
  must(job, step, call(Call::prctl, PR_SET_SECUREBITS, wanted));
  if (must(job, step, call(Call::prctl, PR_GET_SECUREBITS)) != static_cast<long>(wanted))
    fail(job, step, EPERM);
}

void cut_bounding_set(Job& job, uint64_t wanted, bool able) {
  constexpr Step step = Step::capabilities;
  const bool asked = job.header().capabilities.set != 0;
  if (wanted == plan::kEveryCapability) return;
  // Without CAP_SETPCAP (rootless and no user namespace) it is the caller's own
  // and stays so.
  if (!able && !asked) return;
  for (int capability = 0; capability < kCapabilities; ++capability) {
    const auto index = static_cast<uint32_t>(capability);
    const long there = call(Call::prctl, PR_CAPBSET_READ, capability, 0, 0, 0);
    if (there == -EINVAL && !(asked && wanted >> capability)) return;  // past the last one
    must(job, step, there, index);
    if (has(wanted, capability)) {
      if (asked && there == 0) fail(job, step, EPERM, index);
    } else if (there != 0) {
      must(job, step, call(Call::prctl, PR_CAPBSET_DROP, capability, 0, 0, 0), index);
      if (call(Call::prctl, PR_CAPBSET_READ, capability, 0, 0, 0) != 0)
        fail(job, step, EPERM, index);
    }
  }
}

void verify(Job& job, const Sets& wanted, uint64_t ambient) {
  const Sets now = sets_now(job, Step::capabilities);
  if (now.permitted != wanted.permitted || now.effective != wanted.effective ||
      now.inheritable != wanted.inheritable)
    fail(job, Step::capabilities, EPERM);
  for (int capability = 0; capability < kCapabilities; ++capability) {
    const long there = call(Call::prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0);
    if ((there == 1) != has(ambient, capability))
      fail(job, Step::ambient, EPERM, static_cast<uint32_t>(capability));
  }
}

}  // namespace

void settle_capabilities(Job& job) {
  const Sets now = sets_now(job, Step::capabilities);
  plan::Capabilities& given = job.order.capabilities;
  uint64_t* const sets[] = {&given.effective, &given.permitted, &given.inheritable, &given.ambient};
  for (uint64_t* set : sets)
    if (*set == plan::kEveryCapability) *set = now.permitted;
}

void set_capabilities(Job& job) {
  constexpr Step step = Step::capabilities;
  const plan::Capabilities& given = job.order.capabilities;
  const Sets now = sets_now(job, step);
  const bool able = has(now.permitted, CAP_SETPCAP);
  const uint64_t kept = now.permitted & power_to_filter(job);
  const Sets wanted{given.effective | kept, given.permitted | kept, given.inheritable};
  must(job, step, set_sets({now.permitted, now.permitted, wanted.inheritable}));
  raise_ambient(job, given.ambient);
  set_securebits(job, able);
  cut_bounding_set(job, given.bounding, able);
  must(job, step, set_sets(wanted));
  verify(job, wanted, given.ambient);
}

}  // namespace cloister::init
