// The ExitRecord: how a job ended, in the words of the kernel.
//
// The monitor makes a file of kRecordBytes before the clone. Init has it mapped,
// because a limit of init's reaches write(2) but no store to memory, and writes it
// twice, `commit` last: when the payload has ended, and when nothing lives any
// more. A record without a commit word says nothing.
#pragma once

#include <stdint.h>

#include "steps.hpp"

namespace cloister::plan {

inline constexpr uint32_t kRecordBytes = 512;
inline constexpr uint32_t kRecordMagic = 0x43524c43;  // "CLRC"
inline constexpr uint32_t kRecordVersion = 1;
inline constexpr uint64_t kRecordCommitted = 0x6465'7474'696d'6d6fULL;
// How the payload ended is in it; what it left behind may still live.
inline constexpr uint64_t kRecordPayloadEnded = 0x6465'646e'6520'6d6fULL;

enum class Ending : uint32_t { none, ended, not_started };

// Where a launch failed: numbers only, strings are rendered by the front.
struct Failure {
  Step step;
  uint32_t index;   // of the element at fault (action, mount, descriptor), or kNone
  int32_t error;    // errno
  uint32_t detail;  // step-specific: signal of a child that died before exec, or 0
};

// ExitRecord::seccomp_hit
inline constexpr uint32_t kHitSeen = 1;     // there was one
inline constexpr uint32_t kHitPayload = 2;  // and the payload itself died of it

// All of struct rusage, getrusage(2), in its own order and units.
struct Usage {
  int64_t utime_us, stime_us;
  int64_t maxrss_kib, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock;
  int64_t msgsnd, msgrcv, nsignals, nvcsw, nivcsw;
};

struct ExitRecord {
  uint32_t magic, version;
  uint8_t job[16];
  Ending ending;
  int32_t wait_status;               // raw, wait4(2)
  int32_t child_code, child_status;  // si_code, si_status of waitid(2); those names are macros
  uint32_t child_uid;                // si_uid
  int32_t child_pid;                 // si_pid, in the pid namespace of init
  Failure failure;
  uint32_t leftovers_killed;
  uint32_t reserved0;
  Usage rusage;
  int64_t forked_at_ns, started_at_ns, ended_at_ns;  // CLOCK_BOOTTIME of the host
  int64_t entered_at_ns;                             // init's first instruction
  // The call that the payload died of by our hand, for its filter; until then the
  // last that another process did.
  uint32_t seccomp_hit;   // kHit*
  uint32_t seccomp_arch;  // AUDIT_ARCH_*
  int32_t seccomp_number;
  uint32_t reserved1;
  int64_t exited_at_ns;  // CLOCK_BOOTTIME of the payload's own end; 0: it did not run
  // Processor time of the payload's process alone, as RLIMIT_CPU counts it; 0: it had
  // no such limit.
  int64_t limited_cpu_us;
  uint8_t reserved[kRecordBytes - 272];
  uint64_t commit;
};

static_assert(sizeof(ExitRecord) == kRecordBytes);

}  // namespace cloister::plan
