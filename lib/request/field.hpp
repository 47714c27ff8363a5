// Field: one row of the vocabulary. OneOf and Object: the codecs that hold
// several. Internal to lib/request; the rows themselves are in table.hpp.
#pragma once

#include <tuple>
#include <variant>

#include "codec.hpp"

namespace cloister::request {

// How a field of a higher layer meets the same field of a lower one.
enum class Merge {
  replace,  // the higher value, if there is one
  by_key,   // member by member, key by key
  mounts,   // appended; one with the same `at` takes the place of the lower one
  gather,   // every element of both
  own,      // says something about its own layer only
};

template <class S, class M, class C>
struct Field {
  const char* name;
  M S::*member;
  C codec;
  const char* meaning;
  Merge merge = Merge::replace;
  const char* constant = nullptr;  // JSON of the value where no layer has one
  bool required = false;
  const char* later = nullptr;  // why there is no room for it yet; null: it works
};
template <class S, class M, class C, class... Rest>
Field(const char*, M S::*, C, const char*, Rest...) -> Field<S, M, C>;

template <class S>
struct Table;  // static constexpr auto fields = std::tuple{Field{...}, ...};

template <class S, class Visit>
constexpr void each_field(Visit&& visit) {
  std::apply([&](const auto&... field) { (visit(field), ...); }, Table<S>::fields);
}

// --- presence -----------------------------------------------------------------

template <class M>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <class S>
concept Tabled = requires {
  Table<S>::fields;
};

template <class M>
bool present(const M& value) {
  if constexpr (kIsOptional<M>) {
    return value.has_value();
  } else if constexpr (Tabled<M>) {
    bool any = false;
    each_field<M>([&](const auto& field) { any = any || present(value.*field.member); });
    return any;
  } else if constexpr (requires { value.empty(); }) {
    return !value.empty();
  } else {
    return true;
  }
}

// --- objects --------------------------------------------------------------------

// Rules that span members; a Table may declare
//   static const char* broken(const S&)   null, or the rule in words
template <class S>
const char* broken_rule_of(const S& value) {
  if constexpr (requires { Table<S>::broken(value); }) return Table<S>::broken(value);
  return nullptr;
}

// Codecs that hold alternatives without a room say so.
template <class C, class T>
const char* later_of(const C& codec, const T& value) {
  if constexpr (requires { codec.later(value); }) return codec.later(value);
  return nullptr;
}

template <class S>
struct Object {
  bool read(Reading& in, const Place& at, const json& value, S& out) const {
    const auto* members = value.get_ptr<const json::object_t*>();
    if (!members) return in.mismatch(at, "has the wrong type", "an object", value);
    for (const auto& entry : *members) {
      // Not a structured binding: clang before 16 captures none.
      const auto& name = entry.first;
      const auto& item = entry.second;
      bool known = false, good = true;
      each_field<S>([&](const auto& field) {
        if (known || name != field.name) return;
        known = true;
        if (item.is_null()) return;
        auto& member = out.*field.member;
        const Place here(at, name);
        if constexpr (kIsOptional<std::remove_reference_t<decltype(member)>>)
          good = field.codec.read(in, here, item, member.emplace());
        else
          good = field.codec.read(in, here, item, member);
      });
      if (!known) return in.refuse(Place(at, name), "is unknown", names(), shown(name));
      if (!good) return false;
    }
    bool complete = true;
    each_field<S>([&](const auto& field) {
      const auto found = members->find(field.name);
      if (complete && field.required && (found == members->end() || found->second.is_null()))
        complete = in.refuse(Place(at, field.name), "is missing", field.meaning, "");
    });
    if (!complete) return false;
    if (const char* rule = broken_rule_of(out)) return in.refuse(at, rule, "", "");
    return true;
  }

  json write(const Place& at, const S& value) const {
    json object = json::object();
    each_field<S>([&](const auto& field) {
      const auto& member = value.*field.member;
      if (!present(member) && !field.required) return;
      const Place here(at, field.name);
      if constexpr (kIsOptional<std::remove_cvref_t<decltype(member)>>)
        object[field.name] = field.codec.write(here, *member);
      else
        object[field.name] = field.codec.write(here, member);
    });
    return object;
  }

