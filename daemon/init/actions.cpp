// file_actions: posix_spawn_file_actions_addopen(3) and friends, in order,
// with the payload's own rights.
//
// Every number that an action can create lies below `first_hidden`; the few of
// ours that are still needed lie at or above it, and the rest is closed. So an
// action can neither clobber a descriptor of ours nor see one, nor open one by
// a path through /proc/self/fd: what is left there is the client's own, and
// sockets, which nobody can open (ENXIO).
#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/termios.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/resource.h>

#include "verbs.hpp"

namespace cloister::init {
namespace {

using plan::Action;
using plan::Op;

class Actions {
 public:
  explicit Actions(Job& job) : job_(job), h_(job.header()) {}

  // Before the first path of the payload's is opened.
  void hide_ours() {
    job_.first_hidden = highest_number() + 1;
    up(job_.status_write);
    if (job_.domain > 0) up(job_.domain);
    if (h_.executable_descriptor != kNone) up(job_.descriptors[h_.executable_descriptor]);
    if (h_.cwd_descriptor != kNone) up(job_.descriptors[h_.cwd_descriptor]);
    for (uint32_t i = 0; i < h_.actions.count; ++i) {
      const Action& action = job_.plan().at(h_.actions, i);
      if (action.op == Op::receive) up(job_.descriptors[action.descriptor], action.descriptor);
      if (action.op == Op::pty) up(job_.front);
      if (action.op == Op::capture) up(job_.captured[action.fd - 1]);
    }
    must(job_, Step::descriptors, call(Call::close_range, 3, job_.first_hidden - 1, 0));
  }

  void perform() {
    for (uint32_t i = 0; i < h_.actions.count; ++i) {
      const Action& action = job_.plan().at(h_.actions, i);
      const Step step = action.op == Op::pty ? Step::pty : Step::file_action;
      must(job_, step, perform(action), action.index);
    }
  }

 private:
  static bool creates(Op op) {
    return op == Op::open || op == Op::dup2 || op == Op::receive || op == Op::pty ||
           op == Op::capture;
  }
  static int target(const Action& action) {
    return action.op == Op::dup2 ? action.new_fd : action.fd;
  }

  // Of all that is open here and all that an action may create. A number past
  // RLIMIT_NOFILE cannot be created; its action will say so.
  int highest_number() {
    rlimit64 limit{};
    must(job_, Step::descriptors, call(Call::prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit));
    int highest = plan::kFirstJoinFd + static_cast<int>(plan::kMaxOrderFds);
    const int ours[] = {job_.proc,    job_.status_read, job_.status_write,
                        job_.signals, job_.pidfd,       job_.domain};
    for (const int fd : ours)
      if (fd > highest) highest = fd;
    for (uint32_t i = 0; i < h_.descriptors.count; ++i)
      if (job_.descriptors[i] > highest) highest = job_.descriptors[i];
    for (uint32_t i = 0; i < h_.actions.count; ++i) {
      const Action& action = job_.plan().at(h_.actions, i);
      if (!creates(action.op)) continue;
      const int fd = target(action);
      if (fd > highest && static_cast<uint64_t>(fd) < limit.rlim_cur) highest = fd;
    }
    return highest;
  }

  void up(int& fd, uint32_t index = kNone) {
    if (fd >= job_.first_hidden) return;
    fd = must_fd(job_, Step::descriptors, call(Call::fcntl, fd, F_DUPFD_CLOEXEC, job_.first_hidden),
                 index);
  }

  bool visible(int fd) const { return fd < job_.first_hidden; }

  long perform(const Action& action) {
    switch (action.op) {
      case Op::open: return open(action);
      case Op::dup2: return duplicate(action);
      // A descriptor that is not open is as closed as it was asked to be.
      case Op::close:
        if (visible(action.fd)) close(action.fd);
        return 0;
      case Op::close_range: return close_several(action);
      case Op::receive: return call(Call::dup3, job_.descriptors[action.descriptor], action.fd, 0);
      case Op::chdir: return call(Call::chdir, job_.plan().c_str(action.path));
      case Op::fchdir: return visible(action.fd) ? call(Call::fchdir, action.fd) : -EBADF;
      case Op::tcsetpgrp: return foreground(action);
      case Op::pty: return terminal(action);
      case Op::capture: return call(Call::dup3, job_.captured[action.fd - 1], action.fd, 0);
      case Op::count_: break;
    }
    return -EINVAL;
  }

  long open(const Action& action) {
    // POSIX: what is open at this number is closed before the new file opens.
    if (visible(action.fd)) close(action.fd);
    const long opened =
        call(Call::openat, AT_FDCWD, job_.plan().c_str(action.path), action.flags, action.mode);
    if (opened < 0 || opened == action.fd) return opened;
    const long placed =
        call(Call::dup3, opened, action.fd, action.flags & static_cast<uint32_t>(O_CLOEXEC));
    close(static_cast<int>(opened));
    return placed;
  }

  long duplicate(const Action& action) {
    if (!visible(action.fd)) return -EBADF;
    const bool cloexec = (action.flags & 1) != 0;
    // dup2(n, n) makes a descriptor inheritable, POSIX.1-2024 posix_spawn.
    if (action.fd == action.new_fd)
      return call(Call::fcntl, action.fd, F_SETFD, cloexec ? FD_CLOEXEC : 0);
    return call(Call::dup3, action.fd, action.new_fd, cloexec ? O_CLOEXEC : 0);
  }

  long close_several(const Action& action) {
    const int end = visible(action.new_fd) ? action.new_fd : job_.first_hidden;
    if (action.fd >= end) return 0;
    return call(Call::close_range, action.fd, end - 1, 0);
  }

  // All signals are blocked here, so SIGTTOU does not stop a background group.
  long foreground(const Action& action) {
    if (!visible(action.fd)) return -EBADF;
    const int group = static_cast<int>(call(Call::getpgid, 0));
    return call(Call::ioctl, action.fd, TIOCSPGRP, &group);
  }

  // From the sandbox's own devpts, so that ttyname(3) works inside; the master
  // goes to the client.
  long terminal(const Action& action) {
    if (slave_ < 0) {
      const long opened = open_terminal();
      if (opened < 0) return opened;
      slave_ = static_cast<int>(opened);
      up(slave_);
    }
    return call(Call::dup3, slave_, action.fd, 0);
  }

  long open_terminal() {
    const long master = call(Call::openat, AT_FDCWD, "/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) return master;
    const int unlock = 0;
    winsize size{};
    size.ws_row = static_cast<unsigned short>(h_.rows);
    size.ws_col = static_cast<unsigned short>(h_.columns);
    long result = call(Call::ioctl, master, TIOCSPTLCK, &unlock);
    if (result == 0) result = call(Call::ioctl, master, TIOCSWINSZ, &size);
    long slave = result;
    if (result == 0)  // Linux 4.13; no path in between that could be another file
      slave = call(Call::ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave >= 0) result = call(Call::ioctl, slave, TIOCSCTTY, 0);
    if (result >= 0 && slave >= 0)
      result = offer_to_front(job_.front, static_cast<int>(master), 'P');
    close(static_cast<int>(master));
    return result < 0 ? result : slave;
  }

  Job& job_;
  const plan::Header& h_;
  int slave_ = -1;
};

}  // namespace

void hide_descriptors(Job& job) { Actions(job).hide_ours(); }

void perform_actions(Job& job) { Actions(job).perform(); }

}  // namespace cloister::init
