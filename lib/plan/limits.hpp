// The limits that can end a job: their fields of the request, by which the verdict names
// them, and the units in which the verdict counts. Freestanding.
#pragma once

#include <stdint.h>

namespace cloister::plan {

enum class Unit : uint8_t { bytes, us, processes };

// X(enumerator, "field of the request", unit)
#define CLOISTER_LIMITS(X) \
  X(memory, "limits.memory", bytes) \
  X(pids, "limits.pids", processes) \
  X(wall_time, "limits.wall_time", us) \
  X(cpu_time, "limits.cpu_time", us) \
  X(stdout_, "stdout.capture.max", bytes) \
  X(stderr_, "stderr.capture.max", bytes) \
  X(rlimit_cpu, "rlimits.RLIMIT_CPU", us) \
  X(rlimit_rttime, "rlimits.RLIMIT_RTTIME", us) \
  X(rlimit_fsize, "rlimits.RLIMIT_FSIZE", bytes)

enum class Limit : uint32_t {
  none,
#define X(id, field, unit) id,
  CLOISTER_LIMITS(X)
#undef X
      count_
};

struct LimitInfo {
  const char* field;
  Unit unit;
};

inline constexpr LimitInfo kLimits[] = {{"", Unit::bytes},
#define X(id, field, unit) {field, Unit::unit},
                                        CLOISTER_LIMITS(X)
#undef X
};
static_assert(sizeof kLimits / sizeof kLimits[0] == static_cast<uint32_t>(Limit::count_));

inline constexpr const LimitInfo& describe(Limit limit) {
  return kLimits[static_cast<uint32_t>(limit)];
}

inline constexpr uint64_t kNotMeasured = UINT64_MAX;

// The limit that ended a job. Both amounts are in the unit of describe(which).
struct LimitHit {
  Limit which;
  uint32_t reserved;
  uint64_t limit, peak;  // the peak may be kNotMeasured
};

enum class OnOom : uint32_t { kill_job, kill_process, count_ };

// What a job may take as a whole, without its init; 0: no limit.
struct Limits {
  uint64_t wall_time_ms;  // from exec on
  uint64_t cpu_time_ms;
  uint64_t memory;  // bytes
  uint64_t swap;    // bytes plus one, so that 0 bytes is a limit too; memory not included
  uint64_t cpu_us;  // of processor time in kCpuPeriodUs
  uint64_t pids;    // processes and threads
  OnOom on_oom;     // where memory has a limit
  uint32_t reserved;
  bool in_cgroups() const { return memory || swap || pids || cpu_us; }
};

inline constexpr uint32_t kCpuPeriodUs = 100'000;
inline constexpr uint32_t kMaxPids = 4'194'304;  // PID_MAX_LIMIT, proc_sys_kernel(5)

// The members of Limits that are amounts, by their fields of the request.
struct LimitMember {
  const char* name;  // below `limits`
  uint64_t Limits::*amount;
  // told(): an amount as messages and rules have it, in bytes, processes, ms, or
  // thousandths of a processor.
  uint64_t less = 0, divided_by = 1;
  constexpr uint64_t told(uint64_t of) const { return of < less ? 0 : (of - less) / divided_by; }
};
inline constexpr LimitMember kLimitMembers[] = {
    {"memory", &Limits::memory},
    {"swap", &Limits::swap, 1},
    {"pids", &Limits::pids},
    {"cpus", &Limits::cpu_us, 0, kCpuPeriodUs / 1000},
    {"wall_time", &Limits::wall_time_ms},
    {"cpu_time", &Limits::cpu_time_ms},
};

// What a job has taken as a whole; each may be kNotMeasured.
struct SandboxUsage {
  uint64_t cpu_us, cpu_throttled_us;
  uint64_t memory_peak, pids_peak;
};

// Processes that the kernel killed to get memory back.
struct OutOfMemory {
  uint64_t kills;
  uint32_t at_limit;  // 1: the job had reached its own
  uint32_t reserved;
};

}  // namespace cloister::plan
