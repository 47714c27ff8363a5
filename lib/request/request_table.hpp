// The vocabulary, second half: files, limits, and the request as a whole. See
// table.hpp. Internal to lib/request.
#pragma once

#include "table.hpp"

namespace cloister::request {

// --- files ----------------------------------------------------------------------

inline constexpr Choice<Access, 2> kAccess{{{"ro", Access::ro}, {"rw", Access::rw}}};
inline constexpr Choice<Owner, 1> kOwner{{{"caller", Owner::caller}}};
inline constexpr Choice<DevKind, 1> kDevKind{{{"minimal", DevKind::minimal}}};
inline constexpr OneOf kPathOrFd{plain<std::string>(kPath, "a path"), kPassed};
inline constexpr OneOf kAbsoluteOrFd{plain<std::string>(kAbsolutePath, "an absolute path"),
                                     kPassed};
inline constexpr OneOf kRoot{Bareword<EmptyRoot>{"empty"},
                             plain<std::string>(kAbsolutePath, "an absolute path"), kPassed};
inline constexpr Choice<RootAccess, 3> kRootAccess{
    {{"ro", RootAccess::ro}, {"rw", RootAccess::rw}, {"overlay", RootAccess::overlay}}};
inline constexpr Choice<ProcSubset, 1> kProcSubset{{{"pid", ProcSubset::pid}}};
inline constexpr Choice<ScratchPlace, 2> kScratchPlace{
    {{"memory", ScratchPlace::memory}, {"disk", ScratchPlace::disk}}};
inline constexpr Choice<Protocol, 2> kProtocol{{{"tcp", Protocol::tcp}, {"udp", Protocol::udp}}};

template <>
struct Table<Workspace> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"path", &Workspace::path, kAbsolutePath,
                                 "a directory, bound at its own path"}),
                 Field{"access", &Workspace::access, kAccess, "rw if absent"},
                 Field{"owner", &Workspace::owner, kOwner,
                       "caller: files that the payload makes are the caller's, whoever it is"}};
};
template <>
struct Table<Empty> {
  static constexpr auto fields = std::tuple{};
};
template <>
struct Table<Tmpfs> {
  static constexpr auto fields = std::tuple{
      Field{"size", &Tmpfs::size, Size{}, "the kernel's default, half of the memory, if absent"},
      Field{"inodes", &Tmpfs::inodes, Integer{1, INT64_MAX}, "the kernel's default if absent"},
      Field{"mode", &Tmpfs::mode, kMode, "of its root; 1777 if absent"}};
  static const char* broken(const Tmpfs& tmpfs);
};
template <>
struct Table<Directory> {
  static constexpr auto fields =
      std::tuple{Field{"mode", &Directory::mode, kMode, "0755 if absent"}};
  static const char* broken(const Directory& directory);
};
template <>
struct Table<Proc> {
  static constexpr auto fields = std::tuple{Field{
      "subset", &Proc::subset, kProcSubset, "pid: the directories of processes only, proc(5)"}};
};
template <>
struct Table<Scratch> {
  static constexpr auto fields = std::tuple{
      Field{"on", &Scratch::on, kScratchPlace,
            "memory if absent; on disk it is removed before the end of the job is told"},
      Field{"size", &Scratch::size, Size{}, "of memory; the kernel's default if absent"}};
  static const char* broken(const Scratch& scratch);
};
template <>
struct Table<FileContent> {
  static constexpr auto fields = std::tuple{
      Field{"text", &FileContent::text, Text{kMaxText, 0}, "its content"},
      Field{"base64", &FileContent::base64, Base64{kMaxText}, "its content, any bytes"},
      Field{"passed_fd", &FileContent::passed_fd, kPassedFdIndex, "its content is read from here"},
      Field{"mode", &FileContent::mode, kMode, "0644 if absent"}};
  static const char* broken(const FileContent& content);
};
template <>
struct Table<MountIdMap> {
  static constexpr List<Object<IdMapping>> kLines{{}, 1, plan::kMaxMapLines};
  static constexpr auto fields =
      std::tuple{kRequired(Field{"uid", &MountIdMap::uid, kLines, "user ids"}),
                 kRequired(Field{"gid", &MountIdMap::gid, kLines, "group ids"})};
};
template <>
struct Table<Overlay> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"lower", &Overlay::lower, List{kAbsoluteOrFd, 1, 500}, "topmost first"}),
      Field{"upper", &Overlay::upper, kAbsolutePath,
            "where changes go; gone with the job if absent"},
      Field{"work", &Overlay::work, kAbsolutePath, "beside upper, on its file system"}};
  static const char* broken(const Overlay& overlay);
};

