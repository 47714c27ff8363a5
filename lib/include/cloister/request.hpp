// Request: what a client asks for, in C++ types.
//
// The arguments of posix_spawn(3) plus the sandbox around the process. A client
// fills in a Request and sends `to_json()` of it; the front reads the same JSON
// with `parse()`. An absent member takes the value of the profile, else a
// constant; it never takes that of the daemon's own process.
//
// File names, arguments and values of environment variables may hold any bytes
// but NUL. Times are milliseconds, sizes bytes, unless the name ends in another
// unit. `PassedFd` is an index into the descriptors that are sent along with the
// message; `fd` is a number inside the payload.
#pragma once

#include <boost/system/result.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace cloister {

// Why a request was refused. `field` is a path such as
// "file_actions[2].open.path"; the texts are short and safe to print.
struct Problem {
  enum class Kind {
    invalid,      // the request breaks a rule; `expected` and `got` say how
    unsupported,  // `field` is a feature that this version or host lacks
    failed,       // a system call failed on behalf of `field`: `error` is its errno
  };
  Kind kind = Kind::invalid;
  std::string field, reason, expected, got;
  int error = 0;

  bool operator==(const Problem&) const = default;
};

struct PassedFd {
  uint32_t index = 0;
  bool operator==(const PassedFd&) const = default;
};

// A path, or a descriptor. cloister-request(5) says for each field where and with whose
// rights its path is opened.
using PathOrFd = std::variant<std::string, PassedFd>;

// --- stdin, stdout, stderr ------------------------------------------------

struct Null {  // /dev/null
  bool operator==(const Null&) const = default;
};
struct Inline {  // stdin only: these bytes, NUL included, then end of file
  std::string bytes;
  bool operator==(const Inline&) const = default;
};
struct OpenPath {  // opened by the payload: stdin to read, the others created and truncated
  std::string path;
  bool operator==(const OpenPath&) const = default;
};
enum class OnLimit { kill, truncate };
enum class Keep { head, tail, both };
struct Capture {
  std::optional<uint64_t> max;
  std::optional<OnLimit> on_limit;
  std::optional<Keep> keep;
  bool operator==(const Capture&) const = default;
};
struct Pty {  // the slave of a terminal made inside the sandbox
  bool operator==(const Pty&) const = default;
};
struct LikeStdout {  // stderr only
  bool operator==(const LikeStdout&) const = default;
};
using Stream = std::variant<Null, PassedFd, Inline, OpenPath, Capture, Pty, LikeStdout>;

// --- file actions, in list order, after stdin, stdout and stderr ------------

struct OpenAction {
  int32_t fd = 0;
  std::string path;
  std::optional<uint32_t> flags;  // O_*; O_RDONLY if absent
  std::optional<uint32_t> mode;   // 0666 if absent
  bool operator==(const OpenAction&) const = default;
};
struct Dup2Action {
  int32_t fd = 0, new_fd = 0;
  std::optional<bool> inheritable;  // true if absent
  bool operator==(const Dup2Action&) const = default;
};
struct CloseAction {
  int32_t fd = 0;
  bool operator==(const CloseAction&) const = default;
};
struct CloseRangeAction {  // low inclusive, high exclusive
  int32_t fd_low = 0, fd_high = 0;
  bool operator==(const CloseRangeAction&) const = default;
};
struct ReceiveAction {
  uint32_t passed_fd = 0;
  int32_t fd = 0;
  std::optional<bool> directory;  // true: grants a descriptor of a directory
  bool operator==(const ReceiveAction&) const = default;
};
struct ChdirAction {
  std::string path;
  bool operator==(const ChdirAction&) const = default;
};
struct FchdirAction {
  int32_t fd = 0;
  bool operator==(const FchdirAction&) const = default;
};
struct TcsetpgrpAction {
  int32_t fd = 0;
  bool operator==(const TcsetpgrpAction&) const = default;
};
using FileAction = std::variant<OpenAction, Dup2Action, CloseAction, CloseRangeAction,
                                ReceiveAction, ChdirAction, FchdirAction, TcsetpgrpAction>;

struct Terminal {
  std::optional<uint32_t> rows, columns;
  std::optional<int32_t> controlling_fd;  // of the payload: becomes its controlling terminal
  bool operator==(const Terminal&) const = default;
};

// --- scheduling -------------------------------------------------------------

