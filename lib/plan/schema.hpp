// The schema of the Plan: one row for each member of each of its structures. The rows
// of the Header are beside it, in plan.hpp.
//
// The rows are the only place that says what a member may hold. check() (check.cpp)
// walks them, the Builder takes its initial values from them, and authorise() requires
// the namespaces that they need. The fuzz targets and the tests of hostile fronts walk
// them too. A member without a row does not compile: the rows of a structure must cover
// each of its bytes.
//
// Relations between two members, such as a soft and a hard limit, are checked in
// check.cpp.
//
// Freestanding: init reads this too.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "elements.hpp"
#include "steps.hpp"

namespace cloister::plan {

enum class Holds : uint8_t {
  number,      // from `low` to `high`; an enumerator is a number too
  anything,    // every value is valid, or the kernel refuses it
  flags,       // no bits but those of `high`
  text,        // of at most `high` bytes
  list,        // of at most `high` structures `element`
  block,       // `count` structures `element`
  descriptor,  // index into Header::descriptors of one with this `use`, or kNone
  reserved,    // zero
};

// Whether a value within its range can give the peer more than it has.
enum class Judged : uint8_t {
  no,         // no: any process can set such a value for itself
  authorise,  // authorise() compares it with what the peer may have
};

struct Struct;

struct Member {
  const char* name;
  uint32_t offset, size;  // bytes
  bool is_signed;
  Holds holds = Holds::anything;
  int64_t low = 0;
  uint64_t high = 0;
  const Struct* element = nullptr;
  uint32_t count = 0;
  Use use = Use::none;
  uint64_t initial = 0;              // the Builder's initial value; texts begin empty
  const char* field = "";            // field of the request that sets it; "": the front does
  bool needs_new = false;            // if it is not empty, `where` must be a new namespace,
  Namespace where = Namespace::mnt;  // as it is changed for all processes in there
  Judged judged = Judged::no;
  Step step = Step::none;  // in which init applies it, same_as()

