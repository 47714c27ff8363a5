#include "codec.hpp"

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "seccomp.hpp"

namespace cloister::request {
namespace {

// Digits only, no sign, no leading zero to be mistaken for octal.
bool parse_natural(std::string_view text, uint64_t& out) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

const std::string* text_of(const json& value) { return value.get_ptr<const std::string*>(); }

json words_of(std::span<const Word> words) {
  json list = json::array();
  for (const Word& word : words) list.push_back(word.name);
  return {{"enum", std::move(list)}};
}

template <class C>
json schema_of(const C& codec) {
  json schema;
  codec.schema(schema);
  return schema;
}

}  // namespace

std::string Place::path() const {
  if (!above_) return "";
  const std::string above = above_->path();
  if (element_) return above + '[' + std::to_string(index_) + ']';
  // A key is a stranger's text: bounded, and cut where a character begins.
  size_t cut = std::min<size_t>(name_.size(), 64);
  while (cut < name_.size() && cut > 0 && (static_cast<unsigned char>(name_[cut]) & 0xC0) == 0x80)
    --cut;
  return above + (above.empty() ? "" : ".") + std::string(name_.substr(0, cut));
}

bool Reading::refuse(const Place& at, std::string reason, std::string expected, std::string got) {
  if (!problem)
    problem = {Problem::Kind::invalid, at.path(), std::move(reason), std::move(expected),
               std::move(got)};
  return false;
}

bool Reading::mismatch(const Place& at, const char* reason, std::string expected,
                       const json& value) {
  return refuse(at, reason, std::move(expected), shown(value));
}

void throw_not_utf8(const Place& at) {
  throw std::invalid_argument(at.path() + ": must be UTF-8 text");
}

std::string Integer::expected() const {
  return "an integer from " + std::to_string(low) + " to " + std::to_string(high);
}

void Integer::schema(json& out) const {
  out = {{"type", "integer"}, {"minimum", low}, {"maximum", high}};
}

bool Integer::read_raw(Reading& in, const Place& at, const json& value, int64_t& negative,
                       uint64_t& natural) const {
  // The parser keeps non-negative integers as uint64_t, the others as int64_t;
  // a document that code made may hold any integer as int64_t.
  const auto* signed_number = value.get_ptr<const int64_t*>();
  if (const auto* number = value.get_ptr<const uint64_t*>())
    natural = *number;
  else if (signed_number && *signed_number < 0)
    negative = *signed_number;
  else if (signed_number)
    natural = static_cast<uint64_t>(*signed_number);
  else
    return in.mismatch(at, "is not a plain integer", expected(), value);
  if (negative < 0 ? negative >= low
                   : natural <= high && (low <= 0 || natural >= static_cast<uint64_t>(low)))
    return true;
  return in.mismatch(at, "is out of range", expected(), value);
}

void Integer::write_signed(int64_t value, json& out) { out = value; }

void Integer::write_unsigned(uint64_t value, json& out) { out = value; }

bool Boolean::read(Reading& in, const Place& at, const json& value, bool& out) const {
  const auto* boolean = value.get_ptr<const bool*>();
  if (!boolean) return in.mismatch(at, "has the wrong type", "true or false", value);
  out = *boolean;
  return true;
}

void Boolean::write(const Place&, bool value, json& out) const { out = value; }

void Boolean::schema(json& out) const { out = {{"type", "boolean"}}; }

bool Number::read(Reading& in, const Place& at, const json& value, double& out) const {
  if (const auto* natural = value.get_ptr<const uint64_t*>())
    out = static_cast<double>(*natural);
  else if (const auto* real = value.get_ptr<const double*>())
    out = *real;
  else
    return in.mismatch(at, "has the wrong type", "a number", value);
  if (out >= low && out <= high) return true;
  return in.mismatch(at, "is out of range",
                     "a number from " + json(low).dump() + " to " + json(high).dump(), value);
}

void Number::write(const Place&, double value, json& out) const { out = value; }

void Number::schema(json& out) const {
  out = {{"type", "number"}, {"minimum", low}, {"maximum", high}};
}

bool Size::read(Reading& in, const Place& at, const json& value, uint64_t& out) const {
  std::string expected = "bytes as an integer, or a string such as \"512M\" (K, M, G, T)";
  if (least > 0) expected += ", at least " + std::to_string(least);
  if (const auto* natural = value.get_ptr<const uint64_t*>()) {
    // UINT64_MAX is how the kernel spells "unlimited", which is a word here.
    if (*natural == UINT64_MAX || *natural < least)
      return in.mismatch(at, "is out of range", expected, value);
    out = *natural;
    return true;
  }
  const auto* text = text_of(value);
  if (!text || text->empty()) return in.mismatch(at, "is not a size", expected, value);
  const size_t unit = std::string_view("KMGT").find(text->back());
  const bool has_unit = unit != std::string_view::npos;
  const unsigned shift = has_unit ? 10 * (static_cast<unsigned>(unit) + 1) : 0;
  if (!parse_natural(std::string_view(*text).substr(0, text->size() - has_unit), out))
    return in.mismatch(at, "is not a size", expected, value);
  if (out >= UINT64_MAX >> shift) return in.mismatch(at, "is out of range", expected, value);
  out <<= shift;
  return out >= least || in.mismatch(at, "is out of range", expected, value);
}

void Size::write(const Place&, uint64_t value, json& out) const { out = value; }

void Size::schema(json& out) const {
  out = {{"oneOf",
          {{{"type", "integer"}, {"minimum", least}},
           {{"type", "string"}, {"pattern", "^(0|[1-9][0-9]*)[KMGT]?$"}}}}};
}

bool LimitValue::read(Reading& in, const Place& at, const json& value, uint64_t& out) const {
  if (const auto* text = text_of(value); text && *text == "unlimited") {
    out = kUnlimited;
    return true;
  }
  return Size{}.read(in, at, value, out);
}

void LimitValue::write(const Place&, uint64_t value, json& out) const {
  if (value == kUnlimited) {
    out = "unlimited";
    return;
  }
  out = value;
}

void LimitValue::schema(json& out) const {
  Size{}.schema(out);
  out["oneOf"].push_back({{"const", "unlimited"}});
}

bool Duration::read(Reading& in, const Place& at, const json& value,
                    std::chrono::milliseconds& out) const {
  struct Unit {
    const char* suffix;
    uint64_t ms;
  };
  static constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  // Far beyond any job, and far from overflow in nanoseconds.
  constexpr uint64_t kMost = 365ULL * 24 * 3'600'000;
  const char* const expected =
      least_ms > 0 ? "a time with its unit such as \"30s\" (ms, s, m, h), from 1ms to 8760h"
                   : "a time with its unit such as \"30s\" (ms, s, m, h), at most 8760h";
  const auto* text = text_of(value);
  if (!text) return in.mismatch(at, "is not a time", expected, value);
  for (const Unit& unit : kUnits) {
    uint64_t count = 0;
    if (!text->ends_with(unit.suffix) ||
        !parse_natural(std::string_view(*text).substr(0, text->size() - strlen(unit.suffix)),
                       count))
      continue;
    if (count > kMost / unit.ms || count * unit.ms < least_ms)
      return in.mismatch(at, "is out of range", expected, value);
    out = std::chrono::milliseconds(count * unit.ms);
    return true;
  }
  return in.mismatch(at, "is not a time", expected, value);
}

void Duration::write(const Place&, std::chrono::milliseconds value, json& out) const {
  const auto ms = value.count();
  out = ms % 1000 == 0 ? std::to_string(ms / 1000) + "s" : std::to_string(ms) + "ms";
}

void Duration::schema(json& out) const {
  out = {{"type", "string"},
         {"pattern", least_ms > 0 ? "^[1-9][0-9]*(ms|s|m|h)$" : "^(0|[1-9][0-9]*)(ms|s|m|h)$"}};
}

bool Octal::read(Reading& in, const Place& at, const json& value, uint32_t& out) const {
  const auto* text = text_of(value);
  json most;
  write(at, high, most);
  std::string expected = "octal digits in a string, at most " + most.dump();
  if (!text || text->empty()) return in.mismatch(at, "is not an octal mode", expected, value);
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), out, 8);
  if (error != std::errc() || end != text->data() + text->size() || (*text)[0] == '-')
    return in.mismatch(at, "is not an octal mode", expected, value);
  return out <= high || in.mismatch(at, "is out of range", expected, value);
}

