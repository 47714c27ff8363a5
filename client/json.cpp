#include "json.hpp"

#include "options.hpp"

namespace cloister::command {

Json parsed(std::string_view text) {
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) throw Trouble{"the service sent an answer that is not JSON"};
  return value;
}

std::string brief(const Json& value) {
  if (value.is_boolean()) return value == true ? "yes" : "no";
  if (value.is_null()) return "-";
  const auto* text = value.get_ptr<const std::string*>();
  if (text != nullptr && !text->empty()) return *text;
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace cloister::command