template <>
struct Table<Mount> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"at", &Mount::at, kAbsolutePath, "where, inside the new root; ~ is HOME"}),
      Field{"bind", &Mount::bind, kAbsoluteOrFd, "a path outside, opened as the caller"},
      Field{"tmpfs", &Mount::tmpfs, Object<Tmpfs>{}, "an empty file system in memory"},
      Field{"proc", &Mount::proc, Object<Proc>{}, "a fresh procfs of the payload's pid namespace"},
      Field{"cgroup_view", &Mount::cgroup_view, Object<Empty>{},
            "the payload's own cgroup, read-only"},
      Field{"devpts", &Mount::devpts, Object<Empty>{}, "terminals of its own"},
      Field{"mqueue", &Mount::mqueue, Object<Empty>{},
            "POSIX message queues of the job's ipc namespace"},
      Field{"dev", &Mount::dev, kDevKind, "null zero full random urandom tty ptmx pts shm"},
      Field{"symlink", &Mount::symlink, kPath, "a symbolic link with this target"},
      Field{"dir", &Mount::dir, Object<Directory>{}, "a directory on a file system of the sandbox"},
      Field{"scratch", &Mount::scratch, Object<Scratch>{}, "empty, private, the payload's own"},
      Field{"file", &Mount::file, Object<FileContent>{}, "a file with this content"},
      Field{"overlay", &Mount::overlay, Object<Overlay>{}, "overlayfs"},
      Field{"access", &Mount::access, kAccess,
            "of bind, file, tmpfs, dev and overlay; ro for bind and file, else rw, if absent"},
      Field{"nosuid", &Mount::nosuid, kBoolean, "of bind; true if absent"},
      Field{"nodev", &Mount::nodev, kBoolean, "of bind; true if absent"},
      Field{"noexec", &Mount::noexec, kBoolean,
            "of bind, file, tmpfs, scratch and overlay; false if absent"},
      Field{"noatime", &Mount::noatime, kBoolean,
            "of bind, tmpfs, scratch and overlay; false if absent"},
      Field{"recursive", &Mount::recursive, kBoolean,
            "of bind: with the mounts below it; true if absent"},
      Field{"idmap", &Mount::idmap, Object<MountIdMap>{},
            "of bind: ids that it shows as others, mount_setattr(2)"},
      Field{"optional", &Mount::optional, kBoolean,
            "left out where the source or place is missing"}};
  static const char* broken(const Mount& mount);
};

// --- network, privilege, limits ---------------------------------------------------

inline constexpr Integer kPort{1, 65535};
template <>
struct Table<PublishedPort> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"port", &PublishedPort::port, kPort, "of the job"}),
                 Field{"host_port", &PublishedPort::host_port, kPort, "the same number if absent"},
                 Field{"address", &PublishedPort::address, Text{45},
                       "of the host, to listen at; 127.0.0.1 if absent"},
                 Field{"protocol", &PublishedPort::protocol, kProtocol, "tcp if absent"}};
};
template <>
struct Table<Outbound> {
  static constexpr auto fields =
      std::tuple{Field{"publish", &Outbound::publish, List<Object<PublishedPort>>{{}, 0, 64},
                       "ports of the host that lead into the job"}};
};
inline constexpr OneOf kNetwork{Bareword<NoNetwork>{"none"}, Bareword<HostNetwork>{"host"},
                                keyed<Outbound>("outbound", Object<Outbound>{})};

