// Signals, scheduling, limits, lifetime: the fields that are numbers already, or nearly.
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>

#include "request/words.hpp"
#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

constexpr unsigned kIoprioClassShift = 13;  // ioprio_set(2)

uint64_t mask_of(const std::vector<int32_t>& signals) {
  uint64_t mask = 0;
  for (const int32_t signal : signals) mask |= uint64_t{1} << (signal - 1);
  return mask;
}

void mark(uint8_t (&set)[plan::kCpuBytes], uint32_t cpu) {
  set[cpu / 8] = static_cast<uint8_t>(set[cpu / 8] | 1u << cpu % 8);
}

// sched_setaffinity(2) ignores processors that do not exist; here they are refused.
// The file reads "0-3,6".
MaybeProblem find_online(uint8_t (&online)[plan::kCpuBytes]) {
  const char* const path = "/sys/devices/system/cpu/online";
  const sys::UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t size = fd ? ::read(fd.borrow(), text, sizeof text) : -1;
  if (size < 0) return failed_call("affinity", std::string("cannot read ") + path, errno);
  const char* at = text;
  const char* const end = text + size;
  while (at < end) {
    uint32_t first = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc()) break;
    uint32_t last = first;
    if (parsed.ptr < end && *parsed.ptr == '-') parsed = std::from_chars(parsed.ptr + 1, end, last);
    for (uint32_t cpu = first; cpu <= last && cpu < plan::kCpuBytes * 8; ++cpu) mark(online, cpu);
    at = parsed.ptr + 1;
  }
  return std::nullopt;
}

MaybeProblem resolve_affinity(Draft& draft) {
  if (!draft.request.affinity) return std::nullopt;
  if (draft.effective.origins.at("affinity") == request::kFromCaller) {
    // Read from the kernel a moment ago, so it needs no check.
    for (const uint32_t cpu : *draft.request.affinity) mark(draft.plan->affinity, cpu);
    return std::nullopt;
  }
  uint8_t online[plan::kCpuBytes] = {};
  if (auto problem = find_online(online)) return problem;
  for (size_t i = 0; i < draft.request.affinity->size(); ++i) {
    const uint32_t cpu = (*draft.request.affinity)[i];
    if (!(online[cpu / 8] & 1u << cpu % 8))
      return refused("affinity[" + std::to_string(i) + ']', "is not an online processor",
                     "the number of an online processor", std::to_string(cpu));
    mark(draft.plan->affinity, cpu);
  }
  return std::nullopt;
}

// Copies the fields whose rows say that the Plan has the same number as the request.
void carry_over(Draft& draft) {
  for (const plan::Member& member : plan::schema::kHeaderMembers) {
    if (!member.is_carried_over()) continue;
    if (const auto number = request::number_of(draft.request, member.field))
      draft.plan.set(member, *number);
  }
}

void resolve_scheduler(Draft& draft) {
  const Scheduler& wanted = *draft.request.scheduler;
  plan::Scheduler& out = draft.plan->scheduler;
  if (wanted.policy) out.set |= plan::kHasPolicy;
  if (wanted.priority || wanted.runtime_ns) out.set |= plan::kHasParameters;
  if (wanted.reset_on_fork.value_or(false)) out.set |= plan::kResetOnFork;
  out.policy = wanted.policy.value_or(SCHED_OTHER);
  out.priority = wanted.priority.value_or(0);
  out.runtime_ns = wanted.runtime_ns.value_or(0);
  out.deadline_ns = wanted.deadline_ns.value_or(0);
  out.period_ns = wanted.period_ns.value_or(0);
}

void resolve_rlimits(Draft& draft) {
  for (const auto& [name, limit] : draft.request.rlimits) {
    const auto resource = request::value_of(request::rlimits(), name);
    const std::string& origin = draft.effective.origins.at("rlimits." + name);
    plan::Rlimit& out = draft.plan->rlimits[*resource];
    out.soft = limit.soft;
    out.hard = limit.hard;
    // A limit that neither the request nor the caller sets is lowered to the highest
    // value allowed, instead of being refused.
    out.set = origin == request::kFromRequest || origin == request::kFromCaller;
  }
}

void resolve_limits(Draft& draft) {
  const Limits& wanted = draft.request.limits;
  plan::Limits& out = draft.plan->limits;
  if (wanted.wall_time) out.wall_time_ms = static_cast<uint64_t>(wanted.wall_time->count());
  if (wanted.cpu_time) out.cpu_time_ms = static_cast<uint64_t>(wanted.cpu_time->count());
  if (wanted.memory) out.memory = *wanted.memory;
  if (wanted.swap) out.swap = *wanted.swap + 1;
  if (wanted.pids) out.pids = *wanted.pids;
  if (wanted.cpus)
    out.cpu_us = static_cast<uint64_t>(std::llround(*wanted.cpus * plan::kCpuPeriodUs));
  if (wanted.on_oom == OnOom::kill_process) out.on_oom = plan::OnOom::kill_process;
}

void resolve_lifetime(Draft& draft) {
  const Lifetime& wanted = draft.request.lifetime;
  plan::Header& header = draft.plan.header();
  const bool detached = header.method == plan::Method::start;
  switch (wanted.on_disconnect.value_or(detached ? OnDisconnect::keep : OnDisconnect::kill)) {
    case OnDisconnect::kill: header.on_disconnect = plan::OnDisconnect::kill; break;
    case OnDisconnect::stop: header.on_disconnect = plan::OnDisconnect::stop; break;
    case OnDisconnect::keep: header.on_disconnect = plan::OnDisconnect::keep; break;
  }
  header.stop_signal = *wanted.stop_signal;
  header.stop_timeout_ms = static_cast<uint64_t>(wanted.stop_timeout->count());
  header.setup_timeout_ms = static_cast<uint64_t>(wanted.setup_timeout->count());
}

}  // namespace

MaybeProblem resolve_numbers(Draft& draft) {
  const Request& request = draft.request;
  plan::Header& header = draft.plan.header();
  carry_over(draft);
  header.signal_mask = mask_of(*request.setsigmask);
  uint64_t ignored = 0;
  if (request.defaults == Defaults::caller)
    if (auto problem = read_ignored(draft.caller, ignored)) return problem;
  header.signal_default = ~ignored | mask_of(*request.setsigdef);
  header.caller_cgroup = *request.cgroup == CgroupPlace::caller;
  header.ioprio = static_cast<uint32_t>(request.ioprio->io_class) << kIoprioClassShift;
  if (request.ioprio->io_class == IoClass::realtime ||
      request.ioprio->io_class == IoClass::best_effort)
    header.ioprio |= request.ioprio->level.value_or(4);
  header.flags |= plan::kIoprio | plan::kNewKeyring;
  if (*request.no_new_privs) header.flags |= plan::kNoNewPrivs;
  if (*request.set_uid_files) header.flags |= plan::kSetUidFiles;
  if (*request.setsid) header.flags |= plan::kSetsid;
  if (*request.resetids) header.flags |= plan::kResetIds;
  if (request.setpgroup) header.flags |= plan::kSetpgroup;
  // Such a job is like posix_spawn(3) by the caller: the capabilities of root are kept.
  if (request.defaults == Defaults::caller) header.flags |= plan::kKeepCapabilities;
  if (header.method == plan::Method::start) header.flags |= plan::kWantPidfd;
  resolve_scheduler(draft);
  resolve_rlimits(draft);
  resolve_limits(draft);
  resolve_lifetime(draft);
  return resolve_affinity(draft);
}

}  // namespace cloister::front
