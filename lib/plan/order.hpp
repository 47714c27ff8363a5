// What the monitor and init say to each other, and the monitor and
// cloister-network, which is spoken to as an init is.
//
// One SOCK_SEQPACKET pair a job. Init waits for the Order, which may be long in
// coming; after that init reports, the monitor commands. Init has its
// descriptors at the numbers below, nothing else.
#pragma once

#include <stdint.h>

#include "plan.hpp"
#include "record.hpp"

namespace cloister::plan {

// Descriptor numbers init starts with. 0, 1 and 2 are /dev/null.
inline constexpr int kControlFd = 3;  // SOCK_SEQPACKET to the monitor
inline constexpr int kPassedFd =
    4;  // SOCK_SEQPACKET to the front: client descriptors in, pidfd and pty out
inline constexpr int kPlanFd = 5;    // the sealed memfd
inline constexpr int kRecordFd = 6;  // kRecordBytes, to be mapped
inline constexpr int kPayloadCgroupFd =
    7;  // directory of the payload's leaf (v2); -1 in Order if none
inline constexpr int kCgroupKillFd = 8;  // cgroup.kill of that leaf, write-only
inline constexpr int kFirstJoinFd =
    9;  // namespaces of other jobs, then v1 `tasks`
        // files, then JOB (daemon/monitor/host/scratch.hpp) with kScratch, then the
        // write end of a pipe for each stream that is captured
inline constexpr uint32_t kMaxTasksFds = 16;
inline constexpr int kPastaFd = kPassedFd;  // of cloister-network: the program, instead of a front
// With the Order come the plan and these, in that order: the kernel puts each
// at the lowest number that is free, and those are the numbers above.
inline constexpr uint32_t kMaxOrderFds = 1 + kNamespaces + kMaxTasksFds + 1 + kCaptured;

inline constexpr uint32_t kOrderVersion = 4;

// What init runs as where the payload is uid 0. It is leased to nobody, and granted
// by no rule.
inline constexpr uint32_t kNobodysUid = 0xffff'fffd;

inline constexpr uint32_t kPayloadCgroup =
    1;  // kPayloadCgroupFd is open: clone the payload into it, unless kEntersLeaf
inline constexpr uint32_t kCgroupKill = 2;  // kCgroupKillFd is open
inline constexpr uint32_t kFreshPid = 4;    // init is PID 1 of a new pid namespace
inline constexpr uint32_t kFreshUser =
    8;  // rootless: init was cloned with CLONE_NEWUSER and waits for its maps
inline constexpr uint32_t kForceNoNewPrivs = 16;  // the caller has no_new_privs: so has its payload
inline constexpr uint32_t kFixedGroups =
    32;  // setgroups(2) is denied here; groups stay as they are
inline constexpr uint32_t kSetLoginUid = 64;  // the caller's, which is not ours
inline constexpr uint32_t kSetLabel = 128;    // the payload gets Order::label at its exec
inline constexpr uint32_t kEntersLeaf = 256;  // the first of tasks_count leads into that leaf
inline constexpr uint32_t kBaseline = 512;  // the baseline filter is loaded beside the client's own
inline constexpr uint32_t kScratch =
    1024;  // a directory in which those on disk are to be made has come along
// The payload rules the host by uid or capabilities: init covers the kernel's own
// files (kernel_files.hpp), whatever mount of the Plan shows them.
inline constexpr uint32_t kCoverKernel = 1 << 16;
// The caller or the payload may search each directory of the host: places of mounts
// are looked up with init's own rights, and else with those of the two.
inline constexpr uint32_t kSearchesAll = 1 << 17;
// No order yet: init makes ahead what most jobs ask for, and waits on. Only for
// one that is root of the host's, in which a job's namespaces are to be.
inline constexpr uint32_t kAhead = 2048;

// What goes into /proc/self/attr/exec, NUL included: the label of a security
// module as it wants it (AppArmor: "exec PROFILE").
inline constexpr uint32_t kMaxLabel = 512;

// What stays behind when a job has ended, and what its system calls may therefore
// not make (daemon/baseline/restraint.cpp): programs with the set-uid bit, with
// the set-gid bit too, and with leased ids also keys, keyrings(7).
enum class Restraint : uint32_t { none, set_uid, set_ids, leased, count_ };

struct Order {
  uint32_t version;
  uint32_t flags;
  uint8_t job[16];
  uint32_t join_count;            // descriptors from kFirstJoinFd, in the order of Namespace
  uint32_t join_of[kNamespaces];  // Namespace of each
  uint32_t tasks_count;  // v1 `tasks` or v2 `cgroup.procs` files after those; the payload writes
                         // "0" to each
  Capabilities capabilities;       // of the payload; kEveryCapability: each that init holds
  uint64_t rlimit_hard[kRlimits];  // ceilings for the limits that are constants of ours
  uint32_t caller_uid, caller_gid;
  uint32_t login_uid;               // for /proc/self/loginuid; kNone: none
  uint32_t mapped_uid, mapped_gid;  // with kFreshUser: the ids that init takes on in it
  uint32_t leased_id;               // uid and gid of the payload instead of the Plan's, or 0
  Restraint restraint;
  // The Landlock domain of the job, beside the client's own. LANDLOCK_SCOPE_*: what
  // the payload does not reach outside of the job. LANDLOCK_ACCESS_FS_*: what it may
  // do only on mounts that end with the job.
  uint32_t scoped, confined_fs;
  // That many IdMaps follow in the same message: those of the user namespace
  // that the job asked for, as the monitor decided. Outside means outside of that
  // one; where init was born in one, kFreshUser, ids there are the host's.
  uint32_t uid_lines, gid_lines;
  // And after those, with a mount that goes on acting for its client (an overlay):
  // the ids that the client may be, and what it may do with them; capabilities(7).
  uint32_t client_uid_lines, client_gid_lines;
  // Of cloister-network: the uid that shall own the user namespace which owns the
  // network. Nobody of the payload's: the owner has every power over it.
  uint32_t network_owner;
  uint64_t client_powers;
  char label[kMaxLabel];
};

// init -> monitor
enum class ReportKind : uint32_t {
  facts,    // Report + Fact[count] for each descriptor that needs_fact(); init waits for `proceed`
  maps,     // born in a user namespace; init waits for `proceed` (maps are written)
  forked,   // sent by the payload's process itself, right after its fork: SO_PASSCRED
            // tells the monitor that process's pid as the monitor sees it
  payload,  // with a pidfd of it, right after its fork
  started,  // execve(2) succeeded; of a network process: the network is up
  stopped,  // detail = signal
  continued,
  ended,  // the record is committed
};

struct Report {
  ReportKind kind;
  uint32_t count;
  uint32_t detail;
  int32_t pid;  // of the payload, in init's pid namespace
};

// What the kernel says about one passed descriptor.
struct Fact {
  uint32_t index;  // into Header::descriptors
  uint32_t mode;   // st_mode
  uint64_t device, inode, rdev;
  uint32_t open_flags;       // F_GETFL
  uint32_t domain;           // of a socket, or kNone
  uint32_t namespace_type;   // CLONE_NEW*, 0 if it is no namespace
  uint32_t namespace_owner;  // uid that owns the user namespace it belongs to, or kNone
  uint32_t uid, gid;         // st_uid, st_gid
  uint32_t filesystem;       // f_type, with kCoverKernel
  uint32_t reserved;
};

inline constexpr uint32_t kFactsPerReport = 64;

// monitor -> init
enum class CommandKind : uint32_t {
  proceed,
  signal,
  kill,
  network,  // with a descriptor: the network namespace that an outbound job waits for
};

enum class Scope : uint32_t { main, group, all, count_ };

struct Command {
  CommandKind kind;
  int32_t signal;
  Scope scope;
  uint32_t reserved;
};

}  // namespace cloister::plan
