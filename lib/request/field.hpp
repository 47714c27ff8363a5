// Field: a Row with its types. OneOf and Object: the codecs that hold several.
// Internal to lib/request; the rows themselves are in the files table_*.cpp.
#pragma once

#include <stdexcept>
#include <tuple>
#include <variant>

#include "codec.hpp"
#include "row.hpp"

namespace cloister::request {

// A codec for a structure that has a table.
template <class S>
struct Object {
  bool read(Reading& in, const Place& at, const json& value, S& out) const {
    return table<S>().read(in, at, value, &out);
  }
  void write(const Place& at, const S& value, json& out) const {
    table<S>().write(at, &value, out);
  }
  void schema(json& out) const { table<S>().schema(out); }
};

// --- the types behind a row -------------------------------------------------------

template <class M>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <class M>
inline constexpr bool kIsNumber = false;
template <class T>
inline constexpr bool kIsNumber<std::optional<T>> = std::is_integral_v<T>;

template <class M>
concept IsMap = requires {
  typename M::mapped_type;
};

// A structure whose members merge one by one, since it is there in any case.
template <class M>
concept IsStructure = std::is_class_v<M> && !kIsOptional<M> && !requires(M m) {
  m.empty();
};

template <class M>
struct KeysOf final : Keys {
  static M& map(void* map) { return *static_cast<M*>(map); }
  static const M& map(const void* map) { return *static_cast<const M*>(map); }

  std::vector<std::string_view> list(const void* from) const override {
    std::vector<std::string_view> keys;
    for (const auto& [key, value] : map(from)) keys.push_back(key);
    return keys;
  }
  bool has(const void* in, std::string_view key) const override {
    return map(in).contains(std::string(key));
  }
  void assign(void* to, const void* from, std::string_view key) const override {
    const std::string name(key);
    map(to).insert_or_assign(name, map(from).at(name));
  }
  void erase(void* from, std::string_view key) const override { map(from).erase(std::string(key)); }
};

template <class M>
struct WholeNumberOf final : WholeNumber {
  std::optional<uint64_t> value(const void* number) const override {
    const M& value = *static_cast<const M*>(number);
    if (!value) return std::nullopt;
    return static_cast<uint64_t>(*value);
  }
};

template <class M>
struct MemberOf final : Member {
  bool present(const void* member) const override {
    const M& value = *static_cast<const M*>(member);
    if constexpr (kIsOptional<M>)
      return value.has_value();
    else if constexpr (IsStructure<M>)
      return request::table<M>().any_present(member);
    else if constexpr (std::is_class_v<M>)
      return !value.empty();
    else
      return true;
  }
  void assign(void* to, const void* from) const override {
    *static_cast<M*>(to) = *static_cast<const M*>(from);
  }
  // Copied, because moving would be compiled for this alone.
  void clear(void* member) const override {
    const M blank{};
    assign(member, &blank);
  }
  const Keys* keys() const override {
    if constexpr (IsMap<M>) {
      static constexpr KeysOf<M> kKeys;
      return &kKeys;
    }
    return nullptr;
  }
  const Table* table() const override {
    if constexpr (IsStructure<M>) return &request::table<M>();
    return nullptr;
  }
  const WholeNumber* number() const override {
    if constexpr (kIsNumber<M>) {
      static constexpr WholeNumberOf<M> kNumber;
      return &kNumber;
    }
    return nullptr;
  }
};
template <class M>
inline constexpr MemberOf<M> kMemberOf;

template <class S, class M, class C>
struct Field final : Row {
  M S::*pointer;
  C codec;

  constexpr Field(const char* name_, M S::*pointer_, C codec_, const char* meaning_,
                  Merge merge_ = Merge::replace, const char* constant_ = nullptr)
      : Row(name_, meaning_, merge_, constant_), pointer(pointer_), codec(codec_) {
    // Rows are constants: what throws here does not compile.
    if (merge == Merge::mounts && !std::is_same_v<M, std::vector<Mount>>)
      throw std::logic_error("merges like mounts and is something else");
    if (merge == Merge::gather && !std::is_same_v<M, std::vector<std::string>>)
      throw std::logic_error("gathers a member that is not a list of strings");
  }

