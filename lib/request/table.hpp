// The vocabulary of a request: every field once, with its name, type, range,
// meaning, way of merging, constant and room. Reading, writing, merging, the
// JSON Schema and the documents all come from these rows.
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

const char* env_name_rule(std::string_view key);
const char* tag_key_rule(std::string_view key);
const char* rlimit_rule(std::string_view key);
const char* sysctl_rule(std::string_view key);
const char* secret_name_rule(std::string_view key);

inline constexpr auto kPassed =
    keyed<PassedFd>("passed_fd", Through{&PassedFd::index, kPassedFdIndex});

// --- streams and file actions -------------------------------------------------

// {"text": "..."}, or {"base64": "..."} for bytes that JSON cannot carry.
struct InlineContent {
  using Type = Inline;
  const char* no_room = nullptr;
  bool accepts(const json& value) const;
  bool read(Reading& in, const Place& at, const json& value, Inline& out) const;
  json write(const Place& at, const Inline& value) const;
  json schema() const;
  std::string expected() const { return "{\"text\": ...}, {\"base64\": ...}"; }
};

inline constexpr Choice<OnLimit, 2> kOnLimit{
    {{"kill", OnLimit::kill}, {"truncate", OnLimit::truncate}}};

template <>
struct Table<Capture> {
  static constexpr auto fields =
      std::tuple{Field{"max", &Capture::max, Size{}, "bytes kept"},
                 Field{"on_limit", &Capture::on_limit, kOnLimit, "what happens past max"}};
};

inline constexpr auto kOpenPath = keyed<OpenPath>("path", Through{&OpenPath::path, kPath});
inline constexpr auto kCapture =
    keyed<Capture>("capture", Object<Capture>{}, "captured output is not implemented");
inline constexpr OneOf kStdin{Bareword<Null>{"null"}, Bareword<Pty>{"pty"}, kPassed,
                              InlineContent{}, kOpenPath};
inline constexpr OneOf kStdout{Bareword<Null>{"null"}, Bareword<Pty>{"pty"}, kPassed, kOpenPath,
                               kCapture};
inline constexpr OneOf kStderr{Bareword<LikeStdout>{"stdout"},
                               Bareword<Null>{"null"},
                               Bareword<Pty>{"pty"},
                               kPassed,
                               kOpenPath,
                               kCapture};

inline constexpr auto kRequired = [](auto field) {
  field.required = true;
  return field;
};

template <>
struct Table<OpenAction> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"fd", &OpenAction::fd, kFd, "where the opened file is placed"}),
      kRequired(Field{"path", &OpenAction::path, kPath, "resolved by the payload, from its cwd"}),
      Field{"flags", &OpenAction::flags, Mask{open_flags, "a flag of open(2)"},
            "O_RDONLY if absent"},
      Field{"mode", &OpenAction::mode, kMode, "of a file that is created; 0666 if absent"}};
  static const char* broken(const OpenAction& action);
};
template <>
struct Table<Dup2Action> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"fd", &Dup2Action::fd, kFd, "the descriptor that is copied"}),
      kRequired(Field{"new_fd", &Dup2Action::new_fd, kFd, "the number of the copy"}),
      Field{"inheritable", &Dup2Action::inheritable, kBoolean, "survives exec; true if absent"}};
};
template <>
struct Table<CloseAction> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"fd", &CloseAction::fd, kFd, "the descriptor that is closed"})};
};
template <>
struct Table<CloseRangeAction> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"fd_low", &CloseRangeAction::fd_low, kFd, "the first that is closed"}),
      kRequired(Field{"fd_high", &CloseRangeAction::fd_high, kFd, "one past the last"})};
  static const char* broken(const CloseRangeAction& action);
};
template <>
struct Table<ReceiveAction> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"passed_fd", &ReceiveAction::passed_fd, kPassedFdIndex,
                                 "index among the descriptors sent with the message"}),
                 kRequired(Field{"fd", &ReceiveAction::fd, kFd, "its number in the payload"}),
                 Field{"directory", &ReceiveAction::directory, kBoolean,
                       "true lets it be a directory, which leads out of the new root"}};
};
template <>
struct Table<ChdirAction> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"path", &ChdirAction::path, kPath, "the new working directory"})};
};
template <>
struct Table<FchdirAction> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"fd", &FchdirAction::fd, kFd, "an open directory"})};
};
template <>
struct Table<TcsetpgrpAction> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"fd", &TcsetpgrpAction::fd, kFd, "a controlling terminal"})};
};
inline constexpr OneOf kFileAction{
    keyed<OpenAction>("open", Object<OpenAction>{}),
    keyed<Dup2Action>("dup2", Object<Dup2Action>{}),
    keyed<CloseAction>("close", Object<CloseAction>{}),
    keyed<CloseRangeAction>("closerange", Object<CloseRangeAction>{}),
    keyed<ReceiveAction>("receive", Object<ReceiveAction>{}),
    keyed<ChdirAction>("chdir", Object<ChdirAction>{}),
    keyed<FchdirAction>("fchdir", Object<FchdirAction>{}),
    keyed<TcsetpgrpAction>("tcsetpgrp", Object<TcsetpgrpAction>{})};

template <>
struct Table<Terminal> {
  static constexpr auto fields =
      std::tuple{Field{"rows", &Terminal::rows, Integer{1, UINT16_MAX}, "of a pty"},
                 Field{"columns", &Terminal::columns, Integer{1, UINT16_MAX}, "of a pty"},
                 Field{"controlling_fd", &Terminal::controlling_fd, kFd,
                       "a terminal the payload holds, which becomes its controlling one"}};
};

