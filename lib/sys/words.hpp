// The kernel's names for what both a request and root's configuration speak
// of, and their values in this build's ABI.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace cloister::sys {

struct Word {
  const char* name;
  int64_t value;
};

std::span<const Word> rlimits();       // RLIMIT_*, value = the resource, getrlimit(2)
std::span<const Word> capabilities();  // CAP_*, capabilities(7)

std::optional<int64_t> value_of(std::span<const Word> words, std::string_view name);
const char* name_of(std::span<const Word> words, int64_t value);  // null if it has none

}  // namespace cloister::sys
