#include "life/cause.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>

namespace cloister::monitor {
namespace {

using plan::Cause;

constexpr int kShellsSignalExit = 128;  // sh(1): 128 + the signal that ended a command

// Signals that a program brings on itself by what it executes or by a limit
// of its own. Any other fatal signal was sent by somebody.
bool raised_by_itself(int signal) {
  switch (signal) {
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGSYS:
    case SIGPIPE:
    case SIGALRM:
    case SIGVTALRM:
    case SIGPROF:
    case SIGXCPU:
    case SIGXFSZ: return true;
    default: return false;
  }
}

// What a terminal, a supervisor and a user send to have a program end.
bool asks_to_end(int signal, int stop_signal) {
  return signal == SIGHUP || signal == SIGINT || signal == SIGQUIT || signal == SIGTERM ||
         signal == stop_signal;
}

// The limit that the kernel answers with this signal, setrlimit(2); none if it was
// not reached.
plan::LimitHit rlimit_of(int signal, const plan::ExitRecord& record, const Acts& acts) {
  constexpr uint64_t kSecond = 1'000'000;  // us, in which rlimits of processor time count
  if (!acts.rlimits) return {};
  const plan::Rlimit& cpu = acts.rlimits[RLIMIT_CPU];
  const plan::Rlimit& real_time = acts.rlimits[RLIMIT_RTTIME];
  const plan::Rlimit& file_size = acts.rlimits[RLIMIT_FSIZE];
  const auto used = static_cast<uint64_t>(record.limited_cpu_us);
  const auto reached = [&](uint64_t seconds) {
    return used >= kSecond && used / kSecond >= seconds;
  };
  if (signal == SIGXCPU && reached(cpu.soft))
    return {plan::Limit::rlimit_cpu, 0, cpu.soft * kSecond, used};
  if (signal == SIGKILL && reached(cpu.hard))
    return {plan::Limit::rlimit_cpu, 0, cpu.hard * kSecond, used};
  if (signal == SIGXCPU && used >= real_time.soft)
    return {plan::Limit::rlimit_rttime, 0, real_time.soft, plan::kNotMeasured};
  if (signal == SIGXFSZ && file_size.soft != RLIM_INFINITY)
    return {plan::Limit::rlimit_fsize, 0, file_size.soft, plan::kNotMeasured};
  return {};
}

Judgement told(Cause cause, const SentSignals::Sent* sent) {
  if (!sent) return {cause};
  return {cause, sent->signal, sent->by};
}

Judgement judge_exit(int code, int64_t end_ns, const Acts& acts) {
  if (acts.intent != Cause::payload) return told(acts.intent, acts.sent.latest());
  // Success is the payload's own, whatever it was told before.
  if (code == 0) return {Cause::payload};
  if (code > kShellsSignalExit)
    if (const auto* sent = acts.sent.before(code - kShellsSignalExit, end_ns);
        sent && asks_to_end(sent->signal, acts.stop_signal))
      return told(Cause::canceled, sent);
  if (const auto* sent = acts.sent.goodbye(end_ns, acts.stop_timeout_ns, acts.stop_signal))
    return told(Cause::canceled, sent);
  return {Cause::payload};
}

Judgement judge_signal(int signal, const plan::ExitRecord& record, const Acts& acts) {
  const bool by_filter = acts.filter_signals && signal == SIGSYS;
  if ((record.seccomp_hit & plan::kHitPayload) || by_filter) return {Cause::seccomp};
  const bool ending = acts.intent != Cause::payload;
  if (const auto* sent = acts.sent.before(signal, record.exited_at_ns))
    return told(ending ? acts.intent : Cause::canceled, sent);
  if (const plan::LimitHit hit = rlimit_of(signal, record, acts); hit.which != plan::Limit::none)
    return {hit.which == plan::Limit::rlimit_fsize ? Cause::payload : Cause::cpu_time, 0, 0, hit};
  if (!raised_by_itself(signal)) return {Cause::external};
  return ending ? told(acts.intent, acts.sent.latest()) : Judgement{Cause::payload};
}

// The kernel killed for memory, and what it killed was the payload, or the whole job by
// the request.
bool died_of_memory(const plan::ExitRecord& record, const Acts& acts) {
  if (acts.oom.kills == 0) return false;
  if (record.ending == plan::Ending::not_started) return true;
  if (acts.oom.at_limit && acts.oom_ends_job) return true;
  return WIFSIGNALED(record.wait_status) && WTERMSIG(record.wait_status) == SIGKILL &&
         !acts.sent.before(SIGKILL, record.exited_at_ns);
}

}  // namespace

void SentSignals::note(int signal, uint32_t by, int64_t now_ns) {
  for (Sent& sent : all_)
    if (sent.signal == signal) {
      sent.by = by;
      sent.last_ns = now_ns;
      return;
    }
  all_.push_back({signal, by, now_ns, now_ns});
}

const SentSignals::Sent* SentSignals::before(int signal, int64_t end_ns) const {
  for (const Sent& sent : all_)
    if (sent.signal == signal && sent.first_ns <= end_ns) return &sent;
  return nullptr;
}

const SentSignals::Sent* SentSignals::goodbye(int64_t end_ns, int64_t within_ns,
                                              int stop_signal) const {
  const Sent* found = nullptr;
  int64_t when = 0;
  for (const Sent& sent : all_) {
    const int64_t at = sent.last_ns <= end_ns ? sent.last_ns : sent.first_ns;
    if (!asks_to_end(sent.signal, stop_signal) || at > end_ns || end_ns - at > within_ns) continue;
    if (found && at < when) continue;
    found = &sent;
    when = at;
  }
  return found;
}

const SentSignals::Sent* SentSignals::latest() const {
  const Sent* last = nullptr;
  for (const Sent& sent : all_)
    if (sent.signal != SIGCONT && (!last || sent.last_ns >= last->last_ns)) last = &sent;
  return last;
}

Judgement judge(const plan::ExitRecord& record, bool lost, const Acts& acts) {
  // It had ended by itself when its time was up, and what is left of it had not.
  const bool by_limit = acts.intent == Cause::wall_time || acts.intent == Cause::cpu_time;
  if (by_limit && record.exited_at_ns != 0 && record.exited_at_ns < acts.intent_at_ns) {
    Acts until_then = acts;
    until_then.intent = Cause::payload;
    return judge(record, lost, until_then);
  }
  const bool ending = acts.intent != Cause::payload;
  if (lost) return ending ? told(acts.intent, acts.sent.latest()) : Judgement{Cause::external};
  if (died_of_memory(record, acts)) return {acts.oom.at_limit ? Cause::memory : Cause::host_memory};
  if (record.ending == plan::Ending::not_started)
    return told(ending ? acts.intent : Cause::setup, acts.sent.latest());
  if (WIFSIGNALED(record.wait_status))
    return judge_signal(WTERMSIG(record.wait_status), record, acts);
  return judge_exit(WEXITSTATUS(record.wait_status), record.exited_at_ns, acts);
}

}  // namespace cloister::monitor
