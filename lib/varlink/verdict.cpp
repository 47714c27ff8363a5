// What a verdict says to a person and to a shell.
#include "cloister/verdict.hpp"

#include <errno.h>

#include "sys/names.hpp"

namespace cloister {
namespace {

constexpr int kWallTimeExit = 124;  // as timeout(1)
constexpr int kCloisterExit = 125;
constexpr int kCannotRunExit = 126;  // as sh(1), which has these three from POSIX
constexpr int kNotFoundExit = 127;
constexpr int kSignalExit = 128;

std::string seconds(int64_t us) {
  const auto ms = std::to_string(us / 1000 % 1000);
  return std::to_string(us / 1'000'000) + "." + std::string(3 - ms.size(), '0') + ms + " s";
}

std::string why(const Verdict& verdict) {
  const auto by = [&] {
    if (!verdict.killed_by) return std::string();
    std::string text = ", sent " + verdict.killed_by->signal;
    if (verdict.killed_by->uid) text += " by uid " + std::to_string(*verdict.killed_by->uid);
    return text;
  };
  const auto limit = [&](const std::string& what) {
    return verdict.limit ? what + " (" + verdict.limit->field + ")" : what;
  };
  switch (verdict.cause) {
    case Cause::unknown:
    case Cause::payload: return "";
    case Cause::external: return "; the signal was not sent by cloister";
    case Cause::wall_time: return limit("; it reached its wall-time limit");
    case Cause::cpu_time: return limit("; it reached its processor-time limit");
    case Cause::memory: return limit("; it ran out of its memory limit");
    case Cause::host_memory: return "; the host ran out of memory";
    case Cause::output: return limit("; it wrote more output than its limit");
    case Cause::seccomp:
      return verdict.seccomp && verdict.seccomp->syscall
                 ? "; its filter forbids " + *verdict.seccomp->syscall
                 : "; its system call filter forbids what it did";
    case Cause::canceled: return "; canceled" + by();
    case Cause::disconnected: return "; its client disconnected";
    case Cause::shutdown: return "; the service shut down";
    case Cause::cloister:
      if (verdict.failure) return "; " + verdict.failure->message;
      return "; cloister failed, this is not the payload's doing";
  }
  return "";
}

}  // namespace

std::string Verdict::summary() const {
  std::string text;
  switch (ending) {
    case Ending::exited: text = "exited with " + std::to_string(exit_code.value_or(-1)); break;
    case Ending::signaled:
      text = "ended by " + term_signal.value_or("a signal");
      if (core_dumped.value_or(false)) text += " (core dumped)";
      break;
    case Ending::not_started:
      text = "did not start";
      if (failure) {
        text += ": " + failure->message;
        if (!failure->hint.empty()) text += ". " + failure->hint;
        return text;
      }
      break;
    case Ending::lost: return "its end is not known: the record was lost, it may have run or not";
    case Ending::unknown: return "ended in a way this version does not know";
  }
  if (ending != Ending::not_started && wall_us) text += " after " + seconds(*wall_us);
  return text + why(*this);
}

int folded_exit_code(const Failure& failure) {
  if (failure.step != "execve") return kCloisterExit;
  const bool missing = failure.error_number == ENOENT || failure.error_number == ENOTDIR;
  return missing ? kNotFoundExit : kCannotRunExit;
}

int Verdict::folded_exit_code() const {
  if (ending == Ending::not_started && failure) return cloister::folded_exit_code(*failure);
  if (cause == Cause::wall_time) return kWallTimeExit;
  if (cause == Cause::cloister) return kCloisterExit;
  switch (ending) {
    case Ending::exited: return exit_code.value_or(kCloisterExit);
    case Ending::signaled: {
      const auto number = sys::signal_number(term_signal.value_or(""));
      return number ? kSignalExit + *number : kCloisterExit;
    }
    case Ending::not_started:
    case Ending::lost:
    case Ending::unknown: break;
  }
  return kCloisterExit;
}

}  // namespace cloister
