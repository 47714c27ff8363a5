// The Plan: what the front asks for, as numbers and bytes.
//
// A Plan is one flat block: a fixed Header, then arrays and strings that the
// header points at by offset. The front builds it (builder.hpp) in a memfd
// that the monitor made, seals it, and writes its size to a pipe. The monitor
// and init map the same sealed pages, so what was authorised is what runs.
//
// Nothing here allocates or needs a C library: init reads Plans too. Nobody
// may look into a block before `check()` (view.hpp) has accepted it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "schema.hpp"

namespace cloister::plan {

// Header::flags; kFlags, below, has a row for each.
inline constexpr uint32_t kSearchPath = 1, kNoNewPrivs = 2, kSetsid = 4, kResetIds = 8,
                          kLoopbackUp = 16, kPty = 32, kSetpgroup = 64, kTimeOffsets = 128,
                          kWantPidfd = 256, kKeepCapabilities = 512, kNewKeyring = 1024,
                          kIoprio = 2048, kOutbound = 4096, kSetUidFiles = 8192, kAllFlags = 16383;

struct Header {
  uint32_t magic, version;
  uint32_t bytes;  // of the whole block
  uint32_t flags;
  Method method;
  uint32_t umask;

  Text profile, name, idempotency_key;
  uint64_t request_digest;  // of the client's JSON; one idempotency key goes with one digest
  Text request_json;        // Inspect shows it to the owner; without the values of env
  Text degraded;            // JSON array of the best_effort fields that were given up

  Text executable;  // a path, or a name to search, inside the new root
  uint32_t executable_descriptor;
  uint32_t cwd_descriptor;
  Text search;  // the PATH to search
  Text cwd;
  Span<Text> argv, env;  // env as NAME=VALUE

  Span<Descriptor> descriptors;
  Span<Action> actions;
  Capture capture[kCaptured];

  uint64_t signal_mask;     // bit n-1 = signal n blocked, sigprocmask(2)
  uint64_t signal_default;  // bit n-1 = signal n has its default action, else it is ignored
  int32_t setpgroup;
  int32_t controlling_fd;  // a passed terminal that becomes the controlling one, or -1
  uint32_t rows, columns;

  Scheduler scheduler;
  int32_t nice;           // -20..19
  uint32_t ioprio;        // ioprio_set(2) value
  int32_t oom_score_adj;  // -1000..1000
  uint32_t personality;
  uint64_t timer_slack_ns;
  uint8_t affinity[kCpuBytes];  // all zero: every processor

  Identity identity;
  Rlimit rlimits[kRlimits];
  Limits limits;
  Capabilities capabilities;
  Landlock landlock;

  NamespaceChoice namespaces[kNamespaces];
  uint32_t unshare;        // CLONE_FS, CLONE_FILES, CLONE_SYSVSEM, ...
  uint32_t caller_cgroup;  // 1: the payload is placed below the caller's own cgroup
  uint32_t id_choices;     // ids that the monitor chooses: kSubordinateUids | ...
  uint32_t reserved0;
  Span<IdMap> uid_map, gid_map;
  Text hostname, domainname;
  int64_t monotonic_offset_ns, boottime_offset_ns;

  Span<Mount> mounts;  // in the order of places.hpp; empty: the root stays as it is
  Span<Sysctl> sysctls;
  Span<Published> published;  // with kOutbound
  Span<Tag> tags;

  Span<Instruction> seccomp;  // the client's own filter; empty: none
  uint32_t seccomp_flags;     // kFilter*
  uint32_t reserved1;

  OnDisconnect on_disconnect;
  int32_t stop_signal;
  uint64_t stop_timeout_ms, setup_timeout_ms;
  uint64_t parse_us, resolve_us;  // what these phases of the front took

