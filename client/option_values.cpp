#include "option_values.hpp"

#include <charconv>
#include <cmath>

#include "options.hpp"

namespace cloister::command {

using request::json;

json bytes(std::string_view text) {
  if (request::is_utf8(text)) return text;
  return {{"base64", request::to_base64(text)}};
}

json number_or_text(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  return text;
}

json fraction_or_text(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  // "nan" and "inf" are numbers to from_chars(), and null in JSON.
  if (error == std::errc() && end == text.data() + text.size() && std::isfinite(number))
    return number;
  return text;
}

json cpus_of(std::string_view text) {
  const auto wrong = [&] {
    return Trouble{"--cpus-list: \"" + std::string(text) + "\" is not a list such as 0-3,8"};
  };
  const auto number = [&](std::string_view digits) {
    uint32_t value = 0;
    const char* const end = digits.data() + digits.size();
    if (const auto read = std::from_chars(digits.data(), end, value);
        read.ec != std::errc() || read.ptr != end || value > 65535)
      throw wrong();
    return value;
  };
  json list = json::array();
  std::string_view rest = text;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    const size_t dash = part.find('-');
    const uint32_t low = number(part.substr(0, dash));
    const uint32_t high = dash == std::string_view::npos ? low : number(part.substr(dash + 1));
    if (high < low) throw wrong();
    for (uint32_t cpu = low; cpu <= high; cpu++) list.push_back(cpu);
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
  }
  return list;
}

void set_rlimit(json& document, std::string_view text) {
  auto [name, values] = key_and_value(text, "--rlimit");
  const std::string_view limits = values;
  for (char& c : name)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (!name.starts_with("RLIMIT_")) name = "RLIMIT_" + name;
  const size_t colon = limits.find(':');
  const json soft = number_or_text(limits.substr(0, colon));
  const json hard =
      colon == std::string_view::npos ? soft : number_or_text(limits.substr(colon + 1));
  document["rlimits"][name] = {{"soft", soft}, {"hard", hard}};
}

json tmpfs_of(std::string_view text, const std::string& at) {
  json mount = {{"at", bytes(at)}, {"tmpfs", json::object()}};
  if (const size_t colon = text.find(':'); colon != std::string_view::npos)
    mount["tmpfs"]["size"] = number_or_text(text.substr(colon + 1));
  return mount;
}

json published_of(std::string_view text) {
  json port = json::object();
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    port["protocol"] = text.substr(slash + 1);
    text = text.substr(0, slash);
  }
  // ADDRESS may hold colons itself: [::1]:8080:80.
  const size_t last = text.rfind(':');
  port["port"] = number_or_text(text.substr(last == std::string_view::npos ? 0 : last + 1));
  if (last == std::string_view::npos) return port;
  text = text.substr(0, last);
  const size_t colon = text.rfind(':');
  port["host_port"] = number_or_text(text.substr(colon == std::string_view::npos ? 0 : colon + 1));
  if (colon == std::string_view::npos) return port;
  std::string_view address = text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']'))
    address = address.substr(1, address.size() - 2);
  port["address"] = address;
  return port;
}

}  // namespace cloister::command
