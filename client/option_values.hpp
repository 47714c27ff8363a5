// Converts the text of an option to JSON of a request. Throws Trouble if the text
// cannot be split into its parts; the library's reader checks the values.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "request/text.hpp"

namespace cloister::command {

// A string, or {"base64": ...} if the text is not UTF-8.
request::json bytes(std::string_view text);
request::json number_or_text(std::string_view text);
request::json fraction_or_text(std::string_view text);
request::json cpus_of(std::string_view text);                          // 0-3,8
void set_rlimit(request::json& document, std::string_view text);       // nofile=1024:4096
request::json tmpfs_of(std::string_view text, const std::string& at);  // AT[:SIZE]
request::json published_of(std::string_view text);  // [[ADDRESS:]HOST_PORT:]PORT[/udp]

}  // namespace cloister::command
