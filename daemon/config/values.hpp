// Values of cloisterd.json(5), each read strictly and refused by the name of
// its member.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config_files.hpp"

namespace cloister::config {

using nlohmann::json;

// Thrown by these and caught by read_config().
struct Wrong {
  std::string member, what;  // no member: the file itself
};
[[noreturn]] void wrong(const std::string& member, const std::string& what);

int64_t whole(const std::string& member, const json& value, int64_t low, int64_t high);
uint32_t count(const std::string& member, const json& value, uint32_t low);
bool truth(const std::string& member, const json& value);
// "512M", or a number of bytes; below INT64_MAX.
uint64_t size(const std::string& member, const json& value);
// "30s", in ms: more than none, and no more than a year.
uint64_t duration(const std::string& member, const json& value);
// Of a name or path: without a NUL, which would end it early.
const std::string& text(const std::string& member, const json& value, const char* what);
plan::IdRange range(const std::string& member, const json& value);
uint32_t user(const std::string& member, const json& value);
uint32_t group(const std::string& member, const json& value);

template <class T>
std::vector<T> list(const std::string& member, const json& value,
                    T (*element)(const std::string&, const json&)) {
  if (!value.is_array()) wrong(member, "must be an array");
  std::vector<T> all;
  for (size_t i = 0; i < value.size(); ++i)
    all.push_back(element(member + "[" + std::to_string(i) + "]", value[i]));
  return all;
}

// One member of an object: where it is read to, or why it cannot be.
template <class T>
struct Member {
  const char* name;
  void (*read)(const std::string& member, const json& value, T& into);
};

template <class T, size_t n>
void read_members(const std::string& member, const json& object, const Member<T> (&members)[n],
                  T& into) {
  if (!object.is_object()) wrong(member, "must be an object");
  for (const auto& [key, value] : object.items()) {
    const std::string at = member.empty() ? key : member + "." + key;
    const Member<T>* known = nullptr;
    std::string all;
    for (const Member<T>& each : members) {
      if (key == each.name) known = &each;
      all += (all.empty() ? "" : ", ") + std::string(each.name);
    }
    if (!known) wrong(at, "is unknown; known are " + all);
    known->read(at, value, into);
  }
}

// lease.cpp
plan::Pool pool(const std::string& member, const json& value);

// rules.cpp
plan::Quota quota(const std::string& member, const json& value, plan::Quota unless_said);
std::vector<Rule> rules(const json& list, const plan::Quota& unless_said);

}  // namespace cloister::config
