// From an Approved to a running init: record, cgroup, channels, clone.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "job.hpp"
#include "spawn.hpp"

namespace cloister::monitor {
namespace {

// /proc/PID/ns names, in the order of plan::Namespace. What children get is
// what a joined job's payload has.
constexpr const char* kNamespaceFiles[plan::kNamespaces] = {
    "mnt", "pid_for_children", "net", "ipc", "uts", "cgroup", "user", "time_for_children"};

std::string hex(const uint8_t (&id)[16]) {
  std::string text;
  for (uint8_t byte : id) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// /proc/PID/stat: "pid (name) state ppid ..."; the name may hold anything.
bool is_child_of(int process, pid_t parent) {
  const sys::UniqueFd stat(::openat(process, "stat", O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t size = stat ? ::read(stat.borrow(), text, sizeof text - 1) : -1;
  if (size <= 0) return false;
  text[size] = 0;
  const char* after = std::strrchr(text, ')');
  return after && std::strlen(after) > 4 && std::atoi(after + 4) == parent;
}

// Only the payload is in its cgroup namespace, and its pid may be another's by
// now. A directory of /proc stays the process's it was opened for.
sys::UniqueFd open_namespace(const Approved::JobJoin& join) {
  const bool of_payload = join.which == plan::Namespace::cgroup;
  const pid_t pid = of_payload ? join.of.payload : join.of.init;
  const sys::UniqueFd process(::open(("/proc/" + std::to_string(pid)).c_str(),
                                     O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!process) return {};
  if (of_payload && !is_child_of(process.borrow(), join.of.init)) {
    errno = ESRCH;
    return {};
  }
  const std::string file =
      std::string("ns/") + kNamespaceFiles[static_cast<uint32_t>(join.which)];
  return sys::UniqueFd(::openat(process.borrow(), file.c_str(), O_RDONLY | O_CLOEXEC));
}

sys::UniqueFd make_record(int directory, const std::string& name) {
  sys::UniqueFd record(directory < 0
                           ? ::memfd_create("cloister-record", MFD_CLOEXEC)
                           : ::openat(directory, name.c_str(),
                                      O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  // The blocks exist before the payload does: a full disk cannot take the verdict.
  if (record && ::posix_fallocate(record.borrow(), 0, plan::kRecordBytes) != 0) record.reset();
  return record;
}

bool socket_pair(sys::UniqueFd& ours, sys::UniqueFd& theirs) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return false;
  ours.reset(ends[0]);
  theirs.reset(ends[1]);
  return true;
}

}  // namespace

void Job::erase_record() {
  if (shop_.records >= 0) ::unlinkat(shop_.records, hex(state_.job).c_str(), 0);
}

plan::Failure Job::launch(const Approved& approved, sys::UniqueFd& passed) {
  const auto failed = [](plan::Step step) { return plan::Failure{step, plan::kNone, errno, 0}; };
  plan::Order order = approved.order();
  if (::getrandom(state_.job, sizeof state_.job, 0) != sizeof state_.job)
    return failed(plan::Step::record);
  std::memcpy(order.job, state_.job, sizeof order.job);
  uid_map_ = approved.uid_map();
  gid_map_ = approved.gid_map();
  setgroups_denied_ = approved.setgroups_denied();

  record_ = make_record(shop_.records, hex(state_.job));
  if (!record_) return failed(plan::Step::record);
  if (shop_.cgroups.version()) {
    leaves_ = shop_.cgroups.make();
    if (!leaves_) return failed(plan::Step::cgroup);
  }

  sys::UniqueFd control, init_control, init_passed;
  const int on = 1;
  if (!socket_pair(control, init_control) || !socket_pair(passed, init_passed) ||
      ::setsockopt(control.borrow(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
    return failed(plan::Step::clone);

  // The payload's own, if it asks for no other: flags and locks of an open
  // file would be seen by every job that shares it.
  const sys::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return failed(plan::Step::clone);
  std::vector<FdMove> moves = {{null.borrow(), 0}, {null.borrow(), 1}, {null.borrow(), 2},
                               {init_control.borrow(), plan::kControlFd},
                               {init_passed.borrow(), plan::kPassedFd},
                               {plan_.borrow(), plan::kPlanFd},
                               {record_.borrow(), plan::kRecordFd}};
  if (leaves_.kill) {
    order.flags |= plan::kPayloadCgroup | plan::kCgroupKill;
    moves.push_back({leaves_.payload.borrow(), plan::kPayloadCgroupFd});
    moves.push_back({leaves_.kill.borrow(), plan::kCgroupKillFd});
    // clone3(2) into a cgroup asks for the rights of the one who clones, and in
    // a user namespace init has none here; a write asks for those of the one who
    // opened the file, cgroups(7).
    const auto user = static_cast<uint32_t>(plan::Namespace::user);
    if (plan()->namespaces[user].join != plan::Join::host || (order.flags & plan::kFreshUser)) {
      leaves_.tasks.reset(
          ::openat(leaves_.payload.borrow(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
      if (!leaves_.tasks) return failed(plan::Step::cgroup);
    }
  }
  int next = plan::kFirstJoinFd;
  std::vector<sys::UniqueFd> joins;
  for (const Approved::JobJoin& join : approved.job_joins()) {
    joins.push_back(open_namespace(join));
    if (!joins.back()) return failed(plan::Step::join);
    order.join_of[order.join_count++] = static_cast<uint32_t>(join.which);
    moves.push_back({joins.back().borrow(), next++});
  }
  if (leaves_.tasks) {
    order.tasks_count = 1;
    moves.push_back({leaves_.tasks.borrow(), next++});
  }
  if (::send(control.borrow(), &order, sizeof order, MSG_NOSIGNAL) != sizeof order)
    return failed(plan::Step::clone);

  Spawn request{shop_.init, "cloister-init", moves};
  request.namespaces = approved.clone_flags();
  request.cgroup = leaves_.init ? leaves_.init.borrow() : -1;
  request.ambient = (order.flags & plan::kFreshUser) != 0;
  request.set_groups = approved.setgroups_denied() && shop_.mode == plan::Mode::system;
  request.groups = owner_.groups;
  Child child = spawn(request);
  if (child.pid < 0) return failed(plan::Step::clone);

  // From here a process exists, and its end is seen on the pidfd.
  init_ = child.pid;
  end_.assign(child.pidfd.take());
  control_.assign(control.take());
  watch_init();
  read_reports();
  deadline_.expires_after(std::chrono::milliseconds(plan()->setup_timeout_ms));
  on_deadline();
  return {};
}

}  // namespace cloister::monitor
