#include "codec.hpp"

#include <charconv>
#include <cstring>

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

json Integer::schema() const { return {{"type", "integer"}, {"minimum", low}, {"maximum", high}}; }

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

bool Boolean::read(Reading& in, const Place& at, const json& value, bool& out) const {
  const auto* boolean = value.get_ptr<const bool*>();
  if (!boolean) return in.mismatch(at, "has the wrong type", "true or false", value);
  out = *boolean;
  return true;
}

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

json Number::schema() const { return {{"type", "number"}, {"minimum", low}, {"maximum", high}}; }

bool Size::read(Reading& in, const Place& at, const json& value, uint64_t& out) const {
  const char* const expected = "bytes as an integer, or a string such as \"512M\" (K, M, G, T)";
  if (const auto* natural = value.get_ptr<const uint64_t*>()) {
    // UINT64_MAX is how the kernel spells "unlimited", which is a word here.
    if (*natural == UINT64_MAX) return in.mismatch(at, "is out of range", expected, value);
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
  return true;
}

json Size::schema() const {
  return {{"oneOf",
           {{{"type", "integer"}, {"minimum", 0}},
            {{"type", "string"}, {"pattern", "^(0|[1-9][0-9]*)[KMGT]?$"}}}}};
}

bool LimitValue::read(Reading& in, const Place& at, const json& value, uint64_t& out) const {
  if (const auto* text = text_of(value); text && *text == "unlimited") {
    out = kUnlimited;
    return true;
  }
  return Size{}.read(in, at, value, out);
}

json LimitValue::write(const Place&, uint64_t value) const {
  if (value == kUnlimited) return "unlimited";
  return value;
}

json LimitValue::schema() const {
  json schema = Size{}.schema();
  schema["oneOf"].push_back({{"const", "unlimited"}});
  return schema;
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
  const char* const expected = "a time with its unit such as \"30s\" (ms, s, m, h), at most 8760h";
  const auto* text = text_of(value);
  if (!text) return in.mismatch(at, "is not a time", expected, value);
  for (const Unit& unit : kUnits) {
    uint64_t count = 0;
    if (!text->ends_with(unit.suffix) ||
        !parse_natural(std::string_view(*text).substr(0, text->size() - strlen(unit.suffix)),
                       count))
      continue;
    if (count > kMost / unit.ms) return in.mismatch(at, "is out of range", expected, value);
    out = std::chrono::milliseconds(count * unit.ms);
    return true;
  }
  return in.mismatch(at, "is not a time", expected, value);
}

json Duration::write(const Place&, std::chrono::milliseconds value) const {
  const auto ms = value.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + "s" : std::to_string(ms) + "ms";
}

json Duration::schema() const {
  return {{"type", "string"}, {"pattern", "^(0|[1-9][0-9]*)(ms|s|m|h)$"}};
}

bool Octal::read(Reading& in, const Place& at, const json& value, uint32_t& out) const {
  const auto* text = text_of(value);
  std::string expected = "octal digits in a string, at most " + write(at, high).dump();
  if (!text || text->empty()) return in.mismatch(at, "is not an octal mode", expected, value);
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), out, 8);
  if (error != std::errc() || end != text->data() + text->size() || (*text)[0] == '-')
    return in.mismatch(at, "is not an octal mode", expected, value);
  return out <= high || in.mismatch(at, "is out of range", expected, value);
}

json Octal::write(const Place&, uint32_t value) const {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 8).ptr;
  return '0' + std::string(digits, end);
}

json Octal::schema() const { return {{"type", "string"}, {"pattern", "^[0-7]+$"}}; }

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

json Text::write(const Place& at, const std::string& value) const {
  if (!is_utf8(value)) throw_not_utf8(at);
  return value;
}

