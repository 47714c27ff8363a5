// Which facts about a decision are recorded. Of the request only its name and
// profile: argv and env may hold secrets, and paths are others' business.
#include "life/audit.hpp"

#include "host/child_watch.hpp"
#include "life/mapped_plan.hpp"
#include "plan/refusal_text.hpp"
#include "sys/hex.hpp"

namespace cloister::monitor {
namespace {

using plan::RefusalKind;

std::string name_of(const uint8_t (&job)[16]) { return "j-" + sys::hex(job); }

const char* decision_of(RefusalKind kind) {
  switch (kind) {
    case RefusalKind::denied: return "denied";
    case RefusalKind::busy: return "busy";
    case RefusalKind::launch_failed: return "failed";
    case RefusalKind::misconfigured: return "misconfigured";
    default: return "refused";
  }
}

std::string ending_of(const plan::JobState& job) {
  if (job.lost) return "lost";
  if (job.record.ending != plan::Ending::ended) return "not_started";
  return words_of(plan::child_end_of(job.record.wait_status));
}

}  // namespace

void Audit::accepted(const plan::JobState& job, plan::View plan, const Rule& rule) {
  record("accepted", {{"job", name_of(job.job)},
                      {"uid", std::to_string(job.owner)},
                      {"rule", rule.name},
                      {"profile", text_of(plan, plan->profile)},
                      {"name", text_of(plan, plan->name)}});
}

void Audit::ended(const plan::JobState& job, plan::View plan, const Rule& rule) {
  record("ended", {{"job", name_of(job.job)},
                   {"uid", std::to_string(job.owner)},
                   {"rule", rule.name},
                   {"cause", describe(job.cause).word},
                   {"ending", ending_of(job)},
                   {"name", text_of(plan, plan->name)}});
}

void Audit::refused(uid_t user, plan::View plan, const plan::Refusal& refusal,
                    const plan::JobState* about) {
  const auto number = [&](uint64_t value) {  // two zeros: none were compared
    return refusal.limit == 0 && refusal.requested == 0
               ? std::string()
               : std::to_string(static_cast<int64_t>(value));
  };
  record(decision_of(refusal.kind), {{"job", about ? name_of(about->job) : std::string()},
                                     {"uid", std::to_string(user)},
                                     {"rule", refusal.policy},
                                     {"field", refusal.field},
                                     {"reason", plan::rule_of(refusal)},
                                     {"limit", number(refusal.limit)},
                                     {"requested", number(refusal.requested)},
                                     {"profile", text_of(plan, plan->profile)},
                                     {"name", text_of(plan, plan->name)}});
}

void Audit::refused(uid_t user, const plan::Refusal& refusal) {
  record(decision_of(refusal.kind), {{"uid", std::to_string(user)},
                                     {"rule", refusal.policy},
                                     {"field", refusal.field},
                                     {"reason", plan::rule_of(refusal)}});
}

}  // namespace cloister::monitor
