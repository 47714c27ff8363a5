// Codecs: how one JSON type is read into, written from and described for one
// C++ type. table.hpp puts them together into the vocabulary of a request.
//
// Internal to lib/request. A codec has
//   read(in, at, value, out)  false after `in` holds the Problem
//   write(at, value, out)     the JSON that reads back to the same value
//   schema(out)               its JSON Schema
// and is given non-null values only: null is absent, one level up. Of JSON this
// header needs the name alone, and the tables are compiled without the rest.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sys/names.hpp"
#include "text.hpp"
#include "words.hpp"

namespace cloister::request {

// Where a value stands, as a chain on the stack; spelled out only for errors.
class Place {
 public:
  Place() = default;
  Place(const Place& above, std::string_view name) : above_(&above), name_(name) {}
  Place(const Place& above, size_t index) : above_(&above), index_(index), element_(true) {}

  std::string path() const;

 private:
  const Place* above_ = nullptr;
  std::string_view name_;
  size_t index_ = 0;
  bool element_ = false;
};

// The first problem of one reading.
struct Reading {
  std::optional<Problem> problem;

  bool refuse(const Place& at, std::string reason, std::string expected, std::string got);
  // "has the wrong type" and the like, with the value itself as `got`.
  bool mismatch(const Place& at, const char* reason, std::string expected, const json& value);
};

[[noreturn]] void throw_not_utf8(const Place& at);

// --- numbers ----------------------------------------------------------------

struct Integer {
  int64_t low;
  uint64_t high;

  std::string expected() const;
  void schema(json& out) const;
  // Any integer type whose range holds [low, high].
  template <class T>
  bool read(Reading& in, const Place& at, const json& value, T& out) const {
    int64_t negative = 0;
    uint64_t natural = 0;
    if (!read_raw(in, at, value, negative, natural)) return false;
    out = negative < 0 ? static_cast<T>(negative) : static_cast<T>(natural);
    return true;
  }
  template <class T>
  void write(const Place&, const T& value, json& out) const {
    if constexpr (std::is_signed_v<T>)
      write_signed(value, out);
    else
      write_unsigned(value, out);
  }

 private:
  bool read_raw(Reading&, const Place&, const json&, int64_t& negative, uint64_t& natural) const;
  static void write_signed(int64_t value, json& out);
  static void write_unsigned(uint64_t value, json& out);
};

struct Boolean {
  bool read(Reading& in, const Place& at, const json& value, bool& out) const;
  void write(const Place&, bool value, json& out) const;
  void schema(json& out) const;
};

struct Number {
  double low, high;
  bool read(Reading& in, const Place& at, const json& value, double& out) const;
  void write(const Place&, double value, json& out) const;
  void schema(json& out) const;
};

// Bytes, or "512M"; powers of 1024.
struct Size {
  uint64_t least = 0;
  bool read(Reading& in, const Place& at, const json& value, uint64_t& out) const;
  void write(const Place&, uint64_t value, json& out) const;
  void schema(json& out) const;
};

// One resource limit: a Size below RLIM_INFINITY, or "unlimited".
struct LimitValue {
  bool read(Reading& in, const Place& at, const json& value, uint64_t& out) const;
  void write(const Place&, uint64_t value, json& out) const;
  void schema(json& out) const;
};

struct Duration {
  uint64_t least_ms = 0;
  bool read(Reading& in, const Place& at, const json& value, std::chrono::milliseconds& out) const;
  void write(const Place&, std::chrono::milliseconds value, json& out) const;
  void schema(json& out) const;
};

struct Octal {
  uint32_t high;
  bool read(Reading& in, const Place& at, const json& value, uint32_t& out) const;
  void write(const Place&, uint32_t value, json& out) const;
  void schema(json& out) const;
};

// --- strings ----------------------------------------------------------------

// UTF-8 without NUL.
struct Text {
  size_t most, least = 1;
  bool read(Reading& in, const Place& at, const json& value, std::string& out) const;
  void write(const Place& at, const std::string& value, json& out) const;
  void schema(json& out) const;
};

// A sysctl's value: printable ASCII, or an integer.
struct SysctlValue {
  bool read(Reading& in, const Place& at, const json& value, std::string& out) const;
  void write(const Place&, const std::string& value, json& out) const;
  void schema(json& out) const;
};

enum class Form {
  any,       // may be empty
  filled,    // not empty
  absolute,  // a path: begins with '/' or "~/", or is "~"; no ".." in it
};

// Any bytes but NUL: text, or {"base64": "..."} where JSON cannot carry them.
struct Bytes {
  size_t most;
  Form form = Form::any;
  bool read(Reading& in, const Place& at, const json& value, std::string& out) const;
  void write(const Place&, const std::string& value, json& out) const;
  void schema(json& out) const;
  static bool accepts(const json& value);
};

// --- words ------------------------------------------------------------------

bool read_word(Reading& in, const Place& at, const json& value, std::span<const Word> words,
               int64_t& out);
void write_word(std::span<const Word> words, int64_t value, json& out);
void schema_of_words(std::span<const Word> words, json& out);

// One of a closed list; `words` maps each to a value of E.
template <class E, size_t N>
struct Choice {
  Word words[N]{};