template <>
struct Table<Capabilities> {
  static constexpr CapabilitySet kSet{};
  static constexpr auto fields = std::tuple{
      Field{"bounding", &Capabilities::bounding, kSet, "none if absent"},
      Field{"effective", &Capabilities::effective, kSet, "permitted if absent"},
      Field{"permitted", &Capabilities::permitted, kSet, "none if absent"},
      Field{"inheritable", &Capabilities::inheritable, kSet, "none if absent"},
      Field{"ambient", &Capabilities::ambient, kSet, "what survives execve(2); none if absent"},
      Field{"securebits", &Capabilities::securebits, Mask{request::securebits, "a securebit"},
            "none if absent"}};
  static const char* broken(const Capabilities& sets);
};
template <>
struct Table<LandlockPath> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"path", &LandlockPath::path, kAbsolutePath, "inside the new root"}),
      kRequired(Field{"access", &LandlockPath::access, Mask{landlock_accesses, "an access"},
                      "the accesses allowed there and below"})};
  static const char* broken(const LandlockPath& path);
};
template <>
struct Table<Landlock> {
  static constexpr List<Integer> kPorts{kPort, 0, plan::kMaxLandlockPorts};
  static constexpr auto fields = std::tuple{
      Field{"paths", &Landlock::paths, List<Object<LandlockPath>>{{}, 0, plan::kMaxLandlockPaths},
            "files: all that no rule allows is refused"},
      Field{"bind_tcp", &Landlock::bind_tcp, kPorts, "ports that may be bound, ABI 4"},
      Field{"connect_tcp", &Landlock::connect_tcp, kPorts, "ports that may be connected to, ABI 4"},
      Field{"scopes", &Landlock::scopes, Mask{landlock_scopes, "a scope"},
            "what cannot leave the job, ABI 6"}};
  static const char* broken(const Landlock& landlock);
};
template <>
struct Table<Secret> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"passed_fd", &Secret::passed_fd, kPassedFdIndex, "read to its end"})};
};
template <>
struct Table<Device> {
  static constexpr auto fields =
      std::tuple{kRequired(Field{"path", &Device::path, kAbsolutePath, "below /dev of the host"}),
                 Field{"access", &Device::access, kAccess, "rw if absent"}};
};
template <>
struct Table<Rlimit> {
  static constexpr auto fields = std::tuple{
      kRequired(Field{"soft", &Rlimit::soft, LimitValue{}, "what holds"}),
      kRequired(Field{"hard", &Rlimit::hard, LimitValue{}, "how far soft may be raised"})};
  static const char* broken(const Rlimit& limit);
};

inline constexpr const char* kNoLimitRoom = "limits are not implemented";
inline constexpr Choice<OnOom, 2> kOnOom{
    {{"kill_job", OnOom::kill_job}, {"kill_process", OnOom::kill_process}}};
template <>
struct Table<Limits> {
  static constexpr auto kLater = [](auto field) {
    field.later = kNoLimitRoom;
    return field;
  };
  static constexpr auto fields = std::tuple{
      kLater(Field{"memory", &Limits::memory, Size{}, "of the whole job"}),
      kLater(Field{"swap", &Limits::swap, Size{}, "of the whole job"}),
      kLater(Field{"pids", &Limits::pids, Integer{1, INT32_MAX}, "processes and threads"}),
      kLater(Field{"cpus", &Limits::cpus, Number{0.001, 65536}, "processors' worth of time"}),
      kLater(Field{"wall_time", &Limits::wall_time, Duration{}, "from exec on"}),
      kLater(Field{"cpu_time", &Limits::cpu_time, Duration{}, "of the whole job"}),
      kLater(Field{"on_oom", &Limits::on_oom, kOnOom, "what an out-of-memory kill takes"})};
};