void Octal::write(const Place&, uint32_t value, json& out) const {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 8).ptr;
  out = '0' + std::string(digits, end);
}

void Octal::schema(json& out) const { out = {{"type", "string"}, {"pattern", "^[0-7]+$"}}; }

bool Text::read(Reading& in, const Place& at, const json& value, std::string& out) const {
  const auto* text = text_of(value);
  if (!text) return in.mismatch(at, "has the wrong type", "a string", value);
  if (text->size() < least) return in.refuse(at, "is empty", "a string", "\"\"");
  if (text->size() > most)
    return in.refuse(at, "is too long", "at most " + std::to_string(most) + " bytes",
                     std::to_string(text->size()));
  out = *text;
  return true;
}

void Text::write(const Place& at, const std::string& value, json& out) const {
  if (!is_utf8(value)) throw_not_utf8(at);
  out = value;
}

void Text::schema(json& out) const {
  out = {{"type", "string"}, {"minLength", least}, {"maxLength", most}};
}

bool SysctlValue::read(Reading& in, const Place& at, const json& value, std::string& out) const {
  if (const auto* number = value.get_ptr<const uint64_t*>()) {
    out = std::to_string(*number);
    return true;
  }
  if (!Text{256}.read(in, at, value, out)) return false;
  for (const char c : out)
    if (c < ' ' || c > '~')
      return in.mismatch(at, "is not printable", "printable ASCII or an integer", value);
  return true;
}

