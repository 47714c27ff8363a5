// subuid(5) and subgid(5): which further ids a user has inside user namespaces.
// The same lines are taken for allowed as newuidmap(1) takes.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/misconfiguration.hpp"
#include "plan/policy.hpp"

namespace cloister::config {

using FindUser = std::function<std::optional<uid_t>(const std::string& name)>;
using Lines = std::vector<plan::SubordinateLine>;

// Lines of OWNER:FIRST:COUNT, in the order of the file; `find` knows owners that
// are no number. A line that says nothing sensible is left out, and `complaints`
// gets a sentence: numbers that are none, an empty span, one past the last id, one
// that holds id 0 or overlaps another of the same owner. Owners that do not exist,
// blank lines and comments are passed over.
Lines parse_subordinate(std::string_view text, const FindUser& find,
                        std::vector<std::string>& complaints);

// The owner of a line that has an id in common with these.
std::optional<uid_t> owner_within(const Lines& lines, uint32_t first, uint32_t count);

}  // namespace cloister::config