  json schema() const {
    json properties = json::object(), required = json::array();
    each_field<S>([&](const auto& field) {
      json& property = properties[field.name] = field.codec.schema();
      property["description"] = field.meaning;
      if (field.constant) property["default"] = json::parse(field.constant);
      if (field.later) property["x-unsupported"] = field.later;
      if (field.required) required.push_back(field.name);
    });
    json schema = {
        {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
    if (!required.empty()) schema["required"] = std::move(required);
    return schema;
  }

 private:
  static std::string names() {
    std::string list;
    each_field<S>(
        [&](const auto& field) { list += (list.empty() ? "" : ", ") + std::string(field.name); });
    return "one of " + list;
  }
};

// --- one-of values ------------------------------------------------------------------

// An alternative spelled as a bare word.
template <class T>
struct Bareword {
  using Type = T;
  const char* word;
  const char* no_room = nullptr;

  bool accepts(const json& value) const {
    const auto* text = value.get_ptr<const std::string*>();
    return text && *text == word;
  }
  bool read(Reading&, const Place&, const json&, T&) const { return true; }
  json write(const Place&, const T&) const { return word; }
  json schema() const { return {{"const", word}}; }
  std::string expected() const { return '"' + std::string(word) + '"'; }
};

// An alternative spelled as an object with one key.
template <class T, class C>
struct Keyed {
  using Type = T;
  const char* key;
  C codec;
  const char* no_room = nullptr;

  bool accepts(const json& value) const {
    const auto* members = value.get_ptr<const json::object_t*>();
    const auto found = members ? members->find(key) : json::object_t::const_iterator();
    return members && found != members->end() && !found->second.is_null();
  }
  bool read(Reading& in, const Place& at, const json& value, T& out) const {
    const auto& members = *value.get_ptr<const json::object_t*>();
    for (const auto& [name, item] : members)
      if (name != key && !item.is_null())
        return in.refuse(Place(at, name), "is an unexpected key",
                         "an object with one key, here \"" + std::string(key) + '"', shown(name));
    return codec.read(in, Place(at, key), members.find(key)->second, out);
  }
  json write(const Place& at, const T& value) const {
    return {{key, codec.write(Place(at, key), value)}};
  }
  json schema() const {
    return {{"type", "object"},
            {"properties", {{key, codec.schema()}}},
            {"required", {key}},
            {"additionalProperties", false}};
  }
  std::string expected() const { return "{\"" + std::string(key) + "\": ...}"; }
};
template <class T, class C>
constexpr Keyed<T, C> keyed(const char* key, C codec, const char* no_room = nullptr) {
  return {key, codec, no_room};
}

// An alternative that is a codec's value itself.
template <class T, class C>
struct Plain {
  using Type = T;
  C codec;
  const char* what;
  const char* no_room = nullptr;

  bool accepts(const json& value) const {
    if constexpr (requires { C::accepts(value); })
      return C::accepts(value);
    else
      return value.is_object();
  }
  bool read(Reading& in, const Place& at, const json& value, T& out) const {
    return codec.read(in, at, value, out);
  }
  json write(const Place& at, const T& value) const { return codec.write(at, value); }
  json schema() const { return codec.schema(); }
  std::string expected() const { return what; }
};
template <class T, class C>
constexpr Plain<T, C> plain(C codec, const char* what) {
  return {codec, what};
}

// A codec for one member of T: {"passed_fd": 0} reads 0 into PassedFd::index.
template <class T, class M, class C>
struct Through {
  M T::*member;
  C codec;
  bool read(Reading& in, const Place& at, const json& value, T& out) const {
    return codec.read(in, at, value, out.*member);
  }
  json write(const Place& at, const T& value) const { return codec.write(at, value.*member); }
  json schema() const { return codec.schema(); }
};
template <class T, class M, class C>
Through(M T::*, C) -> Through<T, M, C>;

// Into a std::variant; the first alternative that accepts the value reads it,
// the first whose type the variant holds writes it.
template <class... A>
struct OneOf {
  std::tuple<A...> alternatives;
  constexpr explicit OneOf(A... list) : alternatives(list...) {}

  template <class V>
  bool read(Reading& in, const Place& at, const json& value, V& out) const {
    bool accepted = false, good = false;
    each([&](const auto& one) {
      if (accepted || !one.accepts(value)) return;
      accepted = true;
      using T = typename std::remove_cvref_t<decltype(one)>::Type;
      good = one.read(in, at, value, out.template emplace<T>());
    });
    if (accepted) return good;
    std::string expected;
    each([&](const auto& one) { expected += (expected.empty() ? "" : ", ") + one.expected(); });
    if (const auto* members = value.get_ptr<const json::object_t*>(); members && !members->empty())
      return in.refuse(Place(at, members->begin()->first), "is unknown", expected,
                       shown(members->begin()->first));
    return in.mismatch(at, "is not one of the alternatives", expected, value);
  }
  template <class V>
  json write(const Place& at, const V& value) const {
    json out;
    bool found = false;
    each([&](const auto& one) {
      using T = typename std::remove_cvref_t<decltype(one)>::Type;
      if (const T* held = std::get_if<T>(&value); held && !found) {
        found = true;
        out = one.write(at, *held);
      }
    });
    if (!found) throw std::invalid_argument(at.path() + ": has a value that is not allowed here");
    return out;
  }
  template <class V>
  const char* later(const V& value) const {
    const char* reason = nullptr;
    each([&](const auto& one) {
      using T = typename std::remove_cvref_t<decltype(one)>::Type;
      if (std::holds_alternative<T>(value)) reason = one.no_room;
    });
    return reason;
  }
  json schema() const {
    json list = json::array();
    each([&](const auto& one) {
      list.push_back(one.schema());
      if (one.no_room) list.back()["x-unsupported"] = one.no_room;
    });
    return {{"oneOf", std::move(list)}};
  }

 private:
  template <class Visit>
  void each(Visit&& visit) const {
    std::apply([&](const auto&... one) { (visit(one), ...); }, alternatives);
  }
};

}  // namespace cloister::request