void SysctlValue::write(const Place&, const std::string& value, json& out) const { out = value; }

void SysctlValue::schema(json& out) const {
  out = {{"oneOf", {schema_of(Text{256}), {{"type", "integer"}, {"minimum", 0}}}}};
}

bool Bytes::accepts(const json& value) {
  if (value.is_string()) return true;
  const auto* members = value.get_ptr<const json::object_t*>();
  return members && members->size() == 1 && members->begin()->first == "base64";
}

bool Bytes::read(Reading& in, const Place& at, const json& value, std::string& out) const {
  if (!accepts(value))
    return in.mismatch(at, "has the wrong type", "a string or {\"base64\": \"...\"}", value);
  if (const auto* text = text_of(value)) {
    out = *text;
  } else {
    const json& encoded = value.get_ptr<const json::object_t*>()->begin()->second;
    const auto* digits = text_of(encoded);
    if (!digits || !from_base64(*digits, out))
      return in.mismatch(Place(at, "base64"), "is not base64", "padded base64 (RFC 4648)", encoded);
    if (out.find('\0') != std::string::npos)
      return in.refuse(Place(at, "base64"), "holds a NUL", "bytes without NUL", "");
  }
  if (out.size() > most)
    return in.refuse(at, "is too long", "at most " + std::to_string(most) + " bytes",
                     std::to_string(out.size()));
  if (form != Form::any && out.empty()) return in.refuse(at, "is empty", "a string", "\"\"");
  if (form == Form::absolute) {
    if (out[0] != '/' && out != "~" && !out.starts_with("~/"))
      return in.mismatch(at, "is not an absolute path", "a path that begins with /", value);
    if ((out + '/').find("/../") != std::string::npos)
      return in.mismatch(at, "has .. in it", "a path without ..", value);
  }
  return true;
}

void Bytes::write(const Place&, const std::string& value, json& out) const {
  if (is_utf8(value)) {
    out = value;
    return;
  }
  out = {{"base64", to_base64(value)}};
}

void Bytes::schema(json& out) const {
  json text = {{"type", "string"}, {"maxLength", most}};
  if (form != Form::any) text["minLength"] = 1;
  if (form == Form::absolute) text["pattern"] = "^(/|~$|~/)";
  out = {{"oneOf",
          {text,
           {{"type", "object"},
            {"properties", {{"base64", {{"type", "string"}, {"contentEncoding", "base64"}}}}},
            {"required", {"base64"}},
            {"additionalProperties", false}}}}};
}

bool read_word(Reading& in, const Place& at, const json& value, std::span<const Word> words,
               int64_t& out) {
  const auto* text = text_of(value);
  const auto meant = text ? value_of(words, *text) : std::nullopt;
  if (!meant) return in.mismatch(at, "is not an allowed word", list_of(words), value);
  out = *meant;
  return true;
}

