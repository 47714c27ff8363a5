// What a front and the monitor say to each other.
//
// Front to monitor: a pipe (a pipe cannot carry descriptors), one Ask a write,
// never more than PIPE_BUF bytes, so that writes are atomic. Monitor to front:
// a SOCK_SEQPACKET socket whose receiving half the monitor has shut, so that
// nothing can be queued on it. The monitor believes nothing in an Ask.
#pragma once

#include <stdint.h>

#include "endings.hpp"
#include "order.hpp"
#include "plan.hpp"
#include "record.hpp"
#include "refusals.hpp"

namespace cloister::plan {

// The nursery's one descriptor (daemon/front/nursery.hpp): it is closed in a
// front, where the first of these takes its number.
inline constexpr int kNurseryFd = 3;

// Descriptor numbers a front starts with.
inline constexpr int kAskFd = 3;   // pipe, write end
inline constexpr int kTellFd = 4;  // SOCK_SEQPACKET, read only

using JobId = uint8_t[16];

// Verbs of the monitor's Jobs.
#define CLOISTER_ASKS(X) \
  X(submit) X(wait) X(signal) X(stop) X(list) X(inspect) X(output) X(remove) X(describe)

enum class AskKind : uint32_t {
#define X(id) id,
  CLOISTER_ASKS(X)
#undef X
      count_
};

enum class Select : uint32_t { id, tag, pgid, all, count_ };

// A list is asked for page by page; a page that is not full is the last.
inline constexpr uint32_t kRowsPerPage = 16;

// waitid(2) options, by their kernel values in `options` of an Ask.
struct Ask {
  AskKind kind;
  uint32_t sequence;  // echoed in every Tell that answers
  uint8_t job[16];
  Select select;
  // wait: WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT
  // submit: WEXITED, with WSTOPPED | WCONTINUED to hear of all events
  uint32_t options;
  int32_t signal;
  Scope scope;
  int32_t pgid;
  uint32_t plan_bytes;  // submit
  uint64_t timeout_ms;  // stop; UINT64_MAX = the job's own
  uint64_t after;       // list: rows behind this serial, at most kRowsPerPage
  uint32_t stream;      // output: index into Header::capture
  uint32_t reserved;
  char tag_key[kMaxName + 8];
  char tag_value[kMaxName + 8];
};
static_assert(sizeof(Ask) <= 4096);

enum class TellKind : uint32_t {
  assigned,     // the first: Peer; descriptors: connection, plan memfd; or connections to refuse
  groups,       // after `assigned`: the peer's groups in batches
  refused_too,  // after those: descriptors: more connections to refuse
  accepted,     // JobState; descriptors: next plan memfd, the output of each stream that is
                // `captured` if all events are to be told, channel to init
  planned,      // plan_only was authorised: Refusal, of which only `policy`; descriptor: next plan
                // memfd
  refused,      // Refusal; descriptor: next plan memfd when it answers a submit
  event,        // JobState changed: started, stopped, continued, ended; descriptor: the job's plan
  row,          // one JobState of a list, descriptor: its plan; to `output`, the output if there is
                // any
  done,         // end of list, success of signal, stop, remove; WNOHANG with nothing to report
  described,    // Host
};

// Ids that a caller may have beside its own: ranges in subuid(5) and subgid(5),
// leases of whole blocks and of single ids.
inline constexpr uint32_t kSubuids = 1, kSubgids = 2, kLeasedBlocks = 4, kLeasedIds = 8;

// Limits that can be enforced here, beside those that always can.
inline constexpr uint32_t kCpuTimeThere = 1, kMemoryThere = 2, kSwapThere = 4, kPidsThere = 8,
                          kCpusThere = 16;

// Of a rule of the administrator's configuration, NUL included.
inline constexpr uint32_t kMaxRuleName = 32;

struct Refusal {
  RefusalKind kind;  // of the reason; `launch_failed` and `misconfigured` have none
  Reason reason;
  uint32_t detail;
  Failure failure;
  uint32_t reserved;
  uint64_t limit, requested;
  char field[64];
  char policy[kMaxRuleName];  // the rule of the configuration that spoke of this peer
};

// What is wrong with the configuration, and where; NULs included.
struct Misconfigured {
  char file[256];
  char place[256];  // empty: the whole file
  char reason[256];
};

// The kernel's word on who is connected.
struct Peer {
  uint32_t uid, gid;
  int32_t pid;
  uint32_t group_count;
  uint32_t no_new_privs;
  uint32_t mode;         // Mode
  uint32_t connections;  // that many are to be told of `refusal`
  uint32_t ids;          // kSubuids | ...
  uint32_t limits;       // kCpuTimeThere | ...
  uint32_t reserved;
  Refusal refusal;  // unless `none`: tell the client so, then hang up
  Misconfigured wrong;
};

enum class Mode : uint32_t { system, user, private_ };

// `detail` of the Refusal of `planned`.
inline constexpr uint32_t kPlannedCovered = 1;  // the job has kCoverKernel (order.hpp)

enum class JobPhase : uint32_t { preparing, running, stopped, ended };

struct JobState {
  uint8_t job[16];
  uint64_t serial;  // grows with every job of this monitor
  uint32_t owner;   // uid
  JobPhase phase;
  JobPhase event;       // what this message announces
  uint32_t lost;        // ended without a record
  int32_t pid;          // of the payload, in the monitor's pid namespace; 0 before start
  int32_t stop_signal;  // last stop
  Cause cause;
  int32_t killed_signal;  // of ours, that ended it or that it answered; 0 if none
  uint32_t killed_by;     // uid that asked for it
  Mode mode;
  int64_t accepted_at_ns, started_at_ns, ended_at_ns;  // CLOCK_REALTIME; 0 = not yet
  uint64_t authorise_us, queue_us, slot_us, exec_us;
  uint64_t wall_us;
  LimitHit limit;      // that ended it
  OutOfMemory oom;     // when ended
  SandboxUsage usage;  // when ended
  OutputState output[kCaptured];
  ExitRecord record;  // when ended and not lost
};

inline constexpr uint64_t kPastaThere = 1;  // and it is to be trusted
inline constexpr uint64_t kDiskThere = 2;   // for scratch directories

struct Host {
  uint32_t mode;
  uint32_t cgroup_version;  // 0 none, 1, 2
  uint32_t jobs_running, jobs_kept;
  uint32_t jobs_limit, connections_limit, jobs_kept_limit, waits_limit;
  uint64_t request_bytes, request_bytes_limit;  // of Plans, of running and of kept jobs
  uint64_t output_bytes, output_bytes_limit;    // of captured output, of running and kept jobs
  uint64_t features;                            // kPastaThere | ...
  char policy[kMaxRuleName];  // the rule of root's configuration that speaks of the peer
};

struct Tell {
  TellKind kind;
  uint32_t sequence;
  union {
    Peer peer;
    JobState state;
    Refusal refusal;
    Host host;
    uint32_t groups[512];
  };
};
static_assert(sizeof(Tell) <= 4096);

}  // namespace cloister::plan
