#include "terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "file.hpp"
#include "options.hpp"
#include "sys/names.hpp"

namespace cloister::command {
namespace {

constexpr size_t kChunk = 65536;
constexpr int kDrainMs = 1000;

}  // namespace

RawMode::RawMode(int fd) : fd_(fd) { resume(); }

RawMode::~RawMode() { suspend(); }

void RawMode::suspend() {
  if (raw_) ::tcsetattr(fd_, TCSADRAIN, &before_);
  raw_ = false;
}

void RawMode::resume() {
  if (raw_ || ::tcgetattr(fd_, &before_) != 0) return;
  termios raw = before_;
  ::cfmakeraw(&raw);
  if (::tcsetattr(fd_, TCSADRAIN, &raw) != 0)
    throw Trouble{"the terminal cannot be made raw: " + std::string(sys::errno_text(errno))};
  raw_ = true;
}

Relay::Relay(UniqueFd master) : master_(std::move(master)), raw_(STDIN_FILENO) {
  ::fcntl(master_.borrow(), F_SETFL, O_RDWR | O_NONBLOCK);
  // Termination by SIGPIPE would leave our terminal raw.
  ::signal(SIGPIPE, SIG_IGN);
  stdin_open_ = ::fcntl(STDIN_FILENO, F_GETFD) >= 0;
  if (!stdin_open_) end_of_stdin();
  follow_size();
}

short Relay::wanted_of_stdin() const {
  return stdin_open_ && master_open_ && to_job_.empty() ? POLLIN : 0;
}

short Relay::wanted_of_stdout() const { return to_us_.empty() ? 0 : POLLOUT; }

short Relay::wanted_of_master() const {
  if (!master_open_) return 0;
  return static_cast<short>((to_us_.empty() ? POLLIN : 0) | (to_job_.empty() ? 0 : POLLOUT));
}

void Relay::step(short stdin_events, short stdout_events, short master_events) {
  if (stdin_events != 0) read_stdin();
  if (stdout_events != 0) write_stdout();
  if ((master_events & POLLOUT) != 0) write_master();
  if ((master_events & (POLLIN | POLLHUP | POLLERR)) != 0 && to_us_.empty()) read_master();
}

void Relay::read_stdin() {
  char chunk[kChunk];
  const ssize_t got = ::read(STDIN_FILENO, chunk, sizeof chunk);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got > 0) {
    to_job_.assign(chunk, static_cast<size_t>(got));
    last_ = to_job_.back();
    return write_master();
  }
  stdin_open_ = false;
  end_of_stdin();
}

// A terminal has no end of file of its own: the line discipline makes one from the VEOF
// character. In the middle of a line the first VEOF only passes on what the line has so
// far, and the second makes the end of file (termios(3)).
void Relay::end_of_stdin() {
  termios mode{};
  if (::tcgetattr(master_.borrow(), &mode) != 0 || (mode.c_lflag & ICANON) == 0) return;
  to_job_.append(last_ == '\n' ? 1 : 2, static_cast<char>(mode.c_cc[VEOF]));
}

void Relay::write_master() {
  const ssize_t written = ::write(master_.borrow(), to_job_.data(), to_job_.size());
  if (written > 0) to_job_.erase(0, static_cast<size_t>(written));
  // Nobody is left to read the input.
  if (written < 0 && errno != EAGAIN && errno != EINTR) to_job_.clear();
}

void Relay::read_master() {
  char chunk[kChunk];
  const ssize_t got = ::read(master_.borrow(), chunk, sizeof chunk);
  if (got > 0)
    to_us_.assign(chunk, static_cast<size_t>(got));
  else if (got == 0 || (errno != EAGAIN && errno != EINTR))
    master_open_ = false;  // EIO: no process has the slave open any more
}

void Relay::write_stdout() {
  const size_t most = std::min(to_us_.size(), kUnblockedWrite);
  const ssize_t written = ::write(STDOUT_FILENO, to_us_.data(), most);
  if (written > 0) to_us_.erase(0, static_cast<size_t>(written));
  if (written < 0 && errno != EAGAIN && errno != EINTR) {
    // Nobody reads the output any more. Closing the master hangs the job's terminal up,
    // and the job gets SIGHUP.
    to_us_.clear();
    master_open_ = false;
    master_.reset();
  }
}

void Relay::follow_size() {
  winsize size{};
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0) {
      ::ioctl(master_.borrow(), TIOCSWINSZ, &size);
      return;
    }
}

void Relay::drain() {
  for (;;) {
    while (!to_us_.empty()) {
      pollfd writable{STDOUT_FILENO, POLLOUT, 0};
      if (::poll(&writable, 1, kDrainMs) == 0) return;
      write_stdout();
    }
    pollfd readable{master_.borrow(), POLLIN, 0};
    if (!master_open_ || ::poll(&readable, 1, kDrainMs) == 0) return;
    read_master();
  }
}

}  // namespace cloister::command