  constexpr explicit Choice(const std::pair<const char*, E> (&list)[N]) {
    for (size_t i = 0; i < N; ++i) words[i] = {list[i].first, static_cast<int64_t>(list[i].second)};
  }
  bool read(Reading& in, const Place& at, const json& value, E& out) const {
    int64_t meant = 0;
    if (!read_word(in, at, value, words, meant)) return false;
    out = static_cast<E>(meant);
    return true;
  }
  void write(const Place&, E value, json& out) const {
    write_word(words, static_cast<int64_t>(value), out);
  }
  void schema(json& out) const { schema_of_words(words, out); }
};

// A number that the kernel headers have a name for; `numbers` too if allowed.
struct Named {
  std::span<const Word> (*words)();
  const char* what;
  int64_t low = 0, high = -1;  // plain numbers allowed; none if high < low

  bool read(Reading& in, const Place& at, const json& value, int32_t& out) const;
  void write(const Place&, int32_t value, json& out) const;
  void schema(json& out) const;
};

// A list of names that makes a bit mask.
struct Mask {
  std::span<const Word> (*words)();
  const char* what;

  bool read(Reading& in, const Place& at, const json& value, uint32_t& out) const;
  void write(const Place&, uint32_t value, json& out) const;
  void schema(json& out) const;
};

// Signals by name ("SIGUSR1", "SIGRTMIN+3") or number.
struct Signal {
  bool read(Reading& in, const Place& at, const json& value, int32_t& out) const;
  void write(const Place&, int32_t value, json& out) const;
  void schema(json& out) const;
};

// A uid or gid by number, or a name that the front resolves.
struct UserOrGroup {
  bool read(Reading& in, const Place& at, const json& value, Id& out) const;
  void write(const Place& at, const Id& value, json& out) const;
  void schema(json& out) const;
};

// Any bytes, as padded base64 (RFC 4648).
struct Base64 {
  size_t most;
  bool read(Reading& in, const Place& at, const json& value, std::string& out) const;
  void write(const Place&, const std::string& value, json& out) const;
  void schema(json& out) const;
};

// Capabilities by name, or "all".
struct CapabilitySet {
  bool read(Reading& in, const Place& at, const json& value, uint64_t& out) const;
  void write(const Place&, uint64_t value, json& out) const;
  void schema(json& out) const;
};

// What read_seccomp() takes; kept as text, for whoever compiles it.
struct SystemCallFilter {
  bool read(Reading& in, const Place& at, const json& value, Document& out) const;
  void write(const Place&, const Document& value, json& out) const;
  void schema(json& out) const;
};

bool is_word(const json& value, std::string_view word);
bool is_array(const json& value);
bool is_object(const json& value);

// --- collections --------------------------------------------------------------

// False, and refused, unless `value` is an array of a good length.
bool is_list(Reading& in, const Place& at, const json& value, size_t least, size_t most,
             size_t& length);
// Null, and refused, if the element is null.
const json* element_of(Reading& in, const Place& at, const json& list, size_t index);
void make_list(json& out);  // an empty one
json& add_element(json& list);
json& list_schema(json& out, size_t least, size_t most);  // where that of its elements goes

template <class C>
struct List {
  C element;
  size_t least, most;

  static bool accepts(const json& value) { return is_array(value); }
  template <class T>
  bool read(Reading& in, const Place& at, const json& value, std::vector<T>& out) const {
    size_t length = 0;
    if (!is_list(in, at, value, least, most, length)) return false;
    out.clear();
    out.reserve(length);
    for (size_t i = 0; i < length; ++i) {
      T item{};
      const Place here(at, i);
      const json* const from = element_of(in, here, value, i);
      if (!from || !element.read(in, here, *from, item)) return false;
      out.push_back(std::move(item));
    }
    return true;
  }
  template <class T>
  void write(const Place& at, const std::vector<T>& value, json& out) const {
    make_list(out);
    for (size_t i = 0; i < value.size(); ++i)
      element.write(Place(at, i), value[i], add_element(out));
  }
  void schema(json& out) const { element.schema(list_schema(out, least, most)); }
};

// Written out for clang before 17, which deduces no aggregates (P1816).
template <class C>
List(C, size_t, size_t) -> List<C>;

// Rules for the keys of a Map: null if good, else what is expected.
using KeyRule = const char* (*)(std::string_view key);

// Gives `read` each member that is not null. False if there are too many, a key
// breaks the rule, or `read` says so.
bool read_members(Reading& in, const Place& at, const json& value, KeyRule rule, size_t most,
                  const std::function<bool(const Place&, const std::string&, const json&)>& read);
void make_object(json& out);  // an empty one
json& add_member(const Place& at, json& object, const std::string& key);
json& map_schema(json& out, size_t most);  // where that of its values goes

template <class C>
struct Map {
  KeyRule rule;
  C element;
  size_t most;

  template <class T>
  bool read(Reading& in, const Place& at, const json& value, std::map<std::string, T>& out) const {
    out.clear();
    return read_members(in, at, value, rule, most,
                        [&](const Place& here, const std::string& key, const json& item) {
                          return element.read(in, here, item, out[key]);
                        });
  }
  template <class T>
  void write(const Place& at, const std::map<std::string, T>& value, json& out) const {
    make_object(out);
    for (const auto& [key, item] : value)
      element.write(Place(at, key), item, add_member(at, out, key));
  }
  void schema(json& out) const { element.schema(map_schema(out, most)); }
};

template <class C>
Map(KeyRule, C, size_t) -> Map<C>;

}  // namespace cloister::request
