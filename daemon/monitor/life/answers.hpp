// What the monitor answers to an Ask of a front.
#pragma once

#include "admit/fronts.hpp"
#include "plan/messages.hpp"

namespace cloister::monitor {

plan::Tell make_tell(plan::TellKind kind, uint32_t sequence);

void done(Front& front, const plan::Ask& ask);
// A submit gets a new memfd for the next Plan with it.
void refuse(Front& front, const plan::Ask& ask, const plan::Refusal& refusal);
void refuse(Front& front, const plan::Ask& ask, plan::Reason reason, const char* field = "");

}  // namespace cloister::monitor
