// One table per structure that crosses the wire, read both ways: each_field()
// names the members of a structure, `write()` makes JSON of them and `read()`
// checks and takes them. For what services say to clients: every member that is
// known must have its type, unknown ones come from a newer service and are left
// alone. (Requests of clients are read by lib/request, which refuses those.)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cloister/job.hpp"
#include "cloister/verdict.hpp"
#include "varlink/envelope.hpp"

namespace cloister::varlink {

// Sets `word` by its name; a name of a newer service is `unknown`.
void from_string(std::string_view name, Mode& word);
void from_string(std::string_view name, Ending& word);
void from_string(std::string_view name, Cause& word);
void from_string(std::string_view name, Fault& word);
void from_string(std::string_view name, JobPhase& word);

// --- the tables. `f` takes (name, member) -----------------------------------

template <class F, class T>
concept Same = std::is_same_v<std::remove_const_t<F>, T>;

template <Same<Failure> T, class F>
void each_field(T& v, F&& f) {
  f("stage", v.stage);
  f("step", v.step);
  f("field", v.field);
  f("index", v.index);
  f("errno", v.error_number);
  f("errno_name", v.errno_name);
  f("message", v.message);
  f("hint", v.hint);
}

template <Same<ResourceUsage> T, class F>
void each_field(T& v, F&& f) {
  f("utime_us", v.utime_us);
  f("stime_us", v.stime_us);
  f("maxrss_kib", v.maxrss_kib);
  f("ixrss", v.ixrss);
  f("idrss", v.idrss);
  f("isrss", v.isrss);
  f("minflt", v.minflt);
  f("majflt", v.majflt);
  f("nswap", v.nswap);
  f("inblock", v.inblock);
  f("oublock", v.oublock);
  f("msgsnd", v.msgsnd);
  f("msgrcv", v.msgrcv);
  f("nsignals", v.nsignals);
  f("nvcsw", v.nvcsw);
  f("nivcsw", v.nivcsw);
}

template <Same<SandboxUsage> T, class F>
void each_field(T& v, F&& f) {
  f("memory_peak_bytes", v.memory_peak_bytes);
  f("cpu_us", v.cpu_us);
  f("pids_peak", v.pids_peak);
  f("io_read_bytes", v.io_read_bytes);
  f("io_write_bytes", v.io_write_bytes);
  f("cpu_throttled_us", v.cpu_throttled_us);
}

template <Same<LimitHit> T, class F>
void each_field(T& v, F&& f) {
  f("field", v.field);
  f("limit", v.limit);
  f("peak", v.peak);
}

template <Same<OutOfMemory> T, class F>
void each_field(T& v, F&& f) {
  f("kills", v.kills);
  f("main_process", v.main_process);
  f("scope", v.scope);
}

template <Same<SeccompHit> T, class F>
void each_field(T& v, F&& f) {
  f("syscall", v.syscall);
  f("number", v.number);
  f("architecture", v.architecture);
}

template <Same<KilledBy> T, class F>
void each_field(T& v, F&& f) {
  f("signal", v.signal);
  f("uid", v.uid);
}

template <Same<OutputUsage> T, class F>
void each_field(T& v, F&& f) {
  f("bytes", v.bytes);
  f("kept", v.kept);
  f("truncated", v.truncated);
}

template <Same<Phases> T, class F>
void each_field(T& v, F&& f) {
  f("parse", v.parse);
  f("resolve", v.resolve);
  f("authorise", v.authorise);
  f("queue", v.queue);
  f("slot", v.slot);
  f("exec", v.exec);
}

template <Same<Verdict> T, class F>
void each_field(T& v, F&& f) {
  f("verdict_version", v.verdict_version);
  f("id", v.id);
  f("name", v.name);
  f("tags", v.tags);
  f("profile", v.profile);
  f("mode", v.mode);
  f("ok", v.ok);
  f("ending", v.ending);
  f("cause", v.cause);
  f("fault", v.fault);
  f("wait_status", v.wait_status);
  f("exit_code", v.exit_code);
  f("term_signal", v.term_signal);
  f("core_dumped", v.core_dumped);
  f("returncode", v.returncode);
  f("si_code", v.child_code);
  f("si_status", v.child_status);
  f("si_uid", v.child_uid);
  f("limit", v.limit);
  f("oom", v.oom);
  f("seccomp", v.seccomp);
  f("killed_by", v.killed_by);
  f("failure", v.failure);
  f("degraded", v.degraded);
  f("leftover_processes_killed", v.leftover_processes_killed);
  f("output", v.output);
  f("rusage", v.rusage);
  f("usage", v.usage);
  f("accepted_at", v.accepted_at);
  f("started_at", v.started_at);
  f("ended_at", v.ended_at);
  f("wall_us", v.wall_us);
  f("phases_us", v.phases_us);
}

template <Same<JobInfo> T, class F>
void each_field(T& v, F&& f) {
  f("id", v.id);
  f("name", v.name);
  f("tags", v.tags);
  f("profile", v.profile);
  f("mode", v.mode);
  f("state", v.state);
  f("pid", v.pid);
  f("owner", v.owner);
  f("argv", v.argv);
  f("accepted_at", v.accepted_at);
  f("started_at", v.started_at);
  f("ended_at", v.ended_at);
}

// --- JSON -------------------------------------------------------------------

// The wire says null where a Failure has an empty string or errno 0.
Json to_dom(const Failure& failure);

// One member, out of line: there are a hundred.
void put(Json& object, const char* name, Json value);

template <class T>
Json write(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return to_string(value);
  } else if constexpr (std::is_same_v<T, Failure>) {
    return to_dom(value);
  } else if constexpr (requires { value.has_value(); }) {
    return value ? write(*value) : Json();
  } else if constexpr (requires { typename T::mapped_type; }) {
    Json object = Json::object();
    for (const auto& [name, member] : value) object[name] = write(member);
    return object;
  } else if constexpr (std::is_constructible_v<Json, T>) {
    return value;
  } else {
    Json object = Json::object();
    each_field(value,
               [&](const char* name, const auto& member) { put(object, name, write(member)); });
    return object;
  }
}

