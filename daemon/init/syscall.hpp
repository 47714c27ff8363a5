// Raw system calls: the only way out of init. No errno, no cancellation, no
// locks; a result from -4095 to -1 is a negated errno.
//
// `Call` is the allowlist: init makes no system call that is not named in it.
// tests/unit/init_symbols_test.sh reads this file.
#pragma once

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

namespace cloister::init {

enum class Call : long {
  // descriptors
  close = __NR_close,
  close_range = __NR_close_range,
  dup3 = __NR_dup3,
  epoll_create1 = __NR_epoll_create1,
  epoll_ctl = __NR_epoll_ctl,
  epoll_pwait = __NR_epoll_pwait,
  fcntl = __NR_fcntl,
  fstat = __NR_fstat,
  fstatfs = __NR_fstatfs,
  getdents64 = __NR_getdents64,
  ioctl = __NR_ioctl,
  openat = __NR_openat,
  openat2 = __NR_openat2,
  ppoll = __NR_ppoll,
  pread64 = __NR_pread64,
  read = __NR_read,
  readlinkat = __NR_readlinkat,
  statx = __NR_statx,
  write = __NR_write,
  // sockets
  bind = __NR_bind,  // of the network process, to try a port
  getsockopt = __NR_getsockopt,
  recvfrom = __NR_recvfrom,
  recvmsg = __NR_recvmsg,
  sendmsg = __NR_sendmsg,
  sendto = __NR_sendto,
  setsockopt = __NR_setsockopt,
  socket = __NR_socket,
  socketpair = __NR_socketpair,
  // memory and time
  clock_gettime = __NR_clock_gettime,
  mmap = __NR_mmap,
  // processes and signals
  clone3 = __NR_clone3,
  execve = __NR_execve,
  execveat = __NR_execveat,
  exit_group = __NR_exit_group,
  getpgid = __NR_getpgid,
  getpid = __NR_getpid,
  getppid = __NR_getppid,
  kill = __NR_kill,
  pidfd_open = __NR_pidfd_open,
  pidfd_send_signal = __NR_pidfd_send_signal,
  prctl = __NR_prctl,
  rt_sigaction = __NR_rt_sigaction,
  rt_sigprocmask = __NR_rt_sigprocmask,
  seccomp = __NR_seccomp,
  setpgid = __NR_setpgid,
  setsid = __NR_setsid,
  signalfd4 = __NR_signalfd4,
  tgkill = __NR_tgkill,
  tkill = __NR_tkill,
  waitid = __NR_waitid,
  // identity
  capget = __NR_capget,
  capset = __NR_capset,
  getgroups = __NR_getgroups,
  getresgid = __NR_getresgid,
  getresuid = __NR_getresuid,
  setfsgid = __NR_setfsgid,
  setfsuid = __NR_setfsuid,
  setgroups = __NR_setgroups,
  setresgid = __NR_setresgid,
  setresuid = __NR_setresuid,
  landlock_add_rule = __NR_landlock_add_rule,
  landlock_create_ruleset = __NR_landlock_create_ruleset,
  landlock_restrict_self = __NR_landlock_restrict_self,
  // attributes
  chdir = __NR_chdir,
  fchdir = __NR_fchdir,
  ioprio_set = __NR_ioprio_set,
  keyctl = __NR_keyctl,
  personality = __NR_personality,
  prlimit64 = __NR_prlimit64,
  sched_setaffinity = __NR_sched_setaffinity,
  sched_setattr = __NR_sched_setattr,
  sched_yield = __NR_sched_yield,
  setpriority = __NR_setpriority,
  umask = __NR_umask,
  // namespaces
  setdomainname = __NR_setdomainname,
  sethostname = __NR_sethostname,
  setns = __NR_setns,
  unshare = __NR_unshare,
  // mounts
  fchmod = __NR_fchmod,
  fchmodat = __NR_fchmodat,
  fchownat = __NR_fchownat,
  fsconfig = __NR_fsconfig,
  fsmount = __NR_fsmount,
  fsopen = __NR_fsopen,
  mkdirat = __NR_mkdirat,
  mknodat = __NR_mknodat,
  mount_setattr = __NR_mount_setattr,
  move_mount = __NR_move_mount,
  open_tree = __NR_open_tree,
  pivot_root = __NR_pivot_root,
  symlinkat = __NR_symlinkat,
  umount2 = __NR_umount2,
};

inline long word(long value) { return value; }
inline long word(unsigned long value) { return static_cast<long>(value); }
inline long word(int value) { return value; }
inline long word(unsigned value) { return static_cast<long>(value); }
inline long word(const volatile void* pointer) { return reinterpret_cast<long>(pointer); }
inline long word(decltype(nullptr)) { return 0; }

long raw(Call number, long a, long b, long c, long d, long e, long f);

template <class A = long, class B = long, class C = long, class D = long, class E = long,
          class F = long>
long call(Call number, A a = 0, B b = 0, C c = 0, D d = 0, E e = 0, F f = 0) {
  return raw(number, word(a), word(b), word(c), word(d), word(e), word(f));
}

[[noreturn]] inline void exit(int code) {
  for (;;) call(Call::exit_group, code);
}

// Never retried: Linux has released the number even when close(2) says EINTR.
inline void close(int fd) { call(Call::close, fd); }

}  // namespace cloister::init
