// Door: connections that have no front yet.
//
// A front costs a process, and who connects pays nothing. So one is given only
// to who has said something and to one user after the other, and each user has
// an account of time: what making fronts for its connections has cost us is
// taken from it, and it fills up at a quarter of the time that passes. Nobody's
// connections take more than that of us; those beyond wait.
//
// - Who says nothing costs a descriptor.
// - Who hangs up without a word is closed here. Nothing is in its queue that we
//   would close with it, and nothing can come any more.
// - Who is refused is told so by a front that tells all who come within a moment.
//   It also closes them: descriptors that wait in a queue may be slow to close.
//   Without any, and with nobody left to be told, we close it ourselves.
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
    // Gives the connection to a front; returns what making one costs.
    std::function<Clock::duration(sys::UniqueFd, Peer)> serve;
    // Has a front tell all of these the same.
    std::function<Clock::duration(std::vector<sys::UniqueFd>, Peer, const plan::Refusal&)> refuse;
    // One has gone that never had a front.
    std::function<void(uid_t)> left;
  };

  // `metered`: users but root are held to their share; else there is only one.
  Door(boost::asio::io_context& io, bool metered, Handlers handlers);

  // True when the peer has hung up and nothing is to be read: to be closed.
  static bool gone_without_a_word(int connection);

  void enter(sys::UniqueFd connection, Peer peer);
  void refuse(sys::UniqueFd connection, Peer peer, const plan::Refusal& refusal);

 private:
  struct Guest {
    sys::UniqueFd connection;
    Peer peer;
  };
  struct Silent;
  struct Line {  // of one user
    std::deque<Guest> ready;
    std::vector<sys::UniqueFd> refused;
    Peer refused_peer;
    plan::Refusal refusal{};
    Clock::time_point refuse_at{};  // when those are told at the latest
    Clock::duration account;
    Clock::time_point filled;
    bool metered;

    bool waits() const { return !ready.empty() || !refused.empty(); }
  };

  Line& line_of(uid_t user);
  void settle(Guest guest);
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
  uid_t last_ = 0;  // whose turn it was
  boost::asio::steady_timer turn_;
  bool armed_ = false;
};

}  // namespace cloister::monitor
