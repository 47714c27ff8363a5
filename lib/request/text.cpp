#include "text.hpp"

#include <nlohmann/json.hpp>
#include <vector>

namespace cloister::request {
namespace {

// nlohmann's own DOM builder keeps the last of duplicate keys, knows no depth
// and lets "\u0000" through; this one does not.
class Builder {
 public:
  using number_integer_t = json::number_integer_t;
  using number_unsigned_t = json::number_unsigned_t;
  using number_float_t = json::number_float_t;
  using string_t = json::string_t;
  using binary_t = json::binary_t;

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(number_integer_t value) {
    // The lexer calls this for a leading minus only, so zero here was "-0".
    if (value == 0) return refuse("is not a plain number", "0", "-0");
    return add(value);
  }
  bool number_unsigned(number_unsigned_t value) { return add(value); }
  bool number_float(number_float_t value, const string_t&) { return add(value); }
  bool string(string_t& value) {
    if (value.find('\0') != string_t::npos)
      return refuse("holds a NUL", "a string without NUL", shown(value));
    return add(std::move(value));
  }
  bool binary(binary_t&) { return refuse("is not JSON", "", ""); }

  bool start_object(size_t) { return open(json::object()); }
  bool start_array(size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(string_t& name) {
    json::object_t& members = *open_.back()->get_ptr<json::object_t*>();
    if (name.find('\0') != string_t::npos)
      return refuse("has a key that holds a NUL", "a key without NUL", shown(name));
    if (members.size() == kMaxMembers) return too_many("members", kMaxMembers);
    const auto [at, fresh] = members.try_emplace(std::move(name));
    member_ = &at->second;
    if (!fresh) return refuse("is a duplicate key", "each key once", shown(at->first));
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return refuse("is not JSON: syntax error at byte " + std::to_string(position), "", "");
  }

  Result<json> take() && {
    if (problem_) return *std::move(problem_);
    // json converts to and from nearly everything: say which one is meant.
    return {boost::system::in_place_value, std::move(root_)};
  }

 private:
  // Where the next value goes: the member whose key was read, or the end of
  // the innermost array.
  json* place(json value) {
    if (++values_ > kMaxValues) return too_many("values", kMaxValues), nullptr;
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    json::array_t& elements = *open_.back()->get_ptr<json::array_t*>();
    if (elements.size() == kMaxMembers) return too_many("elements", kMaxMembers), nullptr;
    return &elements.emplace_back(std::move(value));
  }
  bool add(json value) { return place(std::move(value)) != nullptr; }

  // Elements of an array that is still growing are never the open ones but
  // the last, so the pointers stay good.
  bool open(json value) {
    if (open_.size() == kMaxDepth)
      return refuse("is nested too deep", "at most " + std::to_string(kMaxDepth) + " levels", "");
    json* const opened = place(std::move(value));
    if (opened) open_.push_back(opened);
    return opened != nullptr;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  bool too_many(const char* what, size_t most) {
    return refuse(std::string("has too many ") + what, "at most " + std::to_string(most), "");
  }

  bool refuse(std::string reason, std::string expected, std::string got) {
    if (!problem_)
      problem_ = {Problem::Kind::invalid, path(), std::move(reason), std::move(expected),
                  std::move(got)};
    return false;
  }

  // Walked only for an error: members are found again by their address.
  std::string path() const {
    std::string path;
    for (size_t i = 0; i < open_.size(); ++i) {
      const json* const next = i + 1 < open_.size()    ? open_[i + 1]
                               : open_[i]->is_object() ? member_
                                                       : nullptr;
      if (open_[i]->is_array()) {
        const size_t size = open_[i]->size();
        path += '[' + std::to_string(next ? size - 1 : size) + ']';
        continue;
      }
      for (const auto& [name, value] : *open_[i]->get_ptr<const json::object_t*>())
        if (&value == next) path += (path.empty() ? "" : ".") + name.substr(0, 64);
    }
    return path;
  }

  json root_;
  std::vector<json*> open_;
  json* member_ = nullptr;
  size_t values_ = 0;
  std::optional<Problem> problem_;
};

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

Result<json> parse_text(std::string_view text, Comments comments) {
  if (text.size() > kMaxText)
    return Problem{Problem::Kind::invalid, "", "is too large",
                   "at most " + std::to_string(kMaxText) + " bytes", std::to_string(text.size())};
  // The lexer would skip a byte order mark; RFC 8259 forbids to send one.
  if (text.starts_with("\xEF\xBB\xBF"))
    return Problem{Problem::Kind::invalid, "", "begins with a byte order mark", "JSON", ""};
  // The lexer would take a NUL for the end and never look at the rest.
  if (text.find('\0') != std::string_view::npos)
    return Problem{Problem::Kind::invalid, "", "holds a NUL", "JSON", ""};
  Builder builder;
  json::sax_parse(text, &builder, json::input_format_t::json, true, comments == Comments::allowed);
  return std::move(builder).take();
}

std::string shown(const json& value) {
  constexpr size_t kMost = 80;
  if (value.is_array()) return "an array of " + std::to_string(value.size());
  if (value.is_object()) return "an object";
  std::string text;
  if (const auto* string = value.get_ptr<const std::string*>(); string && string->size() > kMost) {
    size_t cut = kMost;
    while (cut > 0 && (static_cast<unsigned char>((*string)[cut]) & 0xC0) == 0x80) --cut;
    text = json(string->substr(0, cut)).dump() + "...";
  } else {
    text = value.dump();
  }
  return text;
}

std::string shown(const std::string& text) { return shown(json(text)); }

bool is_utf8(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  for (size_t i = 0; i < bytes.size();) {
    const unsigned first = at(i);
    if (first < 0x80) {
      ++i;
      continue;
    }
    const size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || bytes.size() - i < size) return false;
    for (size_t k = 1; k < size; ++k)
      if ((at(i + k) & 0xC0) != 0x80) return false;
    const unsigned second = at(i + 1);
    // Overlong forms, surrogates and what lies past U+10FFFF.
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
      return false;
    i += size;
  }
  return true;
}

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      text += k <= bytes.size() - i ? kBase64[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

bool from_base64(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.size() % 4 != 0) return false;
  bytes.reserve(text.size() / 4 * 3);
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  uint32_t group = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t digit = i < text.size() - padding ? kBase64.find(text[i]) : 0;
    if (digit == std::string_view::npos) return false;
    group = group << 6 | static_cast<uint32_t>(digit);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(group >> shift & 0xFF);
    group = 0;
  }
  // Bits below the padding must be zero, or one value would have two spellings.
  for (size_t k = 0; k < padding; ++k) {
    if (bytes.back() != '\0') return false;
    bytes.pop_back();
  }
  return true;
}

}  // namespace cloister::request
