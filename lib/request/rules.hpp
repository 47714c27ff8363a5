// Rules of the table's rows that are more than a range. Internal to lib/request.
#pragma once

#include <string_view>

#include "cloister/request.hpp"

namespace cloister::request {

// Of the keys of a map: null if good, else what is expected.
const char* env_name_rule(std::string_view key);
const char* tag_key_rule(std::string_view key);
const char* rlimit_rule(std::string_view key);
const char* sysctl_rule(std::string_view key);
const char* secret_name_rule(std::string_view key);

// Null, or the rule that the members break together.
const char* broken(const Capture&);
const char* broken(const OpenAction&);
const char* broken(const CloseRangeAction&);
const char* broken(const Scheduler&);
const char* broken(const IoPriority&);
const char* broken(const Ids&);
const char* broken(const IdMapping&);
const char* broken(const Tmpfs&);
const char* broken(const Directory&);
const char* broken(const Scratch&);
const char* broken(const FileContent&);
const char* broken(const Overlay&);
const char* broken(const Mount&);
const char* broken(const Capabilities&);
const char* broken(const LandlockPath&);
const char* broken(const Landlock&);
const char* broken(const Rlimit&);

template <class S>
const char* broken_rule(const void* object) {
  return broken(*static_cast<const S*>(object));
}

}  // namespace cloister::request
