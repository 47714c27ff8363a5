// What to do about a step that failed: one row a step and errno, where the errno
// of that step is known to mean it. Not read by init.
#pragma once

#include <errno.h>

#include "steps.hpp"

namespace cloister::plan {

struct Hint {
  Step step;
  int error;  // errno; 0: any
  const char* text;
};

inline constexpr const char* kNoUserNamespaces =
    "User namespaces may be disabled or used up on this host (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns): use the "
    "system service instead";
inline constexpr const char* kNoOwnerOfNetwork =
    "User namespaces may be disabled or used up on this host (sysctl user.max_user_namespaces)";
inline constexpr const char* kTooManyProcesses =
    "The limit of processes is reached (RLIMIT_NPROC or pids cgroup)";
inline constexpr const char* kNoSuchGroup = "There is no such process group in this job";
inline constexpr const char* kOnlyOwnIds = "Without privilege only ids of the caller can be set";
inline constexpr const char* kUnmappedId = "The id has no mapping in the sandbox's user namespace";
inline constexpr const char* kServiceLacksIt =
    "The service itself lacks the capabilities that this needs";
inline constexpr const char* kTooManyNamespaces =
    "The host's limit of namespaces is reached (sysctl user.max_*_namespaces)";
inline constexpr const char* kNoSuchNamespaces =
    "This kernel was built without namespaces of this type";
inline constexpr const char* kDiskFull =
    "The disk that holds the service's scratch directory is full";
inline constexpr const char* kScratchOwner =
    "The service's scratch directory does not belong to it";
inline constexpr const char* kBug = "This is a fault of cloister: please report it";

#define CLOISTER_MOUNT_HINTS(step) \
  {step, ENOENT, \
   "The mount point does not exist, and mount points are created only on file systems of the " \
   "sandbox's own, never on the host: put a tmpfs above it, or make it first"}, \
      {step, ENOTDIR, "A directory is mounted on a directory, a file on a file"}, \
      {step, EROFS, "The mount point would have to be created on a read-only mount"}, \
      {step, ESTALE, "The source was replaced while the sandbox was being set up; try again"}, \
      {step, EPERM, \
       "The kernel refuses this mount here; in a user namespace it must not reveal what the host " \
       "has hidden below the same file system"}, \
      {step, EINVAL, "The source cannot be bound from here"}, { \
    step, EMFILE, \
        "RLIMIT_NOFILE of the service is too low: a bind takes two descriptors while the sandbox " \
        "is set up" \
  }

#define CLOISTER_NAMESPACE_HINTS(step) \
  {step, ENOSPC, kTooManyNamespaces}, { step, EINVAL, kNoSuchNamespaces }

inline constexpr Hint kHints[] = {
    {Step::exec, ENOENT,
     "There is no such file inside the sandbox; or it is a script whose #! interpreter is missing "
     "there, or a program whose dynamic loader is (see its first line, or `readelf -l`)"},
    {Step::exec, ENOTDIR, "A part of the path is not a directory inside the sandbox"},
    {Step::exec, EACCES,
     "The payload's ids need execute permission on the file and search permission on each "
     "directory above it, and its mount must not be noexec"},
    {Step::exec, ENOEXEC,
     "This kernel cannot run it: a script needs a #! line (no shell is tried), a binary must be "
     "for this processor"},
    {Step::exec, E2BIG,
     "argv and env together are larger than the kernel takes: one string up to 128 KiB, all of "
     "them up to a quarter of RLIMIT_STACK"},
    {Step::exec, ETXTBSY, "The file is open for writing somewhere"},
    {Step::exec, EPERM, "The mount is nosuid, or a security module forbids it"},
    {Step::exec, ELOOP, "Too many symbolic links, or scripts that interpret scripts"},
    {Step::overlay, EINVAL,
     "A layer lies on a file system that overlayfs cannot use, or mounts of the host below it are "
     "locked, which only the system service can leave out"},
    {Step::overlay, ENOTEMPTY, "work must be an empty directory"},
    {Step::overlay, EBUSY, "upper or work is in use by another overlay"},
    {Step::idmap, EPERM,
     "An idmapped mount needs privilege over the file system: use the system service"},
    {Step::idmap, EINVAL, "The file system does not support idmapped mounts"},
    {Step::idmap, ERANGE, "The ids inside must be ids of the job's user namespace"},
    {Step::device, ENOENT,
     "A device needs a /dev in the sandbox: mount {\"dev\": \"minimal\"} there"},
    {Step::device, EACCES, "The host's mount that the device is on is nodev"},
    {Step::secret, EEXIST, "A mount of the request has put something at that place"},
    CLOISTER_MOUNT_HINTS(Step::sources),
    CLOISTER_MOUNT_HINTS(Step::mounts),
    {Step::setpgroup, EPERM,
     "The group belongs to another session: init has a session of its own, so a job can only join "
     "group 0 (its own) or one of its own groups"},
    {Step::setpgroup, ESRCH, kNoSuchGroup},
    {Step::setpgroup, EINVAL, kNoSuchGroup},
    {Step::clone, EPERM, kNoUserNamespaces},
    {Step::clone, ENOSPC, kNoUserNamespaces},
    {Step::clone, EUSERS, kNoUserNamespaces},
    {Step::clone, EAGAIN, kTooManyProcesses},
    {Step::user_namespace, EPERM, kNoUserNamespaces},
    {Step::user_namespace, ENOSPC, kNoUserNamespaces},
    {Step::user_namespace, EUSERS, kNoUserNamespaces},
    {Step::user_namespace, EAGAIN, kTooManyProcesses},
    {Step::fork, EAGAIN, kTooManyProcesses},
    {Step::id_map, ENOENT,
     "Without root, more than one's own id is mapped by newuidmap(1) and newgidmap(1): install "
     "them (Debian: uidmap)"},
    {Step::id_map, EPERM,
     "The outside ids of uid_map and gid_map must be the caller's own, or those of /etc/subuid and "
     "/etc/subgid. newuidmap(1) and newgidmap(1) write their reason to the standard error of the "
     "service. They must be set-uid root, and the service must run without no_new_privs"},
    {Step::join, EPERM,
     "Joining needs privilege over the namespace and over the user namespace it belongs to"},
    {Step::join, EINVAL, "The descriptor is not a namespace of that type"},
    {Step::scheduler, EPERM,
     "Real-time and deadline policies need privilege or RLIMIT_RTPRIO, and a cgroup with real-time "
     "budget (cpu.rt_runtime_us) where the kernel groups real-time tasks"},
    {Step::scheduler, EINVAL,
     "Priorities are 1 to 99 for SCHED_FIFO and SCHED_RR, 0 for the others"},
    {Step::nice, EACCES, "A value below the current one needs privilege or RLIMIT_NICE"},
    {Step::nice, EPERM, "A value below the current one needs privilege or RLIMIT_NICE"},
    {Step::ioprio, EPERM, "The realtime class needs privilege"},
    {Step::oom_score_adj, EACCES, "Lowering it needs privilege"},
    {Step::affinity, EINVAL, "None of these processors is online and allowed for this cgroup"},
    {Step::rlimit, EPERM, "The hard limit is above the caller's own, which needs privilege"},
    {Step::rlimit, EINVAL, "The soft limit must not be above the hard limit"},
    {Step::setgroups, EPERM, kOnlyOwnIds},
    {Step::setgroups, EINVAL, kUnmappedId},
    {Step::setresgid, EPERM, kOnlyOwnIds},
    {Step::setresgid, EINVAL, kUnmappedId},
    {Step::setresuid, EPERM, kOnlyOwnIds},
    {Step::setresuid, EINVAL, kUnmappedId},
    {Step::cwd, ENOENT, "It must exist inside the sandbox: bind it, or name another cwd"},
    {Step::cwd, EACCES, "The payload's ids need search permission on each directory"},
    {Step::file_action, EBADF, "That descriptor is not open in the payload at this action"},
    {Step::file_action, ENOENT, "The path is resolved inside the sandbox, after cwd"},
    {Step::file_action, EACCES, "The path is opened with the payload's own ids"},
    {Step::file_action, EROFS, "The mount it lies on is read-only in this sandbox"},
    {Step::file_action, EMFILE, "The number is above RLIMIT_NOFILE"},
    {Step::descriptors, EMFILE, "RLIMIT_NOFILE of the service is too low for so many"},
    {Step::setup_timeout, 0,
     "A file action may wait for ever, as open(2) of a FIFO does; lifetime.setup_timeout sets the "
     "limit"},
    {Step::controlling_terminal, EPERM,
     "It must be a terminal that is not the controlling terminal of another session, and the "
     "payload must lead a session (setsid)"},
    {Step::setsid, EPERM, "The payload already leads a process group"},
    {Step::publish, EADDRINUSE, "Another process listens there; name another host_port"},
    {Step::publish, EACCES,
     "A port of the host below 1024 needs privilege; name another host_port"},
    {Step::publish, EADDRNOTAVAIL, "The host has no such address"},
    {Step::tun, 0,
     "pasta runs as the caller, who must be able to open /dev/net/tun: udev makes it with mode "
     "0666 (modprobe tun)"},
    {Step::pasta, ENETUNREACH,
     "pasta needs an interface with a default route on the host; `pasta --config-net true`, run by "
     "the same user, prints what it lacks"},
    {Step::pasta, ENETDOWN, "pasta failed, or somebody killed it; the job was ended too"},
    {Step::network_owner, EPERM, kNoOwnerOfNetwork},
    {Step::network_owner, ENOSPC, kNoOwnerOfNetwork},
    {Step::network_owner, EUSERS, kNoOwnerOfNetwork},
    CLOISTER_NAMESPACE_HINTS(Step::mount_namespace),
    CLOISTER_NAMESPACE_HINTS(Step::net_namespace),
    CLOISTER_NAMESPACE_HINTS(Step::ipc_namespace),
    CLOISTER_NAMESPACE_HINTS(Step::uts_namespace),
    CLOISTER_NAMESPACE_HINTS(Step::cgroup_namespace),
    CLOISTER_NAMESPACE_HINTS(Step::time_namespace),
    {Step::landlock_rules, ENOENT, "The paths of Landlock rules are opened inside the sandbox"},
    {Step::landlock_rules, EACCES, "The paths of Landlock rules are opened with the payload's ids"},
    {Step::capabilities, EPERM, kServiceLacksIt},
    {Step::ambient, EPERM, kServiceLacksIt},
    {Step::securebits, EPERM, kServiceLacksIt},
    {Step::loginuid, EPERM, "The service was started in another login; it needs CAP_AUDIT_CONTROL"},
    {Step::cgroup, EACCES, "The service may not place jobs there"},
    {Step::cgroup, EPERM, "The service may not place jobs there"},
    {Step::cgroup, ENOENT,
     "The caller's cgroup was removed, or the service's cgroup namespace does not show it"},
    {Step::lsm_label, 0, "The security module does not let the service pass it on"},
    {Step::record, ENOSPC, "The file system of the service's runtime directory is full"},
    {Step::scratch_store, ENOSPC, kDiskFull},
    {Step::scratch_store, EDQUOT, kDiskFull},
    {Step::scratch_store, EPERM, kScratchOwner},
    {Step::scratch_store, EACCES, kScratchOwner},
    {Step::scratch, ENOSPC, kDiskFull},
    {Step::scratch, EDQUOT, kDiskFull},
    {Step::scratch, EPERM, kScratchOwner},
    {Step::scratch, EACCES, kScratchOwner},
    {Step::verify_mounts, EXDEV,
     "The path of the mount point contains a symbolic link that the caller cannot read, or that "
     "was changed meanwhile: name the path that the link leads to"},
    {Step::verify_ids, 0, kBug},
    {Step::plan, 0, kBug},
};
#undef CLOISTER_MOUNT_HINTS
#undef CLOISTER_NAMESPACE_HINTS

// "" where nothing is known to help.
inline constexpr const char* hint_for(Step step, int error) {
  for (const Hint& hint : kHints)
    if (hint.step == step && (hint.error == 0 || hint.error == error)) return hint.text;
  return "";
}

}  // namespace cloister::plan
