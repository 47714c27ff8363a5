#include "config.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {
namespace {

using nlohmann::json;

// Thrown and caught in this file only; start-up, no client is waiting.
struct Wrong {
  std::string what;
};

[[noreturn]] void wrong(const std::string& member, const std::string& what) {
  throw Wrong{member + ": " + what};
}

std::string read_file(const std::string& path, uid_t owner) {
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) throw Wrong{std::strerror(errno)};
  struct stat info {};
  if (::fstat(fd.borrow(), &info) < 0) throw Wrong{std::strerror(errno)};
  if (!S_ISREG(info.st_mode)) throw Wrong{"is not a regular file"};
  if (info.st_uid != 0 && info.st_uid != owner)
    throw Wrong{"is owned by uid " + std::to_string(info.st_uid) + ", must be owned by uid " +
                std::to_string(owner)};
  if (info.st_mode & (S_IWGRP | S_IWOTH)) throw Wrong{"is writable by others; chmod go-w it"};
  if (info.st_size > 1 << 20) throw Wrong{"is larger than 1 MiB"};
  std::string text(static_cast<size_t>(info.st_size), '\0');
  if (::read(fd.borrow(), text.data(), text.size()) != info.st_size) throw Wrong{"cannot be read"};
  return text;
}

json parse(const std::string& text) {
  // nlohmann keeps the last of two equal keys; we keep none.
  std::vector<std::set<std::string>> seen;
  std::optional<std::string> repeated;
  const json::parser_callback_t callback = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) seen.emplace_back();
    if (event == json::parse_event_t::object_end) seen.pop_back();
    if (event == json::parse_event_t::key && !seen.back().insert(value.get_ref<std::string&>()).second)
      repeated = value.get_ref<std::string&>();
    return true;
  };
  try {
    json tree = json::parse(text, callback, true, true);
    if (repeated) wrong(*repeated, "stands twice");
    return tree;
  } catch (const json::parse_error& error) {
    throw Wrong{error.what()};
  }
}

uint32_t whole(const std::string& member, const json& value, uint32_t low, uint32_t high) {
  if (!value.is_number_unsigned() || value.get_ref<const uint64_t&>() < low ||
      value.get_ref<const uint64_t&>() > high)
    wrong(member, "must be a whole number from " + std::to_string(low) + " to " +
                      std::to_string(high));
  return static_cast<uint32_t>(value.get_ref<const uint64_t&>());
}

bool truth(const std::string& member, const json& value) {
  if (!value.is_boolean()) wrong(member, "must be true or false");
  return value.get_ref<const bool&>();
}

constexpr uint32_t kHighestId = UINT32_MAX - 1;  // (uid_t)-1 means "unchanged" to the kernel

IdRange range(const std::string& member, const json& value) {
  if (value.is_number()) {
    const uint32_t id = whole(member, value, 0, kHighestId);
    return {id, id};
  }
  if (!value.is_string()) wrong(member, "must be an id or a string \"FIRST-LAST\"");
  const auto& text = value.get_ref<const std::string&>();
  IdRange ids{};
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, ids.first);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '-')
    wrong(member, "\"" + text + "\" is not FIRST-LAST");
  const auto last = std::from_chars(first.ptr + 1, end, ids.last);
  if (last.ec != std::errc{} || last.ptr != end || ids.last < ids.first || ids.last > kHighestId)
    wrong(member, "\"" + text + "\" is not FIRST-LAST");
  return ids;
}

uint32_t user(const std::string& member, const json& value) {
  if (value.is_number()) return whole(member, value, 0, kHighestId);
  if (!value.is_string()) wrong(member, "must be a user name or a uid");
  const passwd* entry = ::getpwnam(value.get_ref<const std::string&>().c_str());
  if (!entry) wrong(member, "there is no user \"" + value.get_ref<const std::string&>() + "\"");
  return entry->pw_uid;
}

uint32_t group(const std::string& member, const json& value) {
  if (value.is_number()) return whole(member, value, 0, kHighestId);
  if (!value.is_string()) wrong(member, "must be a group name or a gid");
  const ::group* entry = ::getgrnam(value.get_ref<const std::string&>().c_str());
  if (!entry) wrong(member, "there is no group \"" + value.get_ref<const std::string&>() + "\"");
  return entry->gr_gid;
}

template <class T>
std::vector<T> list(const std::string& member, const json& value,
                    T (*element)(const std::string&, const json&)) {
  if (!value.is_array()) wrong(member, "must be an array");
  std::vector<T> all;
  for (size_t i = 0; i < value.size(); ++i)
    all.push_back(element(member + "[" + std::to_string(i) + "]", value[i]));
  return all;
}

Grant grant(const std::string& member, const json& value) {
  if (!value.is_object()) wrong(member, "must be an object");
  Grant grant{member, {}, {}, {}, {}};
  for (const auto& [key, inner] : value.items()) {
    const std::string at = member + "." + key;
    if (key == "name") {
      if (!inner.is_string() || inner.get_ref<const std::string&>().size() > 63)
        wrong(at, "must be a string of at most 63 bytes");
      grant.name = inner.get_ref<const std::string&>();
    } else if (key == "users") {
      grant.users = list<uint32_t>(at, inner, user);
    } else if (key == "groups") {
      grant.groups = list<uint32_t>(at, inner, group);
    } else if (key == "uids") {
      grant.uids = list<IdRange>(at, inner, range);
    } else if (key == "gids") {
      grant.gids = list<IdRange>(at, inner, range);
    } else {
      wrong(at, "is no member of a grant; there are name, users, groups, uids, gids");
    }
  }
  return grant;
}

CgroupChoice cgroup(const std::string& member, const json& value) {
  if (value == "auto") return CgroupChoice::automatic;
  if (value == "v2") return CgroupChoice::v2;
  if (value == "v1") return CgroupChoice::v1;
  if (value == "none") return CgroupChoice::none;
  wrong(member, "must be \"auto\", \"v2\", \"v1\" or \"none\"");
}

void fill(const json& tree, Config& config) {
  if (!tree.is_object()) throw Wrong{"must hold one JSON object"};
  for (const auto& [key, value] : tree.items()) {
    if (key == "grants")
      config.grants = list<Grant>(key, value, grant);
    else if (key == "max_connections")
      config.connections = whole(key, value, 1, 1u << 20);
    else if (key == "max_connections_per_uid")
      config.connections_per_uid = whole(key, value, 1, 1u << 20);
    else if (key == "max_jobs_per_uid")
      config.jobs_per_uid = whole(key, value, 1, 1u << 20);
    else if (key == "max_verdicts_per_uid")
      config.kept_per_uid = whole(key, value, 1, 1u << 20);
    else if (key == "keep_verdicts_s")
      config.keep = std::chrono::seconds(whole(key, value, 1, 30 * 86400));
    else if (key == "spare_fronts")
      config.spare_fronts = whole(key, value, 1, 64);
    else if (key == "allow_confined_callers")
      config.confined_callers = truth(key, value);
    else if (key == "cgroup")
      config.cgroup = cgroup(key, value);
    else
      wrong(key, "is not a setting of cloisterd; cloisterd.json(5) lists them");
  }
}

}  // namespace

std::string read_config(const std::string& path, uid_t owner, Config& config) {
  try {
    Config fresh;
    fill(parse(read_file(path, owner)), fresh);
    config = std::move(fresh);
    return {};
  } catch (const Wrong& problem) {
    return path + ": " + problem.what;
  }
}

}  // namespace cloister::monitor