  constexpr Member of(const char* request_field) const {
    Member made = *this;
    made.field = request_field;
    return made;
  }
  // The member holds the same number as the field of the request. lib/resolve copies it
  // by this row, and init applies it in a step of its own.
  constexpr Member same_as(const char* request_field, Step applied) const {
    Member made = of(request_field);
    made.step = applied;
    return made;
  }
  constexpr bool is_carried_over() const { return step != Step::none; }
  constexpr Member initially(uint64_t value) const {
    Member made = *this;
    made.initial = value;
    return made;
  }
  constexpr Member in_new(Namespace which) const {
    Member made = *this;
    made.needs_new = true;
    made.where = which;
    return made;
  }
  constexpr Member by_authorise() const {
    Member made = *this;
    made.judged = Judged::authorise;
    return made;
  }
};

struct Struct {
  const char* name;
  const Member* members;
  uint32_t count;  // of members
  uint32_t size;   // bytes of one
};

namespace schema {

template <class T>
constexpr bool is_signed() {
  if constexpr (__is_enum(T) || __is_class(T))
    return false;
  else
    return static_cast<T>(-1) < static_cast<T>(0);
}
template <class T>
struct Bare {
  using type = T;
};
template <class T, size_t N>
struct Bare<T[N]> {
  using type = T;
};

constexpr Member number(Member at, int64_t low, uint64_t high) {
  at.holds = Holds::number;
  at.low = low;
  at.high = high;
  return at;
}
template <class Enum>
constexpr Member one_of(Member at) {
  return number(at, 0, static_cast<uint64_t>(Enum::count_) - 1);
}
constexpr Member yes_or_no(Member at) { return number(at, 0, 1); }
constexpr Member anything(Member at) { return at; }
constexpr Member flags(Member at, uint64_t all) {
  at.holds = Holds::flags;
  at.high = all;
  return at;
}
constexpr Member text(Member at, uint64_t bytes) {
  at.holds = Holds::text;
  at.high = bytes;
  return at;
}
constexpr Member list(Member at, const Struct& element, uint64_t most) {
  at.holds = Holds::list;
  at.element = &element;
  at.high = most;
  return at;
}
constexpr Member block(Member at, const Struct& element, uint32_t count = 1) {
  at.holds = Holds::block;
  at.element = &element;
  at.count = count;
  return at;
}
constexpr Member descriptor(Member at, Use use) {
  at.holds = Holds::descriptor;
  at.use = use;
  at.initial = kNone;
  return at;
}
constexpr Member reserved(Member at) {
  at.holds = Holds::reserved;
  return at;
}

// Each member begins where the one before it ends, and the last one ends with the structure.
template <size_t N>
constexpr bool covers(const Member (&members)[N], size_t size) {
  size_t end = 0;
  for (const Member& member : members) {
    if (member.offset != end) return false;
    if (member.holds == Holds::block && member.size != member.count * member.element->size)
      return false;
    end += member.size;
  }
  return end == size;
}

// An id; -1 means "unchanged" to the kernel, setresuid(2).
inline constexpr uint64_t kMostId = UINT32_MAX - 1;

// clang-format off
#define CLOISTER_AT(owner, member) \
  Member{#member, offsetof(owner, member), sizeof(owner::member), \
         is_signed<Bare<decltype(owner::member)>::type>()}
#define CLOISTER_STRUCT(name, owner, members) \
  static_assert(covers(members, sizeof(owner))); \
  inline constexpr Struct name{#owner, members, sizeof(members) / sizeof(members[0]), sizeof(owner)}
// clang-format on

// --- elements of lists -------------------------------------------------------------

// Elements that are one number or one text.
inline constexpr Member kArgumentMembers[] = {
    text({"", 0, sizeof(Text), false}, kMaxArgumentBytes - 1)};
CLOISTER_STRUCT(kArgument, Text, kArgumentMembers);
inline constexpr Member kIdMembers[] = {number({"", 0, sizeof(uint32_t), false}, 0, kMostId)};
CLOISTER_STRUCT(kId, uint32_t, kIdMembers);
inline constexpr Member kPortMembers[] = {number({"", 0, sizeof(uint32_t), false}, 0, UINT16_MAX)};
CLOISTER_STRUCT(kPort, uint32_t, kPortMembers);

inline constexpr Member kDescriptorMembers[] = {
    one_of<Use>(CLOISTER_AT(Descriptor, use)),
    yes_or_no(CLOISTER_AT(Descriptor, directory_granted)),
};
CLOISTER_STRUCT(kDescriptor, Descriptor, kDescriptorMembers);

inline constexpr Member kActionMembers[] = {
    one_of<Op>(CLOISTER_AT(Action, op)),
    number(CLOISTER_AT(Action, fd), 0, kMaxFd),
    number(CLOISTER_AT(Action, new_fd), 0, kMaxFd),
    anything(CLOISTER_AT(Action, flags)),  // of open(2); for dup2 see Op
    number(CLOISTER_AT(Action, mode), 0, 07777),
    anything(CLOISTER_AT(Action, descriptor)),  // checked by `op`, check.cpp
    text(CLOISTER_AT(Action, path), kMaxPath - 1),
    anything(CLOISTER_AT(Action, index)),
    reserved(CLOISTER_AT(Action, reserved)),
};
CLOISTER_STRUCT(kAction, Action, kActionMembers);

inline constexpr Member kIdMapMembers[] = {
    anything(CLOISTER_AT(IdMap, inside)),
    anything(CLOISTER_AT(IdMap, outside)),
    number(CLOISTER_AT(IdMap, count), 1, UINT32_MAX),
};
CLOISTER_STRUCT(kIdMap, IdMap, kIdMapMembers);

inline constexpr Member kLayerMembers[] = {
    one_of<LayerRole>(CLOISTER_AT(Layer, role)),
    anything(CLOISTER_AT(Layer, descriptor)),  // checked by `role`, check.cpp
    text(CLOISTER_AT(Layer, source), kMaxPath - 1),
};
CLOISTER_STRUCT(kLayer, Layer, kLayerMembers);

inline constexpr Member kMountMembers[] = {
    one_of<MountKind>(CLOISTER_AT(Mount, kind)),
    flags(CLOISTER_AT(Mount, flags), kMountAllFlags),
    anything(CLOISTER_AT(Mount, descriptor)),  // checked by `kind`, check.cpp
    number(CLOISTER_AT(Mount, mode), 0, 07777),
    anything(CLOISTER_AT(Mount, size)),
    anything(CLOISTER_AT(Mount, inodes)),
    text(CLOISTER_AT(Mount, at), kMaxPath - 1),
    text(CLOISTER_AT(Mount, source), kMaxPath - 1),
    text(CLOISTER_AT(Mount, data), kMaxPath - 1),
    list(CLOISTER_AT(Mount, layers), kLayer, kMaxLayers),
    list(CLOISTER_AT(Mount, uid_map), kIdMap, kMaxMapLines).by_authorise(),
    list(CLOISTER_AT(Mount, gid_map), kIdMap, kMaxMapLines).by_authorise(),
};
CLOISTER_STRUCT(kMount, Mount, kMountMembers);

inline constexpr Member kTagMembers[] = {
    text(CLOISTER_AT(Tag, key), kMaxName),
    text(CLOISTER_AT(Tag, value), kMaxName),
};
CLOISTER_STRUCT(kTag, Tag, kTagMembers);

inline constexpr Member kSysctlMembers[] = {
    text(CLOISTER_AT(Sysctl, path), kMaxPath - 1),
    text(CLOISTER_AT(Sysctl, value), kMaxPath - 1),
};
CLOISTER_STRUCT(kSysctl, Sysctl, kSysctlMembers);

inline constexpr Member kPublishedMembers[] = {
    anything(CLOISTER_AT(Published, address)),
    anything(CLOISTER_AT(Published, family)),  // kInet or kInet6, check.cpp
    yes_or_no(CLOISTER_AT(Published, udp)),
    number(CLOISTER_AT(Published, port), 1, UINT16_MAX),
    number(CLOISTER_AT(Published, host_port), 1, UINT16_MAX),
};
CLOISTER_STRUCT(kPublished, Published, kPublishedMembers);

// The kernel checks the instructions and their order when it loads the filter,
// seccomp(2).
inline constexpr Member kInstructionMembers[] = {
    anything(CLOISTER_AT(Instruction, code)),
    anything(CLOISTER_AT(Instruction, jump_true)),
    anything(CLOISTER_AT(Instruction, jump_false)),
    anything(CLOISTER_AT(Instruction, operand)),
};
CLOISTER_STRUCT(kInstruction, Instruction, kInstructionMembers);

inline constexpr Member kLandlockPathMembers[] = {
    text(CLOISTER_AT(LandlockPath, path), kMaxPath - 1),
    anything(CLOISTER_AT(LandlockPath, access)),  // the kernel refuses bits that it does not know
    reserved(CLOISTER_AT(LandlockPath, reserved)),
};
CLOISTER_STRUCT(kLandlockPath, LandlockPath, kLandlockPathMembers);

// --- parts of the header ------------------------------------------------------------

inline constexpr Member kNamespaceChoiceMembers[] = {
    one_of<Join>(CLOISTER_AT(NamespaceChoice, join)),
    anything(CLOISTER_AT(NamespaceChoice, descriptor)),  // checked by `join`, check.cpp
    anything(CLOISTER_AT(NamespaceChoice, job)),
};
CLOISTER_STRUCT(kNamespaceChoice, NamespaceChoice, kNamespaceChoiceMembers);

inline constexpr Member kRlimitMembers[] = {
    anything(CLOISTER_AT(Rlimit, soft)),
    anything(CLOISTER_AT(Rlimit, hard)),
    yes_or_no(CLOISTER_AT(Rlimit, set)),
    reserved(CLOISTER_AT(Rlimit, reserved)),
};
CLOISTER_STRUCT(kRlimit, Rlimit, kRlimitMembers);

inline constexpr Member kIdentityMembers[] = {
    number(CLOISTER_AT(Identity, ruid), 0, kMostId).by_authorise(),
    number(CLOISTER_AT(Identity, euid), 0, kMostId).by_authorise(),
    number(CLOISTER_AT(Identity, suid), 0, kMostId).by_authorise(),
    number(CLOISTER_AT(Identity, rgid), 0, kMostId).by_authorise(),
    number(CLOISTER_AT(Identity, egid), 0, kMostId).by_authorise(),
    number(CLOISTER_AT(Identity, sgid), 0, kMostId).by_authorise(),
    list(CLOISTER_AT(Identity, groups), kId, kMaxGroups).by_authorise(),
    yes_or_no(CLOISTER_AT(Identity, caller_groups)),
    reserved(CLOISTER_AT(Identity, reserved)),
};
CLOISTER_STRUCT(kIdentity, Identity, kIdentityMembers);

inline constexpr Member kSchedulerMembers[] = {
    flags(CLOISTER_AT(Scheduler, set), kHasPolicy | kHasParameters | kResetOnFork),
    anything(CLOISTER_AT(Scheduler, policy)).by_authorise(),
    number(CLOISTER_AT(Scheduler, priority), 0, 99).by_authorise(),
    reserved(CLOISTER_AT(Scheduler, reserved)),
    anything(CLOISTER_AT(Scheduler, runtime_ns)),
    anything(CLOISTER_AT(Scheduler, deadline_ns)),
    anything(CLOISTER_AT(Scheduler, period_ns)),
};
CLOISTER_STRUCT(kScheduler, Scheduler, kSchedulerMembers);

inline constexpr Member kCapabilitiesMembers[] = {
    anything(CLOISTER_AT(Capabilities, bounding)).by_authorise(),
    anything(CLOISTER_AT(Capabilities, effective)).by_authorise(),
    anything(CLOISTER_AT(Capabilities, permitted)).by_authorise(),
    anything(CLOISTER_AT(Capabilities, inheritable)).by_authorise(),
    anything(CLOISTER_AT(Capabilities, ambient)).by_authorise(),
    flags(CLOISTER_AT(Capabilities, securebits), 0xff).by_authorise(),
    yes_or_no(CLOISTER_AT(Capabilities, set)),
};
CLOISTER_STRUCT(kCapabilities, Capabilities, kCapabilitiesMembers);

inline constexpr Member kLimitsMembers[] = {
    number(CLOISTER_AT(Limits, wall_time_ms), 0, kMaxTimeoutMs),
    number(CLOISTER_AT(Limits, cpu_time_ms), 0, kMaxTimeoutMs),
    anything(CLOISTER_AT(Limits, memory)),
    anything(CLOISTER_AT(Limits, swap)),
    anything(CLOISTER_AT(Limits, cpu_us)),
    number(CLOISTER_AT(Limits, pids), 0, kMaxPids),
    one_of<OnOom>(CLOISTER_AT(Limits, on_oom)),
    reserved(CLOISTER_AT(Limits, reserved)),
};
CLOISTER_STRUCT(kLimits, Limits, kLimitsMembers);

inline constexpr Member kCaptureMembers[] = {
    number(CLOISTER_AT(Capture, max), 0, kMaxCapture),
    one_of<OnLimit>(CLOISTER_AT(Capture, on_limit)),
    one_of<Keep>(CLOISTER_AT(Capture, keep)),
};
CLOISTER_STRUCT(kCapture, Capture, kCaptureMembers);

inline constexpr Member kLandlockMembers[] = {
    anything(CLOISTER_AT(Landlock, handled_fs)),
    anything(CLOISTER_AT(Landlock, handled_net)),
    anything(CLOISTER_AT(Landlock, scoped)),
    reserved(CLOISTER_AT(Landlock, reserved)),
    list(CLOISTER_AT(Landlock, paths), kLandlockPath, kMaxLandlockPaths),
    list(CLOISTER_AT(Landlock, bind_tcp), kPort, kMaxLandlockPorts),
    list(CLOISTER_AT(Landlock, connect_tcp), kPort, kMaxLandlockPorts),
};
CLOISTER_STRUCT(kLandlock, Landlock, kLandlockMembers);

}  // namespace schema

// --- walking it ---------------------------------------------------------------------

// The value of a member of at most 8 bytes, sign-extended if it is signed.
inline uint64_t value_of(const Member& member, const void* of) {
  const auto* const at = static_cast<const uint8_t*>(of) + member.offset;
  uint64_t value = 0;
  for (uint32_t i = member.size; i-- > 0;) value = value << 8 | at[i];
  const uint32_t bits = member.size * 8;
  if (member.is_signed && bits < 64 && (value >> (bits - 1) & 1)) value |= ~uint64_t{0} << bits;
  return value;
}

inline bool is_within(const Member& member, uint64_t value) {
  if (member.is_signed)
    return static_cast<int64_t>(value) >= member.low &&
           static_cast<int64_t>(value) <= static_cast<int64_t>(member.high);
  return value >= static_cast<uint64_t>(member.low) && value <= member.high;
}

// Text and Span have the same layout: an offset, then a length or count.
inline Text place_of(const Member& member, const void* of) {
  const auto* const at = static_cast<const uint8_t*>(of) + member.offset;
  return *reinterpret_cast<const Text*>(at);
}

// Whether the member asks for nothing: it has no element or byte, or its initial value.
inline bool is_empty(const Member& member, const void* of) {
  if (member.holds == Holds::text || member.holds == Holds::list)
    return place_of(member, of).length == 0;
  return value_of(member, of) == member.initial;
}

}  // namespace cloister::plan
