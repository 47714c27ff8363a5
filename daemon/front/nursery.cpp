#include "nursery.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "plan/messages.hpp"
#include "sys/rights.hpp"

namespace cloister::front {
namespace {

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
    char byte = 0;
    std::vector<sys::UniqueFd> channels;
    const ssize_t asked = sys::receive_rights(control, &byte, 1, channels);
    reap_all();
    if (asked != 1 || channels.size() != 2) return EX_OK;  // the end of the monitor
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_NAME, "cloister-front");
      ended.reset();
      ::sigprocmask(SIG_UNBLOCK, &children, nullptr);
      // Over the nursery's own descriptors: a front cannot speak on those.
      if (::dup2(channels[0].borrow(), plan::kAskFd) < 0 ||
          ::dup2(channels[1].borrow(), plan::kTellFd) < 0)
        return EX_OSERR;
      channels.clear();
      return front();
    }
    // Before its end can be taken above, so the pid is still its.
    const sys::UniqueFd pidfd(pid < 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    // The byte alone where no process could be made: other fronts live on.
    sys::Rights answer;
    if (pidfd) answer.add(pidfd.borrow());
    if (!sys::send_rights(control, &byte, 1, answer)) return EX_OSERR;
  }
}

}  // namespace cloister::front
