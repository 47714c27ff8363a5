#include "session.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "exit_code.hpp"
#include "sys/names.hpp"

namespace cloister::command {
namespace {

constexpr std::chrono::milliseconds kPatience{500};
// Two of SIGINT in less are one: timeout(1) signals its child and then its whole
// process group. After more, a program that reads keys has gone on with its work.
constexpr std::chrono::milliseconds kOnePress{200};
constexpr std::chrono::seconds kSecondPress{10};
constexpr std::chrono::seconds kHintAfter{1};
// Who was asked to end waits no longer than this for those who read its output.
constexpr std::chrono::seconds kLastWords{1};
// What is read ahead of a slow reader of the output, to hear of the job's end.
constexpr size_t kMostAhead = 16u << 20;  // bytes

// What ends a command is for all of it, as a terminal sends it to its whole
// foreground process group; other signals are for the program that knows them.
SignalScope scope_of(int signal) {
  switch (signal) {
    case SIGINT:
    case SIGQUIT:
    case SIGTERM:
    case SIGHUP: return SignalScope::group;
    case SIGCONT: return SignalScope::all;
    default: return SignalScope::main;
  }
}

}  // namespace

Result<Verdict> Session::run() {
  // Signals are caught from here on only: until now they just end us, and with
  // us the connection. What is asked for next may run before we do again.
  Signals signals;
  if (auto begun = client_.begin_run(job_.request, job_.descriptors); !begun) return begun.error();
  auto verdict = loop(signals);
  if (verdict && relay_) relay_->drain();
  relay_.reset();
  return verdict;
}

Result<Verdict> Session::loop(Signals& signals) {
  while (!verdict_ || copy_.waiting() != 0) {
    pollfd ready[] = {{takes_events() ? client_.socket() : -1, POLLIN, 0},
                      {signals.descriptor(), POLLIN, 0},
                      {-1, 0, 0},
                      {-1, 0, 0},
                      {-1, 0, 0},
                      {copy_.descriptor(), POLLOUT, 0}};
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
    if (::poll(ready, std::size(ready), time_left()) < 0) {
      if (errno == EINTR) continue;
      throw Trouble{"poll: " + std::string(sys::errno_text(errno))};
    }
    if (ready[1].revents != 0)
      while (const auto signal = signals.next())
        if (auto done = hand_on(*signal); !done) return done.error();
    if (relay_) relay_->step(ready[2].revents, ready[3].revents, ready[4].revents);
    if (ready[5].revents != 0 && !copy_.write())
      if (auto sent = hang_up(); !sent) return sent.error();
    if (ready[0].revents != 0)
      if (auto taken = take_event(signals); !taken) return taken.error();
    if (ending_ && left(patience_) == 0) throw Interrupted{*ending_};
    if (hint_at_ && left(*hint_at_) == 0) hint();
    if (give_up_at_ && left(*give_up_at_) == 0) copy_.drop();
  }
  return *std::move(verdict_);
}

// Output that nobody has taken yet holds the next events up, as a full pipe would hold
// the job up; but whoever asks the job to stop or to end wants to hear of it.
bool Session::takes_events() const {
  if (verdict_) return false;
  return copy_.waiting() == 0 || (asked_ && copy_.waiting() < kMostAhead);
}

// Nobody reads the output any more. A job that wrote to that place itself would get
// SIGPIPE, whichever of its processes it was.
Result<void> Session::hang_up() {
  if (verdict_ || !started_) return {};
  return client_.signal_running(id_, SIGPIPE, SignalScope::group);
}

Result<void> Session::take_event(Signals& signals) {
  auto event = client_.next_event();
  if (!event) return event.error();
  switch (event->kind) {
    case Event::Kind::accepted:
      id_ = event->id;
      if (!quiet_)
        for (const std::string& warning : event->warnings) complain(warning);
      break;
    case Event::Kind::started:
      id_ = event->id;
      started_ = true;
      if (event->pty) relay_.emplace(std::move(event->pty));
      ending_.reset();
      for (const int signal : std::exchange(early_, {}))
        if (auto sent = send(signal); !sent) return sent.error();
      break;
    case Event::Kind::stopped:
      if (stop_asked_) {
        stop_with_job(signals);
      } else if (!quiet_) {
        if (relay_) relay_->raw().suspend();  // raw, it would not begin a new line
        complain(id_ + " is stopped by " + event->signal.value_or("a signal") +
                 "; `cloister kill -s CONT " + id_ + "` continues it");
        if (relay_) relay_->raw().resume();
      }
      break;
    case Event::Kind::continued: break;
    case Event::Kind::output: copy_.add(*event); break;
    case Event::Kind::ended:
      verdict_ = std::move(event->verdict);
      hint_at_.reset();
      if (asked_) give_up_at_ = Clock::now() + kLastWords;
      break;
  }
  return {};
}

int Session::left(Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

int Session::time_left() const {
  if (ending_) return left(patience_);
  if (give_up_at_) return left(*give_up_at_);
  return hint_at_ ? left(*hint_at_) : -1;
}

Result<void> Session::hand_on(int signal) {
  if (signal == SIGWINCH && relay_) {
    relay_->follow_size();
    return {};
  }
  const bool ends = signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
  if (verdict_) {
    if (ends) copy_.drop();
    return {};
  }
  if (ends || signal == SIGTSTP) asked_ = true;
  if (started_) return send(signal);
  if (ends && !ending_) {
    ending_ = signal;
    patience_ = Clock::now() + kPatience;
  }
  early_.push_back(signal);
  return {};
}

Result<void> Session::send(int signal) {
  // The job has a session of its own, where the kernel would ignore SIGTSTP.
  if (signal == SIGTSTP) {
    stop_asked_ = true;
    return client_.signal_running(id_, SIGSTOP, SignalScope::all);
  }
  if (signal == SIGINT && pressed_again())
    return client_.signal_running(id_, SIGKILL, SignalScope::all);
  return client_.signal_running(id_, signal, scope_of(signal));
}

bool Session::pressed_again() {
  const auto now = Clock::now();
  const auto since = pressed_ ? now - *pressed_ : Clock::duration::max();
  if (since < kOnePress) return false;
  pressed_ = now;
  if (since <= kSecondPress) return true;
  if (!quiet_ && ::isatty(STDERR_FILENO)) hint_at_ = now + kHintAfter;
  return false;
}

void Session::hint() {
  hint_at_.reset();
  complain(id_ + " is still running; press Ctrl-C again to kill it");
}

// As a shell expects of a command line that was told to stop: we stop too, and
// its SIGCONT comes back through hand_on().
void Session::stop_with_job(Signals& signals) {
  stop_asked_ = asked_ = false;
  if (relay_) relay_->raw().suspend();
  signals.stop_self();
  if (relay_) {
    relay_->raw().resume();
    relay_->follow_size();
  }
}

}  // namespace cloister::command