struct Scheduler {
  std::optional<int32_t> policy;  // SCHED_*; absent: the parameters only
  std::optional<int32_t> priority;
  std::optional<bool> reset_on_fork;
  std::optional<uint64_t> runtime_ns, deadline_ns, period_ns;  // SCHED_DEADLINE
  bool operator==(const Scheduler&) const = default;
};
enum class IoClass { none, realtime, best_effort, idle };  // ioprio_set(2)
struct IoPriority {
  IoClass io_class = IoClass::none;
  std::optional<uint32_t> level;  // 0 to 7, 0 is the highest
  bool operator==(const IoPriority&) const = default;
};

// --- identity ---------------------------------------------------------------

using Id = std::variant<uint32_t, std::string>;  // a number, or the name of a user or group

struct CallerIdentity {
  bool operator==(const CallerIdentity&) const = default;
};
struct DynamicIdentity {  // an id leased for the job
  bool operator==(const DynamicIdentity&) const = default;
};
struct User {  // uid, primary group and all groups of this user
  std::string name;
  bool operator==(const User&) const = default;
};
// An absent real id is the caller's, an absent effective id the real one, an
// absent saved id the effective one. Absent groups are the caller's own when
// all six ids are the caller's, else none.
struct Ids {
  std::optional<Id> ruid, euid, suid, rgid, egid, sgid;
  std::optional<std::vector<Id>> groups;
  std::optional<std::string> initgroups;  // instead of groups: the groups of this user, and egid
  bool operator==(const Ids&) const = default;
};
using Identity = std::variant<CallerIdentity, DynamicIdentity, User, Ids>;

// --- namespaces ---------------------------------------------------------------

struct NewNamespace {
  bool operator==(const NewNamespace&) const = default;
};
struct HostNamespace {
  bool operator==(const HostNamespace&) const = default;
};
struct AutoNamespace {  // for user only: new if another choice needs that
  bool operator==(const AutoNamespace&) const = default;
};
struct JobNamespace {  // that of a running job
  std::string id;
  bool operator==(const JobNamespace&) const = default;
};
// PassedFd: a /proc/PID/ns file, or a pidfd.
using NamespaceChoice =
    std::variant<NewNamespace, HostNamespace, AutoNamespace, PassedFd, JobNamespace>;

struct Namespaces {
  std::optional<NamespaceChoice> mnt, pid, net, ipc, uts, cgroup, user, time;
  bool operator==(const Namespaces&) const = default;
};
struct IdMapping {
  uint32_t inside = 0, outside = 0, count = 1;
  bool operator==(const IdMapping&) const = default;
};
// The ids from 0 on inside are the caller's subordinate ids, subuid(5) and subgid(5), or a
// range that the service leases for the job.
struct SubordinateIds {
  bool operator==(const SubordinateIds&) const = default;
};
using IdMap = std::variant<SubordinateIds, std::vector<IdMapping>>;
struct TimeOffsets {
  std::optional<int64_t> boottime_ns, monotonic_ns;
  bool operator==(const TimeOffsets&) const = default;
};

// --- files --------------------------------------------------------------------

struct EmptyRoot {  // a tmpfs, for the mounts to fill
  bool operator==(const EmptyRoot&) const = default;
};
using Root = std::variant<EmptyRoot, std::string, PassedFd>;
// overlay: writable; changes are discarded when the job ends.
enum class RootAccess { ro, rw, overlay };

enum class Access { ro, rw };
enum class Owner { caller };
struct Workspace {
  std::string path;  // a directory, bound at the same path; rw if `access` is absent
  std::optional<Access> access;
  std::optional<Owner> owner;
  bool operator==(const Workspace&) const = default;
};

