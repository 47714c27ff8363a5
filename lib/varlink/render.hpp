// Makes the Verdict, JobInfo and Failure that a client reads from the numbers of the
// monitor's JobState and of the job's Plan. Runs in the front, which has both; the
// monitor does not trust the result.
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

// `job` is the Plan that the monitor passed with the state; it must have passed
// plan::check(). make_verdict() is for a job that has ended.
Verdict make_verdict(const plan::JobState& state, plan::View job);
JobInfo make_job_info(const plan::JobState& state, plan::View job);

// With `job`, `field` names the element at fault ("file_actions[2]") and the message
// names its path.
Failure make_failure(const plan::Failure& failure, const plan::View* job = nullptr);

// The error that Start returns when the job did not start.
Reply launch_failed(const Failure& failure);

Json to_dom(const Verdict& verdict);
Json to_dom(const JobInfo& job);
Json to_dom(const Failure& failure);

}  // namespace cloister::varlink
