// ChildWatch: the one place in the monitor that waits for the end of a process.
//
// A child of ours has ended when it can be reaped. A process that is no child of
// ours (a front is the nursery's, a payload its init's) has ended when its pidfd
// says so. Neither is believed of Asio, which may say that a descriptor is ready
// and mean one that had that number before.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "host/spawn.hpp"
#include "plan/wait_status.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

class ChildWatch {
 public:
  // Called once, from the event loop, never from within a call of ours. It keeps
  // what it has captured until then, or until forget().
  using OnEnd = std::function<void(const Reaped&)>;

  explicit ChildWatch(boost::asio::io_context& io) : io_(io) {}
  ~ChildWatch() { forget(); }
  ChildWatch(const ChildWatch&) = delete;
  ChildWatch& operator=(const ChildWatch&) = delete;

  // It is reaped before `on_end` is called; one that is dead and traced is so only
  // when its tracer lets go of it (ptrace(2)).
  void of_child(Child child, OnEnd on_end);
  // The Reaped that it gets has no code: it is not ours to reap, see outcome().
  void of_another(sys::UniqueFd pidfd, OnEnd on_end);
  // Nobody is called any more. What came to us when its parent died, and has
  // ended, is reaped.
  void forget();

  // As the pidfd has it now. False of one that is not watched.
  bool lives();
  // SIGKILL, if it is watched.
  void kill();
  // CLOCK_BOOTTIME, when it was first seen to have ended; 0: it was not.
  int64_t ended_at_ns() const;

  // How a process of another's ended, while it is watched: from /proc until it is
  // reaped, and then from the kernel, where it keeps that (Linux 6.15). `executed` is
  // known of one that is not reaped yet alone.
  struct Outcome {
    plan::ChildEnd end;
    bool executed;  // its program; until then it is our own code
  };
  const std::optional<Outcome>& outcome();

 private:
  struct Watched;
  static void wait(const std::shared_ptr<Watched>& of, OnEnd on_end);
  static void look(const std::shared_ptr<Watched>& of, OnEnd on_end);
  int pidfd() const;

  boost::asio::io_context& io_;
  std::shared_ptr<Watched> watched_;
  std::optional<Outcome> outcome_;
};

// "exit 3", "signal 9".
std::string words_of(plan::ChildEnd end);

// How the process ended that is seen through this pidfd, borrowed, if it has.
std::optional<ChildWatch::Outcome> outcome_of(int pidfd);

}  // namespace cloister::monitor
