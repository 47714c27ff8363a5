// The signals that `cloister run` hands on to its job.
//
// From construction to destruction they are blocked and read from a
// descriptor; the mask is as before afterwards. Those that were ignored when
// the command started, as under nohup(1), stay ignored.
#pragma once

#include <signal.h>

#include <optional>

#include "cloister/unique_fd.hpp"

namespace cloister::command {

class Signals {
 public:
  Signals();  // throws Trouble
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int descriptor() const { return fd_.borrow(); }
  // The next one that is pending, if any.
  std::optional<int> next();

  // Stops this process, as if nobody had caught SIGTSTP; returns when it goes on.
  void stop_self();

 private:
  sigset_t before_;
  UniqueFd fd_;
};

// Ends this process by `signal`, leaving no core of our own. Returns if that
// signal does not end a process.
void die_of(int signal);

}  // namespace cloister::command
