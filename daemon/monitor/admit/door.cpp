#include "admit/door.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

namespace cloister::monitor {

using boost::asio::posix::stream_descriptor;
using std::chrono::milliseconds;

namespace {

constexpr int kShare = 4;             // an account gains 1/kShare of the time that passes
constexpr milliseconds kMost{250};    // the most an account can hold, gained in a second
constexpr milliseconds kDebt{1000};   // how far an account can be overdrawn
constexpr milliseconds kGather{50};   // how long refused connections are collected
constexpr size_t kMostRefused = 512;  // of one user; then they are answered at once

// Whether the connection's receive queue holds descriptors, which a front has to close.
// The kernel counts them in fdinfo (scm_fds, Linux 5.6); recvmsg(2) would read what a
// client wrote.
bool holds_descriptors(int connection) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(connection);
  const sys::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[512];
  const ssize_t size = file ? ::read(file.borrow(), text, sizeof text) : -1;
  const std::string_view info(text, size > 0 ? static_cast<size_t>(size) : 0);
  return info.find("\nscm_fds: 0\n") == std::string_view::npos;
}

// Whether the peer has hung up, and closing the connection would close no descriptors in
// its queue.
bool is_over(const sys::UniqueFd& connection) {
  pollfd end{connection.borrow(), 0, 0};
  return ::poll(&end, 1, 0) > 0 && (end.revents & POLLHUP) &&
         !holds_descriptors(connection.borrow());
}

}  // namespace

struct Door::Silent {
  Silent(boost::asio::io_context& io, int fd) : connection(io, fd) {}
  stream_descriptor connection;
  Peer peer;
};

Door::Door(boost::asio::io_context& io, bool metered, Handlers handlers)
    : io_(io), metered_(metered), handlers_(std::move(handlers)), turn_(io) {}

// A stream socket that is readable without any bytes is at its end. Nobody else reads from
// the connection, so whatever was sent is still there.
bool Door::gone_without_a_word(int connection) {
  pollfd input{connection, POLLIN, 0};
  int bytes = 0;
  return ::poll(&input, 1, 0) > 0 && ::ioctl(connection, FIONREAD, &bytes) == 0 && bytes == 0;
}

Door::Line& Door::line_of(uid_t user) {
  const auto [found, fresh] = lines_.try_emplace(user);
  if (fresh) {
    found->second.account = kMost;
    found->second.filled = Clock::now();
    found->second.metered = metered_ && user != 0;
  }
  return found->second;
}

void Door::enter(sys::UniqueFd connection, Peer peer) {
  pollfd input{connection.borrow(), POLLIN, 0};
  if (peer.pid == 0 || ::poll(&input, 1, 0) > 0)
    return settle({std::move(connection), std::move(peer)});
  auto silent = std::make_shared<Silent>(io_, connection.take());
  silent->peer = std::move(peer);
  silent->connection.async_wait(
      stream_descriptor::wait_read, [this, silent](boost::system::error_code error) {
        if (error) return;
        settle({sys::UniqueFd(silent->connection.release()), std::move(silent->peer)});
      });
}

void Door::settle(Waiting waiting) {
  const uid_t user = waiting.peer.uid;
  if (gone_without_a_word(waiting.connection.borrow())) return handlers_.left(user);
  line_of(user).ready.push_back(std::move(waiting));
  armed_ ? arm(Clock::now()) : turn();
}

void Door::refuse(sys::UniqueFd connection, Peer peer, const plan::Refusal& refusal) {
  if (is_over(connection)) return handlers_.left(peer.uid);
  Line& line = line_of(peer.uid);
  if (line.refused.empty()) line.refuse_at = Clock::now() + kGather;
  line.refused.push_back(std::move(connection));
  line.refused_peer = std::move(peer);
  line.refusal = refusal;
  arm(due(line, Clock::now()));
}

void Door::tell_refused(Line& line) {
  const Clock::time_point start = Clock::now();
  const size_t over = std::erase_if(line.refused, is_over);
  for (size_t i = 0; i < over; ++i) handlers_.left(line.refused_peer.uid);
  charge(line, Clock::now() - start);
  if (line.refused.empty()) return;
  charge(line, handlers_.refuse(std::exchange(line.refused, {}), std::move(line.refused_peer),
                                line.refusal));
}

void Door::charge(Line& line, Clock::duration cost) {
  line.account = std::max<Clock::duration>(-kDebt, line.account - cost);
}

void Door::fill(Line& line, Clock::time_point now) {
  line.account = std::min<Clock::duration>(kMost, line.account + (now - line.filled) / kShare);
  line.filled = now;
}

// When this line can have its next turn.
Door::Clock::time_point Door::due(const Line& line, Clock::time_point now) const {
  // At once, whatever is in the account, so that the number of refused connections stays
  // bounded. The account pays for it: the user's next connections wait longer.
  if (line.refused.size() >= kMostRefused) return now;
  const Clock::time_point wanted = line.ready.empty() ? line.refuse_at : now;
  if (!line.metered || line.account.count() > 0) return wanted;
  return std::max(wanted, now + milliseconds(1) - line.account * kShare);
}

void Door::arm(Clock::time_point at) {
  if (armed_ && turn_.expiry() <= at) return;
  armed_ = true;
  turn_.expires_at(at);
  turn_.async_wait([this](boost::system::error_code error) {
    if (error) return;  // cancelled: expires_at() has set an earlier time
    armed_ = false;
    turn();
  });
}

// Makes one front, for the next user in turn whose account allows it. No more than one,
// so that other events of the loop do not wait long.
void Door::turn() {
  const Clock::time_point start = Clock::now();
  auto next = lines_.end();
  for (auto line = lines_.begin(); line != lines_.end();) {
    fill(line->second, start);
    if (!line->second.waits() && line->second.account == kMost) {
      line = lines_.erase(line);
      continue;
    }
    const bool may = line->second.waits() && due(line->second, start) <= start;
    // The lowest uid above last_, else the lowest of all.
    if (may && (next == lines_.end() || (next->first <= last_ && line->first > last_))) next = line;
    ++line;
  }
  if (next != lines_.end()) {
    Line& line = next->second;
    last_ = next->first;
    const bool many = line.refused.size() >= kMostRefused;
    if (many || (!line.refused.empty() && line.refuse_at <= start)) {
      tell_refused(line);
    } else {
      Waiting waiting = std::move(line.ready.front());
      line.ready.pop_front();
      // The peer may have hung up while the connection waited.
      if (gone_without_a_word(waiting.connection.borrow()))
        handlers_.left(waiting.peer.uid);
      else
        charge(line, handlers_.serve(std::move(waiting.connection), std::move(waiting.peer)));
    }
  }
  const Clock::time_point now = Clock::now();
  for (const auto& [user, line] : lines_)
    if (line.waits()) arm(due(line, now));
}

}  // namespace cloister::monitor
