#include "values.hpp"

namespace cloister::command {
namespace {

constexpr size_t kValueColumns = 72;

std::string cut(std::string text) {
  if (text.size() <= kValueColumns) return text;
  text.resize(kValueColumns);
  while (!text.empty() && (text.back() & 0x80) != 0) text.pop_back();
  return text + "…";
}

}  // namespace

const Json* value_at(const Json& request, std::string_view path) {
  const size_t dot = path.find('.');
  const auto field = request.find(path.substr(0, dot));
  if (field == request.end()) return nullptr;
  if (dot == std::string_view::npos) return &*field;
  const std::string_view rest = path.substr(dot + 1);
  if (field->is_array()) {
    for (const Json& element : *field)
      if (element.is_object() && element.value("at", Json()) == rest) return &element;
    return nullptr;
  }
  if (!field->is_object()) return nullptr;
  // A key may itself contain dots, as in env and sysctls.
  if (const auto member = field->find(rest); member != field->end()) return &*member;
  return value_at(*field, rest);
}

Table values_of(const Json& effective, const Json& origins) {
  Table table({"FIELD", "VALUE", "FROM"});
  for (const auto& [path, origin] : origins.items()) {
    const Json* value = value_at(effective, path);
    table.add({path, value == nullptr ? "-" : cut(brief(*value)), brief(origin)});
  }
  return table;
}

}  // namespace cloister::command
