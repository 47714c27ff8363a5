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
#include "rules.hpp"

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

// --- shared by several tables -------------------------------------------------------

inline constexpr auto kPassed =
    keyed<PassedFd>("passed_fd", Through{&PassedFd::index, kPassedFdIndex});
inline constexpr OneOf kPathOrFd{plain<std::string>(kPath, "a path"), kPassed};
inline constexpr OneOf kAbsoluteOrFd{plain<std::string>(kAbsolutePath, "an absolute path"),
                                     kPassed};

}  // namespace cloister::request
