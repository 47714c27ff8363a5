// One refusal, as a decision makes it: numbers and names, no sentence.
#pragma once

#include <string_view>

#include "plan/messages.hpp"

namespace cloister::monitor {

// `field` of the request, or "peer". `policy` is the name of the rule that spoke
// of the peer; empty where none was looked for.
inline plan::Refusal refusal(std::string_view field, plan::Reason reason, std::string_view policy,
                             uint64_t limit = 0, uint64_t requested = 0) {
  plan::Refusal refusal{};
  refusal.kind = plan::describe(reason).kind;
  refusal.reason = reason;
  refusal.limit = limit;
  refusal.requested = requested;
  field.copy(refusal.field, sizeof refusal.field - 1);
  policy.copy(refusal.policy, sizeof refusal.policy - 1);
  return refusal;
}

}  // namespace cloister::monitor
