#include "session.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "exit_code.hpp"
#include "sys/names.hpp"

namespace cloister::command {

Result<Verdict> Session::run() {
  // Signals are caught from here on only: until now they just end us, and with
  // us the connection and whatever it has begun.
  if (auto begun = client_.begin_run(job_.request, job_.descriptors); !begun) return begun.error();
  Signals signals;
  auto verdict = loop(signals);
  if (verdict && relay_) relay_->drain();
  relay_.reset();
  return verdict;
}

Result<Verdict> Session::loop(Signals& signals) {
  for (;;) {
    pollfd ready[] = {{client_.socket(), POLLIN, 0},
                      {signals.descriptor(), POLLIN, 0},
                      {-1, 0, 0},
                      {-1, 0, 0},
                      {-1, 0, 0}};
    if (relay_) {
      // A descriptor that nothing is wanted of is left out: its hang-up would
      // make poll(2) return at once, for ever.
      const auto want = [](pollfd& entry, int fd, short events) {
        entry = {events != 0 ? fd : -1, events, 0};
      };
      want(ready[2], STDIN_FILENO, relay_->wanted_of_stdin());
      want(ready[3], STDOUT_FILENO, relay_->wanted_of_stdout());
      want(ready[4], relay_->master(), relay_->wanted_of_master());
    }
    if (::poll(ready, std::size(ready), -1) < 0) {
      if (errno == EINTR) continue;
      throw Trouble{"poll: " + std::string(sys::errno_text(errno))};
    }
    if (ready[1].revents != 0)
      while (const auto signal = signals.next())
        if (auto done = hand_on(signals, *signal); !done) return done.error();
    if (relay_) relay_->step(ready[2].revents, ready[3].revents, ready[4].revents);
    if (ready[0].revents != 0) {
      const auto ended = take_event(signals);
      if (!ended) return ended.error();
      if (*ended) return *std::move(verdict_);
    }
  }
}

Result<bool> Session::take_event(Signals& signals) {
  auto event = client_.next_event();
  if (!event) return event.error();
  switch (event->kind) {
    case Event::Kind::accepted: id_ = event->id; break;
    case Event::Kind::started:
      id_ = event->id;
      started_ = true;
      if (event->pty) relay_.emplace(std::move(event->pty));
      break;
    case Event::Kind::stopped:
      if (stop_asked_) {
        stop_with_job(signals);
      } else if (!quiet_) {
        complain(id_ + " is stopped by " + event->signal.value_or("a signal") +
                 "; `cloister kill -s CONT " + id_ + "` lets it go on");
      }
      break;
    case Event::Kind::continued: break;
    case Event::Kind::ended: verdict_ = std::move(event->verdict); return true;
  }
  return false;
}

Result<void> Session::hand_on(Signals&, int signal) {
  if (signal == SIGWINCH && relay_) {
    relay_->follow_size();
    return {};
  }
  if (!started_) {
    const bool ends = signal == SIGINT || signal == SIGTERM || signal == SIGHUP ||
                      signal == SIGQUIT;
    if (ends) throw Interrupted{signal};
    return {};
  }
  // The job has a session of its own, where the kernel would ignore SIGTSTP.
  if (signal == SIGTSTP) {
    stop_asked_ = true;
    return client_.signal_running(id_, SIGSTOP, SignalScope::all);
  }
  const auto scope = signal == SIGCONT ? SignalScope::all : SignalScope::main;
  return client_.signal_running(id_, signal, scope);
}

// As a shell expects of a command line that was told to stop: we stop too, and
// its SIGCONT comes back through hand_on().
void Session::stop_with_job(Signals& signals) {
  stop_asked_ = false;
  if (relay_) relay_->raw().suspend();
  signals.stop_self();
  if (relay_) {
    relay_->raw().resume();
    relay_->follow_size();
  }
}

}  // namespace cloister::command
