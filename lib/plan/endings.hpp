// How a job ended, why, and whose problem that is: the words of the verdict, what
// a person reads of them, and what a shell gets. The order is that of the
// enumerations of cloister/verdict.hpp, behind their `unknown`.
#pragma once

#include <stdint.h>

namespace cloister::plan {

// X(enumerator, "words for a person"): the summary continues with the number,
// the signal or the failure.
#define CLOISTER_ENDINGS(X) \
  X(exited, "exited with ") \
  X(signaled, "ended by ") \
  X(not_started, "did not start") \
  X(lost, "its end is not known: the record was lost, so it may have run or not")

// X(enumerator, "word")
#define CLOISTER_FAULTS(X) \
  X(payload, "payload") \
  X(request, "request") \
  X(policy, "policy") \
  X(host, "host") \
  X(operator_, "operator") \
  X(cloister, "cloister")

enum class Fault : uint32_t {
#define X(id, word) id,
  CLOISTER_FAULTS(X)
#undef X
};

// The exit code of `cloister run` and `wait`.
inline constexpr int kOwnExit = 0;         // the payload's own, 128 + n for signal n
inline constexpr int kWallTimeExit = 124;  // as timeout(1)
inline constexpr int kCloisterExit = 125;

// X(enumerator, fault, exit code, "words for a person")
#define CLOISTER_CAUSES(X) \
  X(payload, payload, kOwnExit, "") \
  X(external, host, kOwnExit, "the signal was not sent by cloister") \
  X(wall_time, payload, kWallTimeExit, "it reached its wall-time limit") \
  X(cpu_time, payload, kOwnExit, "it reached its processor-time limit") \
  X(memory, payload, kOwnExit, "it reached its memory limit") \
  X(host_memory, host, kOwnExit, "the host ran out of memory") \
  X(output, payload, kOwnExit, "it wrote more output than its limit") \
  X(seccomp, payload, kOwnExit, "its system call filter forbids what it did") \
  X(canceled, operator_, kOwnExit, "canceled") \
  X(disconnected, operator_, kOwnExit, "its client disconnected") \
  X(shutdown, operator_, kOwnExit, "the service shut down") \
  X(cloister, cloister, kCloisterExit, "cloister failed, not the payload")

// As far as the monitor knows it.
enum class Cause : uint32_t {
#define X(id, fault, exit_code, words) id,
  CLOISTER_CAUSES(X)
#undef X
      setup,  // we gave the set-up up; the failure tells whose problem that is
  count_
};

struct CauseInfo {
  const char* word;
  Fault fault;
  int exit_code;
  const char* words;
};

inline constexpr CauseInfo kCauses[] = {
#define X(id, fault, exit_code, words) {#id, Fault::fault, exit_code, words},
    CLOISTER_CAUSES(X)
#undef X
        {"setup", Fault::cloister, kCloisterExit, "its set-up was given up"},
};
static_assert(sizeof kCauses / sizeof kCauses[0] == static_cast<uint32_t>(Cause::count_));

inline constexpr const CauseInfo& describe(Cause cause) {
  return kCauses[static_cast<uint32_t>(cause)];
}

}  // namespace cloister::plan
