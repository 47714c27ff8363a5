// The table of effective values: field, value, and where it came from.
#pragma once

#include <string>

#include "json.hpp"
#include "table.hpp"

namespace cloister::command {

// The value at a path of `origins`: "umask", "env.PATH", "namespaces.net", "mounts./tmp"; null if
// there is none.
const Json* value_at(const Json& request, std::string_view path);

// One row for each of `origins`, whose values say where from.
Table values_of(const Json& effective, const Json& origins);

}  // namespace cloister::command