void write_word(std::span<const Word> words, int64_t value, json& out) {
  const char* const word = name_of(words, value);
  if (!word) throw std::invalid_argument("a value that has no word");
  out = word;
}

void schema_of_words(std::span<const Word> words, json& out) { out = words_of(words); }

bool Named::read(Reading& in, const Place& at, const json& value, int32_t& out) const {
  if (const auto* text = text_of(value))
    if (const auto number = value_of(words(), *text)) {
      out = static_cast<int32_t>(*number);
      return true;
    }
  if (value.is_number() && low <= high)
    return Integer{low, static_cast<uint64_t>(high)}.read(in, at, value, out);
  return in.mismatch(at, "is unknown", what + (": " + list_of(words())), value);
}

void Named::write(const Place&, int32_t value, json& out) const {
  if (const char* name = name_of(words(), value)) {
    out = name;
    return;
  }
  out = value;
}

void Named::schema(json& out) const { out = words_of(words()); }

bool Mask::read(Reading& in, const Place& at, const json& value, uint32_t& out) const {
  const auto* names = value.get_ptr<const json::array_t*>();
  if (!names) return in.mismatch(at, "has the wrong type", "an array of names", value);
  out = 0;
  for (size_t i = 0; i < names->size(); ++i) {
    const auto* name = text_of((*names)[i]);
    const auto bits = name ? value_of(words(), *name) : std::nullopt;
    if (!bits)
      return in.mismatch(Place(at, i), "is unknown", what + (": " + list_of(words())), (*names)[i]);
    out |= static_cast<uint32_t>(*bits);
  }
  return true;
}

void Mask::write(const Place&, uint32_t value, json& out) const {
  json list = json::array();
  for (const Word& word : words()) {
    const auto bits = static_cast<uint32_t>(word.value);
    if (bits == 0 || (value & bits) != bits) continue;
    list.push_back(word.name);
    value &= ~bits;
  }
  out = list;
}

void Mask::schema(json& out) const { out = {{"type", "array"}, {"items", words_of(words())}}; }

bool Signal::read(Reading& in, const Place& at, const json& value, int32_t& out) const {
  const char* const expected = "a signal such as \"SIGTERM\" or 15";
  if (const auto* name = text_of(value)) {
    const auto number = sys::signal_number(*name);
    if (!number) return in.mismatch(at, "is no signal", expected, value);
    out = *number;
  } else if (!Integer{1, 64}.read(in, at, value, out)) {
    return false;
  }
  // 32 and 33 belong to the C library's threads: sigaction(3) refuses them.
  return (out != 32 && out != 33) || in.mismatch(at, "is reserved", expected, value);
}

void Signal::write(const Place&, int32_t value, json& out) const { out = sys::signal_name(value); }

void Signal::schema(json& out) const {
  out = {{"oneOf",
          {{{"type", "string"}, {"pattern", "^SIG"}},
           {{"type", "integer"}, {"minimum", 1}, {"maximum", 64}}}}};
}

bool UserOrGroup::read(Reading& in, const Place& at, const json& value, Id& out) const {
  if (value.is_string()) return Text{256}.read(in, at, value, out.emplace<std::string>());
  // (uid_t)-1 tells setresuid(2) to leave an id unchanged.
  return Integer{0, UINT32_MAX - 1}.read(in, at, value, out.emplace<uint32_t>());
}

void UserOrGroup::write(const Place& at, const Id& value, json& out) const {
  if (const auto* name = std::get_if<std::string>(&value)) {
    Text{256}.write(at, *name, out);

    return;
  }
  out = std::get<uint32_t>(value);
}

void UserOrGroup::schema(json& out) const {
  out = {{"oneOf", {schema_of(Text{256}), schema_of(Integer{0, UINT32_MAX - 1})}}};
}

bool Base64::read(Reading& in, const Place& at, const json& value, std::string& out) const {
  const auto* digits = text_of(value);
  if (!digits || !from_base64(*digits, out))
    return in.mismatch(at, "is not base64", "padded base64 (RFC 4648)", value);
  if (out.size() > most)
    return in.refuse(at, "is too long", "at most " + std::to_string(most) + " bytes",
                     std::to_string(out.size()));
  return true;
}

