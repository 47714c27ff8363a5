// The Plan's parts: what its Header holds, and the elements of its lists. Freestanding.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "limits.hpp"
#include "mount_kinds.hpp"
#include "output.hpp"
#include "use.hpp"

namespace cloister::plan {

inline constexpr uint32_t kMagic = 0x4e4c5043;  // "CPLN" in memory
inline constexpr uint32_t kVersion = 1;

// Bounds. Each has a test at the limit and one past it.
inline constexpr uint32_t kMaxBytes = 12u << 20;       // 4 MiB message, decoded twice over
inline constexpr uint32_t kMaxArguments = 65536;       // argv and env entries, each
inline constexpr uint32_t kMaxArgumentBytes = 131072;  // MAX_ARG_STRLEN, NUL included, execve(2)
inline constexpr uint32_t kMaxPath = 4096;             // PATH_MAX, NUL included
inline constexpr uint32_t kMaxDescriptors = 8192;
inline constexpr uint32_t kMaxActions = 4096;
inline constexpr uint32_t kMaxGroups = 65536;  // NGROUPS_MAX
inline constexpr uint32_t kMaxMapLines = 340;  // user_namespaces(7), Linux 4.15
inline constexpr uint32_t kMaxMounts = 8192;
inline constexpr uint32_t kMaxLayers = 502;  // 500 lower ones (overlayfs), upper and work
inline constexpr uint32_t kMaxTags = 64;
inline constexpr uint32_t kMaxSysctls = 64;
inline constexpr uint32_t kMaxLandlockPaths = 1024;
inline constexpr uint32_t kMaxLandlockPorts = 4096;  // to bind, and to connect to
inline constexpr uint32_t kMaxPublished = 64;
inline constexpr uint32_t kMaxHostname = 64;  // __NEW_UTS_LEN
inline constexpr uint32_t kMaxName = 128;     // name, idempotency_key, tag keys and values
inline constexpr uint32_t kRlimits = 16;      // RLIM_NLIMITS
inline constexpr uint32_t kNamespaces = 8;
inline constexpr uint32_t kCpuBytes = 128;          // 1024 processors
inline constexpr uint32_t kMaxInstructions = 4096;  // BPF_MAXINSNS, of one filter
inline constexpr int32_t kMaxFd = 1 << 20;
inline constexpr uint64_t kMaxTimeoutMs =
    365ull * 86400 * 1000;  // what a timer can hold, and a year

// Bytes in the block; one NUL follows them and none is inside.
struct Text {
  uint32_t offset;
  uint32_t length;
};

// `count` elements of T at `offset`, aligned to 8.
template <class T>
struct Span {
  uint32_t offset;
  uint32_t count;
};

// No descriptor, no id: the fields that are optional use these.
inline constexpr uint32_t kNone = UINT32_MAX;

enum class Method : uint32_t { run, start, plan_only, count_ };

struct Descriptor {
  Use use;
  uint32_t directory_granted;  // 1: the client said that this one may be a directory
};

// One step of file_actions, in list order; stdin, stdout and stderr come
// first in the same list. posix_spawn_file_actions_addopen(3) and friends.
enum class Op : uint32_t {
  open,         // fd, flags, mode, path
  dup2,         // fd -> new_fd, flags: 1 = close on exec ("inheritable": false)
  close,        // fd
  close_range,  // fd .. new_fd, high exclusive
  receive,      // descriptor -> fd
  chdir,        // path
  fchdir,       // fd
  tcsetpgrp,    // fd
  capture,      // the pipe of captured output -> fd, which is that of its stream
  pty,          // the slave of the job's terminal -> fd
  count_
};

struct Action {
  Op op;
  int32_t fd;
  int32_t new_fd;
  uint32_t flags;
  uint32_t mode;
  uint32_t descriptor;  // index into Header::descriptors, or kNone
  Text path;
  uint32_t index;  // the client's own index in file_actions; kNone for stdin, stdout, stderr
  uint32_t reserved;
};

// The order in which /proc/PID/ns lists them is not ours; this one is.
enum class Namespace : uint32_t { mnt, pid, net, ipc, uts, cgroup, user, time };

enum class Join : uint32_t { host, fresh, descriptor, job, count_ };

struct NamespaceChoice {
  Join join;
  uint32_t descriptor;
  uint8_t job[16];
};

struct IdMap {
  uint32_t inside;
  uint32_t outside;
  uint32_t count;
};

// One directory of an overlay. Lower ones come first, the topmost before all.
enum class LayerRole : uint32_t { lower, upper, work, count_ };

struct Layer {
  LayerRole role;
  uint32_t descriptor;
  Text source;  // as in Mount
};

struct Mount {
  MountKind kind;
  uint32_t flags;
  uint32_t descriptor;  // O_PATH descriptor of the source, opened as the client
  uint32_t mode;
  uint64_t size;    // bytes, 0 = the kernel's default
  uint64_t inodes;  // 0 = the kernel's default
  Text at;          // inside the new root, without links (places.hpp); "/" is the root itself
  Text source;      // the source as an absolute path: rootless init opens it again and compares
  Text data;        // symlink target
  Span<Layer> layers;
  // A bind whose ids are shown as others: inside as the sandbox sees them,
  // outside as the file system has them.
  Span<IdMap> uid_map, gid_map;
};

struct Tag {
  Text key;
  Text value;
};

struct Sysctl {
  Text path;  // below /proc/sys
  Text value;
};

// A port of the host's that leads into a job with an outbound network.
struct Published {
  uint8_t address[16];  // of the host, in network order; IPv4 in the first four bytes
  uint32_t family;      // AF_INET or AF_INET6, as the kernel numbers them
  uint32_t udp;         // 0: TCP
  uint32_t port, host_port;
};

inline constexpr uint32_t kInet = 2, kInet6 = 10;  // AF_INET, AF_INET6

// Where an outbound job finds its resolver: addresses that no network has (RFC
// 7600, and a local prefix of ours) and behind which pasta asks the host's.
inline constexpr const char* kDnsAddress = "192.0.0.8";
inline constexpr const char* kDnsAddress6 = "fd63:6c6f:6973::53";

struct Rlimit {
  uint64_t soft;  // RLIM_INFINITY is UINT64_MAX
  uint64_t hard;
  uint32_t set;  // 0: a constant of ours, lowered to what the caller itself has
  uint32_t reserved;
};

struct Identity {
  uint32_t ruid, euid, suid;
  uint32_t rgid, egid, sgid;
  Span<uint32_t> groups;
  uint32_t caller_groups;  // 1: the groups are the caller's own, unchanged
  uint32_t reserved;
};

// One instruction of a system call filter: struct sock_filter, <linux/filter.h>.
struct Instruction {
  uint16_t code;
  uint8_t jump_true, jump_false;
  uint32_t operand;
};
static_assert(sizeof(Instruction) == 8);

// kFilterWatched: the filter answers with SECCOMP_RET_USER_NOTIF where its author
// said kill_process, and init, who listens, kills: so that it can say for what.
// kFilterSignals: it can answer with SIGSYS by itself.
inline constexpr uint32_t kFilterWatched = 1, kFilterSignals = 2, kFilterLog = 4,
                          kFilterSpecAllow = 8, kAllFilterFlags = 15;

inline constexpr uint32_t kHasPolicy = 1, kHasParameters = 2, kResetOnFork = 4;

struct Scheduler {
  uint32_t set;  // kHasPolicy | kHasParameters | kResetOnFork
  int32_t policy;
  int32_t priority;
  uint32_t reserved;
  uint64_t runtime_ns, deadline_ns, period_ns;  // SCHED_DEADLINE
};

// capabilities(7) of the payload; bit n is CAP_ n.
inline constexpr uint64_t kEveryCapability = UINT64_MAX;  // each that is there
struct Capabilities {
  uint64_t bounding, effective, permitted, inheritable, ambient;
  uint32_t securebits;  // SECBIT_*
  uint32_t set;         // 0: nobody asked; no capability, or the caller's own (kKeepCapabilities)
};

struct LandlockPath {
  Text path;        // inside the new root, opened with the payload's rights
  uint32_t access;  // LANDLOCK_ACCESS_FS_*
  uint32_t reserved;
};
// struct landlock_ruleset_attr and its rules; all zero: no Landlock.
struct Landlock {
  uint32_t handled_fs;   // LANDLOCK_ACCESS_FS_*: what is refused without a rule
  uint32_t handled_net;  // LANDLOCK_ACCESS_NET_*
  uint32_t scoped;       // LANDLOCK_SCOPE_*
  uint32_t reserved;
  Span<LandlockPath> paths;
  Span<uint32_t> bind_tcp, connect_tcp;  // ports
  bool any() const { return (handled_fs | handled_net | scoped) != 0; }
};

// Ids that the front cannot know. Of a map that is chosen there are no lines in
// the Plan: 0 and up inside are the caller's subordinate ids, or a block leased
// for the job. A chosen identity is one leased id, uid and gid.
inline constexpr uint32_t kSubordinateUids = 1, kSubordinateGids = 2, kDynamicIds = 4,
                          kAllIdChoices = 7;

enum class OnDisconnect : uint32_t { kill, stop, keep, count_ };

}  // namespace cloister::plan
