// JSON, written in one pass, for the probe. Needs nothing but the C++ library,
// so that the probe stays one static program. Strings are bytes: what is not
// UTF-8 is written as {"base64": "..."}.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cloister::probe {

class Json {
 public:
  Json& begin_object() { return open('{'); }
  Json& end_object() { return shut('}'); }
  Json& begin_array() { return open('['); }
  Json& end_array() { return shut(']'); }

  // The name of the next value. Names are our own words and need no escape.
  Json& key(std::string_view name);

  Json& number(int64_t value);
  Json& unsigned_number(uint64_t value);
  Json& boolean(bool value);
  Json& null();
  Json& bytes(std::string_view value);

  Json& number(std::string_view name, int64_t value) { return key(name).number(value); }
  Json& unsigned_number(std::string_view name, uint64_t value) {
    return key(name).unsigned_number(value);
  }
  Json& boolean(std::string_view name, bool value) { return key(name).boolean(value); }
  Json& null(std::string_view name) { return key(name).null(); }
  Json& bytes(std::string_view name, std::string_view value) { return key(name).bytes(value); }

  const std::string& text() const { return text_; }

 private:
  Json& open(char bracket);
  Json& shut(char bracket);
  void separate();

  std::string text_;
  bool first_ = true;  // nothing precedes the next value in its object or array
};

}  // namespace cloister::probe