struct Tmpfs {
  std::optional<uint64_t> size, inodes;
  std::optional<uint32_t> mode;
  bool operator==(const Tmpfs&) const = default;
};
struct Directory {
  std::optional<uint32_t> mode;
  bool operator==(const Directory&) const = default;
};
enum class DevKind { minimal };  // null zero full random urandom tty ptmx pts shm
struct Empty {                   // a kind that has no parameters
  bool operator==(const Empty&) const = default;
};
enum class ProcSubset { pid };
struct Proc {
  std::optional<ProcSubset> subset;  // subset=pid of proc(5), Linux 5.8
  bool operator==(const Proc&) const = default;
};
enum class ScratchPlace { memory, disk };
struct Scratch {
  // memory if absent. disk: below the scratch directory of the service, cloisterd(8);
  // removed with all that is in it before the end of the job is reported.
  std::optional<ScratchPlace> on;
  std::optional<uint64_t> size;  // only with memory
  bool operator==(const Scratch&) const = default;
};
// Exactly one of text, base64 and passed_fd.
struct FileContent {
  std::optional<std::string> text;
  std::optional<std::string> base64;  // decoded: any bytes
  std::optional<uint32_t> passed_fd;  // read from here to its end
  std::optional<uint32_t> mode;
  bool operator==(const FileContent&) const = default;
};
struct Overlay {
  std::vector<PathOrFd> lower;             // topmost first
  std::optional<std::string> upper, work;  // absent: changes are discarded
  bool operator==(const Overlay&) const = default;
};
// The id map of a bind mount, mount_setattr(2): `inside` is the id that the sandbox
// sees, `outside` the id on the file system.
struct MountIdMap {
  std::vector<IdMapping> uid, gid;
  bool operator==(const MountIdMap&) const = default;
};
// Exactly one of the optional kinds is set.
struct Mount {
  std::string at;                // absolute, inside the new root; ~ is HOME
  std::optional<PathOrFd> bind;  // a path of the host, opened with the caller's rights
  std::optional<Tmpfs> tmpfs;
  std::optional<Proc> proc;
  std::optional<Empty> cgroup_view, devpts, mqueue;
  std::optional<DevKind> dev;
  std::optional<std::string> symlink;  // its target
  std::optional<Directory> dir;
  std::optional<Scratch> scratch;  // empty, private, the payload's own
  std::optional<FileContent> file;
  std::optional<Overlay> overlay;

  // bind, file, tmpfs, dev, overlay; bind and file: ro if absent, the others rw
  std::optional<Access> access;
  std::optional<bool> noexec;         // bind, file, tmpfs, scratch, overlay; false if absent
  std::optional<bool> nosuid, nodev;  // bind; true if absent, and always for the others
  std::optional<bool> noatime;        // bind, tmpfs, scratch, overlay; false if absent
  std::optional<bool> recursive;      // bind, with the mounts below it; true if absent
  std::optional<MountIdMap> idmap;    // bind
  std::optional<bool> optional;       // left out if its source or mount point is missing
  bool operator==(const Mount&) const = default;
};

// --- network, privilege, limits -----------------------------------------------

struct NoNetwork {  // a network namespace of its own, with loopback up
  bool operator==(const NoNetwork&) const = default;
};
struct HostNetwork {
  bool operator==(const HostNetwork&) const = default;
};
enum class Protocol { tcp, udp };
struct PublishedPort {  // a port of the host, forwarded to one of the job
  uint32_t port = 0;
  std::optional<uint32_t> host_port;   // the same number if absent
  std::optional<std::string> address;  // of the host, to listen at; 127.0.0.1 if absent
  std::optional<Protocol> protocol;    // tcp if absent
  bool operator==(const PublishedPort&) const = default;
};
struct Outbound {  // connections go out through the host; only published ports let any in
  std::vector<PublishedPort> publish;
  bool operator==(const Outbound&) const = default;
};
using Network = std::variant<NoNetwork, HostNetwork, Outbound>;

inline constexpr uint64_t kAllCapabilities = UINT64_MAX;  // each that the kernel knows
struct Capabilities {
  std::optional<uint64_t> bounding, effective, permitted, inheritable, ambient;  // bit n: CAP_ n
  std::optional<uint32_t> securebits;                                            // SECBIT_*
  bool operator==(const Capabilities&) const = default;
};

// What is allowed below a path. Landlock refuses whatever it handles and no rule
// allows, landlock(7).
struct LandlockPath {
  std::string path;     // inside the new root
  uint32_t access = 0;  // LANDLOCK_ACCESS_FS_*
  bool operator==(const LandlockPath&) const = default;
};
struct Landlock {
  std::optional<std::vector<LandlockPath>> paths;              // absent: files are not handled
  std::optional<std::vector<uint32_t>> bind_tcp, connect_tcp;  // ports; absent: not handled
  std::optional<uint32_t> scopes;                              // LANDLOCK_SCOPE_*
  bool operator==(const Landlock&) const = default;
};

struct Secret {
  uint32_t passed_fd = 0;  // read from here to its end
  bool operator==(const Secret&) const = default;
};

struct Device {
  std::string path;              // on the host; has the same name below the sandbox's /dev
  std::optional<Access> access;  // rw if absent
  bool operator==(const Device&) const = default;
};

// A field that has a parser of its own (seccomp, cloister-request(5)), as JSON text: a string
// or an object.
struct Document {
  std::string json;
  bool operator==(const Document&) const = default;
};

