#include "field.hpp"

namespace cloister::request {

// --- tables -----------------------------------------------------------------------

const Row* Table::find(std::string_view name) const {
  for (const auto& [row] : rows_)
    if (name == row.name) return &row;
  return nullptr;
}

bool Table::any_present(const void* object) const {
  for (const auto& [row] : rows_)
    if (row.present(object)) return true;
  return false;
}

std::string Table::names() const {
  std::string list;
  for (const auto& [row] : rows_) list += (list.empty() ? "" : ", ") + std::string(row.name);
  return "one of " + list;
}

bool Table::read(Reading& in, const Place& at, const json& value, void* object) const {
  const auto* members = value.get_ptr<const json::object_t*>();
  if (!members) return in.mismatch(at, "has the wrong type", "an object", value);
  for (const auto& [name, item] : *members) {
    const Row* const row = find(name);
    if (!row) return in.refuse(Place(at, name), "is unknown", names(), shown(name));
    if (!item.is_null() && !row->read(in, Place(at, name), item, object)) return false;
  }
  for (const auto& [row] : rows_) {
    if (!row.required) continue;
    const auto found = members->find(row.name);
    if (found == members->end() || found->second.is_null())
      return in.refuse(Place(at, row.name), "is missing", row.meaning, "");
  }
  const char* const rule = rule_ ? rule_(object) : nullptr;
  return !rule || in.refuse(at, rule, "", "");
}

json Table::write(const Place& at, const void* object) const {
  json members = json::object();
  for (const auto& [row] : rows_)
    if (row.required || row.present(object))
      members[row.name] = row.write(Place(at, row.name), object);
  return members;
}

json Table::schema() const {
  json properties = json::object(), required = json::array();
  for (const auto& [row] : rows_) {
    json& property = properties[row.name] = row.schema();
    property["description"] = row.meaning;
    if (row.constant) property["default"] = json::parse(row.constant);
    if (row.later) property["x-unsupported"] = row.later;
    if (row.required) required.push_back(row.name);
  }
  json schema = {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty()) schema["required"] = std::move(required);
  return schema;
}

// --- alternatives -----------------------------------------------------------------

bool BarewordText::accepts(const json& value) const {
  const auto* text = value.get_ptr<const std::string*>();
  return text && *text == word;
}

json BarewordText::schema() const { return {{"const", word}}; }

bool Key::accepts(const json& value) const {
  const auto* members = value.get_ptr<const json::object_t*>();
  const auto found = members ? members->find(key) : json::object_t::const_iterator();
  return members && found != members->end() && !found->second.is_null();
}

const json* Key::only_value(Reading& in, const Place& at, const json& value) const {
  const auto& members = *value.get_ptr<const json::object_t*>();
  for (const auto& [name, item] : members)
    if (name != key && !item.is_null()) {
      in.refuse(Place(at, name), "is one key too many",
                "an object with one key, here \"" + std::string(key) + '"', shown(name));
      return nullptr;
    }
  return &members.find(key)->second;
}

json Key::holding(json value) const {
  json object;
  object[key] = std::move(value);
  return object;
}

json Key::schema_holding(json schema) const {
  return {{"type", "object"},
          {"properties", {{key, std::move(schema)}}},
          {"required", {key}},
          {"additionalProperties", false}};
}

bool refuse_alternatives(Reading& in, const Place& at, const json& value, std::string expected) {
  if (const auto* members = value.get_ptr<const json::object_t*>(); members && !members->empty())
    return in.refuse(Place(at, members->begin()->first), "is unknown", std::move(expected),
                     shown(members->begin()->first));
  return in.mismatch(at, "is none of the alternatives", std::move(expected), value);
}

void throw_not_allowed(const Place& at) {
  throw std::invalid_argument(at.path() + ": has a value that is not allowed here");
}

void add_alternative(json& schemas, json schema, const char* later) {
  if (later) schema["x-unsupported"] = later;
  schemas["oneOf"].push_back(std::move(schema));
}

}  // namespace cloister::request
