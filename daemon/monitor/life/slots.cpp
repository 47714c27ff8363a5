#include "life/slots.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "plan/order.hpp"
#include "sys/hex.hpp"

namespace cloister::monitor {
namespace {

sys::UniqueFd with_room(sys::UniqueFd record) {
  // The blocks exist before the payload does: a full disk cannot take the verdict.
  if (record) errno = ::posix_fallocate(record.borrow(), 0, plan::kRecordBytes);
  return record && errno == 0 ? std::move(record) : sys::UniqueFd();
}

// In memory where there is no directory, or no room in it: somebody else's records
// may have filled that, and nobody reads one but who made it.
sys::UniqueFd make_record(int directory, const std::string& name) {
  if (directory >= 0) {
    constexpr int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    auto record = with_room(sys::UniqueFd(::openat(directory, name.c_str(), flags, 0600)));
    if (record || (errno != ENOSPC && errno != EDQUOT)) return record;
    ::unlinkat(directory, name.c_str(), 0);
  }
  return with_room(sys::UniqueFd(::memfd_create("cloister-record", MFD_CLOEXEC)));
}

bool socket_pair(sys::UniqueFd& ours, sys::UniqueFd& theirs) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return false;
  ours.reset(ends[0]);
  theirs.reset(ends[1]);
  return true;
}

}  // namespace

Slots::Slots(Cgroups& cgroups, Starter start, int records, std::vector<Birth> spares)
    : cgroups_(cgroups), start_(std::move(start)), records_(records), spares_(std::move(spares)) {}

Slots::~Slots() {
  for (Slot& slot : waiting_) discard(slot);
}

plan::Failure Slots::take(const Birth& birth, Slot& slot) {
  for (size_t i = 0; i < spares_.size(); ++i) {
    if (birth.namespaces != spares_[i].namespaces || birth.ambient != spares_[i].ambient ||
        birth.set_groups || birth.caller_cgroups)
      continue;
    if (waiting_[i].init.pid <= 0) break;
    slot = std::exchange(waiting_[i], Slot());
    pollfd ended{slot.init.pidfd.borrow(), POLLIN, 0};
    if (::poll(&ended, 1, 0) == 0 && (!slot.leaves || cgroups_.there(slot.leaves))) return {};
    discard(slot);  // somebody ended it while it waited, or removed its cgroup
  }
  return make(birth, slot);
}

void Slots::replenish() {
  for (size_t i = 0; i < spares_.size(); ++i) {
    // What fails here fails again when it is needed, and is answered there.
    if (waiting_[i].init.pid > 0) continue;
    if (make(spares_[i], waiting_[i]).error) return;
    // A box as most are. In a user namespace it depends on the request whose it is.
    if (spares_[i].namespaces != CLONE_NEWPID) continue;
    plan::Order ahead{};
    ahead.version = plan::kOrderVersion;
    ahead.flags = plan::kAhead;
    ::send(waiting_[i].control.borrow(), &ahead, sizeof ahead, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

plan::Failure Slots::make(const Birth& birth, Slot& slot) {
  const auto failed = [&](plan::Step step) {
    const plan::Failure failure{step, plan::kNone, errno, 0};
    discard(slot);
    return failure;
  };
  slot = Slot();
  if (::getrandom(slot.job.data(), slot.job.size(), 0) != static_cast<ssize_t>(slot.job.size()))
    return failed(plan::Step::record);
  slot.record = make_record(records_, sys::hex(slot.job));
  if (!slot.record) return failed(plan::Step::record);
  if (cgroups_.version()) {
    slot.leaves =
        birth.caller_cgroups ? cgroups_.make_below(*birth.caller_cgroups) : cgroups_.make();
    if (!slot.leaves) return failed(plan::Step::cgroup);
  }
  sys::UniqueFd init_control, init_passed;
  const int on = 1;
  if (!socket_pair(slot.control, init_control) || !socket_pair(slot.passed, init_passed) ||
      ::setsockopt(slot.control.borrow(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
    return failed(plan::Step::clone);
  // The payload's own, if it asks for no other: flags and locks of an open
  // file would be seen by every job that shares it. It also holds the numbers
  // of what this host has not, so that descriptors sent later find theirs.
  const sys::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return failed(plan::Step::clone);
  const auto or_null = [&](const sys::UniqueFd& fd) { return fd ? fd.borrow() : null.borrow(); };
  const FdMove moves[] = {{null.borrow(), 0},
                          {null.borrow(), 1},
                          {null.borrow(), 2},
                          {init_control.borrow(), plan::kControlFd},
                          {init_passed.borrow(), plan::kPassedFd},
                          {slot.record.borrow(), plan::kRecordFd},
                          {or_null(slot.leaves.payload), plan::kPayloadCgroupFd},
                          {or_null(slot.leaves.kill), plan::kCgroupKillFd}};
  Spawn request{.name = "cloister-init", .moves = moves};
  request.namespaces = birth.namespaces;
  request.cgroup = slot.leaves.init ? slot.leaves.init.borrow() : -1;
  request.ambient = birth.ambient;
  request.set_groups = birth.set_groups;
  request.groups = birth.groups;
  slot.init = start_(request);
  return slot.init.pid < 0 ? failed(plan::Step::clone) : plan::Failure{};
}

void Slots::discard(Slot& slot) {
  if (slot.init.pid > 0) end_now(slot.init);
  if (slot.leaves) cgroups_.remove(slot.leaves);
  if (slot.record) erase_record(slot.job);
  slot = Slot();
}

void Slots::erase_record(const std::array<uint8_t, 16>& job) {
  if (records_ >= 0) ::unlinkat(records_, sys::hex(job).c_str(), 0);
}

}  // namespace cloister::monitor
