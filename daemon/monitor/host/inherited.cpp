#include "host/inherited.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

#include "sys/unique_fd.hpp"

// <sys/prctl.h> of Debian 12 has not all of them.
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57  // Linux 5.6
#endif
#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62  // Linux 5.14
#define PR_SCHED_CORE_SHARE_FROM 3
#define PR_SCHED_CORE_SCOPE_THREAD 0
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67  // Linux 6.4
#endif

namespace cloister::monitor {
namespace {

void write_own(const char* file, std::string_view text) {
  const sys::UniqueFd fd(::open(file, O_WRONLY | O_CLOEXEC));
  if (fd && ::write(fd.borrow(), text.data(), text.size()) < 0) return;  // as it was
}

// A limit that stopped us would stop every job; and a hard one is a bound of what
// we could give. Where we may not raise it, it is one.
void raise_limits() {
  for (const auto which :
       {RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_AS,
        RLIMIT_LOCKS, RLIMIT_MEMLOCK, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_RTTIME}) {
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    if (::setrlimit(which, &limit) == 0 || ::getrlimit(which, &limit) < 0) continue;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(which, &limit);
  }
}

// sched_setattr(2): utilization clamps go with fork(2). -1 resets one, Linux 5.11.
void reset_clamps() {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
  } attributes{};
  attributes.size = sizeof attributes;
  attributes.flags = SCHED_FLAG_KEEP_ALL | SCHED_FLAG_UTIL_CLAMP;
  attributes.util_min = attributes.util_max = UINT32_MAX;
  ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

// A kernel that has not one of these has nothing to take back.
void leave_parent_behind() {
  ::prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
  ::prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0);
  ::prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
  ::prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
  ::prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0);
  for (const unsigned long which :
       {PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_L1D_FLUSH})
    ::prctl(PR_SET_SPECULATION_CTRL, which,
            which == PR_SPEC_L1D_FLUSH ? PR_SPEC_DISABLE : PR_SPEC_ENABLE, 0, 0);
  // As nobody's in particular: that of the first process.
  ::prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, 1, PR_SCHED_CORE_SCOPE_THREAD, 0);
  ::syscall(SYS_set_mempolicy, 0 /* MPOL_DEFAULT */, nullptr, 0);
  write_own("/proc/self/coredump_filter", "0x33");  // core(5)
  reset_clamps();
  raise_limits();
}

}  // namespace cloister::monitor
