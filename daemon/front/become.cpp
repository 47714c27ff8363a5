#include "become.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "sys/root.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {
namespace {

// What a front that a client has taken over could use against the kernel or
// to outlive its connection. Nothing of it is a client's to lose: it can do
// all this outside. ENOSYS, so that libraries take their other path.
constexpr int kForbidden[] = {
    // new programs and processes: a front is one process, to its end
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(clone),
    SCMP_SYS(clone3),
    // other processes
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(process_madvise),
    // namespaces and mounts: those are init's
    SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root),
    SCMP_SYS(chroot), SCMP_SYS(open_tree), SCMP_SYS(move_mount), SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr),
    // CAP_DAC_READ_SEARCH, which a root client's front keeps, opens any file by handle
    SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at),
    // the kernel's large interfaces
    SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(add_key), SCMP_SYS(request_key),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff),
    SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(syslog), SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex), SCMP_SYS(personality),
    SCMP_SYS(modify_ldt), SCMP_SYS(mknod), SCMP_SYS(mknodat)};

// To this, or to what it is below already.
bool limit(__rlimit_resource_t which, rlim_t value) {
  rlimit now{};
  if (::getrlimit(which, &now) < 0) return false;
  if (now.rlim_max < value) value = now.rlim_max;
  const rlimit both{value, value};
  return ::setrlimit(which, &both) == 0;
}

bool limit_memory() {
#ifdef __SANITIZE_ADDRESS__  // whose shadow is data as well
  return true;
#else
  return limit(RLIMIT_DATA, kMostMemory);
#endif
}

// libseccomp 2.5 gives its program out through a descriptor only.
bool compile(std::vector<sock_filter>& program) {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> rules(seccomp_init(SCMP_ACT_ALLOW),
                                                               seccomp_release);
  if (!rules) return false;
  int error = seccomp_attr_set(rules.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree
  for (int call : kForbidden)
    if (!error) error = seccomp_rule_add(rules.get(), SCMP_ACT_ERRNO(ENOSYS), call, 0);
  // keyctl(2) for the fresh session keyring of become(), nothing else.
  if (!error)
    error = seccomp_rule_add(rules.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(keyctl), 1,
                             SCMP_A0(SCMP_CMP_NE, KEYCTL_JOIN_SESSION_KEYRING));
  const sys::UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
  if (!error) error = seccomp_export_bpf(rules.get(), file.borrow());
  if (error) {
    errno = -error;
    return false;
  }
  const off_t bytes = ::lseek(file.borrow(), 0, SEEK_END);
  if (bytes <= 0) return false;
  program.resize(static_cast<size_t>(bytes) / sizeof(sock_filter));
  return ::pread(file.borrow(), program.data(), static_cast<size_t>(bytes), 0) == bytes;
}

bool keep_only_read_search() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &head, data) < 0) return false;
  const uint32_t held = data[0].permitted & (1u << CAP_DAC_READ_SEARCH);
  data[0] = {held, held, 0};
  data[1] = {};
  return ::syscall(SYS_capset, &head, data) == 0;
}

}  // namespace

Confinement::Confinement() {
  if (!compile(program_)) program_.clear();
}

bool Confinement::enter() {
  if (program_.empty()) {
    errno = ENOSYS;
    return false;
  }
  const sock_fprog filter{static_cast<unsigned short>(program_.size()), program_.data()};
  // A Plan fits; a file of a client's that should grow does not.
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && limit(RLIMIT_FSIZE, plan::kMaxBytes) &&
         limit(RLIMIT_CORE, 0) && limit_memory() &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

bool become(const plan::Peer& peer, const std::vector<uint32_t>& groups) {
  if (sys::is_root()) {
    if (::setgroups(groups.size(), groups.data()) < 0 ||
        ::setresgid(peer.gid, peer.gid, peer.gid) < 0 ||
        ::setresuid(peer.uid, peer.uid, peer.uid) < 0)
      return false;
    uid_t real, effective, saved;
    if (::getresuid(&real, &effective, &saved) < 0) return false;
    if (real != peer.uid || effective != peer.uid || saved != peer.uid) {
      errno = EPERM;
      return false;
    }
  }
  // setresuid(2) away from 0 has cleared them; root's are given up here.
  if (!keep_only_read_search()) return false;
  // Keys of whoever started the service are not the client's. A kernel without
  // keyrings has none to share.
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS)
    return false;
  // After the change of ids, which clears it. Who serves nobody any more ends.
  return ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

}  // namespace cloister::front
