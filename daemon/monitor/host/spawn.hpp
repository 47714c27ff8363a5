// Starting one of our own programs: clone3(2) with the memory shared until the
// exec, so that the size of the monitor costs nothing. The only place in the
// monitor that creates a process.
//
// Between clone and exec the child makes raw system calls and touches nothing
// but the plain data below: glibc's wrappers may take locks or wait for
// threads that do not exist in the child.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {

struct FdMove {
  int from;
  int to;  // below kReservedFds; the child sees `from` here
};

// The monitor's own descriptors all live at or above this number, so that
// moves in a child never meet each other.
inline constexpr int kReservedFds = 32;

// Opens /dev/null on every free number below kReservedFds. Call once, first.
// False with errno when that fails.
bool reserve_low_fds();

struct Spawn {
  int executable = -1;              // borrowed
  const char* name;                 // argv[0]
  std::span<const FdMove> moves;    // 0, 1 and 2 stay as they are unless moved to; no others do
  uint64_t namespaces = 0;          // CLONE_NEWPID, CLONE_NEWUSER
  int cgroup = -1;                  // CLONE_INTO_CGROUP (Linux 5.7), borrowed
  bool ambient = false;             // raise all capabilities to ambient: they survive the exec
  std::span<const gid_t> groups{};  // setgroups(2) before the exec when `set_groups`
  bool set_groups = false;
  const char* const* argv = nullptr;  // all of it, a null at its end, instead of `name` alone
};

struct Child {
  pid_t pid = -1;
  sys::UniqueFd pidfd;
};

// On failure pid is -1 and errno tells why; an exec that fails ends the child
// with 127 and is seen as its death.
Child spawn(const Spawn& request);

// Reaps our child; whoever waits for one has a ChildWatch for it. `ended` is false while it lives:
// that a descriptor was said to be ready proves nothing, because Asio may mean one that had its
// place before.
struct Reaped {
  bool ended;
  int code, status;  // si_code and si_status, waitid(2); 0 if it was reaped already
};
Reaped reap(pid_t pid);
// The same of one that was killed, waiting for its end.
void reap_now(pid_t pid);
// Kills it and waits for its end: for what waits and has nothing to finish.
void end_now(const Child& child);

// Made by spawn() and not reaped yet, or counted so. See orphans.hpp for others.
bool is_ours(pid_t child);
void count_as_ours(pid_t child);

}  // namespace cloister::monitor
