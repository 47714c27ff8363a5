// SeccompProfile: the request's `seccomp`, taken apart. Words of the kernel by
// their names; what numbers they are, and which of them this build knows, is
// for whoever compiles it (lib/resolve).
//
// Four ways to write one:
//   "none", "default"
//   {"deny": [...], "permit": [...], "errno": "EPERM"}   the default, and changes to it
//   {"allow": [...], "default": "errno"}                 nothing but these
//   the profile of an OCI runtime: {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [...], ...}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text.hpp"

namespace cloister::request {

// How a filter answers, mildest first; seccomp(2).
enum class SeccompAction { allow, error, trap, kill_thread, kill_process };

struct SeccompAnswer {
  SeccompAction action = SeccompAction::allow;
  uint32_t error = 0;  // errno of SeccompAction::error; 0 feigns success
  bool operator==(const SeccompAnswer&) const = default;
};

enum class SeccompOperator { ne, lt, le, eq, ge, gt, masked_eq };

// Of all 64 bits of an argument.
struct SeccompComparison {
  uint32_t index = 0;  // 0 to 5
  SeccompOperator op = SeccompOperator::eq;
  uint64_t value = 0;      // the mask of masked_eq
  uint64_t value_two = 0;  // what masked_eq compares with
  bool operator==(const SeccompComparison&) const = default;
};

// Where a rule counts. An absent part says nothing.
struct SeccompConditions {
  uint64_t capabilities = 0;               // bit n: CAP_ n
  std::vector<std::string> architectures;  // "amd64", "arm64", ...
  std::optional<std::pair<uint32_t, uint32_t>> min_kernel;
  bool operator==(const SeccompConditions&) const = default;
};

struct SeccompRule {
  std::vector<std::string> names;  // system calls; groups are spelled out
  SeccompAnswer answer;
  std::vector<SeccompComparison> arguments;  // all hold; one argument twice: either holds
  SeccompConditions includes;                // each capability, one of the architectures
  SeccompConditions excludes;                // any capability, any architecture
  bool operator==(const SeccompRule&) const = default;
};

struct SeccompArchitectures {
  std::string native;             // "SCMP_ARCH_X86_64"
  std::vector<std::string> more;  // answered the same where that is the native one
  bool operator==(const SeccompArchitectures&) const = default;
};

struct SeccompProfile {
  enum class Base { none, standard, own };
  Base base = Base::none;

  // Changes to the standard filter.
  std::vector<std::string> deny, permit;
  SeccompAnswer denial;

  // A filter of the client's own.
  SeccompAnswer otherwise;  // what no rule names
  std::vector<SeccompRule> rules;
  std::vector<SeccompArchitectures> architecture_map;  // empty: `architectures` says it
  std::vector<std::string> architectures;              // both empty: the native one and its kin
  bool log = false, spec_allow = false;                // SECCOMP_FILTER_FLAG_*

  bool operator==(const SeccompProfile&) const = default;
};

// `path` begins the field paths of problems. Unknown members, words, groups and
// actions are refused; unknown names of system calls are not known here.
Result<SeccompProfile> read_seccomp(const json& document, std::string path = "seccomp");

// The names behind "@mount" and the like; null where there is no such group.
const std::vector<std::string>* seccomp_group(std::string_view name);
std::vector<std::string> seccomp_groups();  // every "@..."

}  // namespace cloister::request