  // Of a number of stdout or stderr.
  bool captures(int32_t fd) const {
    return fd >= 1 && fd <= static_cast<int32_t>(kCaptured) && capture[fd - 1].max > 0;
  }
};

static_assert(sizeof(Header) % 8 == 0);

namespace schema {

inline constexpr Member kHeaderMembers[] = {
    number(CLOISTER_AT(Header, magic), kMagic, kMagic).initially(kMagic),
    number(CLOISTER_AT(Header, version), kVersion, kVersion).initially(kVersion),
    number(CLOISTER_AT(Header, bytes), sizeof(Header), kMaxBytes),
    flags(CLOISTER_AT(Header, flags), kAllFlags),  // kFlags, below
    one_of<Method>(CLOISTER_AT(Header, method)),
    number(CLOISTER_AT(Header, umask), 0, 0777).same_as("umask", Step::umask),

    text(CLOISTER_AT(Header, profile), kMaxName).of("profile"),
    text(CLOISTER_AT(Header, name), kMaxName).of("name"),
    text(CLOISTER_AT(Header, idempotency_key), kMaxName).of("idempotency_key"),
    anything(CLOISTER_AT(Header, request_digest)),
    text(CLOISTER_AT(Header, request_json), kMaxBytes - 1),
    text(CLOISTER_AT(Header, degraded), kMaxBytes - 1).of("best_effort"),

    text(CLOISTER_AT(Header, executable), kMaxPath - 1).of("executable"),
    descriptor(CLOISTER_AT(Header, executable_descriptor), Use::executable).of("executable"),
    descriptor(CLOISTER_AT(Header, cwd_descriptor), Use::cwd).of("cwd"),
    text(CLOISTER_AT(Header, search), kMaxArgumentBytes - 1).of("search_path"),
    text(CLOISTER_AT(Header, cwd), kMaxPath - 1).of("cwd"),
    list(CLOISTER_AT(Header, argv), kArgument, kMaxArguments).of("argv"),
    list(CLOISTER_AT(Header, env), kArgument, kMaxArguments).of("env"),

    list(CLOISTER_AT(Header, descriptors), kDescriptor, kMaxDescriptors).by_authorise(),
    list(CLOISTER_AT(Header, actions), kAction, kMaxActions).of("file_actions"),
    block(CLOISTER_AT(Header, capture), kCapture, kCaptured).of("stdout"),

    anything(CLOISTER_AT(Header, signal_mask)).of("setsigmask"),
    anything(CLOISTER_AT(Header, signal_default)).initially(UINT64_MAX).of("setsigdef"),
    number(CLOISTER_AT(Header, setpgroup), 0, INT32_MAX).same_as("setpgroup", Step::setpgroup),
    number(CLOISTER_AT(Header, controlling_fd), -1, kMaxFd).initially(UINT64_MAX).of("terminal"),
    number(CLOISTER_AT(Header, rows), 0, UINT16_MAX).of("terminal"),
    number(CLOISTER_AT(Header, columns), 0, UINT16_MAX).of("terminal"),

    block(CLOISTER_AT(Header, scheduler), kScheduler).of("scheduler"),
    number(CLOISTER_AT(Header, nice), -20, 19).same_as("nice", Step::nice).by_authorise(),
    number(CLOISTER_AT(Header, ioprio), 0, UINT16_MAX).of("ioprio").by_authorise(),
    number(CLOISTER_AT(Header, oom_score_adj), -1000, 1000)
        .same_as("oom_score_adj", Step::oom_score_adj)
        .by_authorise(),
    // UINT32_MAX sets nothing: it asks for the current one, personality(2).
    number(CLOISTER_AT(Header, personality), 0, UINT32_MAX - 1)
        .same_as("personality", Step::personality),
    number(CLOISTER_AT(Header, timer_slack_ns), 0, INT64_MAX)
        .same_as("timer_slack_ns", Step::timer_slack),
    anything(CLOISTER_AT(Header, affinity)).of("affinity"),

    block(CLOISTER_AT(Header, identity), kIdentity).of("identity"),
    block(CLOISTER_AT(Header, rlimits), kRlimit, kRlimits).of("rlimits").by_authorise(),
    block(CLOISTER_AT(Header, limits), kLimits).of("limits").by_authorise(),
    block(CLOISTER_AT(Header, capabilities), kCapabilities).of("capabilities"),
    block(CLOISTER_AT(Header, landlock), kLandlock).of("landlock"),

    block(CLOISTER_AT(Header, namespaces), kNamespaceChoice, kNamespaces)
        .of("namespaces")
        .by_authorise(),
    number(CLOISTER_AT(Header, unshare), 0, INT32_MAX)
        .same_as("unshare", Step::unshare)
        .by_authorise(),
    yes_or_no(CLOISTER_AT(Header, caller_cgroup)).of("cgroup"),
    flags(CLOISTER_AT(Header, id_choices), kAllIdChoices).of("identity").by_authorise(),
    reserved(CLOISTER_AT(Header, reserved0)),
    list(CLOISTER_AT(Header, uid_map), kIdMap, kMaxMapLines)
        .of("uid_map")
        .in_new(Namespace::user)
        .by_authorise(),
    list(CLOISTER_AT(Header, gid_map), kIdMap, kMaxMapLines)
        .of("gid_map")
        .in_new(Namespace::user)
        .by_authorise(),
    text(CLOISTER_AT(Header, hostname), kMaxHostname).of("hostname").in_new(Namespace::uts),
    text(CLOISTER_AT(Header, domainname), kMaxHostname).of("domainname").in_new(Namespace::uts),
    anything(CLOISTER_AT(Header, monotonic_offset_ns)).of("time_offsets"),
    anything(CLOISTER_AT(Header, boottime_offset_ns)).of("time_offsets"),

    list(CLOISTER_AT(Header, mounts), kMount, kMaxMounts)
        .of("mounts")
        .in_new(Namespace::mnt)
        .by_authorise(),
    list(CLOISTER_AT(Header, sysctls), kSysctl, kMaxSysctls)
        .of("sysctls")
        .in_new(Namespace::net)
        .by_authorise(),
    list(CLOISTER_AT(Header, published), kPublished, kMaxPublished)
        .of("network")
        .in_new(Namespace::net)
        .by_authorise(),
    list(CLOISTER_AT(Header, tags), kTag, kMaxTags).of("tags"),

    list(CLOISTER_AT(Header, seccomp), kInstruction, kMaxInstructions).of("seccomp").by_authorise(),
    flags(CLOISTER_AT(Header, seccomp_flags), kAllFilterFlags).of("seccomp"),
    reserved(CLOISTER_AT(Header, reserved1)),

    one_of<OnDisconnect>(CLOISTER_AT(Header, on_disconnect)).of("lifetime").by_authorise(),
    number(CLOISTER_AT(Header, stop_signal), 1, 64).initially(15).of("lifetime"),
    number(CLOISTER_AT(Header, stop_timeout_ms), 0, kMaxTimeoutMs).of("lifetime").by_authorise(),
    number(CLOISTER_AT(Header, setup_timeout_ms), 0, kMaxTimeoutMs).of("lifetime"),
    anything(CLOISTER_AT(Header, parse_us)),
    anything(CLOISTER_AT(Header, resolve_us)),
};
CLOISTER_STRUCT(kHeader, Header, kHeaderMembers);

#undef CLOISTER_AT
#undef CLOISTER_STRUCT

}  // namespace schema

// The bits of Header::flags.
struct Flag {
  uint32_t bit;
  const char* field;  // of the request; "": the front
  bool needs_new = false;
  Namespace where = Namespace::mnt;
};

inline constexpr Flag kFlags[] = {
    {kSearchPath, "search_path"},
    {kNoNewPrivs, "no_new_privs"},
    {kSetsid, "setsid"},
    {kResetIds, "resetids"},
    {kLoopbackUp, "network", true, Namespace::net},
    {kPty, "terminal"},
    {kSetpgroup, "setpgroup"},
    {kTimeOffsets, "time_offsets", true, Namespace::time},
    {kWantPidfd, ""},
    {kKeepCapabilities, "defaults"},
    {kNewKeyring, "keyring"},
    {kIoprio, "ioprio"},
    {kOutbound, "network", true, Namespace::net},
    {kSetUidFiles, "set_uid_files"},
};

constexpr bool each_flag_has_a_row() {
  uint32_t seen = 0;
  for (const Flag& flag : kFlags) {
    if (seen & flag.bit) return false;
    seen |= flag.bit;
  }
  return seen == kAllFlags;
}
static_assert(each_flag_has_a_row());

// The field of the request that a step applies; "": none.
constexpr const char* field_of(Step step) {
  for (const Member& member : schema::kHeaderMembers)
    if (member.is_carried_over() && member.step == step) return member.field;
  return describe(step).field;
}

}  // namespace cloister::plan
