// What an option's text is as JSON of a request. The library's reader judges
// the result; these throw Trouble where a text cannot even be taken apart.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "request/text.hpp"

namespace cloister::command {

// Bytes that JSON cannot carry go as base64.
request::json bytes(std::string_view text);
request::json number_or_text(std::string_view text);
request::json cpus_of(std::string_view text);                          // 0-3,8
void set_rlimit(request::json& document, std::string_view text);       // nofile=1024:4096
request::json tmpfs_of(std::string_view text, const std::string& at);  // AT[:SIZE]
request::json published_of(std::string_view text);  // [[ADDRESS:]HOST_PORT:]PORT[/udp]

}  // namespace cloister::command
