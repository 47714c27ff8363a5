#include "values.hpp"

#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <optional>
#include <string_view>

namespace cloister::config {
namespace {

using plan::IdRange;
using plan::kHighestId;

uint32_t id(const std::string& member, const json& value) {
  return static_cast<uint32_t>(whole(member, value, 0, kHighestId));
}

}  // namespace

void wrong(const std::string& member, const std::string& what) { throw Wrong{member, what}; }

int64_t whole(const std::string& member, const json& value, int64_t low, int64_t high) {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get_ref<const uint64_t&>() > INT64_MAX);
  const int64_t number = !fits ? 0
                         : value.is_number_unsigned()
                             ? static_cast<int64_t>(value.get_ref<const uint64_t&>())
                             : value.get_ref<const int64_t&>();
  if (!fits || number < low || number > high)
    wrong(member,
          "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  return number;
}

uint32_t count(const std::string& member, const json& value, uint32_t low) {
  return static_cast<uint32_t>(whole(member, value, low, plan::kMaxQuota));
}

bool truth(const std::string& member, const json& value) {
  if (!value.is_boolean()) wrong(member, "must be true or false");
  return value.get_ref<const bool&>();
}

const std::string& text(const std::string& member, const json& value, const char* what) {
  if (!value.is_string()) wrong(member, std::string("must be ") + what);
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('\0') != std::string::npos) wrong(member, "holds a NUL");
  return text;
}

namespace {

struct Unit {
  std::string_view word;
  uint64_t factor;
};

// A whole number and one of these units.
template <size_t n>
std::optional<uint64_t> amount(std::string_view text, const Unit (&units)[n], uint64_t most) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view word = text.substr(static_cast<size_t>(end - text.data()));
  for (const Unit& unit : units)
    if (error == std::errc{} && word == unit.word && number <= most / unit.factor)
      return number * unit.factor;
  return std::nullopt;
}

}  // namespace

uint64_t size(const std::string& member, const json& value) {
  if (!value.is_string()) return static_cast<uint64_t>(whole(member, value, 0, INT64_MAX - 1));
  constexpr Unit kUnits[] = {
      {"", 1}, {"K", 1u << 10}, {"M", 1u << 20}, {"G", 1u << 30}, {"T", uint64_t{1} << 40}};
  const auto bytes = amount(text(member, value, "a size"), kUnits, INT64_MAX - 1);
  if (!bytes) wrong(member, "must be bytes, or a string such as \"512M\" (K, M, G, T)");
  return *bytes;
}

uint64_t duration(const std::string& member, const json& value) {
  constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  constexpr const char* kExpected = "a time with its unit such as \"30s\" (ms, s, m, h)";
  const auto ms = amount(text(member, value, kExpected), kUnits, plan::kMaxTimeoutMs);
  if (!ms || *ms == 0) wrong(member, std::string("must be ") + kExpected + ", at most 8760h");
  return *ms;
}

IdRange range(const std::string& member, const json& value) {
  if (value.is_number()) {
    const uint32_t only = id(member, value);
    return {only, only};
  }
  const std::string& both = text(member, value, "an id or a string \"FIRST-LAST\"");
  IdRange ids{};
  const char* end = both.data() + both.size();
  const auto first = std::from_chars(both.data(), end, ids.first);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '-')
    wrong(member, "\"" + both + "\" is not FIRST-LAST");
  const auto last = std::from_chars(first.ptr + 1, end, ids.last);
  if (last.ec != std::errc{} || last.ptr != end || ids.last < ids.first || ids.last > kHighestId)
    wrong(member, "\"" + both + "\" is not FIRST-LAST");
  return ids;
}

uint32_t user(const std::string& member, const json& value) {
  if (value.is_number()) return id(member, value);
  const std::string& name = text(member, value, "a user name or a uid");
  const passwd* entry = ::getpwnam(name.c_str());
  if (!entry) wrong(member, "unknown user: \"" + name + "\"");
  return entry->pw_uid;
}

uint32_t group(const std::string& member, const json& value) {
  if (value.is_number()) return id(member, value);
  const std::string& name = text(member, value, "a group name or a gid");
  const ::group* entry = ::getgrnam(name.c_str());
  if (!entry) wrong(member, "unknown group: \"" + name + "\"");
  return entry->gr_gid;
}

}  // namespace cloister::config
