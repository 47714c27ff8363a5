// The policy block: what the administrator says, as numbers, on its way from
// cloister-config, which parses files and asks for names, to the monitor, which
// does neither.
//
// One flat block, like a Plan: a PolicyHeader, then the arrays and strings that it
// points at by offset. cloister-config writes it into a memfd of the monitor's and
// ends. The monitor copies it and reads nothing of it before `check_policy()` has
// accepted it. What the members mean: cloisterd.json(5).
#pragma once

#include "messages.hpp"
#include "view.hpp"

namespace cloister::plan {

inline constexpr uint32_t kPolicyMagic = 0x4c4f5043;  // "CPOL" in memory
inline constexpr uint32_t kPolicyVersion = 1;

// Descriptor number that cloister-config starts with, besides 0, 1 and 2: the memfd.
inline constexpr int kPolicyFd = 3;

// Bounds. Each has a test at the limit and one past it. No count is lower than
// what files of the greatest size can say.
inline constexpr uint32_t kMaxPolicyFile = 1u << 20;        // cloisterd.json, subuid, subgid: each
inline constexpr uint32_t kMaxRules = kMaxPolicyFile / 13;  // {"name":"a"} and a comma
inline constexpr uint32_t kMaxRuleElements = kMaxPolicyFile / 2;  // of all lists of all rules
inline constexpr uint32_t kMaxSubordinates = kMaxPolicyFile / 6;  // a line of a:1:1
inline constexpr uint32_t kMaxPolicyText = 2 * kMaxPolicyFile;    // a member and what it has, NUL
                                                                  // included
inline constexpr uint32_t kMaxPolicyBytes = 48u << 20;
inline constexpr uint32_t kMaxQuota = 1u << 20;
inline constexpr uint64_t kMaxQuotaBytes = uint64_t{1} << 40;
inline constexpr uint32_t kMaxKeepS = 30 * 86400;
inline constexpr uint32_t kMaxSpareFronts = 64;
inline constexpr uint32_t kCapabilities = 41;           // CAP_LAST_CAP + 1, Linux 5.9
inline constexpr uint32_t kHighestId = UINT32_MAX - 1;  // (uid_t)-1 means "unchanged"
inline constexpr uint32_t kLowestLease = 65536;  // below: the system's and its users'; nobody's
inline constexpr uint32_t kMaxLeaseBlock = 1u << 24;

struct IdRange {
  uint32_t first;
  uint32_t last;  // inclusive
  bool holds(uint32_t low, uint32_t high) const { return first <= low && high <= last; }
};

struct DeviceNode {
  uint64_t number;  // dev_t
  uint32_t block;   // 1: a block device, 0: a character device
  uint32_t reserved;
};

// A line of subuid(5) or subgid(5).
struct SubordinateLine {
  uint32_t owner;
  uint32_t first, count;
};

// Of one user at a time. 0: no bound.
struct Quota {
  uint32_t jobs = 4096;  // running
  uint32_t connections = 1024;
  uint32_t spawns_per_s = 0;            // and as many at once, after a second of silence
  uint32_t fds_in_flight = 0;           // passed with jobs that have not started yet
  uint64_t request_bytes = 128u << 20;  // of the requests of running and kept jobs
  uint64_t output_bytes = 8ull << 30;   // of their captured output, as far as it may grow
};

enum class Network : uint32_t { none, outbound, host, count_ };

constexpr uint32_t bit(Namespace which) { return 1u << static_cast<uint32_t>(which); }
constexpr uint32_t bit(Network which) { return 1u << static_cast<uint32_t>(which); }
inline constexpr uint32_t kAllNamespaces = (1u << kNamespaces) - 1;
inline constexpr uint32_t kAllNetworks = bit(Network::count_) - 1;

// Members of a rule that are said; without its bit what stands there says nothing.
inline constexpr uint32_t kSaysUsers = 1, kSaysGroups = 2, kSaysDevices = 4, kSaysRealTime = 8,
                          kSaysNice = 16, kSaysEverything = 31;

struct RuleRow {
  char name[kMaxRuleName];  // letters, digits, '-', '_', '.'; NUL at its end
  uint32_t said;
  // Whom it speaks of: one of these, or everybody when neither is said.
  Span<uint32_t> users, groups;
  // allow: grants
  Span<IdRange> uids, gids;
  uint32_t namespaces_joined;  // bits
  uint32_t set_uid_files;      // 0 or 1, as all that has no other range
  uint64_t capabilities;       // 1 << CAP_*
  // allow: bounds
  uint32_t real_time;
  int32_t nice;
  uint32_t rlimits_said;  // bit n: rlimits[n]
  uint32_t namespaces_host = kAllNamespaces;
  uint64_t rlimits[kRlimits];
  Limits limits;  // amounts, as in a Plan; 0: no bound
  Span<DeviceNode> devices;
  uint32_t networks = kAllNetworks;
  uint32_t unfiltered_seccomp;
  uint32_t detach = 1;
  // require
  uint32_t required_namespaces;
  uint32_t require_no_new_privs, require_baseline;
  Quota quota;
};

// Which of the trees is used.
enum class CgroupChoice : uint32_t { automatic, v2, v1, none, count_ };

// `count` ids from `first` on, a multiple of `block`. The last block serves
// single ids, those before it are leased whole. Nothing configured: count 0.
struct Pool {
  uint32_t first = 0, count = 0, block = 65536;
  bool operator==(const Pool&) const = default;
};

// Of the service as a whole, and what holds where nothing is said.
struct Settings {
  uint32_t connections = 4096;    // of all users
  uint32_t kept_per_uid = 10000;  // ended, not removed
  uint32_t keep_s = 3600;
  uint32_t spare_fronts = 2;
  uint32_t confined_callers = 0;
  CgroupChoice cgroup = CgroupChoice::automatic;
  Pool lease;
  uint32_t socket_group = kNone;  // of the group `cloister`; kNone: there is none
};

struct PolicyHeader {
  uint32_t magic, version;
  uint32_t bytes;  // of the whole block
  // Why the files cannot be followed. With a reason, the rest says nothing but
  // socket_group.
  Text wrong_file, wrong_place, wrong_reason;
  Settings settings;
  Text pasta, scratch;  // absolute paths; empty: the usual ones
  Quota quota;          // of whom no rule speaks
  Span<RuleRow> rules;
  Span<SubordinateLine> subuids, subgids;
};

using PolicyView = BlockView<PolicyHeader>;

// `bytes` is the size of what was written. The block must be aligned to 8.
Flaw check_policy(const void* block, size_t bytes) noexcept;

}  // namespace cloister::plan
