// What every Varlink service answers: org.varlink.service, its standard errors,
// and the errors of io.cloister.Launcher. Used by the front.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "varlink/envelope.hpp"

namespace cloister::varlink {

inline constexpr std::string_view kLauncher = "io.cloister.Launcher";

// The version of this build and the interface descriptions, embedded at build time.
extern const std::string_view kVersion;
extern const std::string_view kServiceDescription;
std::string_view launcher_description();

// X(name in the interface, enumerator): the front has an on_ENUMERATOR for each.
#define CLOISTER_METHODS(X) \
  X(Run, run) \
  X(Start, start) \
  X(Plan, plan) \
  X(Wait, wait) \
  X(Signal, signal) \
  X(Stop, stop) \
  X(List, list) \
  X(Inspect, inspect) \
  X(Output, output) \
  X(Remove, remove) \
  X(Describe, describe)

enum class Method {
#define X(name, id) id,
  CLOISTER_METHODS(X)
#undef X
};

// The launcher's method of that qualified name; none: give `answer()` the call.
std::optional<Method> method_of(std::string_view qualified_name);

// Whether the method may answer with more than one reply.
constexpr bool may_stream(Method method) {
  return method == Method::run || method == Method::output;
}

// The reply to a call that is not the launcher's: GetInfo,
// GetInterfaceDescription, or the standard error that says what was not found.
Reply answer(const Call& call);

// org.varlink.service
Reply invalid_parameter(std::string_view parameter);
Reply expected_more();
Reply permission_denied();
Reply method_not_implemented(std::string_view method);

// io.cloister.Launcher; absent members are null.
Reply invalid_request(std::string_view field, std::string_view reason, std::string_view expected,
                      std::string_view got);
Reply denied(std::string_view field, std::string_view rule, std::optional<int64_t> limit,
             std::optional<int64_t> requested, std::string_view hint, std::string_view policy = {});
Reply busy(std::optional<int64_t> retry_after_ms, std::optional<int64_t> running,
           std::optional<int64_t> queued, std::optional<int64_t> limit, std::string_view rule = {},
           std::string_view hint = {});
Reply misconfigured(std::string_view file, std::string_view place, std::string_view reason);
Reply no_such_job(std::string_view id);
Reply unsupported(std::string_view feature, std::string_view reason);

}  // namespace cloister::varlink
