// Groups of system calls, by what they are for. A group may name calls that one
// architecture has and another has not, or that newer kernels have: who compiles
// a filter leaves out what is no call anywhere it looks.
#include <string_view>

#include "seccomp.hpp"

namespace cloister::request {
namespace {

struct Group {
  std::string name;
  std::vector<std::string> calls;
};

// Words, as many as a line holds.
// clang-format off
const std::vector<Group>& groups() {
  static const std::vector<Group> kGroups = {
      // --- what a payload is kept from, mostly --------------------------------------
      {"@mount",
       {"chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
        "open_tree", "pivot_root", "umount", "umount2"}},
      {"@namespaces", {"clone3", "setns", "unshare"}},
      {"@module", {"delete_module", "finit_module", "init_module"}},
      {"@raw-io",
       {"ioperm", "iopl", "pciconfig_iobase", "pciconfig_read", "pciconfig_write",
        "s390_pci_mmio_read", "s390_pci_mmio_write"}},
      {"@reboot", {"kexec_file_load", "kexec_load", "reboot"}},
      {"@swap", {"swapoff", "swapon"}},
      {"@clock",
       {"adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64",
        "settimeofday", "stime"}},
      {"@keyring", {"add_key", "keyctl", "request_key"}},
      {"@debug",
       {"kcmp", "lookup_dcookie", "perf_event_open", "pidfd_getfd", "process_vm_readv",
        "process_vm_writev", "ptrace"}},
      {"@io-uring", {"io_uring_enter", "io_uring_register", "io_uring_setup"}},
      {"@obsolete",
       {"_sysctl", "afs_syscall", "bdflush", "break", "create_module", "ftime", "get_kernel_syms",
        "getpmsg", "gtty", "idle", "lock", "mpx", "nfsservctl", "prof", "profil", "putpmsg",
        "query_module", "security", "sgetmask", "ssetmask", "stime", "stty", "sysfs", "tuxcall",
        "ulimit", "uselib", "ustat", "vserver"}},
      {"@privileged",
       {"_sysctl", "acct", "bpf", "capset", "chroot", "fanotify_init", "fanotify_mark",
        "nfsservctl", "open_by_handle_at", "quotactl", "quotactl_fd", "setdomainname",
        "setfsuid", "setfsuid32", "setfsgid", "setfsgid32", "setgroups", "setgroups32",
        "sethostname", "setresuid", "setresuid32", "setresgid", "setresgid32", "setreuid",
        "setreuid32", "setregid", "setregid32", "setuid", "setuid32", "setgid", "setgid32",
        "syslog", "vhangup"}},
      {"@network-io",
       {"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
        "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg",
        "sendto", "setsockopt", "shutdown", "socket", "socketcall", "socketpair"}},
      {"@cpu-emulation", {"modify_ldt", "subpage_prot", "switch_endian", "vm86", "vm86old"}},
      {"@pkey", {"pkey_alloc", "pkey_free", "pkey_mprotect"}},
      {"@sandbox", {"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp"}},

      // --- what allow lists are made of ----------------------------------------------
      // A dynamically linked program that does nothing comes to its end.
      {"@start",
       {"access", "arch_prctl", "brk", "close", "execve", "exit", "exit_group", "faccessat",
        "faccessat2", "fstat", "fstat64", "fstatat64", "getrandom", "lseek", "_llseek", "mmap",
        "mmap2", "mprotect", "munmap", "newfstatat", "open", "openat", "pread64", "prlimit64",
        "read", "readlink", "readlinkat", "rseq", "rt_sigreturn", "set_robust_list",
        "set_thread_area", "set_tid_address", "sigreturn", "stat", "stat64", "statx", "ugetrlimit",
        "uname", "write", "writev"}},
      {"@basic-io",
       {"_llseek", "close", "close_range", "dup", "dup2", "dup3", "lseek", "pread64", "preadv",
        "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readv", "write", "writev"}},
      {"@file-system",
       {"access", "chdir", "chmod", "close", "copy_file_range", "creat", "faccessat", "faccessat2",
        "fadvise64", "fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2",
        "fcntl", "fcntl64", "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "fstat",
        "fstat64", "fstatat64", "fstatfs", "fstatfs64", "ftruncate", "ftruncate64", "futimesat",
        "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch", "inotify_init",
        "inotify_init1", "inotify_rm_watch", "lgetxattr", "link", "linkat", "listxattr",
        "llistxattr", "lremovexattr", "lsetxattr", "lstat", "lstat64", "mkdir", "mkdirat", "mknod",
        "mknodat", "newfstatat", "oldfstat", "oldlstat", "oldstat", "open", "openat", "openat2",
        "readlink", "readlinkat", "removexattr", "rename", "renameat", "renameat2", "rmdir",
        "sendfile", "sendfile64", "setxattr", "splice", "stat", "stat64", "statfs", "statfs64",
        "statx", "symlink", "symlinkat", "tee", "truncate", "truncate64", "umask", "unlink",
        "unlinkat", "utime", "utimensat", "utimensat_time64", "utimes", "vmsplice"}},
      {"@chown",
       {"chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32"}},
      {"@sync",
       {"fdatasync", "fsync", "msync", "sync", "sync_file_range", "sync_file_range2", "syncfs"}},
      {"@io-event",
       {"_newselect", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
        "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "poll", "ppoll",
        "ppoll_time64", "pselect6", "pselect6_time64", "select"}},
      {"@aio",
       {"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64",
        "io_setup", "io_submit"}},
      {"@memory",
       {"brk", "cachestat", "get_mempolicy", "madvise", "mbind", "membarrier", "memfd_create",
        "mincore", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal",
        "munlock", "munlockall", "munmap", "remap_file_pages", "set_mempolicy"}},
      {"@process",
       {"arch_prctl", "capget", "clone", "clone3", "execve", "execveat", "exit", "exit_group",
        "fork", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake",
        "get_robust_list", "getcpu", "getegid", "getegid32", "geteuid", "geteuid32", "getgid",
        "getgid32", "getgroups", "getgroups32", "getpgid", "getpgrp", "getpid", "getppid",
        "getpriority", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit",
        "getrusage", "getsid", "gettid", "getuid", "getuid32", "ioprio_get", "kill",
        "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "rseq", "sched_getaffinity",
        "sched_getattr", "sched_getparam", "sched_get_priority_max", "sched_get_priority_min",
        "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
        "sched_yield", "set_robust_list", "set_thread_area", "set_tid_address", "setpgid", "setsid",
        "sysinfo", "tgkill", "times", "tkill", "ugetrlimit", "uname", "vfork", "wait4", "waitid",
        "waitpid"}},
      {"@resources",
       {"ioprio_set", "nice", "sched_setaffinity", "sched_setattr", "sched_setparam",
        "sched_setscheduler", "setpriority", "setrlimit"}},
      {"@setuid",
       {"setgid", "setgid32", "setgroups", "setgroups32", "setregid", "setregid32", "setresgid",
        "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setuid", "setuid32"}},
      {"@signal",
       {"pause", "restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
        "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
        "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sigaction", "sigaltstack", "signal",
        "signalfd", "signalfd4", "sigpending", "sigprocmask", "sigreturn", "sigsuspend"}},
      {"@timer",
       {"alarm", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
        "clock_nanosleep", "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep",
        "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
        "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime",
        "timerfd_gettime64", "timerfd_settime", "timerfd_settime64"}},
      {"@ipc",
       {"ipc", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64",
        "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd",
        "pipe", "pipe2", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat",
        "shmctl", "shmdt", "shmget"}},
  };
  return kGroups;
}
// clang-format on

}  // namespace

const std::vector<std::string>* seccomp_group(std::string_view name) {
  for (const Group& group : groups())
    if (group.name == name) return &group.calls;
  return nullptr;
}

std::vector<std::string> seccomp_groups() {
  std::vector<std::string> names;
  for (const Group& group : groups()) names.push_back(group.name);
  return names;
}

}  // namespace cloister::request
