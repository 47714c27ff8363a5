// One Run from its first message to its verdict: the loop of `cloister run`.
//
// Relays the terminal, hands signals on, follows stops. Runs in the caller's
// terminal and process group, with the caller's rights.
#pragma once

#include <optional>
#include <string>

#include "cloister/client.hpp"
#include "job.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace cloister::command {

class Session {
 public:
  Session(Client& client, Job& job, bool quiet) : client_(client), job_(job), quiet_(quiet) {}

  // What the service answered, or why it could not. Throws Interrupted.
  Result<Verdict> run();

  // A signal came before the job had started: it is ended with the connection.
  struct Interrupted {
    int signal;
  };

 private:
  Result<Verdict> loop(Signals& signals);
  // True once the job has ended.
  Result<bool> take_event(Signals& signals);
  Result<void> hand_on(Signals& signals, int signal);
  void stop_with_job(Signals& signals);

  Client& client_;
  Job& job_;
  const bool quiet_;
  std::string id_;
  bool started_ = false;
  bool stop_asked_ = false;  // SIGTSTP came: when the job has stopped, so do we
  std::optional<Relay> relay_;
  std::optional<Verdict> verdict_;
};

}  // namespace cloister::command
