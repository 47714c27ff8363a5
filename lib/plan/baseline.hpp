// The system calls that the baseline filter refuses, by name.
//
// Whatever a client's own filter says, no process of a box can make them,
// unless policy grants unfiltered_seccomp: what only an administrator of the
// whole machine does, and what reaches the kernel where it is thinnest. Nothing
// here is needed by a program that runs without privilege, in namespaces of its
// own or not; so debuggers, runtimes, browsers and sandboxes work under it.
//
// daemon/baseline makes the program from this list when the project is built.
// The front reads it too: see there.
#pragma once

namespace cloister::plan {

inline constexpr const char* kBaselineRefused[] = {
    // the kernel itself
    "init_module", "finit_module", "delete_module", "create_module", "kexec_load",
    "kexec_file_load", "reboot", "bpf", "userfaultfd",
    // the whole machine
    "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime",
    "clock_settime64", "stime", "iopl", "ioperm", "vhangup", "nfsservctl", "syslog",
    // any file of a file system, past the directories that lead to it, open_by_handle_at(2)
    "open_by_handle_at",
    // left from other times
    "lookup_dcookie", "uselib", "_sysctl", "sysfs", "ustat", "vm86", "vm86old"};

}  // namespace cloister::plan
