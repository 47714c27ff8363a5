// Parts of the kernel's own file systems by which uid 0 rules the host, as the
// mode of a file alone lets it: without any capability. Init covers them for a
// job with kCoverKernel (order.hpp), whatever mount shows them; the front names
// them in a dry run.
#pragma once

#include <stdint.h>

namespace cloister::plan {

// How init treats every mount of a file system of this type. A procfs of the
// job's own stays writable but for what is named below; every other one, and
// what else is `lock`, turns read-only as a whole; `hide` is covered whole.
enum class KernelFiles { proc, lock, hide };

struct KernelFileSystem {
  const char* type;  // as /proc/filesystems has it
  uint32_t magic;    // statfs(2), f_type
  KernelFiles treatment;
};
inline constexpr KernelFileSystem kKernelFileSystems[] = {
    {"proc", 0x9fa0, KernelFiles::proc},
    {"sysfs", 0x62656572, KernelFiles::lock},
    {"cgroup", 0x27e0eb, KernelFiles::lock},  // release_agent
    {"cgroup2", 0x63677270, KernelFiles::lock},
    {"selinuxfs", 0xf97cff8c, KernelFiles::lock},
    {"smackfs", 0x43415d53, KernelFiles::lock},
    {"resctrl", 0x7655821, KernelFiles::lock},
    {"fusectl", 0x65735543, KernelFiles::lock},
    {"debugfs", 0x64626720, KernelFiles::hide},
    {"tracefs", 0x74726163, KernelFiles::hide},
    {"securityfs", 0x73636673, KernelFiles::hide},
    {"efivarfs", 0xde5e81e4, KernelFiles::hide},
    {"configfs", 0x62656570, KernelFiles::hide},
    {"bpf", 0xcafe4a11, KernelFiles::hide},
    {"pstore", 0x6165676c, KernelFiles::hide},
    {"binfmt_misc", 0x42494e4d, KernelFiles::hide},
    {"nfsd", 0x6e667364, KernelFiles::hide},
    {"rpc_pipefs", 0x67596969, KernelFiles::hide},
    {"xenfs", 0xabba1974, KernelFiles::hide},
};

inline constexpr bool is_kernel_file_system(uint32_t magic) {
  for (const KernelFileSystem& known : kKernelFileSystems)
    if (known.magic == magic) return true;
  return false;
}

// Below the root of a procfs, or of a sysfs.
inline constexpr const char* kLockedInProc[] = {"bus", "fs", "irq", "sys", "sysrq-trigger", "mtrr"};
inline constexpr const char* kHiddenInProc[] = {
    "acpi",          "asound",     "kcore",       "keys",       "kmsg",
    "latency_stats", "mem",        "sched_debug", "scsi",       "timer_list",
    "timer_stats",   "kpagecount", "kpageflags",  "vmallocinfo"};
inline constexpr const char* kHiddenInSys[] = {"firmware", "kernel/debug", "kernel/tracing",
                                               "kernel/security", "devices/virtual/powercap"};

}  // namespace cloister::plan
