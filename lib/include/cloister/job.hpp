// A job as List and Inspect show it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/verdict.hpp"

namespace cloister {

enum class JobPhase { unknown, preparing, running, stopped, ended };

std::string_view to_string(JobPhase phase);

struct JobInfo {
  std::string id;
  std::optional<std::string> name;
  std::map<std::string, std::string> tags;
  std::optional<std::string> profile;
  Mode mode = Mode::unknown;
  JobPhase state = JobPhase::unknown;
  std::optional<int64_t> pid;     // of the payload, in the service's pid namespace
  int64_t owner = 0;              // uid
  std::vector<std::string> argv;  // for people: a prefix, bytes outside UTF-8 replaced
  std::optional<std::string> accepted_at, started_at, ended_at;  // RFC 3339, UTC, µs
  bool operator==(const JobInfo&) const = default;
};

// One line of JSON.
std::string to_json(const JobInfo& job);

}  // namespace cloister
