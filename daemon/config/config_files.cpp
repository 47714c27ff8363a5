#include "config_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "sys/root.hpp"
#include "sys/unique_fd.hpp"
#include "values.hpp"

namespace cloister::config {
namespace {

std::string read_file(const std::string& path, uid_t owner) {
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) wrong("", std::strerror(errno));
  struct stat info {};
  if (::fstat(fd.borrow(), &info) < 0) wrong("", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) wrong("", "is not a regular file");
  if (!sys::is_roots(info.st_uid) && info.st_uid != owner)
    wrong("", "is owned by uid " + std::to_string(info.st_uid) + ", must be owned by uid " +
                  std::to_string(owner));
  if (info.st_mode & (S_IWGRP | S_IWOTH)) wrong("", "is writable by others; chmod go-w it");
  if (info.st_size > off_t{plan::kMaxPolicyFile}) wrong("", "is larger than 1 MiB");
  std::string text(static_cast<size_t>(info.st_size), '\0');
  if (::read(fd.borrow(), text.data(), text.size()) != info.st_size) wrong("", "cannot be read");
  return text;
}

// nlohmann says where, and then the text that it found there, which is left out:
// who may ask the service may not be allowed to read the file.
[[noreturn]] void wrong_at(std::string_view text, const json::parse_error& error) {
  const std::string_view before = text.substr(0, error.byte);
  const auto lines = 1 + std::count(before.begin(), before.end(), '\n');
  std::string reason = error.what();
  if (const size_t at = reason.find("syntax error"); at != reason.npos) reason.erase(0, at);
  reason.erase(std::min(reason.find("; last read"), reason.size()));
  wrong("line " + std::to_string(lines), reason);
}

json parse(std::string_view text) {
  // nlohmann keeps the last of two equal keys; we keep none.
  std::vector<std::set<std::string>> seen;
  std::optional<std::string> repeated;
  const json::parser_callback_t callback = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) seen.emplace_back();
    if (event == json::parse_event_t::object_end) seen.pop_back();
    if (event == json::parse_event_t::key &&
        !seen.back().insert(value.get_ref<std::string&>()).second)
      repeated = value.get_ref<std::string&>();
    return true;
  };
  try {
    json tree = json::parse(text, callback, true, true);
    if (repeated) wrong(*repeated, "duplicate key");
    return tree;
  } catch (const json::parse_error& error) {
    wrong_at(text, error);
  } catch (const json::exception& error) {
    wrong("", error.what());
  }
}

std::string absolute(const std::string& member, const json& value) {
  const auto* text = value.template get_ptr<const std::string*>();
  if (!text || !text->starts_with('/') || text->find('\0') != std::string::npos)
    wrong(member, "must be an absolute path");
  return *text;
}

plan::CgroupChoice cgroup(const std::string& member, const json& value) {
  if (value == "auto") return plan::CgroupChoice::automatic;
  if (value == "v2") return plan::CgroupChoice::v2;
  if (value == "v1") return plan::CgroupChoice::v1;
  if (value == "none") return plan::CgroupChoice::none;
  wrong(member, "must be \"auto\", \"v2\", \"v1\" or \"none\"");
}

// As it is read: a rule takes from the common quota what it does not say.
struct Settings {
  Config config;
  json rules = json::array();
};

constexpr Member<Settings> kSettings[] = {
    {"rules", [](auto&, auto& value, Settings& all) { all.rules = value; }},
    {"quota",
     [](auto& at, auto& value, Settings& all) { all.config.quota = quota(at, value, {}); }},
    {"max_connections",
     [](auto& at, auto& value, Settings& all) {
       all.config.settings.connections = count(at, value, 1);
     }},
    {"max_verdicts_per_uid",
     [](auto& at, auto& value, Settings& all) {
       all.config.settings.kept_per_uid = count(at, value, 1);
     }},
    {"keep_verdicts_s",
     [](auto& at, auto& value, Settings& all) {
       all.config.settings.keep_s = static_cast<uint32_t>(whole(at, value, 1, plan::kMaxKeepS));
     }},
    {"spare_fronts",
     [](auto& at, auto& value, Settings& all) {
       all.config.settings.spare_fronts =
           static_cast<uint32_t>(whole(at, value, 1, plan::kMaxSpareFronts));
     }},
    {"allow_confined_callers",
     [](auto& at, auto& value, Settings& all) {
       all.config.settings.confined_callers = truth(at, value);
     }},
    {"pasta", [](auto& at, auto& value, Settings& all) { all.config.pasta = absolute(at, value); }},
    {"scratch",
     [](auto& at, auto& value, Settings& all) { all.config.scratch = absolute(at, value); }},
    {"lease",
     [](auto& at, auto& value, Settings& all) { all.config.settings.lease = pool(at, value); }},
    {"cgroup",
     [](auto& at, auto& value, Settings& all) { all.config.settings.cgroup = cgroup(at, value); }},
};

Config config_of(std::string_view text) {
  const json tree = parse(text);
  if (!tree.is_object()) wrong("", "must hold one JSON object");
  Settings settings;
  read_members("", tree, kSettings, settings);
  settings.config.rules = rules(settings.rules, settings.config.quota);
  return std::move(settings.config);
}

}  // namespace

Misconfiguration parse_config(std::string_view text, Config& config) {
  try {
    config = config_of(text);
    return {};
  } catch (const Wrong& problem) {
    return {{}, problem.member, problem.what};
  }
}

Misconfiguration read_config(const std::string& path, uid_t owner, Config& config) {
  try {
    config = config_of(read_file(path, owner));
    return {};
  } catch (const Wrong& problem) {
    return {path, problem.member, problem.what};
  }
}

}  // namespace cloister::config