  bool read(Reading& in, const Place& at, const json& value, void* object) const override {
    M& out = static_cast<S*>(object)->*pointer;
    if constexpr (kIsOptional<M>)
      return codec.read(in, at, value, out.emplace());
    else
      return codec.read(in, at, value, out);
  }
  void write(const Place& at, const void* object, json& out) const override {
    const M& value = static_cast<const S*>(object)->*pointer;
    if constexpr (kIsOptional<M>)
      codec.write(at, *value, out);
    else
      codec.write(at, value, out);
  }
  void schema(json& out) const override { codec.schema(out); }
  const char* rule_of_key(std::string_view key) const override {
    if constexpr (IsMap<M>) return codec.rule(key);
    return nullptr;
  }
  const char* later_of(const void* object) const override {
    if (later) return later;
    if constexpr (kIsOptional<M> && requires(const M& m) { codec.later(*m); })
      return codec.later(*(static_cast<const S*>(object)->*pointer));
    return nullptr;
  }
  using Row::member;
  void* member(void* object) const override { return &(static_cast<S*>(object)->*pointer); }
  const Member& type() const override { return kMemberOf<M>; }
};

// --- one-of values ------------------------------------------------------------------

// An alternative spelled as a bare word, whatever its type.
struct BarewordText {
  const char* word;
  const char* later = nullptr;  // as in Row

  bool accepts(const json& value) const;
  void schema(json& out) const;
  void write_word(json& out) const;
  std::string expected() const { return '"' + std::string(word) + '"'; }
};
template <class T>
struct Bareword : BarewordText {
  using Type = T;
  bool read(Reading&, const Place&, const json&, T&) const { return true; }
  void write(const Place&, const T&, json& out) const { write_word(out); }
};

// An alternative spelled as an object with one key, whatever its type.
struct Key {
  const char* key;
  const char* later;

  bool accepts(const json& value) const;
  // What the key holds; null, and refused, where there are other keys.
  const json* only_value(Reading& in, const Place& at, const json& value) const;
  json& holding(json& out) const;         // where what it holds goes
  json& schema_holding(json& out) const;  // and where the schema of that goes
  std::string expected() const { return "{\"" + std::string(key) + "\": ...}"; }
};
template <class T, class C>
struct Keyed : Key {
  using Type = T;
  C codec;

  bool read(Reading& in, const Place& at, const json& value, T& out) const {
    const json* const item = only_value(in, at, value);
    return item && codec.read(in, Place(at, key), *item, out);
  }
  void write(const Place& at, const T& value, json& out) const {
    codec.write(Place(at, key), value, holding(out));
  }
  void schema(json& out) const { codec.schema(schema_holding(out)); }
};
template <class T, class C>
constexpr Keyed<T, C> keyed(const char* key, C codec, const char* later = nullptr) {
  return {{key, later}, codec};
}

// {"text": "..."}, or {"base64": "..."} for bytes that JSON cannot carry.
struct InlineContent {
  using Type = Inline;
  const char* later = nullptr;
  bool accepts(const json& value) const;
  bool read(Reading& in, const Place& at, const json& value, Inline& out) const;
  void write(const Place& at, const Inline& value, json& out) const;
  void schema(json& out) const;
  std::string expected() const { return "{\"text\": ...}, {\"base64\": ...}"; }
};

// An alternative that is a codec's value itself.
template <class T, class C>
struct Plain {
  using Type = T;
  C codec;
  const char* what;
  const char* later = nullptr;

  bool accepts(const json& value) const {
    if constexpr (requires { C::accepts(value); })
      return C::accepts(value);
    else
      return is_object(value);
  }
  bool read(Reading& in, const Place& at, const json& value, T& out) const {
    return codec.read(in, at, value, out);
  }
  void write(const Place& at, const T& value, json& out) const { codec.write(at, value, out); }
  void schema(json& out) const { codec.schema(out); }
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
  void write(const Place& at, const T& value, json& out) const {
    codec.write(at, value.*member, out);
  }
  void schema(json& out) const { codec.schema(out); }
};
template <class T, class M, class C>
Through(M T::*, C) -> Through<T, M, C>;

bool refuse_alternatives(Reading& in, const Place& at, const json& value, std::string expected);
[[noreturn]] void throw_not_allowed(const Place& at);
json& add_alternative(json& schemas);  // where its schema goes
void mark_later(json& schema, const char* later);

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
    return refuse_alternatives(in, at, value, std::move(expected));
  }
  template <class V>
  void write(const Place& at, const V& value, json& out) const {
    bool found = false;
    each([&](const auto& one) {
      using T = typename std::remove_cvref_t<decltype(one)>::Type;
      if (const T* held = std::get_if<T>(&value); held && !found) {
        found = true;
        one.write(at, *held, out);
      }
    });
    if (!found) throw_not_allowed(at);
  }
  template <class V>
  const char* later(const V& value) const {
    const char* reason = nullptr;
    each([&](const auto& one) {
      using T = typename std::remove_cvref_t<decltype(one)>::Type;
      if (std::holds_alternative<T>(value)) reason = one.later;
    });
    return reason;
  }
  void schema(json& out) const {
    each([&](const auto& one) {
      json& schema = add_alternative(out);
      one.schema(schema);
      mark_later(schema, one.later);
    });
  }

 private:
  template <class Visit>
  void each(Visit&& visit) const {
    std::apply([&](const auto&... one) { (visit(one), ...); }, alternatives);
  }
};

}  // namespace cloister::request
