// A refusal's rule as clients, records of decisions and manuals name it. Not for
// init, which has no strings.
#pragma once

#include <string>

#include "messages.hpp"

namespace cloister::plan {

// "own-uid", or "builds/nice" for a member of the administrator's rule.
inline std::string rule_of(const Refusal& refusal) {
  const ReasonInfo& info = describe(refusal.reason);
  return info.member ? std::string(refusal.policy) + "/" + info.name : info.name;
}

}  // namespace cloister::plan