inline constexpr uint64_t kUnlimited = UINT64_MAX;  // RLIM_INFINITY
struct Rlimit {
  uint64_t soft = kUnlimited, hard = kUnlimited;
  bool operator==(const Rlimit&) const = default;
};

enum class OnOom { kill_job, kill_process };
struct Limits {
  std::optional<uint64_t> memory, swap;
  std::optional<uint32_t> pids;
  std::optional<double> cpus;  // processors, 0.001 to 65536
  std::optional<std::chrono::milliseconds> wall_time, cpu_time;
  std::optional<OnOom> on_oom;
  bool operator==(const Limits&) const = default;
};

enum class CgroupPlace { service, caller };
enum class Keyring { fresh };
enum class OnDisconnect { kill, stop, keep };
struct Lifetime {
  std::optional<OnDisconnect> on_disconnect;
  std::optional<int32_t> stop_signal;
  std::optional<std::chrono::milliseconds> stop_timeout, setup_timeout;
  bool operator==(const Lifetime&) const = default;
};
enum class Defaults { constants, caller };

// Members in the order of the field table (lib/request/table_request.cpp), which
// also holds their meaning, range, constant and way of merging.
struct Request {
  std::optional<std::string> profile, name, idempotency_key;

  std::vector<std::string> argv;       // empty: absent
  std::optional<PathOrFd> executable;  // absent: argv[0]
  std::optional<bool> search_path;
  std::map<std::string, std::string> env;  // names are UTF-8
  std::vector<std::string> env_pass;       // profiles only: patterns of the caller's variables
  std::vector<std::string> unset;          // fields and keys to remove: "env.LD_PRELOAD"
  std::vector<std::string> implied;  // fields and keys that nobody asked for: profiles prevail
  std::optional<PathOrFd> cwd;
  std::optional<uint32_t> umask;

  std::optional<Stream> standard_input, standard_output, standard_error;
  std::optional<std::vector<FileAction>> file_actions;
  std::optional<Terminal> terminal;

  std::optional<int32_t> setpgroup;
  std::optional<bool> setsid, resetids;
  std::optional<std::vector<int32_t>> setsigmask, setsigdef;
  std::optional<Scheduler> scheduler;
  std::optional<int32_t> nice;
  std::optional<std::vector<uint32_t>> affinity;
  std::optional<IoPriority> ioprio;
  std::optional<int32_t> oom_score_adj;

  std::optional<Identity> identity;
  Namespaces namespaces;
  std::optional<uint32_t> unshare;  // CLONE_FS and the like, no namespaces
  std::optional<IdMap> uid_map, gid_map;
  std::optional<std::string> hostname, domainname;
  std::optional<TimeOffsets> time_offsets;

  std::optional<Root> root;
  std::optional<RootAccess> root_access;
  std::optional<Workspace> workspace;
  std::vector<Mount> mounts;
  std::map<std::string, Secret> secrets;  // /run/secrets/NAME, in no reply, record or log
  std::vector<std::string> masked_paths, readonly_paths;
  std::optional<std::vector<Device>> devices;

  std::optional<Network> network;
  std::optional<Capabilities> capabilities;
  std::optional<bool> no_new_privs, set_uid_files;
  std::optional<Document> seccomp;
  std::optional<Landlock> landlock;

  std::map<std::string, Rlimit> rlimits;  // RLIMIT_*
  std::map<std::string, std::string> sysctls;
  std::optional<uint32_t> personality;
  std::optional<uint64_t> timer_slack_ns;
  std::optional<Keyring> keyring;
  std::optional<bool> dumpable;

  Limits limits;
  std::optional<CgroupPlace> cgroup;
  std::vector<std::string> best_effort;  // fields to give up if they are unsupported
  Lifetime lifetime;
  std::map<std::string, std::string> tags;
  std::optional<Defaults> defaults;  // profiles only: where absent fields take their values

  bool operator==(const Request&) const = default;
};

// Compact JSON that `parse()` reads back to an equal Request. Throws
// std::invalid_argument, which names the field, if a member that JSON can only
// carry as text (a name, a key) is not UTF-8.
std::string to_json(const Request& request);

// Strict: unknown members, duplicate keys, wrong types, numbers out of range,
// NUL and invalid UTF-8 inside strings are refused; null means absent. At most
// 4 MiB and 64 levels.
boost::system::result<Request, Problem> parse(std::string_view json);

}  // namespace cloister
