#include "signals.hpp"

#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "options.hpp"
#include "sys/names.hpp"

namespace cloister::command {
namespace {

// What somebody else may send us and means for the job. Not those that a
// process brings upon itself, and not SIGCHLD: a private service is our child.
constexpr int kHandedOn[] = {SIGHUP,  SIGINT,   SIGQUIT, SIGUSR1, SIGUSR2,
                             SIGALRM, SIGTERM,  SIGTSTP, SIGCONT, SIGVTALRM,
                             SIGPROF, SIGWINCH, SIGIO,   SIGPWR,  SIGURG};

void add_unless_ignored(sigset_t& set, int signal) {
  struct sigaction action {};
  if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN)
    ::sigaddset(&set, signal);
}

}  // namespace

Signals::Signals() {
  sigset_t handed_on;
  ::sigemptyset(&handed_on);
  for (const int signal : kHandedOn) add_unless_ignored(handed_on, signal);
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++) add_unless_ignored(handed_on, signal);
  ::sigprocmask(SIG_BLOCK, &handed_on, &before_);
  fd_.reset(::signalfd(-1, &handed_on, SFD_CLOEXEC | SFD_NONBLOCK));
  const int error = errno;
  if (fd_) return;
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  throw Trouble{"signalfd: " + std::string(sys::errno_text(error))};
}

Signals::~Signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

std::optional<int> Signals::next() {
  signalfd_siginfo info;
  for (;;) {
    const ssize_t got = ::read(fd_.borrow(), &info, sizeof info);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof info) return std::nullopt;
    return static_cast<int>(info.ssi_signo);
  }
}

// SIGSTOP and not SIGTSTP, which the kernel ignores in an orphaned process
// group (setpgid(2)): a job that is stopped waits for somebody's SIGCONT anyway.
void Signals::stop_self() { ::raise(SIGSTOP); }

void die_of(int signal) {
  const rlimit none{};
  ::setrlimit(RLIMIT_CORE, &none);
  ::signal(signal, SIG_DFL);
  sigset_t unblocked;
  ::sigemptyset(&unblocked);
  ::sigaddset(&unblocked, signal);
  ::sigprocmask(SIG_UNBLOCK, &unblocked, nullptr);
  ::raise(signal);
}

}  // namespace cloister::command
