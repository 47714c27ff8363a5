// Joining, making and entering namespaces, one at a time and each with its own
// step: one clone3(2) with all of them cannot say which one failed.
#include <asm/errno.h>
#include <asm/siginfo.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "kernel.hpp"
#include "plan/namespaces.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

void join_one(Job& job, Namespace which) {
  if (!job.joined(which)) return;
  const auto number = static_cast<uint32_t>(which);
  const plan::NamespaceChoice& choice = job.header().namespaces[number];
  int fd = -1;
  if (choice.join == plan::Join::descriptor) {
    fd = job.descriptors[choice.descriptor];
  } else {
    for (uint32_t i = 0; i < job.order.join_count; ++i)
      if (job.order.join_of[i] == number) fd = plan::kFirstJoinFd + static_cast<int>(i);
  }
  // The second argument makes the kernel refuse a namespace of another type.
  must(job, Step::join, call(Call::setns, fd, describe(which).flag), number);
}

void make_one(Job& job, Namespace which) {
  if (!job.fresh(which)) return;
  const plan::NamespaceInfo& info = describe(which);
  job.step = info.step;
  must(job, info.step, call(Call::unshare, info.flag));
}

void write_file(Job& job, Step step, const char* path, const char* text, size_t bytes) {
  const int fd = must_fd(job, step, call(Call::openat, job.proc, path, O_WRONLY | O_CLOEXEC));
  must(job, step, call(Call::write, fd, text, bytes));
  close(fd);
}

// The id to set up the namespace as: its root, if it has one.
uint32_t id_of(Job::Lines map) {
  for (uint32_t i = 0; i < map.count; ++i)
    if (map.begin[i].inside == 0) return 0;
  return map.count ? map.begin[0].inside : 0;
}

long deny_setgroups(int process) {
  const long fd = call(Call::openat, process, "setgroups", O_WRONLY | O_CLOEXEC);
  const long written = fd < 0 ? fd : call(Call::write, static_cast<int>(fd), "deny", 4);
  return written < 0 ? written : 0;
}

// Only who stayed in the parent namespace, with CAP_SETUID there, may map more
// than one id: a child that is left behind.
[[noreturn]] void map_parent(Job& job, int process, int channel) {
  char unshared;
  if (call(Call::read, channel, &unshared, sizeof unshared) != 1) exit(ECANCELED);
  long result = job.has(plan::kFixedGroups) ? deny_setgroups(process) : 0;
  if (result == 0) result = write_map(process, "gid_map", job.gid_map());
  if (result == 0) result = write_map(process, "uid_map", job.uid_map());
  exit(static_cast<int>(-result));
}

// Leaves the namespace that init was born in for a new one. The result is the way
// back, at a number that what comes with the Order leaves alone; 0 on failure.
int leave_own(Namespace which, const char* path) {
  const long fd = call(Call::openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  constexpr int kAbove = plan::kFirstJoinFd + plan::kMaxOrderFds;
  const long held = call(Call::fcntl, fd, F_DUPFD_CLOEXEC, kAbove);
  close(static_cast<int>(fd));
  if (held < 0) return 0;
  if (call(Call::unshare, describe(which).flag) == 0) return static_cast<int>(held);
  close(static_cast<int>(held));
  return 0;
}

// True where it is the one that the job asked for.
bool keep_or_leave(Job& job, Namespace which, int host, bool fits) {
  if (host == 0) return false;
  const bool kept = fits && job.fresh(which);
  if (!kept) must(job, Step::start, call(Call::setns, host, describe(which).flag));
  close(host);
  return kept;
}

}  // namespace

// A network namespace takes the kernel longer than any other step, and depends
// on nothing that a request says. What fails here fails again for the job that
// asks for it, and is answered there.
void make_namespaces_ahead(Job& job) {
  job.host_ipc = leave_own(Namespace::ipc, "/proc/self/ns/ipc");
  job.host_net = leave_own(Namespace::net, "/proc/self/ns/net");
  if (job.host_net) raise_loopback(job);
}

// A job with a user namespace has its others owned by that one.
void keep_or_leave_namespaces(Job& job) {
  const bool ours = !job.fresh(Namespace::user) && !job.joined(Namespace::user);
  const bool loopback = (job.header().flags & plan::kLoopbackUp) && !job.outbound();
  job.ipc_made = keep_or_leave(job, Namespace::ipc, job.host_ipc, ours);
  job.net_made = keep_or_leave(job, Namespace::net, job.host_net, ours && loopback);
}

void enter_fresh_user(Job& job) {
  if (!job.has(plan::kFreshUser)) return;
  report(job, plan::ReportKind::maps);
  await_proceed(job, Step::become_mapped);
  become_mapped(job, job.order.mapped_uid, job.order.mapped_gid);
}

// A joined user namespace gives the powers that the others ask for; a joined
// mount namespace changes the root, so it comes last. Time is joined by the
// payload: init keeps the host's clocks for the record.
void join_namespaces(Job& job) {
  job.step = Step::join;
  join_one(job, Namespace::user);
  constexpr Namespace kOthers[] = {Namespace::cgroup, Namespace::ipc, Namespace::uts,
                                   Namespace::net,    Namespace::pid, Namespace::mnt};
  for (const Namespace which : kOthers) join_one(job, which);
  if (job.joined(Namespace::user)) become_mapped(job, job.identity.ruid, job.identity.rgid);
}

