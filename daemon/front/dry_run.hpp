// The answer of Plan: what a request would do, without a job.
#pragma once

#include "plan/messages.hpp"
#include "resolve/resolve.hpp"
#include "varlink/envelope.hpp"

namespace cloister::front {

// `decision` is the monitor's `planned`.
varlink::Json planned_json(const request::Effective& effective, const Resolved& resolved,
                           const plan::Refusal& decision);

}  // namespace cloister::front
