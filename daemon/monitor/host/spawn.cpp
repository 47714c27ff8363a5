#include "host/spawn.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <unordered_set>

namespace cloister::monitor {
namespace {

// From here to the end of the namespace: code of the child, on a stack of its
// own in the monitor's memory. No sanitizer, no library.
#define CHILD_CODE __attribute__((no_sanitize("address", "undefined"), noinline))

CHILD_CODE long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
#if defined(__x86_64__)
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
#else
#error "cloister runs on x86_64 and aarch64"
#endif
}

template <class T>
CHILD_CODE long pointer(T* p) {
  return reinterpret_cast<long>(p);
}

// Capabilities are lost at the exec of a process whose uid is not 0 in its
// user namespace (capabilities(7)), unless they are ambient.
CHILD_CODE bool raise_ambient() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (call(SYS_capget, pointer(&head), pointer(data)) < 0) return false;
  for (auto& half : data) half.inheritable = half.permitted;
  if (call(SYS_capset, pointer(&head), pointer(data)) < 0) return false;
  for (int cap = 0; cap <= 63; ++cap) {
    const bool held = (data[cap / 32].permitted >> (cap % 32)) & 1;
    if (held && call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap) < 0) return false;
  }
  return true;
}

CHILD_CODE int child(void* argument) {
  const Spawn& request = *static_cast<const Spawn*>(argument);
  // The monitor ignores SIGPIPE and blocks what it reads from a signalfd.
  struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    unsigned long mask;
  } action{};
  call(SYS_rt_sigaction, SIGPIPE, pointer(&action), 0, 8);
  unsigned long none = 0;
  call(SYS_rt_sigprocmask, SIG_SETMASK, pointer(&none), 0, 8);

  int highest = 2;
  for (const FdMove& move : request.moves) {
    if (call(SYS_dup3, move.from, move.to, 0) < 0) return 127;
    if (move.to > highest) highest = move.to;
  }
  // Whatever still stands between the moves is a placeholder of the monitor's.
  for (int fd = 3; fd <= highest; ++fd) {
    bool moved = false;
    for (const FdMove& move : request.moves) moved |= move.to == fd;
    if (!moved) call(SYS_close, fd);
  }
  // What the monitor was started with is not for its children.
  call(SYS_close_range, highest + 1, ~0u, CLOSE_RANGE_CLOEXEC);
  if (request.set_groups && call(SYS_setgroups, static_cast<long>(request.groups.size()),
                                 pointer(request.groups.data())) < 0)
    return 127;
  if (request.ambient && !raise_ambient()) return 127;
  const char* argv[] = {request.name, nullptr};
  const char* env[] = {nullptr};
  call(SYS_execveat, request.executable, pointer(""),
       request.argv ? pointer(request.argv) : pointer(argv), pointer(env), AT_EMPTY_PATH);
  return 127;
}

// clone3 with a new stack: the child returns into `entry`, never into us.
CHILD_CODE long clone3_call(clone_args* args, int (*entry)(void*), void* argument) {
#if defined(__x86_64__)
  long result;
  register auto r8 asm("r8") = entry;
  register auto r9 asm("r9") = argument;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r9, %%rdi\n\t"
      "call *%%r8\n\t"
      "mov %%eax, %%edi\n\t"
      "mov %[exit], %%eax\n\t"
      "syscall\n\t"
      "hlt\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone3), "D"(args), "S"(sizeof *args), "r"(r8), "r"(r9), [exit] "i"(SYS_exit)
      : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = SYS_clone3;
  register auto x0 asm("x0") = reinterpret_cast<long>(args);
  register long x1 asm("x1") = sizeof *args;
  register auto x9 asm("x9") = entry;
  register auto x10 asm("x10") = argument;
  asm volatile(
      "svc 0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, #0\n\t"
      "mov x0, x10\n\t"
      "blr x9\n\t"
      "mov x8, %[exit]\n\t"
      "svc 0\n\t"
      "brk #1\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), "r"(x9), "r"(x10), [exit] "i"(SYS_exit)
      : "memory", "x30");
  return x0;
#endif
}

alignas(16) unsigned char child_stack[64 * 1024];

std::unordered_set<pid_t> our_children;

}  // namespace

bool reserve_low_fds() {
  for (;;) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    // Who starts us without standard streams starts our fronts so too, and
    // there the first descriptor of a client's would be one.
    if (fd <= STDERR_FILENO) ::fcntl(fd, F_SETFD, 0);
    if (fd >= kReservedFds) {
      ::close(fd);
      break;
    }
  }
  return true;
}

Child spawn(const Spawn& request) {
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | request.namespaces;
  if (request.cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(request.cgroup);
  }
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<uint64_t>(child_stack);
  args.stack_size = sizeof child_stack;
  // CLONE_VFORK: we sleep until the exec, so `request` and the stack stay our_children.
  const long pid = clone3_call(&args, child, const_cast<Spawn*>(&request));
  if (pid < 0) {
    errno = static_cast<int>(-pid);
    return {};
  }
  count_as_ours(static_cast<pid_t>(pid));
  return {static_cast<pid_t>(pid), sys::UniqueFd(pidfd)};
}

Reaped reap(pid_t pid) {
  siginfo_t info{};
  Reaped reaped{true, 0, 0};
  if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG) == 0)
    reaped = {info.si_pid == pid, info.si_code, info.si_status};
  if (reaped.ended) our_children.erase(pid);
  return reaped;
}

void reap_now(pid_t pid) {
  ::waitpid(pid, nullptr, 0);
  our_children.erase(pid);
}

void end_now(const Child& child) {
  ::syscall(SYS_pidfd_send_signal, child.pidfd.borrow(), SIGKILL, nullptr, 0);
  reap_now(child.pid);
}

bool is_ours(pid_t child) { return our_children.contains(child); }
void count_as_ours(pid_t child) { our_children.insert(child); }

}  // namespace cloister::monitor
