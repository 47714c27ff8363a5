// Field: one row of the vocabulary. Table: the rows of one structure. Internal
// to lib/request; the rows themselves are in the files table_*.cpp.
//
// What reads, writes and merges sees a row as Row, without its types, so that
// each of these is compiled once and not for every structure.
#pragma once

#include <span>
#include <tuple>
#include <variant>

#include "codec.hpp"

namespace cloister::request {

// How a field of a higher layer meets the same field of a lower one.
enum class Merge {
  replace,  // the higher value, if there is one
  by_key,   // member by member, key by key
  mounts,   // a std::vector<Mount>: appended; one with the same `at` takes the place of the lower
  gather,   // a std::vector<std::string>: every element of both
  own,      // says something about its own layer only
};

class Table;
template <class S>
const Table& table();  // each defined where its rows are, in table_*.cpp

// What merging does with the keys of a member that is a map.
struct Keys {
  virtual std::vector<std::string_view> list(const void* map) const = 0;
  virtual bool has(const void* map, std::string_view key) const = 0;
  virtual void assign(void* to, const void* from, std::string_view key) const = 0;
  virtual void erase(void* map, std::string_view key) const = 0;

 protected:
  ~Keys() = default;
};

// What merging does with a member as a whole.
struct Member {
  virtual bool present(const void* member) const = 0;
  virtual void assign(void* to, const void* from) const = 0;
  virtual void clear(void* member) const = 0;
  virtual const Keys* keys() const = 0;    // null: it is no map
  virtual const Table* table() const = 0;  // null: it is no structure, or is there as a whole

 protected:
  ~Member() = default;
};

// `object` is the structure that the row's table describes.
struct Row {
  const char* name;
  const char* meaning;
  Merge merge;
  const char* constant;  // JSON of the value where no layer has one
  bool required = false;
  const char* later = nullptr;  // why it is not implemented yet; null: it is

  constexpr Row(const char* name_, const char* meaning_, Merge merge_, const char* constant_)
      : name(name_), meaning(meaning_), merge(merge_), constant(constant_) {}

  virtual bool read(Reading& in, const Place& at, const json& value, void* object) const = 0;
  // Of a member that is present or required.
  virtual json write(const Place& at, const void* object) const = 0;
  virtual json schema() const = 0;
  virtual const char* rule_of_key(std::string_view key) const = 0;
  // `later`, or why this value of a present member is not implemented yet.
  virtual const char* later_of(const void* object) const = 0;

  virtual void* member(void* object) const = 0;
  virtual const Member& type() const = 0;
  const void* member(const void* object) const { return member(const_cast<void*>(object)); }
  bool present(const void* object) const { return type().present(member(object)); }

 protected:
  ~Row() = default;
};

// A row in an array, whose rows live as long as the array itself: what a
// reference in an aggregate is initialised with does.
struct Line {
  const Row& row;
};

// Null, or the rule that the members of `object` break together, in words.
using Rule = const char* (*)(const void* object);

class Table {
 public:
  constexpr explicit Table(std::span<const Line> rows, Rule rule = nullptr)
      : rows_(rows), rule_(rule) {}

  std::span<const Line> rows() const { return rows_; }
  const Row* find(std::string_view name) const;
  bool any_present(const void* object) const;

  bool read(Reading& in, const Place& at, const json& value, void* object) const;
  json write(const Place& at, const void* object) const;
  json schema() const;

 private:
  std::string names() const;

  std::span<const Line> rows_;
  Rule rule_;
};

// A codec for a structure that has a table.
template <class S>
struct Object {
  bool read(Reading& in, const Place& at, const json& value, S& out) const {
    return table<S>().read(in, at, value, &out);
  }
  json write(const Place& at, const S& value) const { return table<S>().write(at, &value); }
  json schema() const { return table<S>().schema(); }
};

// --- the types behind a row -------------------------------------------------------

template <class M>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

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
  void clear(void* member) const override { *static_cast<M*>(member) = M{}; }
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
      throw std::logic_error("gathers what is not a list of strings");
  }

  bool read(Reading& in, const Place& at, const json& value, void* object) const override {
    M& out = static_cast<S*>(object)->*pointer;
    if constexpr (kIsOptional<M>)
      return codec.read(in, at, value, out.emplace());
    else
      return codec.read(in, at, value, out);
  }
  json write(const Place& at, const void* object) const override {
    const M& value = static_cast<const S*>(object)->*pointer;
    if constexpr (kIsOptional<M>)
      return codec.write(at, *value);
    else
      return codec.write(at, value);
  }
  json schema() const override { return codec.schema(); }
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
  json schema() const;
  std::string expected() const { return '"' + std::string(word) + '"'; }
};
template <class T>
struct Bareword : BarewordText {
  using Type = T;
  bool read(Reading&, const Place&, const json&, T&) const { return true; }
  json write(const Place&, const T&) const { return word; }
};

// An alternative spelled as an object with one key, whatever its type.
struct Key {
  const char* key;
  const char* later;

  bool accepts(const json& value) const;
  // What the key holds; null, and refused, where there are other keys.
  const json* only_value(Reading& in, const Place& at, const json& value) const;
  json holding(json value) const;
  json schema_holding(json schema) const;
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
  json write(const Place& at, const T& value) const {
    return holding(codec.write(Place(at, key), value));
  }
  json schema() const { return schema_holding(codec.schema()); }
};
template <class T, class C>
constexpr Keyed<T, C> keyed(const char* key, C codec, const char* later = nullptr) {
  return {{key, later}, codec};
}

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

bool refuse_alternatives(Reading& in, const Place& at, const json& value, std::string expected);
[[noreturn]] void throw_not_allowed(const Place& at);
void add_alternative(json& schemas, json schema, const char* later);

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
    if (!found) throw_not_allowed(at);
    return out;
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
  json schema() const {
    json schemas;
    each([&](const auto& one) { add_alternative(schemas, one.schema(), one.later); });
    return schemas;
  }

 private:
  template <class Visit>
  void each(Visit&& visit) const {
    std::apply([&](const auto&... one) { (visit(one), ...); }, alternatives);
  }
};

}  // namespace cloister::request