json Text::schema() const {
  return {{"type", "string"}, {"minLength", least}, {"maxLength", most}};
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

json SysctlValue::schema() const {
  return {{"oneOf", {Text{256}.schema(), {{"type", "integer"}, {"minimum", 0}}}}};
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

json Bytes::write(const Place&, const std::string& value) const {
  if (is_utf8(value)) return value;
  return {{"base64", to_base64(value)}};
}

json Bytes::schema() const {
  json text = {{"type", "string"}, {"maxLength", most}};
  if (form != Form::any) text["minLength"] = 1;
  if (form == Form::absolute) text["pattern"] = "^(/|~$|~/)";
  return {{"oneOf",
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
  if (!meant) return in.mismatch(at, "is not one of the words", list_of(words), value);
  out = *meant;
  return true;
}

json write_word(std::span<const Word> words, int64_t value) {
  const char* const word = name_of(words, value);
  if (!word) throw std::invalid_argument("a value that has no word");
  return word;
}

json schema_of_words(std::span<const Word> words) {
  json list = json::array();
  for (const Word& word : words) list.push_back(word.name);
  return {{"enum", std::move(list)}};
}

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

json Named::write(const Place&, int32_t value) const {
  if (const char* name = name_of(words(), value)) return name;
  return value;
}

json Named::schema() const { return schema_of_words(words()); }

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

json Mask::write(const Place&, uint32_t value) const {
  json list = json::array();
  for (const Word& word : words()) {
    const auto bits = static_cast<uint32_t>(word.value);
    if (bits == 0 || (value & bits) != bits) continue;
    list.push_back(word.name);
    value &= ~bits;
  }
  return list;
}

json Mask::schema() const { return {{"type", "array"}, {"items", schema_of_words(words())}}; }

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

json Signal::write(const Place&, int32_t value) const { return sys::signal_name(value); }

json Signal::schema() const {
  return {{"oneOf",
           {{{"type", "string"}, {"pattern", "^SIG"}},
            {{"type", "integer"}, {"minimum", 1}, {"maximum", 64}}}}};
}

bool UserOrGroup::read(Reading& in, const Place& at, const json& value, Id& out) const {
  if (value.is_string()) return Text{256}.read(in, at, value, out.emplace<std::string>());
  // (uid_t)-1 tells setresuid(2) to leave an id unchanged.
  return Integer{0, UINT32_MAX - 1}.read(in, at, value, out.emplace<uint32_t>());
}

json UserOrGroup::write(const Place& at, const Id& value) const {
  if (const auto* name = std::get_if<std::string>(&value)) return Text{256}.write(at, *name);
  return std::get<uint32_t>(value);
}

json UserOrGroup::schema() const {
  return {{"oneOf", {Text{256}.schema(), Integer{0, UINT32_MAX - 1}.schema()}}};
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

json Base64::write(const Place&, const std::string& value) const { return to_base64(value); }

json Base64::schema() const { return {{"type", "string"}, {"contentEncoding", "base64"}}; }

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

json CapabilitySet::write(const Place&, uint64_t value) const {
  if (value == kAllCapabilities) return "all";
  json list = json::array();
  for (const Word& word : capabilities())
    if (value >> word.value & 1) list.push_back(word.name);
  return list;
}

json CapabilitySet::schema() const {
  return {{"oneOf",
           {{{"const", "all"}}, {{"type", "array"}, {"items", schema_of_words(capabilities())}}}}};
}

bool SystemCallFilter::read(Reading& in, const Place& at, const json& value, Document& out) const {
  if (auto profile = read_seccomp(value, at.path()); !profile) {
    if (!in.problem) in.problem = profile.error();
    return false;
  }
  out.json = value.dump();
  return true;
}

json SystemCallFilter::write(const Place&, const Document& value) const {
  auto parsed = parse_text(value.json);
  if (!parsed) throw std::invalid_argument("a Document holds no JSON");
  return std::move(*parsed);
}

json SystemCallFilter::schema() const { return {{"type", {"string", "object"}}}; }

const json::array_t* elements_of(Reading& in, const Place& at, const json& value, size_t least,
                                 size_t most) {
  const auto* elements = value.get_ptr<const json::array_t*>();
  if (!elements) {
    in.mismatch(at, "has the wrong type", "an array", value);
  } else if (elements->size() < least || elements->size() > most) {
    in.mismatch(at, "has the wrong length",
                std::to_string(least) + " to " + std::to_string(most) + " elements", value);
    return nullptr;
  }
  return elements;
}

json schema_of_list(json element, size_t least, size_t most) {
  return {
      {"type", "array"}, {"items", std::move(element)}, {"minItems", least}, {"maxItems", most}};
}

const json::object_t* members_of(Reading& in, const Place& at, const json& value, size_t most) {
  const auto* members = value.get_ptr<const json::object_t*>();
  if (!members) {
    in.mismatch(at, "has the wrong type", "an object", value);
  } else if (members->size() > most) {
    in.refuse(at, "has too many members", "at most " + std::to_string(most),
              std::to_string(members->size()));
    return nullptr;
  }
  return members;
}

bool good_key(Reading& in, const Place& at, const std::string& key, KeyRule rule) {
  const char* const expected = rule(key);
  return !expected || in.refuse(Place(at, key), "has a bad key", expected, shown(key));
}

json schema_of_map(json element, size_t most) {
  return {
      {"type", "object"}, {"additionalProperties", std::move(element)}, {"maxProperties", most}};
}

}  // namespace cloister::request