inline constexpr Choice<CgroupPlace, 2> kCgroupPlace{
    {{"service", CgroupPlace::service}, {"caller", CgroupPlace::caller}}};
inline constexpr Choice<Keyring, 1> kKeyring{{{"new", Keyring::fresh}}};
inline constexpr Choice<Defaults, 2> kDefaults{
    {{"constants", Defaults::constants}, {"caller", Defaults::caller}}};
inline constexpr Choice<OnDisconnect, 3> kOnDisconnect{
    {{"kill", OnDisconnect::kill}, {"stop", OnDisconnect::stop}, {"keep", OnDisconnect::keep}}};
template <>
struct Table<Lifetime> {
  static constexpr auto fields =
      std::tuple{Field{"on_disconnect", &Lifetime::on_disconnect, kOnDisconnect,
                       "when the caller's connection ends; kill for Run, keep for Start if absent"},
                 Field{"stop_signal", &Lifetime::stop_signal, Signal{}, "how Stop begins",
                       Merge::replace, R"("SIGTERM")"},
                 Field{"stop_timeout", &Lifetime::stop_timeout, Duration{},
                       "from stop_signal to SIGKILL", Merge::replace, R"("5s")"},
                 Field{"setup_timeout", &Lifetime::setup_timeout, Duration{},
                       "from acceptance to exec", Merge::replace, R"("10s")"}};
};

// prctl(2), PR_SET_DUMPABLE: execve(2) sets it anew for every program that its
// user may read, so nothing that comes before the exec can take it away.
struct Dumpable : Boolean {
  const char* later(bool dumpable) const {
    return dumpable ? nullptr
                    : "execve(2) makes a program dumpable again; give its file no read permission";
  }
};

// What a Linux system gives its first process, except where that is no
// sensible start for a job. Lowered to what the caller itself has.
inline constexpr const char* kRlimitConstants = R"({
  "RLIMIT_CPU": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_FSIZE": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_DATA": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_STACK": {"soft": "8M", "hard": "unlimited"},
  "RLIMIT_CORE": {"soft": 0, "hard": "unlimited"},
  "RLIMIT_RSS": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_NPROC": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_NOFILE": {"soft": 1024, "hard": 524288},
  "RLIMIT_MEMLOCK": {"soft": "8M", "hard": "8M"},
  "RLIMIT_AS": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_LOCKS": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_SIGPENDING": {"soft": "unlimited", "hard": "unlimited"},
  "RLIMIT_MSGQUEUE": {"soft": 819200, "hard": 819200},
  "RLIMIT_NICE": {"soft": 0, "hard": 0},
  "RLIMIT_RTPRIO": {"soft": 0, "hard": 0},
  "RLIMIT_RTTIME": {"soft": "unlimited", "hard": "unlimited"}})";

// --- the request ----------------------------------------------------------------------

inline constexpr List<Signal> kSignals{{}, 0, 64};
inline constexpr List<Text> kPaths{Text{4096}, 0, 4096};
inline constexpr OneOf kIdMapChoice{
    Bareword<SubordinateIds>{"subordinate"},
    plain<std::vector<IdMapping>>(kIdMap, "an array of {\"inside\", \"outside\", \"count\"}")};

