// JSON in the verbs that print it; names nlohmann's type once.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace cloister::command {

using Json = nlohmann::ordered_json;

// Text that the library or the service gave, which is JSON. Throws Trouble if it is not.
Json parsed(std::string_view text);

// One line for a table: JSON, strings without their quotes where that stays clear.
std::string brief(const Json& value);

}  // namespace cloister::command
