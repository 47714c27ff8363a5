// Row: a field of the vocabulary, as all sees it that reads, writes and merges:
// without its types, so that each of these is compiled once and not for every
// structure. Table: the rows of one structure. Internal to lib/request.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/request.hpp"
#include "text.hpp"

namespace cloister::request {

class Place;
struct Reading;

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

// What a Plan has of a member that is a number.
struct WholeNumber {
  // With its sign in all 64 bits; none where it is absent.
  virtual std::optional<uint64_t> value(const void* number) const = 0;

 protected:
  ~WholeNumber() = default;
};

// What merging does with a member as a whole.
struct Member {
  virtual bool present(const void* member) const = 0;
  virtual void assign(void* to, const void* from) const = 0;
  virtual void clear(void* member) const = 0;
  virtual const Keys* keys() const = 0;    // null: it is no map
  virtual const Table* table() const = 0;  // null: it is no structure, or is there as a whole
  virtual const WholeNumber* number() const = 0;  // null: it is no number

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
  virtual void write(const Place& at, const void* object, json& out) const = 0;
  virtual void schema(json& out) const = 0;
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
  void write(const Place& at, const void* object, json& out) const;
  void schema(json& out) const;

 private:
  std::string names() const;

  std::span<const Line> rows_;
  Rule rule_;
};

// --- the structures that have a table -------------------------------------------------

template <>
const Table& table<Capture>();
template <>
const Table& table<OpenAction>();
template <>
const Table& table<Dup2Action>();
template <>
const Table& table<CloseAction>();
template <>
const Table& table<CloseRangeAction>();
template <>
const Table& table<ReceiveAction>();
template <>
const Table& table<ChdirAction>();
template <>
const Table& table<FchdirAction>();
template <>
const Table& table<TcsetpgrpAction>();
template <>
const Table& table<Terminal>();
template <>
const Table& table<Scheduler>();
template <>
const Table& table<IoPriority>();
template <>
const Table& table<Ids>();
template <>
const Table& table<Namespaces>();
template <>
const Table& table<IdMapping>();
template <>
const Table& table<TimeOffsets>();
template <>
const Table& table<Workspace>();
template <>
const Table& table<Empty>();
template <>
const Table& table<Tmpfs>();
template <>
const Table& table<Directory>();
template <>
const Table& table<Proc>();
template <>
const Table& table<Scratch>();
template <>
const Table& table<FileContent>();
template <>
const Table& table<MountIdMap>();
template <>
const Table& table<Overlay>();
template <>
const Table& table<Mount>();
template <>
const Table& table<PublishedPort>();
template <>
const Table& table<Outbound>();
template <>
const Table& table<Capabilities>();
template <>
const Table& table<LandlockPath>();
template <>
const Table& table<Landlock>();
template <>
const Table& table<Secret>();
template <>
const Table& table<Device>();
template <>
const Table& table<Rlimit>();
template <>
const Table& table<Limits>();
template <>
const Table& table<Lifetime>();
template <>
const Table& table<Request>();

}  // namespace cloister::request