// --- scheduling -----------------------------------------------------------------

struct Policy {
  bool read(Reading& in, const Place& at, const json& value, int32_t& out) const;
  json write(const Place& at, int32_t value) const;
  json schema() const;
};

template <>
struct Table<Scheduler> {
  static constexpr auto fields = std::tuple{
      Field{"policy", &Scheduler::policy, Policy{}, "SCHED_*; absent: the parameters only"},
      Field{"priority", &Scheduler::priority, Integer{0, 99}, "1 to 99 for FIFO and RR, else 0"},
      Field{"reset_on_fork", &Scheduler::reset_on_fork, kBoolean, "SCHED_RESET_ON_FORK"},
      Field{"runtime_ns", &Scheduler::runtime_ns, kNanoseconds, "SCHED_DEADLINE"},
      Field{"deadline_ns", &Scheduler::deadline_ns, kNanoseconds, "SCHED_DEADLINE"},
      Field{"period_ns", &Scheduler::period_ns, kNanoseconds, "SCHED_DEADLINE"}};
  static const char* broken(const Scheduler& scheduler);
};

inline constexpr Choice<IoClass, 4> kIoClass{{{"none", IoClass::none},
                                              {"realtime", IoClass::realtime},
                                              {"best_effort", IoClass::best_effort},
                                              {"idle", IoClass::idle}}};
template <>
struct Table<IoPriority> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"class", &IoPriority::io_class, kIoClass, "ioprio_set(2)"}),
      Field{"level", &IoPriority::level, Integer{0, 7}, "0 is the highest; 4 if absent"}};
  static const char* broken(const IoPriority& priority);
};

// --- identity and namespaces ------------------------------------------------------

template <>
struct Table<Ids> {
  static constexpr UserOrGroup kId{};
  static constexpr auto fields = std::tuple{
      Field{"ruid", &Ids::ruid, kId, "the caller's if absent"},
      Field{"euid", &Ids::euid, kId, "ruid if absent"},
      Field{"suid", &Ids::suid, kId, "euid if absent; execve(2) sets it to euid"},
      Field{"rgid", &Ids::rgid, kId, "the caller's if absent"},
      Field{"egid", &Ids::egid, kId, "rgid if absent"},
      Field{"sgid", &Ids::sgid, kId, "egid if absent; execve(2) sets it to egid"},
      Field{"groups", &Ids::groups, List<UserOrGroup>{kId, 0, plan::kMaxGroups},
            "exactly these; absent: the caller's if all ids are the caller's, else none"},
      Field{"initgroups", &Ids::initgroups, Text{256},
            "instead of groups: those of this user, and egid"}};
  static const char* broken(const Ids& ids);
};
inline constexpr OneOf kIdentity{
    Bareword<CallerIdentity>{"caller"}, Bareword<DynamicIdentity>{"dynamic"},
    keyed<User>("user", Through{&User::name, Text{256}}),
    plain<Ids>(Object<Ids>{}, "{\"ruid\": ..., \"rgid\": ..., \"groups\": ...}")};

inline constexpr OneOf kNamespace{Bareword<NewNamespace>{"new"}, Bareword<HostNamespace>{"host"},
                                  kPassed,
                                  keyed<JobNamespace>("job", Through{&JobNamespace::id, kName})};
inline constexpr OneOf kUserNamespace{
    Bareword<AutoNamespace>{"auto"}, Bareword<NewNamespace>{"new"}, Bareword<HostNamespace>{"host"},
    kPassed, keyed<JobNamespace>("job", Through{&JobNamespace::id, kName})};

template <>
struct Table<Namespaces> {
  static constexpr const char* kHost = R"("host")";
  static constexpr auto fields = std::tuple{
      Field{"mnt", &Namespaces::mnt, kNamespace, "mount_namespaces(7)", Merge::replace, kHost},
      Field{"pid", &Namespaces::pid, kNamespace, "pid_namespaces(7)", Merge::replace, kHost},
      Field{"net", &Namespaces::net, kNamespace, "network_namespaces(7)", Merge::replace, kHost},
      Field{"ipc", &Namespaces::ipc, kNamespace, "ipc_namespaces(7)", Merge::replace, kHost},
      Field{"uts", &Namespaces::uts, kNamespace, "uts_namespaces(7)", Merge::replace, kHost},
      Field{"cgroup", &Namespaces::cgroup, kNamespace, "cgroup_namespaces(7)", Merge::replace,
            kHost},
      Field{"user", &Namespaces::user, kUserNamespace, "user_namespaces(7)", Merge::replace,
            R"("auto")"},
      Field{"time", &Namespaces::time, kNamespace, "time_namespaces(7)", Merge::replace, kHost}};
};
template <>
struct Table<IdMapping> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"inside", &IdMapping::inside, kHostId, "the first id in the namespace"}),
      kRequired(Field{"outside", &IdMapping::outside, kHostId, "the first id out of it"}),
      kRequired(Field{"count", &IdMapping::count, Integer{1, UINT32_MAX}, "how many in a row"})};
  static const char* broken(const IdMapping& line);
};
inline constexpr List<Object<IdMapping>> kIdMap{{}, 0, plan::kMaxMapLines};
template <>
struct Table<TimeOffsets> {
  static constexpr auto fields = std::tuple{
      Field{"boottime_ns", &TimeOffsets::boottime_ns, kOffset, "added to CLOCK_BOOTTIME"},
      Field{"monotonic_ns", &TimeOffsets::monotonic_ns, kOffset, "added to CLOCK_MONOTONIC"}};
};

}  // namespace cloister::request