template <>
struct Table<Request> {
  using R = Request;
  static constexpr Merge kReplace = Merge::replace, kByKey = Merge::by_key;
  static constexpr auto later = [](auto field, const char* reason) {
    field.later = reason;
    return field;
  };
  static constexpr auto fields = std::tuple{
      Field{"profile", &R::profile, kName, "the request this one completes", kReplace,
            R"("default")"},
      Field{"name", &R::name, kName, "for people; need not be unique"},
      Field{"idempotency_key", &R::idempotency_key, kName,
            "the same key and request again: the same job"},

      Field{"argv", &R::argv, List<Bytes>{kArgument, 1, plan::kMaxArguments},
            "passed unchanged; argv[0] is not empty"},
      Field{"executable", &R::executable, kPathOrFd, "argv[0] if absent"},
      Field{"search_path", &R::search_path, kBoolean,
            "look an executable without / up in PATH of env", kReplace, "true"},
      Field{"env", &R::env, Map<Bytes>{env_name_rule, kArgument, plan::kMaxArguments},
            "the whole environment", kByKey},
      Field{"env_pass", &R::env_pass, List<Text>{kName, 0, 256},
            "profiles only: globs of the caller's variables that pass", Merge::gather},
      Field{"unset", &R::unset, kPaths, "fields and keys of lower layers that are taken away",
            Merge::own},
      Field{"implied", &R::implied, kPaths,
            "requests only: its fields and keys that nobody asked for; what a profile says or "
            "unsets goes before them",
            Merge::own},
      Field{"cwd", &R::cwd, kAbsoluteOrFd, "inside the new root; the workspace, else /, if absent"},
      Field{"umask", &R::umask, Octal{0777}, "umask(2)", kReplace, R"("0022")"},

      Field{"stdin", &R::standard_input, kStdin, "descriptor 0", kReplace, R"("null")"},
      Field{"stdout", &R::standard_output, kStdout, "descriptor 1", kReplace, R"("null")"},
      Field{"stderr", &R::standard_error, kStderr, "descriptor 2", kReplace, R"("null")"},
      Field{"file_actions", &R::file_actions, List{kFileAction, 0, plan::kMaxActions - 3},
            "after stdin, stdout and stderr, in order, posix_spawn(3)"},
      Field{"terminal", &R::terminal, Object<Terminal>{}, "tty_ioctl(4)"},

      Field{"setpgroup", &R::setpgroup, Integer{0, INT32_MAX},
            "setpgid(2); 0 is a group of its own"},
      Field{"setsid", &R::setsid, kBoolean, "setsid(2)", kReplace, "false"},
      Field{"resetids", &R::resetids, kBoolean, "effective ids := real ids", kReplace, "false"},
      Field{"setsigmask", &R::setsigmask, kSignals, "blocked; all others are not", kReplace, "[]"},
      Field{"setsigdef", &R::setsigdef, kSignals, "default disposition, as all others have anyway",
            kReplace, "[]"},
      Field{"scheduler", &R::scheduler, Object<Scheduler>{}, "sched_setattr(2)", kReplace,
            R"({"policy": "SCHED_OTHER"})"},
      Field{"nice", &R::nice, Integer{-20, 19}, "setpriority(2)", kReplace, "0"},
      Field{"affinity", &R::affinity,
            List<Integer>{{0, plan::kCpuBytes * 8 - 1}, 1, plan::kCpuBytes * 8},
            "sched_setaffinity(2); every processor if absent"},
      Field{"ioprio", &R::ioprio, Object<IoPriority>{}, "ioprio_set(2)", kReplace,
            R"({"class": "none"})"},
      Field{"oom_score_adj", &R::oom_score_adj, Integer{-1000, 1000}, "proc(5)", kReplace, "0"},

      Field{"identity", &R::identity, kIdentity, "credentials(7)", kReplace, R"("caller")"},
      Field{"namespaces", &R::namespaces, Object<Namespaces>{}, "namespaces(7)", kByKey},
      Field{"unshare", &R::unshare, Mask{unshare_flags, "a CLONE_ flag that names no namespace"},
            "unshare(2)", kReplace, "[]"},
      Field{"uid_map", &R::uid_map, kIdMapChoice, "of a new user namespace"},
      Field{"gid_map", &R::gid_map, kIdMapChoice, "of a new user namespace"},
      Field{"hostname", &R::hostname, Text{plan::kMaxHostname}, "of a new uts namespace"},
      Field{"domainname", &R::domainname, Text{plan::kMaxHostname}, "of a new uts namespace"},
      Field{"time_offsets", &R::time_offsets, Object<TimeOffsets>{}, "of a new time namespace"},

      Field{"root", &R::root, kRoot,
            "another root directory, in the place of a mount at /; empty: a tmpfs"},
      Field{"root_access", &R::root_access, kRootAccess,
            "of root; overlay: writable, and gone with the job; ro if absent"},
      Field{"workspace", &R::workspace, Object<Workspace>{}, "bound last of all, writable"},
      Field{"mounts", &R::mounts, List<Object<Mount>>{{}, 0, plan::kMaxMounts - 1},
            "the new root, in order", Merge::mounts},
      Field{"secrets", &R::secrets, Map<Object<Secret>>{secret_name_rule, {}, 64},
            "files /run/secrets/NAME, 0400, in no reply, record or log", kByKey},
      Field{"masked_paths", &R::masked_paths, List<Bytes>{kAbsolutePath, 0, 4096},
            "made empty, where they are there", Merge::gather},
      Field{"readonly_paths", &R::readonly_paths, List<Bytes>{kAbsolutePath, 0, 4096},
            "made read-only, where they are there", Merge::gather},
      Field{"devices", &R::devices, List<Object<Device>>{{}, 0, 64},
            "nodes of the host in the sandbox's /dev"},

      Field{"network", &R::network, kNetwork,
            "none: a namespace of its own, loopback up; host: the host's"},
      Field{"capabilities", &R::capabilities, Object<Capabilities>{},
            "of the payload after its exec, capabilities(7); none if absent"},
      Field{"no_new_privs", &R::no_new_privs, kBoolean, "prctl(2)", kReplace, "true"},
      Field{"set_uid_files", &R::set_uid_files, kBoolean,
            "whether a box may leave set-uid programs behind; takes a grant of the administrator's",
            kReplace, "false"},
      Field{"seccomp", &R::seccomp, SystemCallFilter{},
            "which system calls are answered how, seccomp(2); none if absent"},
      Field{"landlock", &R::landlock, Object<Landlock>{}, "landlock(7); needs no_new_privs"},

      Field{"rlimits", &R::rlimits, Map<Object<Rlimit>>{rlimit_rule, {}, plan::kRlimits},
            "setrlimit(2)", kByKey, kRlimitConstants},
      Field{"sysctls", &R::sysctls, Map<SysctlValue>{sysctl_rule, {}, plan::kMaxSysctls},
            "of new namespaces, by dotted name", kByKey},
      Field{"personality", &R::personality, Mask{personality_flags, "a flag of personality(2)"},
            "personality(2)", kReplace, "[]"},
      Field{"timer_slack_ns", &R::timer_slack_ns, Integer{1, INT64_MAX}, "PR_SET_TIMERSLACK",
            kReplace, "50000"},
      Field{"keyring", &R::keyring, kKeyring, "keyrings(7)", kReplace, R"("new")"},
      Field{"dumpable", &R::dumpable, Dumpable{}, "PR_SET_DUMPABLE, as execve(2) leaves it"},

      Field{"limits", &R::limits, Object<Limits>{}, "of the whole job", kByKey},
      Field{"cgroup", &R::cgroup, kCgroupPlace, "whose cgroup the job is below", kReplace,
            R"("service")"},
      Field{"best_effort", &R::best_effort, kPaths,
            "fields that may be given up where they are unsupported", Merge::own},
      Field{"lifetime", &R::lifetime, Object<Lifetime>{}, "how the job ends", kByKey},
      Field{"tags", &R::tags, Map<Text>{tag_key_rule, {plan::kMaxName, 0}, plan::kMaxTags},
            "to find the job by", kByKey},
      Field{"defaults", &R::defaults, kDefaults, "profiles only: whose values absent fields take",
            kReplace, R"("constants")"}};
};

}  // namespace cloister::request
