#include "reader.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "codec.hpp"

namespace cloister::request {

Reader::Reader(const json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object_.is_object())
    problem_ = {Problem::Kind::invalid, path_, "has the wrong type", "an object", shown(object_)};
}

void Reader::refuse(std::string_view name, std::string reason, std::string expected,
                    std::string got) {
  Reading in;
  const Place top, at_path(top, path_);
  const Place at(path_.empty() ? top : at_path, name);
  in.refuse(name.empty() ? at_path : at, std::move(reason), std::move(expected), std::move(got));
  if (!problem_) problem_ = std::move(in.problem);
}

bool Reader::has(std::string_view name) const {
  const auto* members = object_.get_ptr<const json::object_t*>();
  if (!members) return false;
  const auto found = members->find(name);
  return found != members->end() && !found->second.is_null();
}

const json* Reader::find(std::string_view name, Need need) {
  asked_.emplace(name);
  if (problem_) return nullptr;
  const auto& members = *object_.get_ptr<const json::object_t*>();
  const auto found = members.find(name);
  if (found != members.end() && !found->second.is_null()) return &found->second;
  if (need == Need::required) refuse(name, "is missing", "a value", "");
  return nullptr;
}

template <class T, class C>
std::optional<T> Reader::read(std::string_view name, const C& codec, Need need) {
  const json* const value = find(name, need);
  if (!value) return std::nullopt;
  Reading in;
  const Place top, at_path(top, path_);
  T out{};
  if (codec.read(in, Place(path_.empty() ? top : at_path, name), *value, out)) return out;
  problem_ = std::move(in.problem);
  return std::nullopt;
}

std::optional<std::string> Reader::text(std::string_view name, Need need, size_t most) {
  return read<std::string>(name, Text{most, 0}, need);
}

std::optional<bool> Reader::boolean(std::string_view name, Need need) {
  return read<bool>(name, Boolean{}, need);
}

std::optional<int64_t> Reader::integer(std::string_view name, int64_t low, int64_t high,
                                       Need need) {
  return read<int64_t>(name, Integer{low, static_cast<uint64_t>(high)}, need);
}

std::optional<int32_t> Reader::signal(std::string_view name, Need need) {
  return read<int32_t>(name, Signal{}, need);
}

std::optional<std::chrono::milliseconds> Reader::duration(std::string_view name, Need need) {
  return read<std::chrono::milliseconds>(name, Duration{}, need);
}

namespace {

// A closed list that the caller owns.
struct OneWord {
  std::span<const char* const> words;

  bool read(Reading& in, const Place& at, const json& value, size_t& out) const {
    const auto* text = value.get_ptr<const std::string*>();
    for (out = 0; text && out < words.size(); ++out)
      if (*text == words[out]) return true;
    std::string expected;
    for (const char* word : words) expected += (expected.empty() ? "" : ", ") + std::string(word);
    return in.mismatch(at, "is not an allowed word", std::move(expected), value);
  }
};

}  // namespace

std::optional<size_t> Reader::word(std::string_view name, std::span<const char* const> words,
                                   Need need) {
  return read<size_t>(name, OneWord{words}, need);
}

std::optional<std::vector<size_t>> Reader::words(std::string_view name,
                                                 std::span<const char* const> words, Need need) {
  auto list = read<std::vector<size_t>>(name, List<OneWord>{{words}, 0, words.size()}, need);
  if (!list) return list;
  for (size_t i = 0; i < list->size(); ++i)
    if (std::count(list->begin(), list->end(), (*list)[i]) > 1) {
      refuse(name, "has a duplicate word", "each word once", words[(*list)[i]]);
      return std::nullopt;
    }
  return list;
}

const json* Reader::value(std::string_view name, Need need) { return find(name, need); }

const json* Reader::object(std::string_view name, Need need) {
  const json* const value = find(name, need);
  if (!value || value->is_object()) return value;
  refuse(name, "has the wrong type", "an object", shown(*value));
  return nullptr;
}

std::optional<Problem> Reader::finish() {
  if (problem_) return problem_;
  for (const auto& [name, value] : *object_.get_ptr<const json::object_t*>())
    if (!asked_.contains(name)) {
      std::string known;
      for (const std::string& member : asked_) known += (known.empty() ? "" : ", ") + member;
      refuse(name, "is unknown", known.empty() ? "no members" : "one of " + known, shown(name));
      break;
    }
  return problem_;
}

}  // namespace cloister::request
