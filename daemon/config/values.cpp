#include "values.hpp"

#include <grp.h>
#include <pwd.h>

#include <charconv>

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
