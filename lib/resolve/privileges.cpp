// Capabilities as the payload will have them, and what execve(2) makes of the
// rest of what a process may be given before it.
#include <linux/securebits.h>
#include <sched.h>
#include <sys/personality.h>

#include "request/words.hpp"
#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

struct Ids {
  uint32_t ruid, euid, rgid, egid;
};

// As they are at the exec.
Ids ids_of(const plan::Header& header) {
  const plan::Identity& id = header.identity;
  const bool reset = (header.flags & plan::kResetIds) != 0;
  return {id.ruid, reset ? id.ruid : id.euid, id.rgid, reset ? id.rgid : id.egid};
}

std::string names_of(uint64_t set) {
  std::string names;
  for (const request::Word& word : request::capabilities())
    if (set >> word.value & 1) names += (names.empty() ? "" : " ") + std::string(word.name);
  return names;
}

// What execve(2) of a file without capabilities of its own does, capabilities(7):
// a request that would not get what it says is told so.
MaybeProblem check_exec(const plan::Header& header, bool no_new_privs) {
  const plan::Capabilities& set = header.capabilities;
  const Ids ids = ids_of(header);
  const bool root = (ids.ruid == 0 || ids.euid == 0) && !(set.securebits & SECBIT_NOROOT);
  uint64_t permitted = set.ambient;
  if (root) {
    uint64_t raised = set.bounding | set.inheritable;
    if (no_new_privs) raised &= set.permitted;
    permitted |= raised;
  }
  const uint64_t effective = root && ids.euid == 0 ? permitted : set.ambient;
  const char* const kept =
      root ? "for uid 0 execve(2) keeps only what bounding or inheritable has too"
           : "unless the uid is 0, execve(2) keeps the ambient set only";
  if (const uint64_t lost = set.permitted & ~permitted)
    return refused("capabilities.permitted", kept,
                   root ? "the same in bounding" : "the same in ambient", names_of(lost));
  if (const uint64_t gained = permitted & ~set.permitted)
    return refused("capabilities.permitted",
                   "for uid 0 execve(2) raises it to bounding and inheritable",
                   "the same in permitted, or no_new_privs true", names_of(gained));
  if (effective != set.effective)
    return refused("capabilities.effective",
                   "after execve(2) effective is permitted for uid 0, and ambient for others",
                   "as permitted", names_of(effective ^ set.effective));
  return std::nullopt;
}

MaybeProblem resolve_capabilities(Draft& draft) {
  if (!draft.request.capabilities) return std::nullopt;
  const Capabilities& wanted = *draft.request.capabilities;
  plan::Capabilities& out = draft.plan->capabilities;
  out.set = 1;
  out.bounding = wanted.bounding.value_or(0);
  out.permitted = wanted.permitted.value_or(0);
  out.effective = wanted.effective.value_or(out.permitted);
  out.inheritable = wanted.inheritable.value_or(0);
  out.ambient = wanted.ambient.value_or(0);
  out.securebits = wanted.securebits.value_or(0);
  return check_exec(draft.plan.header(), *draft.request.no_new_privs || draft.caller.no_new_privs);
}

}  // namespace

MaybeProblem resolve_privileges(Draft& draft) {
  if (auto problem = resolve_capabilities(draft)) return problem;
  const Ids ids = ids_of(draft.plan.header());
  if (draft.request.dumpable && (ids.ruid != ids.euid || ids.rgid != ids.egid))
    return refused("dumpable",
                   "with effective ids other than the real ones execve(2) sets it to the value of "
                   "/proc/sys/fs/suid_dumpable",
                   "resetids true, or the same ids");
  // A real-time task has none, sched(7); the constant asks for nothing.
  const plan::Scheduler& scheduler = draft.plan->scheduler;
  const bool fair = !(scheduler.set & plan::kHasPolicy) || scheduler.policy == SCHED_OTHER ||
                    scheduler.policy == SCHED_BATCH || scheduler.policy == SCHED_IDLE;
  if (!fair && draft.effective.origins.at("timer_slack_ns") != request::kFromConstant)
    return refused("timer_slack_ns", "does not apply to a real-time policy, prctl(2)",
                   "absent, or another scheduler.policy");
  if (*draft.request.personality & READ_IMPLIES_EXEC)
    return Problem{Problem::Kind::unsupported, "personality",
                   "execve(2) of a 64-bit program clears READ_IMPLIES_EXEC", "", ""};
  return std::nullopt;
}

}  // namespace cloister::front
