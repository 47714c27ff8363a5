#include "varlink/render.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "request/text.hpp"
#include "sys/hex.hpp"
#include "sys/names.hpp"
#include "varlink/envelope.hpp"

namespace cloister::varlink {
namespace {

// How much of argv List shows.
constexpr uint32_t kShownArguments = 32;
constexpr uint32_t kShownBytes = 256;

std::string text_of(plan::View job, plan::Text text) { return {job.c_str(text), text.length}; }

std::optional<std::string> optional_text(plan::View job, plan::Text text) {
  if (text.length == 0) return {};
  return text_of(job, text);
}

std::map<std::string, std::string> tags_of(plan::View job) {
  std::map<std::string, std::string> tags;
  for (uint32_t i = 0; i < job->tags.count; i++) {
    const auto& tag = job.at(job->tags, i);
    tags.emplace(text_of(job, tag.key), text_of(job, tag.value));
  }
  return tags;
}

// RFC 3339 in UTC; 0 = it has not happened.
std::optional<std::string> timestamp(int64_t ns) {
  if (ns == 0) return {};
  const time_t seconds = ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const int length =
      std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                    static_cast<int>(ns % 1'000'000'000 / 1000));
  return std::string(text, static_cast<size_t>(length));
}

// The monitor's counters say 0 where a phase did not take place.
std::optional<int64_t> phase(uint64_t us) {
  if (us == 0) return {};
  return static_cast<int64_t>(us);
}

Mode mode_of(plan::Mode mode) {
  switch (mode) {
    case plan::Mode::system: return Mode::system;
    case plan::Mode::user: return Mode::user;
    case plan::Mode::private_: return Mode::private_;
  }
  return Mode::unknown;
}

JobPhase phase_of(plan::JobPhase phase) {
  switch (phase) {
    case plan::JobPhase::preparing: return JobPhase::preparing;
    case plan::JobPhase::running: return JobPhase::running;
    case plan::JobPhase::stopped: return JobPhase::stopped;
    case plan::JobPhase::ended: return JobPhase::ended;
  }
  return JobPhase::unknown;
}

// The enumerations of cloister/verdict.hpp begin with `unknown`.
Cause cause_of(plan::Cause cause) {
  if (cause >= plan::Cause::setup) return Cause::cloister;
  return static_cast<Cause>(static_cast<int>(cause) + 1);
}

Fault fault_of(plan::Fault fault) { return static_cast<Fault>(static_cast<int>(fault) + 1); }

Fault fault_of(Cause cause) {
  return fault_of(plan::kCauses[static_cast<size_t>(cause) - 1].fault);
}

// Of a step for which the kernel's errno speaks.
Fault fault_of(int error, plan::Stage stage) {
  switch (error) {
    case EPERM: return Fault::policy;
    case ENOMEM:
    case ENOSPC:
    case ENFILE:
    case EMFILE:
    case EAGAIN:
    case EIO:
    case ENOSYS: return Fault::host;
    default: return stage == plan::Stage::monitor ? Fault::host : Fault::request;
  }
}

Fault fault_of(const plan::Failure& failure) {
  const plan::StepInfo step = plan::describe(failure.step);
  switch (step.blame) {
    case plan::Blame::kernel: break;
    case plan::Blame::cloister: return Fault::cloister;
    case plan::Blame::request: return Fault::request;
    case plan::Blame::host: return Fault::host;
  }
  return fault_of(failure.error, step.stage);
}

ResourceUsage usage_of(const plan::Usage& usage) {
  return {.utime_us = usage.utime_us,
          .stime_us = usage.stime_us,
          .maxrss_kib = usage.maxrss_kib,
          .ixrss = usage.ixrss,
          .idrss = usage.idrss,
          .isrss = usage.isrss,
          .minflt = usage.minflt,
          .majflt = usage.majflt,
          .nswap = usage.nswap,
          .inblock = usage.inblock,
          .oublock = usage.oublock,
          .msgsnd = usage.msgsnd,
          .msgrcv = usage.msgrcv,
          .nsignals = usage.nsignals,
          .nvcsw = usage.nvcsw,
          .nivcsw = usage.nivcsw};
}

std::optional<int64_t> measured(uint64_t value) {
  return value == plan::kNotMeasured ? std::nullopt : std::optional(static_cast<int64_t>(value));
}

std::optional<SandboxUsage> usage_of(const plan::SandboxUsage& usage) {
  SandboxUsage seen;
  seen.cpu_us = measured(usage.cpu_us);
  seen.cpu_throttled_us = measured(usage.cpu_throttled_us);
  seen.memory_peak_bytes = measured(usage.memory_peak);
  seen.pids_peak = measured(usage.pids_peak);
  return seen == SandboxUsage{} ? std::nullopt : std::optional(seen);
}

void take_ending(const plan::ExitRecord& record, Verdict& verdict) {
  const int status = record.wait_status;
  verdict.wait_status = status;
  if (WIFEXITED(status)) {
    verdict.ending = Ending::exited;
    verdict.exit_code = WEXITSTATUS(status);
    verdict.returncode = WEXITSTATUS(status);
    verdict.ok = WEXITSTATUS(status) == 0;
  } else {
    verdict.ending = Ending::signaled;
    verdict.term_signal = sys::signal_name(WTERMSIG(status));
    verdict.returncode = -WTERMSIG(status);
  }
  verdict.core_dumped = WIFSIGNALED(status) && WCOREDUMP(status);
  verdict.child_code = std::string(sys::child_code_name(record.child_code));
  verdict.child_status = record.child_status;
  verdict.child_uid = record.child_uid;
  verdict.rusage = usage_of(record.rusage);
}

std::vector<std::string> degraded_of(plan::View job) {
  // Written by a front of the owner: what is not a list of strings concerns
  // nobody else, and shows as one entry that says so.
  std::vector<std::string> degraded;
  const std::string text = text_of(job, job->degraded);
  if (text.empty()) return degraded;
  const auto parsed = request::parse_text(text);
  if (!parsed || !parsed->is_array()) return {"(unreadable)"};
  for (const auto& field : *parsed) {
    if (!field.is_string()) return {"(unreadable)"};
    degraded.push_back(field.get_ref<const std::string&>());
  }
  return degraded;
}

}  // namespace

std::string job_name(const uint8_t (&job)[16]) { return "j-" + sys::hex(job); }

std::optional<std::array<uint8_t, 16>> parse_job_name(std::string_view text) {
  std::array<uint8_t, 16> job{};
  if (text.size() != 2 + 2 * job.size() || !text.starts_with("j-")) return {};
  for (size_t i = 0; i < 2 * job.size(); i++) {
    const char c = text[2 + i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return {};
    job[i / 2] = static_cast<uint8_t>(job[i / 2] << 4 | digit);
  }
  return job;
}

std::string_view mode_name(plan::Mode mode) { return to_string(mode_of(mode)); }
std::string_view phase_name(plan::JobPhase phase) { return to_string(phase_of(phase)); }

Verdict make_verdict(const plan::JobState& state, plan::View job) {
  const plan::ExitRecord& record = state.record;
  Verdict verdict;
  verdict.id = job_name(state.job);
  verdict.name = optional_text(job, job->name);
  verdict.tags = tags_of(job);
  verdict.profile = optional_text(job, job->profile);
  verdict.mode = mode_of(state.mode);
  verdict.cause = cause_of(state.cause);
  verdict.fault = fault_of(verdict.cause);

  if (state.lost != 0 || record.ending == plan::Ending::none) {
    verdict.ending = Ending::lost;
    if (verdict.cause == Cause::payload) verdict.cause = Cause::cloister;
    verdict.fault = fault_of(verdict.cause);
  } else if (record.ending == plan::Ending::not_started) {
    verdict.ending = Ending::not_started;
    verdict.leftover_processes_killed = record.leftovers_killed;
    if (record.failure.step != plan::Step::none) {
      verdict.failure = make_failure(record.failure, &job);
      if (verdict.cause == Cause::cloister) verdict.fault = fault_of(record.failure);
    }
  } else {
    take_ending(record, verdict);
    verdict.leftover_processes_killed = record.leftovers_killed;
    // What it could not do without ended, and so it was ended.
    if (record.failure.step != plan::Step::none) {
      verdict.failure = make_failure(record.failure, &job);
      verdict.fault = fault_of(record.failure);
    }
    if (state.started_at_ns != 0) verdict.wall_us = static_cast<int64_t>(state.wall_us);
  }
  if (state.killed_signal != 0) {
    verdict.killed_by.emplace().signal = sys::signal_name(state.killed_signal);
    if (verdict.cause == Cause::canceled) verdict.killed_by->uid = state.killed_by;
  }

  if (const plan::LimitHit& hit = state.limit;
      hit.which > plan::Limit::none && hit.which < plan::Limit::count_) {
    verdict.limit =
        LimitHit{describe(hit.which).field, static_cast<int64_t>(hit.limit), measured(hit.peak)};
    verdict.ok = false;
  }
  for (uint32_t i = 0; i < plan::kCaptured; ++i)
    if (const plan::OutputState& output = state.output[i]; output.captured)
      verdict.output[plan::kStreamNames[i]] = {static_cast<int64_t>(output.bytes),
                                               static_cast<int64_t>(output.kept),
                                               output.kept < output.bytes || output.error != 0};
  verdict.usage = usage_of(state.usage);
  if (state.oom.kills > 0)
    verdict.oom = {static_cast<int64_t>(state.oom.kills),
                   verdict.cause == Cause::memory || verdict.cause == Cause::host_memory,
                   state.oom.at_limit ? "job" : "host"};
  if (record.seccomp_hit & plan::kHitSeen) verdict.seccomp.emplace().number = record.seccomp_number;
  verdict.degraded = degraded_of(job);
  verdict.accepted_at = timestamp(state.accepted_at_ns);
  verdict.started_at = timestamp(state.started_at_ns);
  verdict.ended_at = timestamp(state.ended_at_ns);
  verdict.phases_us = {.parse = phase(job->parse_us),
                       .resolve = phase(job->resolve_us),
                       .authorise = phase(state.authorise_us),
                       .queue = phase(state.queue_us),
                       .slot = phase(state.slot_us),
                       .exec = phase(state.exec_us)};
  return verdict;
}

JobInfo make_job_info(const plan::JobState& state, plan::View job) {
  JobInfo info;
  info.id = job_name(state.job);
  info.name = optional_text(job, job->name);
  info.tags = tags_of(job);
  info.profile = optional_text(job, job->profile);
  info.mode = mode_of(state.mode);
  info.state = phase_of(state.phase);
  if (state.pid != 0) info.pid = state.pid;
  info.owner = state.owner;
  for (uint32_t i = 0; i < job->argv.count && i < kShownArguments; i++)
    info.argv.push_back(text_of(job, job.at(job->argv, i)).substr(0, kShownBytes));
  info.accepted_at = timestamp(state.accepted_at_ns);
  info.started_at = timestamp(state.started_at_ns);
  info.ended_at = timestamp(state.ended_at_ns);
  return info;
}

Reply launch_failed(const Failure& failure) {
  Reply reply;
  reply.error = "io.cloister.Launcher.LaunchFailed";
  reply.parameters = to_dom(failure);
  return reply;
}

}  // namespace cloister::varlink
