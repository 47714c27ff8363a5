// The verdict of a job as its owner reads it: what lib/varlink renders, and the
// names that only libseccomp knows.
#pragma once

#include "cloister/verdict.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::front {

Verdict told_verdict(const plan::JobState& state, plan::View job);

}  // namespace cloister::front
