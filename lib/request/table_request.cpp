// The vocabulary: the request itself. See table.hpp.
#include "table.hpp"

namespace cloister::request {
namespace {

constexpr auto kOpenPath = keyed<OpenPath>("path", Through{&OpenPath::path, kPath});

constexpr auto kCapture = keyed<Capture>("capture", Object<Capture>{});

constexpr OneOf kStdin{Bareword<Null>{"null"}, Bareword<Pty>{"pty"}, kPassed, InlineContent{},
                       kOpenPath};

constexpr OneOf kStdout{Bareword<Null>{"null"}, Bareword<Pty>{"pty"}, kPassed, kOpenPath, kCapture};

constexpr OneOf kStderr{Bareword<LikeStdout>{"stdout"},
                        Bareword<Null>{"null"},
                        Bareword<Pty>{"pty"},
                        kPassed,
                        kOpenPath,
                        kCapture};

constexpr OneOf kFileAction{keyed<OpenAction>("open", Object<OpenAction>{}),
                            keyed<Dup2Action>("dup2", Object<Dup2Action>{}),
                            keyed<CloseAction>("close", Object<CloseAction>{}),
                            keyed<CloseRangeAction>("closerange", Object<CloseRangeAction>{}),
                            keyed<ReceiveAction>("receive", Object<ReceiveAction>{}),
                            keyed<ChdirAction>("chdir", Object<ChdirAction>{}),
                            keyed<FchdirAction>("fchdir", Object<FchdirAction>{}),
                            keyed<TcsetpgrpAction>("tcsetpgrp", Object<TcsetpgrpAction>{})};

constexpr OneOf kIdentity{
    Bareword<CallerIdentity>{"caller"}, Bareword<DynamicIdentity>{"dynamic"},
    keyed<User>("user", Through{&User::name, Text{256}}),
    plain<Ids>(Object<Ids>{}, "{\"ruid\": ..., \"rgid\": ..., \"groups\": ...}")};

constexpr List<Object<IdMapping>> kIdMap{{}, 0, plan::kMaxMapLines};

constexpr OneOf kIdMapChoice{
    Bareword<SubordinateIds>{"subordinate"},
    plain<std::vector<IdMapping>>(kIdMap, "an array of {\"inside\", \"outside\", \"count\"}")};

constexpr OneOf kRoot{Bareword<EmptyRoot>{"empty"},
                      plain<std::string>(kAbsolutePath, "an absolute path"), kPassed};

constexpr Choice<RootAccess, 3> kRootAccess{
    {{"ro", RootAccess::ro}, {"rw", RootAccess::rw}, {"overlay", RootAccess::overlay}}};

constexpr OneOf kNetwork{Bareword<NoNetwork>{"none"}, Bareword<HostNetwork>{"host"},
                         keyed<Outbound>("outbound", Object<Outbound>{})};

constexpr Choice<CgroupPlace, 2> kCgroupPlace{
    {{"service", CgroupPlace::service}, {"caller", CgroupPlace::caller}}};

constexpr Choice<Keyring, 1> kKeyring{{{"new", Keyring::fresh}}};

constexpr Choice<Defaults, 2> kDefaults{
    {{"constants", Defaults::constants}, {"caller", Defaults::caller}}};

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
constexpr const char* kRlimitConstants = R"({
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

constexpr List<Signal> kSignals{{}, 0, 64};

constexpr List<Text> kPaths{Text{4096}, 0, 4096};

}  // namespace

template <>
const Table& table<Request>() {
  using R = Request;
  static constexpr Merge kReplace = Merge::replace, kByKey = Merge::by_key;
  static constexpr Line kRows[] = {
      Field{"profile", &R::profile, kName, "the profile that this request adds to", kReplace,
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
            "requests only: fields and keys of it that nobody asked for; a profile that sets or "
            "unsets them prevails",
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
      Field{
          "setsigdef", &R::setsigdef, kSignals,
          "reset to SIG_DFL; so are all others, but the profile none keeps what the caller ignores",
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
      Field{"workspace", &R::workspace, Object<Workspace>{},
            "a directory of the host at its own path; writable unless access is \"ro\""},
      Field{"mounts", &R::mounts, List<Object<Mount>>{{}, 0, plan::kMaxMounts - 1},
            "the new root, in order", Merge::mounts},
      Field{"secrets", &R::secrets, Map<Object<Secret>>{secret_name_rule, {}, 64},
            "files /run/secrets/NAME, 0400, in no reply, record or log", kByKey},
      Field{"masked_paths", &R::masked_paths, List<Bytes>{kAbsolutePath, 0, 4096},
            "made empty, where they exist", Merge::gather},
      Field{"readonly_paths", &R::readonly_paths, List<Bytes>{kAbsolutePath, 0, 4096},
            "made read-only, where they exist", Merge::gather},
      Field{"devices", &R::devices, List<Object<Device>>{{}, 0, 64},
            "nodes of the host in the sandbox's /dev"},

      Field{"network", &R::network, kNetwork,
            "none: a namespace of its own, loopback up; host: the host's"},
      Field{"capabilities", &R::capabilities, Object<Capabilities>{},
            "of the payload after its exec, capabilities(7); none if absent"},
      Field{"no_new_privs", &R::no_new_privs, kBoolean, "prctl(2)", kReplace, "true"},
      Field{"set_uid_files", &R::set_uid_files, kBoolean,
            "whether a job in namespaces of its own may make set-uid and set-gid files; needs a "
            "grant of the administrator",
            kReplace, "false"},
      Field{"seccomp", &R::seccomp, SystemCallFilter{},
            "the filter of system calls, seccomp(2); none if absent"},
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
      Field{"cgroup", &R::cgroup, kCgroupPlace, "below whose cgroup the job is placed", kReplace,
            R"("service")"},
      Field{"best_effort", &R::best_effort, kPaths,
            "fields that may be given up where they are unsupported", Merge::own},
      Field{"lifetime", &R::lifetime, Object<Lifetime>{}, "how the job ends", kByKey},
      Field{"tags", &R::tags, Map<Text>{tag_key_rule, {plan::kMaxName, 0}, plan::kMaxTags},
            "to find the job by", kByKey},
      Field{"defaults", &R::defaults, kDefaults,
            "profiles only: where absent fields take their values from", kReplace,
            R"("constants")"}};
  static constexpr Table kTable{kRows};
  return kTable;
}

}  // namespace cloister::request
