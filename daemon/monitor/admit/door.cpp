#include "admit/door.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <memory>

namespace cloister::monitor {

using boost::asio::posix::stream_descriptor;
using std::chrono::milliseconds;

namespace {

constexpr int kShare = 4;             // of the time that passes, one in so many
constexpr milliseconds kMost{250};    // of an account: that of a second
constexpr milliseconds kDebt{1000};   // what one can owe
constexpr milliseconds kGather{50};   // how long refused ones wait for others
constexpr size_t kMostRefused = 512;  // of one user, then they are told at once

// Whether descriptors wait in its queue, whose closing is for others. They are told of
// where nothing was made to receive them, recv(2): MSG_CTRUNC. None is taken out.
bool holds_descriptors(int connection) {
  static char text[64 * 1024];
  int bytes = 0;
  if (::ioctl(connection, FIONREAD, &bytes) < 0) return true;
  if (bytes == 0) return false;
  iovec part{text, sizeof text};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  // Less than all of it is what a descriptor ends, or more than is worth a look.
  return ::recvmsg(connection, &message, MSG_PEEK | MSG_DONTWAIT) != bytes ||
         (message.msg_flags & MSG_CTRUNC);
}

// Nobody is there to be told anything, and closing it closes nothing else.
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

// Nobody else reads here, so what there is to read is there still.
bool Door::gone_without_a_word(int connection) {
  char byte;
  return ::recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
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
  pollfd said{connection.borrow(), POLLIN, 0};
  if (peer.pid == 0 || ::poll(&said, 1, 0) > 0)
    return settle({std::move(connection), std::move(peer)});
  auto silent = std::make_shared<Silent>(io_, connection.take());
  silent->peer = std::move(peer);
  silent->connection.async_wait(
      stream_descriptor::wait_read, [this, silent](boost::system::error_code error) {
        if (error) return;
        settle({sys::UniqueFd(silent->connection.release()), std::move(silent->peer)});
      });
}

void Door::settle(Guest guest) {
  const uid_t user = guest.peer.uid;
  if (gone_without_a_word(guest.connection.borrow())) return handlers_.left(user);
  line_of(user).ready.push_back(std::move(guest));
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
  const size_t over = std::erase_if(line.refused, is_over);
  for (size_t i = 0; i < over; ++i) handlers_.left(line.refused_peer.uid);
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

// When the next of this line has its turn.
Door::Clock::time_point Door::due(const Line& line, Clock::time_point now) const {
  // Whatever the account says, since they are not to pile up here; their user's
  // next connections wait the longer for it.
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
    if (error) return;  // put forward
    armed_ = false;
    turn();
  });
}

// One front, for the next user in turn who may have one; then what else waits in
// the event loop has its turn too.
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
    // The first behind the last, or else the first of all.
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
      Guest guest = std::move(line.ready.front());
      line.ready.pop_front();
      // It may have hung up while it waited.
      if (gone_without_a_word(guest.connection.borrow()))
        handlers_.left(guest.peer.uid);
      else
        charge(line, handlers_.serve(std::move(guest.connection), std::move(guest.peer)));
    }
  }
  const Clock::time_point now = Clock::now();
  for (const auto& [user, line] : lines_)
    if (line.waits()) arm(due(line, now));
}

}  // namespace cloister::monitor
