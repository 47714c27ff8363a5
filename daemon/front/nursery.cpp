#include "nursery.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "plan/messages.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {
namespace {

struct Channels {
  sys::UniqueFd asks, tells;
};

// Empty at the end of the monitor.
Channels receive_channels(int control) {
  char byte;
  iovec bytes{&byte, 1};
  int fds[2];
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof fds)];
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  ssize_t size;
  do size = ::recvmsg(control, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  const cmsghdr* part = size > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (!part || part->cmsg_len != CMSG_LEN(sizeof fds)) return {};
  std::memcpy(fds, CMSG_DATA(part), sizeof fds);
  return {sys::UniqueFd(fds[0]), sys::UniqueFd(fds[1])};
}

// A byte alone where no process could be made: other fronts live on.
bool send_pidfd(int control, int pidfd) {
  char byte = 0;
  iovec bytes{&byte, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof pidfd)];
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (pidfd >= 0) {
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof pidfd);
    std::memcpy(CMSG_DATA(part), &pidfd, sizeof pidfd);
  }
  return ::sendmsg(control, &message, MSG_NOSIGNAL) == 1;
}

void reap_all() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace

int serve_nursery(int control, const std::function<int()>& front) {
  ::prctl(PR_SET_NAME, "cloister-nurse");
  sigset_t children;
  ::sigemptyset(&children);
  ::sigaddset(&children, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &children, nullptr);
  sys::UniqueFd ended(::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!ended) return EX_OSERR;
  for (;;) {
    pollfd events[] = {{control, POLLIN, 0}, {ended.borrow(), POLLIN, 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return EX_OSERR;
    signalfd_siginfo info;
    while (events[1].revents && ::read(ended.borrow(), &info, sizeof info) > 0) {
    }
    if (!events[0].revents) {
      reap_all();
      continue;
    }
    Channels channels = receive_channels(control);
    reap_all();
    if (!channels.asks) return EX_OK;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_NAME, "cloister-front");
      ended.reset();
      ::sigprocmask(SIG_UNBLOCK, &children, nullptr);
      // Over the nursery's own descriptors: a front cannot speak on those.
      if (::dup2(channels.asks.borrow(), plan::kAskFd) < 0 ||
          ::dup2(channels.tells.borrow(), plan::kTellFd) < 0)
        return EX_OSERR;
      channels = {};
      return front();
    }
    // Before its end can be taken above, so the pid is still its.
    const sys::UniqueFd pidfd(
        pid < 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!send_pidfd(control, pidfd.borrow())) return EX_OSERR;
  }
}

}  // namespace cloister::front
