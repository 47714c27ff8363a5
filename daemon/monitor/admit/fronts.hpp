// Fronts: the processes that read what clients write, one a connection.
//
// A front is started ahead, waits for a connection, becomes the client and
// ends with the connection. The monitor reads fixed-size Asks from its pipe
// and never waits for it: what a front does not take in time ends that front.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "admit/peer.hpp"
#include "host/child_watch.hpp"
#include "plan/messages.hpp"
#include "plan/misconfiguration.hpp"
#include "sys/rights.hpp"

namespace cloister::monitor {

using plan::Misconfiguration;

class Fronts;

class Front : public std::enable_shared_from_this<Front> {
 public:
  Front(Fronts& owner, sys::UniqueFd asks, sys::UniqueFd tells);

  const Peer& peer() const { return peer_; }
  // That it serves or refuses.
  uint32_t connections() const { return connections_; }
  // The sealed-to-be memfd that the front fills next, made when it is first
  // wanted; borrowed. -1 when none can be made: it cannot be sent, and the front ends.
  int plan();
  // The filled one. The next goes out with the answer.
  sys::UniqueFd take_plan() { return std::exchange(plan_, sys::UniqueFd()); }

  // Never blocks. `descriptors` are borrowed; copies are queued if need be.
  void tell(const plan::Tell& tell, const sys::Rights& descriptors = {});
  // SIGKILL; the end is seen on the pidfd.
  void kill();

 private:
  friend class Fronts;
  struct Queued {
    plan::Tell tell;
    std::vector<sys::UniqueFd> descriptors;
  };
  void read_asks();
  void watch_end(sys::UniqueFd pidfd);
  void flush();
  void gone();

  Fronts& owner_;
  ChildWatch end_;                               // the nursery's child
  boost::asio::posix::stream_descriptor asks_;   // pipe
  boost::asio::posix::stream_descriptor tells_;  // socket, we only write
  Peer peer_;
  uint32_t connections_ = 0;
  sys::UniqueFd plan_;
  std::deque<Queued> queue_;
  bool gone_ = false, paused_ = false;
};

// An empty memfd that can be sealed. Empty with errno when there can be none.
sys::UniqueFd new_plan();

class Fronts {
 public:
  struct Handlers {
    std::function<void(Front&, const plan::Ask&)> ask;
    // Its pipe has ended: the client is gone, or the front is.
    std::function<void(Front&)> gone;
  };

  // `executable` is cloister-front, opened once. What runs it is the nursery,
  // daemon/front/nursery.hpp: the parent of all fronts, ours to start and end.
  Fronts(boost::asio::io_context& io, sys::UniqueFd executable, unsigned spares, Handlers handlers);

  // Gives the connection, unread, to a front. `refuse.kind` not `none`: the front
  // says so to the client, to as many as there are, and hangs up; `wrong` is what it
  // says if that is `misconfigured`. False when no front can be had.
  bool assign(std::vector<sys::UniqueFd> connections, Peer peer, plan::Mode mode,
              const plan::Refusal& refuse, const Misconfiguration& wrong);

  // Starts a spare, if there are too few; call when nothing is urgent. True: there
  // still are.
  bool replenish();
  // For how long the last one to be made has kept us.
  std::chrono::steady_clock::duration making() const { return making_; }
  void keep(unsigned spares) { spares_ = spares; }
  size_t assigned() const { return assigned_.size(); }
  // SIGKILL to all; `ended` is called when the last is reaped.
  void kill_all(std::function<void()> ended);
  ~Fronts();

 private:
  friend class Front;
  bool start_nursery();
  void end_nursery();
  sys::UniqueFd ask_nursery(int asks, int tells, bool& answers);
  std::shared_ptr<Front> start();
  void ended(Front& front);

  boost::asio::io_context& io_;
  sys::UniqueFd executable_;
  Child nursery_;
  sys::UniqueFd nursery_control_;
  unsigned spares_;
  Handlers handlers_;
  std::deque<std::shared_ptr<Front>> waiting_;
  std::set<std::shared_ptr<Front>> assigned_;
  std::function<void()> all_ended_;
  std::chrono::steady_clock::duration making_{};
};

}  // namespace cloister::monitor
