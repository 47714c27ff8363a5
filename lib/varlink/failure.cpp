// A failed step in plain words: which element of the request, what went wrong,
// what to do about it.
#include <errno.h>
#include <sched.h>
#include <signal.h>

#include <string>
#include <string_view>

#include "request/words.hpp"
#include "sys/names.hpp"
#include "varlink/render.hpp"

namespace cloister::varlink {
namespace {

using plan::Step;

constexpr std::string_view kNamespaceNames[] = {"mnt", "pid",    "net",  "ipc",
                                                "uts", "cgroup", "user", "time"};

// The element at fault: its field of the request, and its own name for people.
struct Subject {
  std::string field;
  std::string text;
};

std::string quoted(const plan::View& job, plan::Text text) {
  if (text.length == 0) return {};
  return "\"" + std::string(job.c_str(text), text.length) + "\"";
}

std::string indexed(const char* field, uint32_t index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

Subject action_subject(const plan::Failure& failure, const plan::View* job) {
  if (failure.index == plan::kNone) return {"", "stdin, stdout or stderr"};
  Subject subject{indexed("file_actions", failure.index), {}};
  if (job == nullptr) return subject;
  for (uint32_t i = 0; i < job->header().actions.count; i++) {
    const auto& action = job->at(job->header().actions, i);
    if (action.index != failure.index) continue;
    subject.text = action.path.length != 0 ? quoted(*job, action.path)
                                           : "descriptor " + std::to_string(action.fd);
    break;
  }
  return subject;
}

Subject executable_subject(const plan::View* job) {
  if (job == nullptr) return {"executable", {}};
  const plan::Header& header = job->header();
  if (header.executable_descriptor != plan::kNone && header.executable.length == 0)
    return {"executable", "the passed descriptor"};
  const std::string_view path(job->c_str(header.executable), header.executable.length);
  const bool named_by_argv =
      header.argv.count != 0 &&
      path == std::string_view(job->c_str(job->at(header.argv, 0)), job->at(header.argv, 0).length);
  return {named_by_argv ? "argv[0]" : "executable", quoted(*job, header.executable)};
}

// Devices, secrets and paths to cover are mounts of the Plan as well; in the
// request they have fields of their own.
const char* field_of_mount(plan::MountKind kind) {
  switch (kind) {
    case plan::MountKind::device: return "devices";
    case plan::MountKind::secret: return "secrets";
    case plan::MountKind::mask: return "masked_paths";
    case plan::MountKind::lock: return "readonly_paths";
    default: return "mounts";
  }
}

Subject mount_subject(const plan::Failure& failure, const plan::View* job) {
  const char* field = plan::describe(failure.step).field;
  if (failure.index == plan::kNone) return {field, {}};
  if (job == nullptr || failure.index >= job->header().mounts.count)
    return {indexed(field, failure.index), {}};
  const auto& mount = job->at(job->header().mounts, failure.index);
  Subject subject{field_of_mount(mount.kind), quoted(*job, mount.at)};
  const bool list = mount.kind == plan::MountKind::mask || mount.kind == plan::MountKind::lock ||
                    mount.kind == plan::MountKind::device;
  const std::string_view at(job->c_str(mount.at), mount.at.length);
  if (mount.kind == plan::MountKind::secret)
    subject.field += '.' + std::string(at.substr(at.rfind('/') + 1));
  else if (!list)
    subject.field += '.' + std::string(at);
  if (mount.source.length != 0) subject.text += " from " + quoted(*job, mount.source);
  return subject;
}

Subject subject_of(const plan::Failure& failure, const plan::View* job) {
  const char* field = plan::describe(failure.step).field;
  const uint32_t index = failure.index;
  switch (failure.step) {
    case Step::exec:
      // Of SIGSYS, before there was a program to die of it.
      if (failure.detail == SIGSYS) return {"seccomp", "the filter"};
      return executable_subject(job);
    case Step::file_action: return action_subject(failure, job);
    case Step::cwd: return {field, job == nullptr ? "" : quoted(*job, job->header().cwd)};
    case Step::sources:
    case Step::scratch:
    case Step::idmap:
    case Step::overlay:
    case Step::content:
    case Step::mounts:
    case Step::device:
    case Step::secret:
    case Step::mask:
    case Step::lock:
    case Step::verify_mounts: return mount_subject(failure, job);
    case Step::id_map:
      if (index == 0) return {"uid_map", "newuidmap(1)"};
      if (index == 1) return {"gid_map", "newgidmap(1)"};
      return {field, {}};
    case Step::join:
      if (index >= plan::kNamespaces) return {field, {}};
      return {std::string(field) + "." + std::string(kNamespaceNames[index]), {}};
    case Step::landlock_rules:
      if (job == nullptr || index >= job->header().landlock.paths.count) return {field, {}};
      return {indexed("landlock.paths", index),
              quoted(*job, job->at(job->header().landlock.paths, index).path)};
    case Step::capabilities:
    case Step::ambient: {
      const char* name = request::name_of(request::capabilities(), index);
      return {field, index == plan::kNone || name == nullptr ? "" : name};
    }
    case Step::rlimit: {
      const char* name = request::name_of(request::rlimits(), index);
      if (index == plan::kNone || name == nullptr) return {field, {}};
      return {std::string(field) + "." + name, name};
    }
    case Step::publish: {
      if (job == nullptr || index >= job->header().published.count) return {field, {}};
      const auto& port = job->at(job->header().published, index);
      return {indexed(field, index), (port.udp ? "UDP port " : "TCP port ") +
                                         std::to_string(port.host_port) + " of the host"};
    }
    case Step::sysctl:
      if (job == nullptr || index >= job->header().sysctls.count) return {field, {}};
      return {field, quoted(*job, job->at(job->header().sysctls, index).path)};
    default: return {field, {}};
  }
}

std::string_view doing(Step step) {
  switch (step) {
    case Step::none: return "an unknown step";
    case Step::record: return "making the exit record";
    case Step::cgroup:
    case Step::payload_cgroup: return "placing the job in its cgroup";
    case Step::clone: return "creating the sandbox";
    case Step::id_map: return "writing the id maps";
    case Step::setup_timeout: return "setting up the sandbox took too long";
    case Step::start: return "starting cloister-init";
    case Step::plan: return "reading the plan";
    case Step::descriptors: return "receiving the passed descriptors";
    case Step::facts: return "looking at the passed descriptors";
    case Step::join: return "joining a namespace";
    case Step::sources: return "opening a mount source";
    case Step::scratch_store:
    case Step::scratch: return "making a scratch directory on disk";
    case Step::mount_namespace: return "making the mount namespace";
    case Step::idmap: return "showing the ids of a mount as others";
    case Step::overlay: return "making an overlay";
    case Step::content: return "making a file";
    case Step::mounts: return "mounting";
    case Step::device: return "binding a device";
    case Step::secret: return "writing a secret";
    case Step::mask: return "masking a path";
    case Step::lock: return "making a path read-only";
    case Step::verify_mounts: return "the mounts read back are not those that were made";
    case Step::pivot: return "changing the root directory";
    case Step::user_namespace: return "making the user namespace";
    case Step::become_mapped: return "taking on a mapped id";
    case Step::net_namespace: return "making the network namespace";
    case Step::ipc_namespace: return "making the ipc namespace";
    case Step::uts_namespace: return "making the uts namespace";
    case Step::cgroup_namespace: return "making the cgroup namespace";
    case Step::time_namespace: return "making the time namespace";
    case Step::publish: return "taking a port of the host";
    case Step::network_owner: return "making the user namespace that owns the network";
    case Step::network_rules: return "closing the metadata services of clouds";
    case Step::tun: return "opening /dev/net/tun for pasta";
    case Step::pasta: return "pasta, the way out of the job's network, has ended";
    case Step::loopback: return "bringing up the loopback interface";
    case Step::hostname: return "setting the host name";
    case Step::domainname: return "setting the domain name";
    case Step::sysctl: return "setting a sysctl";
    case Step::time_offsets: return "setting the clock offsets";
    case Step::fork: return "forking the payload";
    case Step::unshare: return "unsharing";
    case Step::setsid: return "making a session";
    case Step::setpgroup: return "setting the process group";
    case Step::controlling_terminal: return "taking the controlling terminal";
    case Step::affinity: return "setting the processor affinity";
    case Step::nice: return "setting the nice value";
    case Step::scheduler: return "setting the scheduling policy";
    case Step::ioprio: return "setting the I/O priority";
    case Step::oom_score_adj: return "setting oom_score_adj";
    case Step::personality: return "setting the personality";
    case Step::timer_slack: return "setting the timer slack";
    case Step::keyring: return "making a session keyring";
    case Step::setgroups: return "setting the supplementary groups";
    case Step::setresgid: return "setting the group ids";
    case Step::setresuid: return "setting the user ids";
    case Step::resetids: return "resetting the effective ids";
    case Step::verify_ids: return "the ids read back differ from those set";
    case Step::parent_death: return "tying the payload to its init";
    case Step::cwd: return "changing to the working directory";
    case Step::umask: return "setting the umask";
    case Step::file_action: return "a file action failed";
    case Step::pty: return "making the terminal";
    case Step::rlimit: return "setting a resource limit";
    case Step::capabilities: return "setting the capabilities";
    case Step::ambient: return "raising the ambient capabilities";
    case Step::securebits: return "setting the securebits";
    case Step::landlock_rules: return "making the Landlock rules";
    case Step::landlock: return "entering the Landlock domain";
    case Step::loginuid: return "taking on the caller's login uid";
    case Step::lsm_label: return "taking on the caller's security label";
    case Step::no_new_privs: return "setting no_new_privs";
    case Step::seccomp: return "loading the system call filter";
    case Step::signals: return "setting the signal dispositions";
    case Step::exec: return "executing the program";
    default: return plan::describe(step).name;
  }
}

// What to do. Only where the errno of that step is known to mean it.
std::string_view advice(Step step, int error) {
  switch (step) {
    case Step::exec:
      switch (error) {
        case ENOENT:
          return "There is no such file inside the sandbox; or it is a script whose #! "
                 "interpreter is missing there, or a program whose dynamic loader is "
                 "(see its first line, or `readelf -l`)";
        case ENOTDIR: return "A part of the path is not a directory inside the sandbox";
        case EACCES:
          return "It needs execute permission for the payload's ids on the file and search "
                 "permission on each directory above it, and its mount must not be noexec";
        case ENOEXEC:
          return "It is no program this kernel can run: a script needs a #! line (no shell is "
                 "tried), a binary must be for this processor";
        case E2BIG:
          return "argv and env together are larger than the kernel takes: one string up to "
                 "128 KiB, all of them up to a quarter of RLIMIT_STACK";
        case ETXTBSY: return "The file is open for writing somewhere";
        case EPERM: return "The mount is nosuid, or a security module forbids it";
        case ELOOP: return "Too many symbolic links, or scripts that interpret scripts";
        default: return "";
      }
    case Step::overlay:
      if (error == EINVAL)
        return "A layer lies on a file system that overlayfs cannot use, or mounts of the host "
               "below it are locked, which only the system service can leave out";
      if (error == ENOTEMPTY) return "work must be an empty directory";
      if (error == EBUSY) return "upper or work is in use by another overlay";
      return "";
    case Step::idmap:
      if (error == EPERM)
        return "Ids of a mount can be shown as others only with power over its file system: "
               "use the system service";
      if (error == EINVAL) return "The file system below it has no idmapped mounts";
      if (error == ERANGE) return "The ids inside must be ids of the job's user namespace";
      return "";
    case Step::device:
      if (error == ENOENT) return "It needs a /dev of the sandbox: {\"dev\": \"minimal\"}";
      if (error == EACCES) return "The host's mount that it lies on is nodev";
      return "";
    case Step::secret:
      return error == EEXIST ? "A mount of the request has put something at that place" : "";
    case Step::sources:
    case Step::mounts:
      switch (error) {
        case ENOENT:
          return "The mount point does not exist, and mount points are only created on a tmpfs "
                 "of this sandbox, never on the host: put a tmpfs above it, or make it first";
        case ENOTDIR: return "A directory is mounted on directories, a file on files";
        case EROFS: return "The mount point would have to be created on a read-only mount";
        case ESTALE: return "The source was replaced while the sandbox was being set up; try again";
        case EPERM:
          return "The kernel refuses this mount here; in a user namespace it must not reveal "
                 "what the host has hidden below the same file system";
        case EINVAL: return "The source is not something that can be bound from here";
        case EMFILE:
          return "RLIMIT_NOFILE of the service is too low: a bind takes two descriptors while the "
                 "sandbox is set up";
        default: return "";
      }
    case Step::setpgroup:
      if (error == EPERM)
        return "The group belongs to another session: init has a session of its own, so a job "
               "can only join group 0 (its own) or one of its own groups";
      if (error == ESRCH || error == EINVAL) return "There is no such process group in this job";
      return "";
    case Step::clone:
    case Step::user_namespace:
      if (error == EPERM || error == ENOSPC || error == EUSERS)
        return "User namespaces may be disabled or used up on this host "
               "(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
               "kernel.apparmor_restrict_unprivileged_userns): use the system service instead";
      if (error == EAGAIN) return "The limit of processes is reached (RLIMIT_NPROC or pids cgroup)";
      return "";
    case Step::fork:
      if (error == EAGAIN) return "The limit of processes is reached (RLIMIT_NPROC or pids cgroup)";
      return "";
    case Step::id_map:
      if (error == ENOENT)
        return "Without root, more than one's own id is mapped by newuidmap(1) and newgidmap(1): "
               "install them (Debian: uidmap)";
      if (error == EPERM)
        return "Each side of a map must lie within the caller's own ids, or those of /etc/subuid "
               "and /etc/subgid. newuidmap(1), where it is asked, tells why on the standard error "
               "of the service; it must be set-uid root, and the service without no_new_privs";
      return "";
    case Step::join:
      if (error == EPERM)
        return "Joining needs privilege over the namespace and over the user namespace it "
               "belongs to";
      if (error == EINVAL) return "The descriptor is not a namespace of that type";
      return "";
    case Step::scheduler:
      if (error == EPERM)
        return "Real-time and deadline policies need privilege or RLIMIT_RTPRIO, and a cgroup "
               "with real-time budget (cpu.rt_runtime_us) where the kernel groups real-time tasks";
      if (error == EINVAL)
        return "Priorities are 1 to 99 for SCHED_FIFO and SCHED_RR, 0 for the others";
      return "";
    case Step::nice:
      return error == EACCES || error == EPERM
                 ? "A value below the current one needs privilege or RLIMIT_NICE"
                 : "";
    case Step::ioprio: return error == EPERM ? "The realtime class needs privilege" : "";
    case Step::oom_score_adj: return error == EACCES ? "Lowering it needs privilege" : "";
    case Step::affinity:
      return error == EINVAL ? "None of these processors is online and allowed for this cgroup"
                             : "";
    case Step::rlimit:
      if (error == EPERM) return "The hard limit is above the caller's own, which needs privilege";
      if (error == EINVAL) return "The soft limit must not be above the hard limit";
      return "";
    case Step::setgroups:
    case Step::setresgid:
    case Step::setresuid:
      if (error == EPERM) return "Only ids of the caller can be taken without privilege";
      if (error == EINVAL) return "The id has no mapping in the sandbox's user namespace";
      return "";
    case Step::cwd:
      if (error == ENOENT) return "It must exist inside the sandbox: bind it, or name another cwd";
      if (error == EACCES) return "The payload's ids need search permission on each directory";
      return "";
    case Step::file_action:
      if (error == EBADF) return "That descriptor is not open in the payload at this action";
      if (error == ENOENT) return "The path is resolved inside the sandbox, after cwd";
      if (error == EACCES) return "The path is opened with the payload's own ids";
      if (error == EROFS) return "The mount it lies on is read-only in this sandbox";
      if (error == EMFILE) return "The number is above RLIMIT_NOFILE";
      return "";
    case Step::descriptors:
      return error == EMFILE ? "RLIMIT_NOFILE of the service is too low for so many" : "";
    case Step::setup_timeout:
      return "A file action may wait for ever, as open(2) of a FIFO does; "
             "lifetime.setup_timeout sets the limit";
    case Step::controlling_terminal:
      return error == EPERM ? "It must be a terminal that no other session has, and the payload "
                              "must lead a session (setsid)"
                            : "";
    case Step::setsid: return error == EPERM ? "The payload already leads a process group" : "";
    case Step::publish:
      if (error == EADDRINUSE) return "Another process listens there; name another host_port";
      if (error == EACCES) return "A port below 1024 of the host is not the caller's to take";
      if (error == EADDRNOTAVAIL) return "The host has no such address";
      return "";
    case Step::tun:
      return "pasta runs as the caller, who must be able to open it: it is there and has mode "
             "0666 on hosts where udev made it (modprobe tun)";
    case Step::pasta:
      if (error == ENETUNREACH)
        return "It needs an interface with a default route on the host; "
               "`pasta --config-net true`, run by the same user, tells what it lacks";
      return error == ENETDOWN ? "Somebody ended it, or it failed; the job is ended with it" : "";
    case Step::network_owner:
      if (error == EPERM || error == ENOSPC || error == EUSERS)
        return "User namespaces may be disabled or used up on this host "
               "(sysctl user.max_user_namespaces)";
      return "";
    case Step::net_namespace:
    case Step::ipc_namespace:
    case Step::uts_namespace:
    case Step::mount_namespace:
    case Step::cgroup_namespace:
    case Step::time_namespace:
      if (error == ENOSPC)
        return "The host's limit of namespaces is reached (user.max_*_namespaces)";
      if (error == EINVAL) return "This kernel was built without it";
      return "";
    case Step::landlock_rules:
      if (error == ENOENT) return "The paths of Landlock rules are opened inside the sandbox";
      return error == EACCES ? "The paths of Landlock rules are opened with the payload's ids" : "";
    case Step::capabilities:
    case Step::ambient:
    case Step::securebits:
      return error == EPERM ? "The service itself lacks what it should give" : "";
    case Step::loginuid:
      return error == EPERM ? "The service was started in another login; it needs CAP_AUDIT_CONTROL"
                            : "";
    case Step::cgroup:
      if (error == EACCES || error == EPERM) return "The service may not place jobs there";
      return error == ENOENT ? "The caller's cgroup is gone, or lies outside of what is seen here"
                             : "";
    case Step::lsm_label: return "The security module does not let the service pass it on";
    case Step::record: return error == ENOSPC ? "The runtime directory is full" : "";
    case Step::scratch_store:
    case Step::scratch:
      if (error == ENOSPC || error == EDQUOT)
        return "The disk with the service's scratch directory is full";
      return error == EPERM || error == EACCES ? "The service's scratch directory is not its own"
                                               : "";
    case Step::verify_mounts:
      return error == EXDEV ? "The place leads elsewhere by a symbolic link that the caller cannot "
                              "read, or that was changed meanwhile: name the place itself"
                            : "";
    case Step::verify_ids:
    case Step::plan: return "This is a fault of cloister: please report it";
    default: return "";
  }
}

}  // namespace

Failure make_failure(const plan::Failure& failure, const plan::View* job) {
  const auto info = plan::describe(failure.step);
  const Subject subject = subject_of(failure, job);
  Failure words;
  words.stage = plan::stage_name(info.stage);
  words.step = info.name;
  words.field = subject.field;
  if (failure.index != plan::kNone) words.index = failure.index;
  words.error_number = failure.error;
  words.errno_name = sys::errno_name(failure.error);
  words.message = doing(failure.step);
  if (!subject.text.empty()) words.message += " (" + subject.text + ")";
  if (failure.error != 0) {
    words.message += ": ";
    words.message += sys::errno_text(failure.error);
  }
  if (failure.detail != 0) {
    const auto signal = sys::signal_name(static_cast<int>(failure.detail));
    if (!signal.empty()) words.message += "; the child was ended by " + signal;
  }
  words.hint = advice(failure.step, failure.error);
  return words;
}

}  // namespace cloister::varlink
