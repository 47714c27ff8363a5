// Door: connections that have no front yet.
//
// A front costs us a process; to connect costs the peer nothing. So a connection gets
// a front only when its peer has sent something, and users take turns. Each user has
// a time budget (Line::account): the time that we spend on fronts for the user's
// connections is taken from it, and it fills up again at a quarter of the time that
// passes. So no user takes more than a quarter of our time; further connections wait.
//
// - A peer that sends nothing costs a descriptor.
// - If a peer hangs up without having sent anything, we close the connection: no
//   descriptors are in its queue, and none can arrive.
// - Refused connections of a user are collected for a moment. Then one front tells all
//   of these peers, and closes the connections: to close descriptors that are still in
//   a queue may take long. If there are none, and the peer has gone, we close the
//   connection ourselves.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "admit/peer.hpp"
#include "plan/messages.hpp"

namespace cloister::monitor {

class Door {
 public:
  using Clock = std::chrono::steady_clock;

  struct Handlers {
    // Gives the connection to a front. Returns the time that this cost.
    std::function<Clock::duration(sys::UniqueFd, Peer)> serve;
    // Has one front tell all of these peers the same refusal. Returns the time too.
    std::function<Clock::duration(std::vector<sys::UniqueFd>, Peer, const plan::Refusal&)> refuse;
    // A connection of this user has been closed that never had a front.
    std::function<void(uid_t)> left;
  };

  // `metered`: users other than root are limited to their accounts. False in a service
  // that has only one user.
  Door(boost::asio::io_context& io, bool metered, Handlers handlers);

  // True if the peer has hung up and there is nothing to read, so that the connection can
  // be closed.
  static bool gone_without_a_word(int connection);

  void enter(sys::UniqueFd connection, Peer peer);
  void refuse(sys::UniqueFd connection, Peer peer, const plan::Refusal& refusal);

 private:
  struct Waiting {  // a connection that waits for a front
    sys::UniqueFd connection;
    Peer peer;
  };
  struct Silent;
  struct Line {  // of one user
    std::deque<Waiting> ready;
    std::vector<sys::UniqueFd> refused;
    Peer refused_peer;
    plan::Refusal refusal{};
    Clock::time_point refuse_at{};  // the refused are told by then at the latest
    Clock::duration account;
    Clock::time_point filled;
    bool metered;

    bool waits() const { return !ready.empty() || !refused.empty(); }
  };

  Line& line_of(uid_t user);
  void settle(Waiting waiting);
  void fill(Line& line, Clock::time_point now);
  Clock::time_point due(const Line& line, Clock::time_point now) const;
  void tell_refused(Line& line);
  static void charge(Line& line, Clock::duration cost);
  void arm(Clock::time_point at);
  void turn();

  boost::asio::io_context& io_;
  const bool metered_;
  Handlers handlers_;
  std::map<uid_t, Line> lines_;
  uid_t last_ = 0;  // the user who had the last turn
  boost::asio::steady_timer turn_;
  bool armed_ = false;
};

}  // namespace cloister::monitor
