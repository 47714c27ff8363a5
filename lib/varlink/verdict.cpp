// What a verdict says to a person and to a shell.
#include "cloister/verdict.hpp"

#include <errno.h>

#include <cstdio>
#include <iterator>

#include "plan/endings.hpp"
#include "plan/limits.hpp"
#include "sys/names.hpp"

namespace cloister {
namespace {

using plan::kCloisterExit;
constexpr int kCannotRunExit = 126;  // as sh(1), which has these three from POSIX
constexpr int kNotFoundExit = 127;
constexpr int kSignalExit = 128;

std::string seconds(int64_t us) {
  const auto ms = std::to_string(us / 1000 % 1000);
  return std::to_string(us / 1'000'000) + "." + std::string(3 - ms.size(), '0') + ms + " s";
}

// `cause` is known: the table has no row for the first, `unknown`.
const plan::CauseInfo& describe(Cause cause) {
  return plan::kCauses[static_cast<size_t>(cause) - 1];
}

// 1.5 GiB: the largest unit in which it is no fraction below one.
std::string bytes(int64_t count) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  auto amount = static_cast<double>(count);
  for (; amount >= 1024 && unit + 1 < std::size(kUnits); ++unit) amount /= 1024;
  char text[32];
  std::snprintf(text, sizeof text,
                unit == 0 || amount == static_cast<int64_t>(amount) ? "%.0f %s" : "%.1f %s", amount,
                kUnits[unit]);
  return text;
}

std::string amount(int64_t count, plan::Unit unit) {
  switch (unit) {
    case plan::Unit::bytes: return bytes(count);
    case plan::Unit::us: return seconds(count);
    case plan::Unit::processes: break;
  }
  return std::to_string(count);
}

// "limits.memory: 64 MiB"; of a newer service's field the unit is not known.
std::string words_of(const LimitHit& hit) {
  plan::Unit unit = plan::Unit::processes;
  for (const plan::LimitInfo& info : plan::kLimits)
    if (hit.field == info.field) unit = info.unit;
  return hit.field + ": " + amount(hit.limit, unit);
}

std::string why(const Verdict& verdict) {
  if (verdict.cause == Cause::unknown) return "";
  std::string text = describe(verdict.cause).words;
  if (verdict.cause == Cause::seccomp && verdict.seccomp && verdict.seccomp->syscall)
    text = "its filter forbids " + *verdict.seccomp->syscall;
  if (verdict.cause == Cause::cloister && verdict.failure) text = verdict.failure->message;
  if (verdict.cause == Cause::canceled && verdict.killed_by) {
    text += ", sent " + verdict.killed_by->signal;
    if (verdict.killed_by->uid) text += " by uid " + std::to_string(*verdict.killed_by->uid);
  }
  if (verdict.limit)
    text += (text.empty() ? "it reached a limit (" : " (") + words_of(*verdict.limit) + ")";
  return text.empty() ? text : "; " + text;
}

const char* words_of(Ending ending) {
  switch (ending) {
#define X(id, words) \
  case Ending::id: return words;
    CLOISTER_ENDINGS(X)
#undef X
    case Ending::unknown: break;
  }
  return "ended in a way this version does not know";
}

}  // namespace

std::string Verdict::summary() const {
  std::string text = words_of(ending);
  switch (ending) {
    case Ending::exited: text += std::to_string(exit_code.value_or(-1)); break;
    case Ending::signaled:
      text += term_signal.value_or("a signal");
      if (core_dumped.value_or(false)) text += " (core dumped)";
      break;
    case Ending::not_started:
      if (failure) {
        text += ": " + failure->message;
        if (!failure->hint.empty()) text += ". " + failure->hint;
        return text;
      }
      break;
    case Ending::lost:
    case Ending::unknown: return text;
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
  if (cause != Cause::unknown)
    if (const int code = describe(cause).exit_code; code != plan::kOwnExit) return code;
  switch (ending) {
    case Ending::exited:
      // What it said when its limit had ended it is no success.
      if (limit && exit_code == 0) return plan::kWallTimeExit;
      return exit_code.value_or(kCloisterExit);
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
