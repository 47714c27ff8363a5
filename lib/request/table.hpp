// The vocabulary of a request: every field once, with its name, type, range,
// meaning, way of merging and constant. Reading, writing, merging, the JSON Schema
// and the documents all come from these rows. They are in
//   table_request.cpp   the request itself
//   table_process.cpp   streams, file actions, scheduling
//   table_identity.cpp  ids, namespaces
//   table_files.cpp     mounts, devices, secrets
//   table_limits.cpp    network, privileges, limits, lifetime
// and here is what these share.
//
// Internal to lib/request.
#pragma once

#include "cloister/request.hpp"
#include "field.hpp"
#include "plan/plan.hpp"

namespace cloister::request {

// --- ranges -----------------------------------------------------------------

inline constexpr Integer kFd{0, plan::kMaxFd};
inline constexpr Integer kPassedFdIndex{0, plan::kMaxDescriptors - 1};
inline constexpr Integer kHostId{0, UINT32_MAX - 1};
// Clocks hold 2^63 ns; the kernel refuses offsets past half of that, time_namespaces(7).
inline constexpr Integer kOffset{-(INT64_MAX / 2), INT64_MAX / 2};
inline constexpr Integer kNanoseconds{0, INT64_MAX};
inline constexpr Bytes kPath{plan::kMaxPath - 1, Form::filled};
inline constexpr Bytes kAbsolutePath{plan::kMaxPath - 1, Form::absolute};
inline constexpr Bytes kArgument{plan::kMaxArgumentBytes - 1};
inline constexpr Text kName{plan::kMaxName};
inline constexpr Octal kMode{07777};
inline constexpr Boolean kBoolean{};

inline constexpr Integer kPort{1, 65535};

inline constexpr auto kRequired = [](auto field) {
  field.required = true;
  return field;
};

// --- codecs that only one field has -------------------------------------------------

struct Policy {
  bool read(Reading& in, const Place& at, const json& value, int32_t& out) const;
  json write(const Place& at, int32_t value) const;
  json schema() const;
};

// {"text": "..."}, or {"base64": "..."} for bytes that JSON cannot carry.
struct InlineContent {
  using Type = Inline;
  const char* later = nullptr;
  bool accepts(const json& value) const;
  bool read(Reading& in, const Place& at, const json& value, Inline& out) const;
  json write(const Place& at, const Inline& value) const;
  json schema() const;
  std::string expected() const { return "{\"text\": ...}, {\"base64\": ...}"; }
};

// --- rules, in rules.cpp ------------------------------------------------------------

const char* env_name_rule(std::string_view key);
const char* tag_key_rule(std::string_view key);
const char* rlimit_rule(std::string_view key);
const char* sysctl_rule(std::string_view key);
const char* secret_name_rule(std::string_view key);

// Null, or the rule that the members break together.
const char* broken(const OpenAction&);
const char* broken(const CloseRangeAction&);
const char* broken(const Scheduler&);
const char* broken(const IoPriority&);
const char* broken(const Ids&);
const char* broken(const IdMapping&);
const char* broken(const Tmpfs&);
const char* broken(const Directory&);
const char* broken(const Scratch&);
const char* broken(const FileContent&);
const char* broken(const Overlay&);
const char* broken(const Mount&);
const char* broken(const Capabilities&);
const char* broken(const LandlockPath&);
const char* broken(const Landlock&);
const char* broken(const Rlimit&);

template <class S>
const char* broken_rule(const void* object) {
  return broken(*static_cast<const S*>(object));
}

// --- what several tables have -------------------------------------------------------

inline constexpr auto kPassed =
    keyed<PassedFd>("passed_fd", Through{&PassedFd::index, kPassedFdIndex});
inline constexpr OneOf kPathOrFd{plain<std::string>(kPath, "a path"), kPassed};
inline constexpr OneOf kAbsoluteOrFd{plain<std::string>(kAbsolutePath, "an absolute path"),
                                     kPassed};

// --- the structures that have a table -------------------------------------------------

template <>
const Table& table<Capture>();
template <>
const Table& table<OpenAction>();
template <>
const Table& table<Dup2Action>();
template <>
const Table& table<CloseAction>();
template <>
const Table& table<CloseRangeAction>();
template <>
const Table& table<ReceiveAction>();
template <>
const Table& table<ChdirAction>();
template <>
const Table& table<FchdirAction>();
template <>
const Table& table<TcsetpgrpAction>();
template <>
const Table& table<Terminal>();
template <>
const Table& table<Scheduler>();
template <>
const Table& table<IoPriority>();
template <>
const Table& table<Ids>();
template <>
const Table& table<Namespaces>();
template <>
const Table& table<IdMapping>();
template <>
const Table& table<TimeOffsets>();
template <>
const Table& table<Workspace>();
template <>
const Table& table<Empty>();
template <>
const Table& table<Tmpfs>();
template <>
const Table& table<Directory>();
template <>
const Table& table<Proc>();
template <>
const Table& table<Scratch>();
template <>
const Table& table<FileContent>();
template <>
const Table& table<MountIdMap>();
template <>
const Table& table<Overlay>();
template <>
const Table& table<Mount>();
template <>
const Table& table<PublishedPort>();
template <>
const Table& table<Outbound>();
template <>
const Table& table<Capabilities>();
template <>
const Table& table<LandlockPath>();
template <>
const Table& table<Landlock>();
template <>
const Table& table<Secret>();
template <>
const Table& table<Device>();
template <>
const Table& table<Rlimit>();
template <>
const Table& table<Limits>();
template <>
const Table& table<Lifetime>();
template <>
const Table& table<Request>();

}  // namespace cloister::request