void Base64::write(const Place&, const std::string& value, json& out) const {
  out = to_base64(value);
}

void Base64::schema(json& out) const { out = {{"type", "string"}, {"contentEncoding", "base64"}}; }

bool CapabilitySet::read(Reading& in, const Place& at, const json& value, uint64_t& out) const {
  out = kAllCapabilities;
  if (const auto* word = text_of(value); word && *word == "all") return true;
  out = 0;
  const auto* names = value.get_ptr<const json::array_t*>();
  if (!names) return in.mismatch(at, "has the wrong type", "\"all\", or an array of names", value);
  for (size_t i = 0; i < names->size(); ++i) {
    const auto* name = text_of((*names)[i]);
    const auto number = name ? value_of(capabilities(), *name) : std::nullopt;
    if (!number)
      return in.mismatch(Place(at, i), "is unknown", "a capability: " + list_of(capabilities()),
                         (*names)[i]);
    out |= uint64_t{1} << *number;
  }
  return true;
}

void CapabilitySet::write(const Place&, uint64_t value, json& out) const {
  if (value == kAllCapabilities) {
    out = "all";
    return;
  }
  json list = json::array();
  for (const Word& word : capabilities())
    if (value >> word.value & 1) list.push_back(word.name);
  out = list;
}

void CapabilitySet::schema(json& out) const {
  out = {{"oneOf", {{{"const", "all"}}, {{"type", "array"}, {"items", words_of(capabilities())}}}}};
}

bool SystemCallFilter::read(Reading& in, const Place& at, const json& value, Document& out) const {
  if (auto profile = read_seccomp(value, at.path()); !profile) {
    if (!in.problem) in.problem = profile.error();
    return false;
  }
  out.json = value.dump();
  return true;
}

void SystemCallFilter::write(const Place&, const Document& value, json& out) const {
  auto parsed = parse_text(value.json);
  if (!parsed) throw std::invalid_argument("a Document holds no JSON");
  out = std::move(*parsed);
}

void SystemCallFilter::schema(json& out) const { out = {{"type", {"string", "object"}}}; }

bool is_word(const json& value, std::string_view word) {
  const auto* text = text_of(value);
  return text && *text == word;
}

bool is_array(const json& value) { return value.is_array(); }

bool is_object(const json& value) { return value.is_object(); }

bool is_list(Reading& in, const Place& at, const json& value, size_t least, size_t most,
             size_t& length) {
  if (!value.is_array()) return in.mismatch(at, "has the wrong type", "an array", value);
  length = value.size();
  return (length >= least && length <= most) ||
         in.mismatch(at, "has the wrong length",
                     std::to_string(least) + " to " + std::to_string(most) + " elements", value);
}

const json* element_of(Reading& in, const Place& at, const json& list, size_t index) {
  const json& element = list[index];
  if (!element.is_null()) return &element;
  in.refuse(at, "is null", "a value", "null");
  return nullptr;
}

void make_list(json& out) { out = json::array(); }

json& add_element(json& list) { return list.emplace_back(nullptr); }

json& list_schema(json& out, size_t least, size_t most) {
  out = {{"type", "array"}, {"minItems", least}, {"maxItems", most}};
  return out["items"];
}

bool read_members(Reading& in, const Place& at, const json& value, KeyRule rule, size_t most,
                  const std::function<bool(const Place&, const std::string&, const json&)>& read) {
  const auto* members = value.get_ptr<const json::object_t*>();
  if (!members) return in.mismatch(at, "has the wrong type", "an object", value);
  if (members->size() > most)
    return in.refuse(at, "has too many members", "at most " + std::to_string(most),
                     std::to_string(members->size()));
  for (const auto& [key, item] : *members) {
    const Place here(at, key);
    if (const char* expected = rule(key))
      return in.refuse(here, "has a bad key", expected, shown(key));
    if (!item.is_null() && !read(here, key, item)) return false;
  }
  return true;
}

void make_object(json& out) { out = json::object(); }

json& add_member(const Place& at, json& object, const std::string& key) {
  if (!is_utf8(key)) throw_not_utf8(at);
  return object[key];
}

json& map_schema(json& out, size_t most) {
  out = {{"type", "object"}, {"maxProperties", most}};
  return out["additionalProperties"];
}

}  // namespace cloister::request
