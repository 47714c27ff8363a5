// Numbers become words: the monitor's JobState and the job's own Plan as the
// Verdict, JobInfo and Failure that a client reads. Used by the front, which
// holds both; nothing here is trusted by the monitor.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cloister/job.hpp"
#include "cloister/verdict.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::varlink {

using Json = nlohmann::json;
struct Reply;  // envelope.hpp

// "j-" and 32 hexadecimal digits.
std::string job_name(const uint8_t (&job)[16]);
std::optional<std::array<uint8_t, 16>> parse_job_name(std::string_view text);

std::string_view mode_name(plan::Mode mode);
std::string_view phase_name(plan::JobPhase phase);

// Of an ended job. `job` is the block that the monitor gave with the event; it
// must have passed plan::check().
Verdict make_verdict(const plan::JobState& state, plan::View job);
JobInfo make_job_info(const plan::JobState& state, plan::View job);

// With the plan: `field` names the element at fault ("file_actions[2]"), and
// the message its path.
Failure make_failure(const plan::Failure& failure, const plan::View* job = nullptr);

// The error of Start when the job did not start.
Reply launch_failed(const Failure& failure);

Json to_dom(const Verdict& verdict);
Json to_dom(const JobInfo& job);
Json to_dom(const Failure& failure);

}  // namespace cloister::varlink
