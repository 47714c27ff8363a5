// The verdict: how a job ended and why, the one terminal statement about it.
// Plain values. What was not measured is absent (JSON null), never 0.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cloister {

// `unknown` is what a newer service says in a word that this library lacks.
enum class Mode { unknown, system, user, private_ };
enum class Ending { unknown, exited, signaled, not_started, lost };
enum class Cause {
  unknown,
  payload,   // nothing of ours ended it, no signal from outside was seen
  external,  // a fatal signal that we did not send
  wall_time,
  cpu_time,
  memory,
  host_memory,
  output,
  seccomp,
  canceled,      // Stop or Signal
  disconnected,  // lifetime.on_disconnect
  shutdown,      // the service was told to end
  cloister,      // our own fault
};
// Whose problem it is.
enum class Fault { unknown, payload, request, policy, host, operator_, cloister };

std::string_view to_string(Mode mode);
std::string_view to_string(Ending ending);
std::string_view to_string(Cause cause);
std::string_view to_string(Fault fault);

// Why a job did not start: the step that failed, docs/architecture.md names them.
struct Failure {
  std::string stage;             // monitor | init | payload
  std::string step;              // "execve", "mounts", "setpgid", ...
  std::string field;             // of the request: "mounts[3]"; empty if none
  std::optional<int64_t> index;  // of the element at fault
  int error_number = 0;          // errno; 0 when the step failed without one
  std::string errno_name;        // "ENOENT"; empty when 0
  std::string message;           // what failed
  std::string hint;              // what to do; may be empty
  bool operator==(const Failure&) const = default;
};

// struct rusage, getrusage(2): the payload and the children it waited for.
struct ResourceUsage {
  int64_t utime_us = 0, stime_us = 0;  // µs
  int64_t maxrss_kib = 0, ixrss = 0, idrss = 0, isrss = 0;
  int64_t minflt = 0, majflt = 0, nswap = 0, inblock = 0, oublock = 0;
  int64_t msgsnd = 0, msgrcv = 0, nsignals = 0, nvcsw = 0, nivcsw = 0;
  bool operator==(const ResourceUsage&) const = default;
};

// The whole sandbox, from its cgroup; each is absent where it is not measured.
struct SandboxUsage {
  std::optional<int64_t> memory_peak_bytes, cpu_us, pids_peak;
  std::optional<int64_t> io_read_bytes, io_write_bytes, cpu_throttled_us;
  bool operator==(const SandboxUsage&) const = default;
};

// The limit that ended the job: of bytes or, in times, of microseconds.
struct LimitHit {
  std::string field;  // "limits.wall_time", "rlimits.RLIMIT_CPU"
  int64_t limit = 0;
  std::optional<int64_t> peak;
  bool operator==(const LimitHit&) const = default;
};

struct OutOfMemory {
  int64_t kills = 0;
  bool main_process = false;
  std::optional<std::string> scope;
  bool operator==(const OutOfMemory&) const = default;
};

// A call that a filter of the request's punishes with death. Absent parts could
// not be known: the kernel tells nobody for which call it has killed.
struct SeccompHit {
  std::optional<std::string> syscall;  // "ptrace"
  std::optional<int64_t> number;
  std::optional<std::string> architecture;  // "x86_64", "i386", ...
  bool operator==(const SeccompHit&) const = default;
};

// The signal of ours that ended it, or that it answered by exiting; and who
// asked for it, where cause is `canceled`.
struct KilledBy {
  std::string signal;
  std::optional<int64_t> uid;
  bool operator==(const KilledBy&) const = default;
};

struct OutputUsage {
  int64_t bytes = 0, kept = 0;
  bool truncated = false;
  bool operator==(const OutputUsage&) const = default;
};

// Microseconds spent before exec; absent where a phase was not timed.
struct Phases {
  std::optional<int64_t> parse, resolve, authorise, queue, slot, exec;
  bool operator==(const Phases&) const = default;
};

struct Verdict {
  int64_t verdict_version = 1;
  std::string id;
  std::optional<std::string> name;
  std::map<std::string, std::string> tags;
  std::optional<std::string> profile;
  Mode mode = Mode::unknown;

  bool ok = false;  // exited with 0, and no limit ended it
  Ending ending = Ending::unknown;
  Cause cause = Cause::unknown;
  Fault fault = Fault::unknown;

  std::optional<int> wait_status;          // raw, wait(2)
  std::optional<int> exit_code;            // 0-255
  std::optional<std::string> term_signal;  // "SIGKILL"
  std::optional<bool> core_dumped;
  std::optional<int> returncode;  // exit code, or minus the signal
  // si_code ("CLD_EXITED"), si_status and si_uid of waitid(2); in JSON under
  // these names, which are macros in C.
  std::optional<std::string> child_code;
  std::optional<int> child_status;
  std::optional<int64_t> child_uid;

  std::optional<LimitHit> limit;
  std::optional<OutOfMemory> oom;
  std::optional<SeccompHit> seccomp;
  std::optional<KilledBy> killed_by;
  std::optional<Failure> failure;

  std::vector<std::string> degraded;  // best_effort fields that were given up
  std::optional<int64_t> leftover_processes_killed;
  std::map<std::string, OutputUsage> output;  // by stream

  std::optional<ResourceUsage> rusage;
  std::optional<SandboxUsage> usage;

  std::optional<std::string> accepted_at, started_at, ended_at;  // RFC 3339, UTC, µs
  std::optional<int64_t> wall_us;                                // from exec success
  Phases phases_us;

  // One line for a person: what ended it and why.
  std::string summary() const;

  // What a command that runs one job exits with: the payload's own code;
  // 124 wall-time limit; 125 cloister failed; 126 / 127 exec found the program
  // but could not run it / did not find it; 128+n ended by signal n.
  int folded_exit_code() const;

  bool operator==(const Verdict&) const = default;
};

// The number folded_exit_code() gives for a failure to start.
int folded_exit_code(const Failure& failure);

// One line of JSON, every member present.
std::string to_json(const Verdict& verdict);

// Every member that is known must have its type; members and words of newer
// services are accepted. Nothing on malformed text; `why`, if given, says why.
std::optional<Verdict> verdict_from_json(std::string_view text, std::string* why = nullptr);

}  // namespace cloister