// The pid namespace of a joined user namespace is made inside it: unshare(2)
// puts only children into it, so a child goes on as PID 1. Its parent holds
// nothing and ends when it ends.
void make_pid_namespace(Job& job) {
  if (!job.fresh(Namespace::pid) || job.has(plan::kFreshPid)) return;
  must(job, Step::join, call(Call::unshare, CLONE_NEWPID), 1);
  const long child = must(job, Step::join, fork_process(0), 1);
  if (child == 0) {
    must(job, Step::join, call(Call::setsid), 1);
    must(job, Step::join, call(Call::prctl, PR_SET_PDEATHSIG, kSigKill), 1);
    return;
  }
  // Its own end is that of the namespace.
  must(job, Step::join, call(Call::prctl, PR_SET_PDEATHSIG, kSigKill), 1);
  call(Call::close_range, 3u, ~0u, 0);
  siginfo_t info{};
  call(Call::waitid, P_PID, child, &info, WEXITED, nullptr);
  exit(info.si_code == CLD_EXITED ? info.si_status : 1);
}

void make_mount_namespace(Job& job) {
  if (!job.fresh(Namespace::mnt)) return;
  make_one(job, Namespace::mnt);
  mount_attr attr{};
  attr.propagation = 1 << 18;  // MS_PRIVATE: nothing crosses in either direction
  must(job, Step::mount_namespace,
       call(Call::mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof attr));
}

// An outbound network is made by a process of its own (network.cpp), in a user
// namespace over which nobody of this job has power. So it is entered, and set
// up, while init still has that power: before a user namespace of the job's.
void enter_outbound_network(Job& job) {
  if (!job.outbound()) return;
  await_network(job, Step::net_namespace);
  must(job, Step::net_namespace, call(Call::setns, job.network, CLONE_NEWNET));
  close(job.network);
  set_sysctls(job);
}

void make_ipc_namespace(Job& job) {
  if (!job.ipc_made) make_one(job, Namespace::ipc);
  job.ipc_made = true;
}

// After the mounts, so that they belong to the outer user namespace and are
// locked against the payload.
void make_user_namespace(Job& job) {
  constexpr Step step = Step::user_namespace;
  const int self =
      must_fd(job, step, call(Call::openat, job.proc, "self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  int ends[2];
  must(job, step, call(Call::socketpair, kAfUnix, kSockSeqpacket | kSockCloexec, 0, ends));
  // Its end sends no signal: one that is pending here would be the payload's.
  clone_args silent{};
  const long child = must(job, step, call(Call::clone3, &silent, sizeof silent));
  if (child == 0) {
    close(ends[0]);
    map_parent(job, self, ends[1]);
  }
  close(ends[1]);
  make_one(job, Namespace::user);
  const char unshared = 1;
  must(job, step, call(Call::write, ends[0], &unshared, sizeof unshared));
  siginfo_t info{};
  must(job, step, call(Call::waitid, P_PID, child, &info, WEXITED | __WALL, nullptr));
  must(job, step, info.si_code == CLD_EXITED ? -long{info.si_status} : -EINTR);
  close(ends[0]);
  close(self);
  become_mapped(job, id_of(job.uid_map()), id_of(job.gid_map()));
}

// Only children enter the new one, and until then its offsets may be written,
// time_namespaces(7). Init stays in the host's.
static void make_time_namespace(Job& job) {
  make_one(job, Namespace::time);
  const plan::Header& h = job.header();
  if (!(h.flags & plan::kTimeOffsets)) return;
  if (!job.fresh(Namespace::time)) fail(job, Step::time_offsets, EINVAL);
  Line<128> text;
  const auto line = [&](const char* clock, int64_t offset) {
    constexpr int64_t kSecond = 1'000'000'000;
    int64_t seconds = offset / kSecond, rest = offset % kSecond;
    if (rest < 0) --seconds, rest += kSecond;
    text << clock << " " << seconds << " " << rest << "\n";
  };
  line("monotonic", h.monotonic_offset_ns);
  line("boottime", h.boottime_offset_ns);
  write_file(job, Step::time_offsets, "self/timens_offsets", text.c_str(), text.size());
}

void make_inside(Job& job) {
  if (!job.outbound() && !job.net_made) make_one(job, Namespace::net);
  make_ipc_namespace(job);
  make_one(job, Namespace::uts);
  bring_loopback_up(job);
  name_host(job);
  if (!job.outbound()) set_sysctls(job);
  make_time_namespace(job);
}

// What init has made before the fork, the payload's process was born in.
void join_time_namespace(Job& job) {
  join_one(job, Namespace::time);
  if (!job.inside_is_for_payload() || !job.fresh(Namespace::time)) return;
  constexpr Step step = Step::time_namespace;
  const int made = must_fd(
      job, step, call(Call::openat, job.proc, "self/ns/time_for_children", O_RDONLY | O_CLOEXEC));
  must(job, step, call(Call::setns, made, CLONE_NEWTIME));
  close(made);
}

void make_cgroup_namespace(Job& job) { make_one(job, Namespace::cgroup); }

}  // namespace cloister::init
