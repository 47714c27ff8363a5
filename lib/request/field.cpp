#include "field.hpp"

#include <nlohmann/json.hpp>

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

void Table::write(const Place& at, const void* object, json& out) const {
  out = json::object();
  for (const auto& [row] : rows_)
    if (row.required || row.present(object)) row.write(Place(at, row.name), object, out[row.name]);
}

void Table::schema(json& out) const {
  json properties = json::object(), required = json::array();
  for (const auto& [row] : rows_) {
    json& property = properties[row.name];
    row.schema(property);
    property["description"] = row.meaning;
    if (row.constant) property["default"] = json::parse(row.constant);
    mark_later(property, row.later);
    if (row.required) required.push_back(row.name);
  }
  out = {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty()) out["required"] = std::move(required);
}

// --- alternatives -----------------------------------------------------------------

bool BarewordText::accepts(const json& value) const { return is_word(value, word); }

void BarewordText::schema(json& out) const { out = {{"const", word}}; }

void BarewordText::write_word(json& out) const { out = word; }

bool Key::accepts(const json& value) const {
  const auto* members = value.get_ptr<const json::object_t*>();
  const auto found = members ? members->find(key) : json::object_t::const_iterator();
  return members && found != members->end() && !found->second.is_null();
}

const json* Key::only_value(Reading& in, const Place& at, const json& value) const {
  const auto& members = *value.get_ptr<const json::object_t*>();
  for (const auto& [name, item] : members)
    if (name != key && !item.is_null()) {
      in.refuse(Place(at, name), "is an unexpected key",
                "an object with one key, here \"" + std::string(key) + '"', shown(name));
      return nullptr;
    }
  return &members.find(key)->second;
}

json& Key::holding(json& out) const {
  out = json::object();
  return out[key];
}

json& Key::schema_holding(json& out) const {
  out = {{"type", "object"},
         {"properties", {{key, nullptr}}},
         {"required", {key}},
         {"additionalProperties", false}};
  return out["properties"][key];
}

bool InlineContent::accepts(const json& value) const {
  const auto* members = value.get_ptr<const json::object_t*>();
  return members && members->size() == 1 &&
         (members->contains("text") || members->contains("base64"));
}

bool InlineContent::read(Reading& in, const Place& at, const json& value, Inline& out) const {
  const auto& [key, content] = *value.get_ptr<const json::object_t*>()->begin();
  const auto* text = content.get_ptr<const std::string*>();
  if (!text) return in.mismatch(Place(at, key), "has the wrong type", "a string", content);
  if (key == "text") {
    out.bytes = *text;
    return true;
  }
  return from_base64(*text, out.bytes) ||
         in.mismatch(Place(at, key), "is not base64", "padded base64 (RFC 4648)", content);
}

void InlineContent::write(const Place&, const Inline& value, json& out) const {
  const bool plain = is_utf8(value.bytes) && value.bytes.find('\0') == std::string::npos;
  out = plain ? json{{"text", value.bytes}} : json{{"base64", to_base64(value.bytes)}};
}

void InlineContent::schema(json& out) const {
  out = {{"type", "object"},
         {"properties",
          {{"text", {{"type", "string"}}},
           {"base64", {{"type", "string"}, {"contentEncoding", "base64"}}}}},
         {"minProperties", 1},
         {"maxProperties", 1},
         {"additionalProperties", false}};
}

bool refuse_alternatives(Reading& in, const Place& at, const json& value, std::string expected) {
  if (const auto* members = value.get_ptr<const json::object_t*>(); members && !members->empty())
    return in.refuse(Place(at, members->begin()->first), "is unknown", std::move(expected),
                     shown(members->begin()->first));
  return in.mismatch(at, "is not one of the alternatives", std::move(expected), value);
}

void throw_not_allowed(const Place& at) {
  throw std::invalid_argument(at.path() + ": has a value that is not allowed here");
}

json& add_alternative(json& schemas) { return schemas["oneOf"].emplace_back(nullptr); }

void mark_later(json& schema, const char* later) {
  if (later) schema["x-unsupported"] = later;
}

}  // namespace cloister::request
