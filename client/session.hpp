// One Run from its first message to its verdict: the loop of `cloister run`.
//
// Relays the terminal, hands signals on, follows stops. Runs in the caller's
// terminal and process group, with the caller's rights.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cloister/client.hpp"
#include "job.hpp"
#include "output.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace cloister::command {

class Session {
 public:
  Session(Client& client, Job& job, bool quiet)
      : client_(client), job_(job), quiet_(quiet), copy_(job.open, quiet) {}

  // What the service answered, or why it could not. Throws Interrupted.
  Result<Verdict> run();

  // Whether output of the job could not be written, as where a disk is full.
  bool lost_output() const { return copy_.failed(); }

  // A signal came and the job did not start: it is ended with the connection.
  struct Interrupted {
    int signal;
  };

 private:
  using Clock = std::chrono::steady_clock;

  static int left(Clock::time_point until);  // ms, 0 once it has come
  Result<Verdict> loop(Signals& signals);
  bool takes_events() const;
  Result<void> hang_up();
  Result<void> take_event(Signals& signals);
  Result<void> hand_on(int signal);
  Result<void> send(int signal);
  // Whether this SIGINT is the second of a person who means it.
  bool pressed_again();
  void hint();
  int time_left() const;  // ms for poll(2)
  void stop_with_job(Signals& signals);

  Client& client_;
  Job& job_;
  const bool quiet_;
  std::string id_;
  bool started_ = false;
  // Signals that came before `started` did. The job may run already, and soon
  // we hear of it; or it does not get started, and one that asks us to end does.
  std::vector<int> early_;
  std::optional<int> ending_;
  Clock::time_point patience_;
  std::optional<Clock::time_point> pressed_;     // the last SIGINT
  std::optional<Clock::time_point> hint_at_;     // when to tell of the second
  bool stop_asked_ = false;                      // SIGTSTP came: when the job has stopped, so do we
  bool asked_ = false;                           // to stop or to end
  std::optional<Clock::time_point> give_up_at_;  // the output of a job that has ended
  std::optional<Relay> relay_;
  OutputCopy copy_;
  std::optional<Verdict> verdict_;
};

}  // namespace cloister::command
