// Why a job ended: what the kernel says of the payload, held against what we
// had done to it until then.
//
// Linux does not tell a parent who sent a signal. So every signal that goes to
// a payload is written down when it is sent, with who asked for it, and an end
// is judged by what was sent before it. Nothing here asks the kernel.
#pragma once

#include <stdint.h>

#include <optional>
#include <vector>

#include "plan/messages.hpp"

namespace cloister::monitor {

// What was sent to one payload. One entry a signal, so at most 64.
class SentSignals {
 public:
  struct Sent {
    int32_t signal;
    uint32_t by;                // uid that asked
    int64_t first_ns, last_ns;  // CLOCK_BOOTTIME
  };

  void note(int signal, uint32_t by, int64_t now_ns);
  // This signal, if it was sent at `end_ns` or before.
  const Sent* before(int signal, int64_t end_ns) const;
  // The latest of those that ask a program to end, within `within_ns` of `end_ns`.
  const Sent* goodbye(int64_t end_ns, int64_t within_ns, int stop_signal) const;
  // The latest but SIGCONT, which ends nothing.
  const Sent* latest() const;

 private:
  std::vector<Sent> all_;
};

// What we did, and what the job's plan says of it.
struct Acts {
  // Why we are ending it, if we are: payload means that we are not.
  plan::Cause intent = plan::Cause::payload;
  int64_t intent_at_ns = 0;  // CLOCK_BOOTTIME since when
  SentSignals sent;
  int stop_signal = 0;
  // A program that is told to end may take this long to clean up: what it exits
  // with until then is the answer.
  int64_t stop_timeout_ns = 0;
  bool filter_signals = false;            // its filter can answer with SIGSYS by itself
  const plan::Rlimit* rlimits = nullptr;  // the plan's
  plan::OutOfMemory oom{};                // what the kernel did
  bool oom_ends_job = false;              // limits.on_oom
  bool forks_refused = false;             // by limits.pids
};

struct Judgement {
  plan::Cause cause;
  int32_t signal = 0;      // of ours, that ended it or that it answered; 0: none
  uint32_t by = 0;         // uid that asked for it
  plan::LimitHit limit{};  // of its rlimits, to which the kernel answered with the signal
};

// `record` is empty when `lost`.
Judgement judge(const plan::ExitRecord& record, bool lost, const Acts& acts);

}  // namespace cloister::monitor