// The member if it is there and not null; null otherwise.
const Json* found(const Json& object, const char* name);
std::string below(const std::string& path, const char* name);

// False, with `why` filled, if `value` is not of the type. The large tables are
// compiled once, in verdict_json.cpp.
bool read(const Json& value, Verdict& out, const std::string& path, std::string& why);
bool read(const Json& value, JobInfo& out, const std::string& path, std::string& why);
bool read(const Json& value, Failure& out, const std::string& path, std::string& why);

template <class T>
bool read_members(const Json& value, T& out, const std::string& path, std::string& why);

template <class T>
bool read(const Json& value, T& out, const std::string& path, std::string& why) {
  const auto refuse = [&](const char* expected) {
    if (why.empty()) why = path + " is not " + expected;
    return false;
  };
  if constexpr (requires { out.has_value(); }) {
    if (value.is_null()) return true;
    return read(value, out.emplace(), path, why);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) return refuse("true or false");
    out = value == true;
    return true;
  } else if constexpr (std::is_enum_v<T>) {
    if (!value.is_string()) return refuse("a string");
    from_string(value.template get_ref<const std::string&>(), out);
    return true;
  } else if constexpr (std::is_integral_v<T>) {
    if (!value.is_number_integer()) return refuse("an integer");
    // nlohmann compares past 2^63 as if it were negative: look at what is stored.
    const auto* large = value.template get_ptr<const uint64_t*>();
    const int64_t number = *value.template get_ptr<const int64_t*>();
    if (large != nullptr ? !std::in_range<T>(*large) : !std::in_range<T>(number))
      return refuse("in range");
    out = static_cast<T>(number);
    return true;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) return refuse("a string");
    out = value.template get_ref<const std::string&>();
    return true;
  } else if constexpr (requires { typename T::mapped_type; }) {
    if (!value.is_object()) return refuse("an object");
    for (const auto& [name, member] : value.items())
      if (!read(member, out[name], path + "." + name, why)) return false;
    return true;
  } else if constexpr (requires { out.emplace_back(); }) {
    if (!value.is_array()) return refuse("an array");
    for (const auto& element : value)
      if (!read(element, out.emplace_back(), path + "[]", why)) return false;
    return true;
  } else {
    return read_members(value, out, path, why);
  }
}

// Absent is null; what is not optional then keeps its own empty value.
template <class T>
bool read_members(const Json& value, T& out, const std::string& path, std::string& why) {
  if (!value.is_object()) {
    if (why.empty()) why = path + " is not an object";
    return false;
  }
  bool good = true;
  each_field(out, [&](const char* name, auto& member) {
    if (!good) return;
    if (const Json* const item = found(value, name))
      good = read(*item, member, below(path, name), why);
  });
  return good;
}

}  // namespace cloister::varlink
