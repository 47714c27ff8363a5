// Codecs: how one JSON type is read into, written from and described for one
// C++ type. table.hpp puts them together into the vocabulary of a request.
//
// Internal to lib/request. A codec has
//   read(in, at, value, out)  false after `in` holds the Problem
//   write(at, value)          the JSON that reads back to the same value
//   schema()                  its JSON Schema
// and is given non-null values only: null is absent, one level up.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

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
  json schema() const;
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
  json write(const Place&, const T& value) const {
    return value;
  }

 private:
  bool read_raw(Reading&, const Place&, const json&, int64_t& negative, uint64_t& natural) const;
};

struct Boolean {
  bool read(Reading& in, const Place& at, const json& value, bool& out) const;
  json write(const Place&, bool value) const { return value; }
  json schema() const { return {{"type", "boolean"}}; }
};

struct Number {
  double low, high;
  bool read(Reading& in, const Place& at, const json& value, double& out) const;
  json write(const Place&, double value) const { return value; }
  json schema() const;
};

// Bytes, or "512M"; powers of 1024.
struct Size {
  bool read(Reading& in, const Place& at, const json& value, uint64_t& out) const;
  json write(const Place&, uint64_t value) const { return value; }
  json schema() const;
};

// One resource limit: a Size below RLIM_INFINITY, or "unlimited".
struct LimitValue {
  bool read(Reading& in, const Place& at, const json& value, uint64_t& out) const;
  json write(const Place&, uint64_t value) const;
  json schema() const;
};

struct Duration {
  bool read(Reading& in, const Place& at, const json& value, std::chrono::milliseconds& out) const;
  json write(const Place&, std::chrono::milliseconds value) const;
  json schema() const;
};

struct Octal {
  uint32_t high;
  bool read(Reading& in, const Place& at, const json& value, uint32_t& out) const;
  json write(const Place&, uint32_t value) const;
  json schema() const;
};

// --- strings ----------------------------------------------------------------

// UTF-8 without NUL.
struct Text {
  size_t most, least = 1;
  bool read(Reading& in, const Place& at, const json& value, std::string& out) const;
  json write(const Place& at, const std::string& value) const;
  json schema() const;
};

// A sysctl's value: printable ASCII, or an integer.
struct SysctlValue {
  bool read(Reading& in, const Place& at, const json& value, std::string& out) const;
  json write(const Place&, const std::string& value) const { return value; }
  json schema() const;
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
  json write(const Place&, const std::string& value) const;
  json schema() const;
  static bool accepts(const json& value);
};

// --- words ------------------------------------------------------------------

bool read_word(Reading& in, const Place& at, const json& value, std::span<const Word> words,
               int64_t& out);
json write_word(std::span<const Word> words, int64_t value);
json schema_of_words(std::span<const Word> words);

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
  json write(const Place&, E value) const { return write_word(words, static_cast<int64_t>(value)); }
  json schema() const { return schema_of_words(words); }
};

// A number that the kernel headers have a name for; `numbers` too if allowed.
struct Named {
  std::span<const Word> (*words)();
  const char* what;
  int64_t low = 0, high = -1;  // plain numbers allowed; none if high < low

  bool read(Reading& in, const Place& at, const json& value, int32_t& out) const;
  json write(const Place&, int32_t value) const;
  json schema() const;
};

// A list of names that makes a bit mask.
struct Mask {
  std::span<const Word> (*words)();
  const char* what;

  bool read(Reading& in, const Place& at, const json& value, uint32_t& out) const;
  json write(const Place&, uint32_t value) const;
  json schema() const;
};

// Signals by name ("SIGUSR1", "SIGRTMIN+3") or number.
struct Signal {
  bool read(Reading& in, const Place& at, const json& value, int32_t& out) const;
  json write(const Place&, int32_t value) const;
  json schema() const;
};

// A uid or gid by number, or a name that the front resolves.
struct UserOrGroup {
  bool read(Reading& in, const Place& at, const json& value, Id& out) const;
  json write(const Place& at, const Id& value) const;
  json schema() const;
};

// Any bytes, as padded base64 (RFC 4648).
struct Base64 {
  size_t most;
  bool read(Reading& in, const Place& at, const json& value, std::string& out) const;
  json write(const Place&, const std::string& value) const;
  json schema() const;
};

// Capabilities by name, or "all".
struct CapabilitySet {
  bool read(Reading& in, const Place& at, const json& value, uint64_t& out) const;
  json write(const Place&, uint64_t value) const;
  json schema() const;
};

// What read_seccomp() takes; kept as text, for whoever compiles it.
struct SystemCallFilter {
  bool read(Reading& in, const Place& at, const json& value, Document& out) const;
  json write(const Place&, const Document& value) const;
  json schema() const;
};

// --- collections --------------------------------------------------------------

// The elements of an array with a good length; null, and refused, otherwise.
const json::array_t* elements_of(Reading& in, const Place& at, const json& value, size_t least,
                                 size_t most);
json schema_of_list(json element, size_t least, size_t most);

template <class C>
struct List {
  C element;
  size_t least, most;

  static bool accepts(const json& value) { return value.is_array(); }
  template <class T>
  bool read(Reading& in, const Place& at, const json& value, std::vector<T>& out) const {
    const auto* elements = elements_of(in, at, value, least, most);
    if (!elements) return false;
    out.clear();
    out.reserve(elements->size());
    for (size_t i = 0; i < elements->size(); ++i) {
      T item{};
      const Place here(at, i);
      if ((*elements)[i].is_null()) return in.refuse(here, "is null", "a value", "null");
      if (!element.read(in, here, (*elements)[i], item)) return false;
      out.push_back(std::move(item));
    }
    return true;
  }
  template <class T>
  json write(const Place& at, const std::vector<T>& value) const {
    json list = json::array();
    for (size_t i = 0; i < value.size(); ++i) list.push_back(element.write(Place(at, i), value[i]));
    return list;
  }
  json schema() const { return schema_of_list(element.schema(), least, most); }
};

// Written out for clang before 17, which deduces no aggregates (P1816).
template <class C>
List(C, size_t, size_t) -> List<C>;

// Rules for the keys of a Map: null if good, else what is expected.
using KeyRule = const char* (*)(std::string_view key);

// The members of an object that has not too many; null, and refused, otherwise.
const json::object_t* members_of(Reading& in, const Place& at, const json& value, size_t most);
bool good_key(Reading& in, const Place& at, const std::string& key, KeyRule rule);
json schema_of_map(json element, size_t most);

template <class C>
struct Map {
  KeyRule rule;
  C element;
  size_t most;

  template <class T>
  bool read(Reading& in, const Place& at, const json& value, std::map<std::string, T>& out) const {
    const auto* members = members_of(in, at, value, most);
    if (!members) return false;
    out.clear();
    for (const auto& [key, item] : *members) {
      if (!good_key(in, at, key, rule)) return false;
      if (!item.is_null() && !element.read(in, Place(at, key), item, out[key])) return false;
    }
    return true;
  }
  template <class T>
  json write(const Place& at, const std::map<std::string, T>& value) const {
    json object = json::object();
    for (const auto& [key, item] : value) {
      if (!is_utf8(key)) throw_not_utf8(at);
      object[key] = element.write(Place(at, key), item);
    }
    return object;
  }
  json schema() const { return schema_of_map(element.schema(), most); }
};

template <class C>
Map(KeyRule, C, size_t) -> Map<C>;

}  // namespace cloister::request
