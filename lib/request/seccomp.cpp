#include "seccomp.hpp"

#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>

#include "reader.hpp"
#include "sys/names.hpp"
#include "words.hpp"

namespace cloister::request {
namespace {

constexpr size_t kMostRules = 4096;
constexpr size_t kMostNames = 16384;  // of all rules together
// Of all rules together: libseccomp compares each with each.
constexpr size_t kMostComparisons = 512;
constexpr size_t kMostName = 64;
constexpr uint32_t kMostErrno = 4095;  // SECCOMP_RET_DATA that the kernel takes, seccomp(2)

// Reading stops at the first problem.
class Taker {
 public:
  std::optional<Problem> problem;
  size_t comparisons = 0, names_taken = 0;

  bool refuse(std::string field, std::string reason, std::string expected, const json& got) {
    if (!problem)
      problem = Problem{Problem::Kind::invalid, std::move(field), std::move(reason),
                        std::move(expected), shown(got)};
    return false;
  }

  // The members of an object are named to `visit`; one that it does not take is
  // unknown. null is absent.
  template <class Visit>
  bool members(const json& object, const std::string& at, const char* known, Visit&& visit) {
    const auto* all = object.get_ptr<const json::object_t*>();
    if (!all) return refuse(at, "has the wrong type", "an object", object);
    for (const auto& entry : *all) {
      const std::string field = at + '.' + entry.first;
      if (entry.second.is_null()) continue;
      if (!visit(entry.first, field, entry.second) && !problem)
        return refuse(field, "is unknown", known, json(entry.first));
      if (problem) return false;
    }
    return true;
  }

  template <class Visit>
  bool elements(const json& list, const std::string& at, size_t most, Visit&& visit) {
    const auto* all = list.get_ptr<const json::array_t*>();
    if (!all) return refuse(at, "has the wrong type", "an array", list);
    if (all->size() > most)
      return refuse(at, "has the wrong length", "at most " + std::to_string(most) + " elements",
                    json(all->size()));
    for (size_t i = 0; i < all->size(); ++i)
      if (!visit(at + '[' + std::to_string(i) + ']', (*all)[i])) return false;
    return true;
  }

  bool text(const json& value, const std::string& at, std::string& out, const char* expected,
            size_t most = 128) {
    const auto* read = value.get_ptr<const std::string*>();
    if (!read || read->empty() || read->size() > most)
      return refuse(at, "has the wrong type or length", expected, value);
    out = *read;
    return true;
  }

  bool texts(const json& value, const std::string& at, std::vector<std::string>& out,
             const char* expected) {
    return elements(value, at, 256, [&](const std::string& here, const json& item) {
      return text(item, here, out.emplace_back(), expected);
    });
  }

  bool natural(const json& value, const std::string& at, uint64_t high, uint64_t& out) {
    const auto* read = value.get_ptr<const uint64_t*>();
    if (!read || !value.is_number_unsigned() || *read > high)
      return refuse(at, "is out of range", "0 to " + std::to_string(high), value);
    out = *read;
    return true;
  }

  // `groups`: "@mount" stands for its members.
  bool name(const json& value, const std::string& at, bool groups, std::vector<std::string>& out) {
    const char* const expected = groups ? "the name of a system call, or a group such as \"@mount\""
                                        : "the name of a system call";
    std::string read;
    if (!text(value, at, read, expected, kMostName)) return false;
    if (groups && read[0] == '@') {
      const auto* members = seccomp_group(read);
      if (!members) {
        std::string known;
        for (const std::string& group : seccomp_groups())
          known += (known.empty() ? "" : ", ") + group;
        return refuse(at, "is not a group", "one of " + known, value);
      }
      out.insert(out.end(), members->begin(), members->end());
    } else {
      for (const char c : read)
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_')
          return refuse(at, "is not a name", expected, value);
      out.push_back(std::move(read));
    }
    if (++names_taken > kMostNames)
      return refuse(at, "exceeds the number of names", "at most " + std::to_string(kMostNames),
                    value);
    return true;
  }

  bool names(const json& value, const std::string& at, bool groups, std::vector<std::string>& out) {
    return elements(value, at, kMostNames, [&](const std::string& here, const json& item) {
      return name(item, here, groups, out);
    });
  }

  // By name, or by number as OCI profiles have it.
  bool error_number(const json& value, const std::string& at, uint32_t low, uint32_t& out) {
    if (const auto* read = value.get_ptr<const std::string*>()) {
      for (int number = 1; number < 256; ++number)
        if (sys::errno_name(number) == *read) {
          out = static_cast<uint32_t>(number);
          return true;
        }
      return refuse(at, "is not an errno", "a name such as \"EPERM\", or a number", value);
    }
    uint64_t number = 0;
    if (!natural(value, at, kMostErrno, number)) return false;
    if (number < low) return refuse(at, "would report success", "an errno from 1 to 4095", value);
    out = static_cast<uint32_t>(number);
    return true;
  }
};

// --- the short forms ------------------------------------------------------------

bool take_changes(Taker& in, const json& document, const std::string& at, SeccompProfile& out) {
  out.base = SeccompProfile::Base::standard;
  out.denial = {SeccompAction::error, EPERM};
  return in.members(document, at, "deny, permit and errno",
                    [&](const std::string& name, const std::string& field, const json& value) {
                      if (name == "deny") return in.names(value, field, true, out.deny);
                      if (name == "permit") return in.names(value, field, true, out.permit);
                      if (name == "errno")
                        return in.error_number(value, field, 1, out.denial.error);
                      return false;
                    });
}

bool take_allowed(Taker& in, const json& document, const std::string& at, SeccompProfile& out) {
  static constexpr std::pair<const char*, SeccompAction> kWords[] = {
      {"errno", SeccompAction::error},
      {"trap", SeccompAction::trap},
      {"kill_thread", SeccompAction::kill_thread},
      {"kill_process", SeccompAction::kill_process}};
  out.base = SeccompProfile::Base::own;
  out.otherwise = {SeccompAction::error, EPERM};
  SeccompRule rule;
  const bool good =
      in.members(document, at, "allow, default and errno",
                 [&](const std::string& name, const std::string& field, const json& value) {
                   if (name == "allow") return in.names(value, field, true, rule.names);
                   if (name == "errno")
                     return in.error_number(value, field, 1, out.otherwise.error);
                   if (name != "default") return false;
                   for (const auto& [word, action] : kWords)
                     if (value == word) {
                       out.otherwise.action = action;
                       return true;
                     }
                   return in.refuse(field, "is not an allowed word",
                                    "errno, trap, kill_thread, kill_process", value);
                 });
  if (!good) return false;
  if (out.otherwise.action != SeccompAction::error) {
    if (document.contains("errno") && !document["errno"].is_null())
      return in.refuse(at + ".errno", "belongs to \"default\": \"errno\"", "no errno",
                       document["errno"]);
    out.otherwise.error = 0;
  }
  out.rules.push_back(std::move(rule));
  return true;
}

// --- the profile of an OCI runtime ------------------------------------------------

bool take_action(Taker& in, const json& value, const std::string& at, SeccompAnswer& out) {
  static constexpr std::pair<const char*, SeccompAction> kActions[] = {
      {"SCMP_ACT_ALLOW", SeccompAction::allow},
      {"SCMP_ACT_ERRNO", SeccompAction::error},
      {"SCMP_ACT_TRAP", SeccompAction::trap},
      {"SCMP_ACT_KILL", SeccompAction::kill_thread},
      {"SCMP_ACT_KILL_THREAD", SeccompAction::kill_thread},
      {"SCMP_ACT_KILL_PROCESS", SeccompAction::kill_process}};
  for (const auto& [word, action] : kActions)
    if (value == word) {
      out.action = action;
      return true;
    }
  const char* const expected =
      "SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_TRAP, SCMP_ACT_KILL or SCMP_ACT_KILL_PROCESS";
  if (value == "SCMP_ACT_NOTIFY")
    return in.refuse(at, "needs a supervisor that answers, and a job has none", expected, value);
  if (value == "SCMP_ACT_TRACE")
    return in.refuse(at, "needs a tracer; without one every such call fails", expected, value);
  if (value == "SCMP_ACT_LOG")
    return in.refuse(at, "would let a payload fill the log of the host", expected, value);
  return in.refuse(at, "is not an action", expected, value);
}

bool take_comparison(Taker& in, const json& document, const std::string& at,
                     SeccompComparison& out) {
  static constexpr std::pair<const char*, SeccompOperator> kOperators[] = {
      {"SCMP_CMP_NE", SeccompOperator::ne},
      {"SCMP_CMP_LT", SeccompOperator::lt},
      {"SCMP_CMP_LE", SeccompOperator::le},
      {"SCMP_CMP_EQ", SeccompOperator::eq},
      {"SCMP_CMP_GE", SeccompOperator::ge},
      {"SCMP_CMP_GT", SeccompOperator::gt},
      {"SCMP_CMP_MASKED_EQ", SeccompOperator::masked_eq}};
  bool has_index = false, has_value = false, has_op = false;
  const bool good =
      in.members(document, at, "index, value, valueTwo and op",
                 [&](const std::string& name, const std::string& field, const json& value) {
                   uint64_t number = 0;
                   if (name == "index") {
                     has_index = in.natural(value, field, 5, number);
                     out.index = static_cast<uint32_t>(number);
                     return has_index;
                   }
                   if (name == "value")
                     return has_value = in.natural(value, field, UINT64_MAX, out.value);
                   if (name == "valueTwo")
                     return in.natural(value, field, UINT64_MAX, out.value_two);
                   if (name != "op") return false;
                   for (const auto& [word, op] : kOperators)
                     if (value == word) {
                       out.op = op;
                       return has_op = true;
                     }
                   return in.refuse(field, "is not a comparison",
                                    "SCMP_CMP_NE, _LT, _LE, _EQ, _GE, _GT or _MASKED_EQ", value);
                 });
  if (!good) return false;
  if (has_index && has_value && has_op) return true;
  return in.refuse(at, "is incomplete", "index, value and op", document);
}

bool take_conditions(Taker& in, const json& document, const std::string& at,
                     SeccompConditions& out) {
  return in.members(
      document, at, "caps, arches and minKernel",
      [&](const std::string& name, const std::string& field, const json& value) {
        if (name == "arches")
          return in.texts(value, field, out.architectures, "an architecture such as \"amd64\"");
        if (name == "caps")
          return in.elements(value, field, 64, [&](const std::string& here, const json& item) {
            const auto* word = item.get_ptr<const std::string*>();
            const auto number = word ? value_of(capabilities(), *word) : std::nullopt;
            if (!number)
              return in.refuse(here, "is not a capability", "a name such as \"CAP_SYS_ADMIN\"",
                               item);
            out.capabilities |= uint64_t{1} << *number;
            return true;
          });
        if (name != "minKernel") return false;
        std::string version;
        if (!in.text(value, field, version, "a version such as \"4.8\"", 16)) return false;
        auto& [major, minor] = out.min_kernel.emplace();
        const char* const end = version.data() + version.size();
        const auto first = std::from_chars(version.data(), end, major);
        if (first.ec == std::errc() && first.ptr != end && *first.ptr == '.') {
          const auto second = std::from_chars(first.ptr + 1, end, minor);
          if (second.ec == std::errc() && second.ptr == end) return true;
        }
        return in.refuse(field, "is not a version", "two numbers such as \"4.8\"", value);
      });
}

bool take_rule(Taker& in, const json& document, const std::string& at, SeccompRule& out) {
  bool acts = false, has_error = false;
  std::string comment;
  const bool good = in.members(
      document, at, "names, name, action, errnoRet, args, comment, includes and excludes",
      [&](const std::string& name, const std::string& field, const json& value) {
        if (name == "names") return in.names(value, field, false, out.names);
        if (name == "name") return in.name(value, field, false, out.names);
        if (name == "action") return acts = take_action(in, value, field, out.answer);
        if (name == "errnoRet")
          return has_error = in.error_number(value, field, 0, out.answer.error);
        if (name == "comment") return value == "" || in.text(value, field, comment, "text", 4096);
        if (name == "includes") return take_conditions(in, value, field, out.includes);
        if (name == "excludes") return take_conditions(in, value, field, out.excludes);
        if (name == "args")
          return in.elements(value, field, 64, [&](const std::string& here, const json& item) {
            if (++in.comparisons > kMostComparisons)
              return in.refuse(here, "exceeds the number of comparisons",
                               "at most " + std::to_string(kMostComparisons), item);
            return take_comparison(in, item, here, out.arguments.emplace_back());
          });
        return false;
      });
  if (!good) return false;
  if (!acts) return in.refuse(at + ".action", "is missing", "an action", document);
  if (out.names.empty()) return in.refuse(at + ".names", "is missing", "system calls", document);
  // Profiles have errnoRet beside other actions too, where it says nothing.
  if (out.answer.action != SeccompAction::error)
    out.answer.error = 0;
  else if (!has_error)
    out.answer.error = EPERM;
  return true;
}

bool take_flag(Taker& in, const json& value, const std::string& at, SeccompProfile& out) {
  if (value == "SECCOMP_FILTER_FLAG_TSYNC") return true;  // a payload starts with one thread
  if (value == "SECCOMP_FILTER_FLAG_LOG") return out.log = true;
  if (value == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") return out.spec_allow = true;
  return in.refuse(at, "is not a flag",
                   "SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG or "
                   "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                   value);
}

bool take_oci(Taker& in, const json& document, const std::string& at, SeccompProfile& out) {
  out.base = SeccompProfile::Base::own;
  bool acts = false, has_error = false;
  const char* const arch = "a name such as \"SCMP_ARCH_X86_64\"";
  const bool good = in.members(
      document, at, "defaultAction, defaultErrnoRet, architectures, archMap, syscalls and flags",
      [&](const std::string& name, const std::string& field, const json& value) {
        if (name == "defaultAction") return acts = take_action(in, value, field, out.otherwise);
        if (name == "defaultErrnoRet")
          return has_error = in.error_number(value, field, 0, out.otherwise.error);
        if (name == "architectures") return in.texts(value, field, out.architectures, arch);
        if (name == "archMap")
          return in.elements(value, field, 64, [&](const std::string& here, const json& item) {
            SeccompArchitectures& one = out.architecture_map.emplace_back();
            const bool read = in.members(
                item, here, "architecture and subArchitectures",
                [&](const std::string& key, const std::string& place, const json& inner) {
                  if (key == "architecture") return in.text(inner, place, one.native, arch);
                  if (key == "subArchitectures") return in.texts(inner, place, one.more, arch);
                  return false;
                });
            if (!read) return false;
            return !one.native.empty() ||
                   in.refuse(here + ".architecture", "is missing", arch, item);
          });
        if (name == "syscalls")
          return in.elements(value, field, kMostRules,
                             [&](const std::string& here, const json& item) {
                               return take_rule(in, item, here, out.rules.emplace_back());
                             });
        if (name == "flags")
          return in.elements(value, field, 16, [&](const std::string& here, const json& item) {
            return take_flag(in, item, here, out);
          });
        return false;
      });
  if (!good) return false;
  if (!acts) return in.refuse(at + ".defaultAction", "is missing", "an action", document);
  if (!out.architectures.empty() && !out.architecture_map.empty())
    return in.refuse(at + ".archMap", "and architectures exclude each other", "one of them",
                     document["archMap"]);
  if (out.otherwise.action != SeccompAction::error)
    out.otherwise.error = 0;
  else if (!has_error)
    out.otherwise.error = EPERM;
  return true;
}

bool has(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && !found->is_null();
}

}  // namespace

Result<SeccompProfile> read_seccomp(const json& document, std::string path) {
  Taker in;
  SeccompProfile profile;
  bool good = true;
  if (document == "default") {
    profile.base = SeccompProfile::Base::standard;
    profile.denial = {SeccompAction::error, EPERM};
  } else if (!document.is_object()) {
    good = document == "none" ||
           in.refuse(path, "is not one of the alternatives",
                     "\"none\", \"default\", {\"deny\": ...}, {\"allow\": ...} or an OCI profile",
                     document);
  } else if (has(document, "defaultAction")) {
    good = take_oci(in, document, path, profile);
  } else if (has(document, "allow")) {
    good = take_allowed(in, document, path, profile);
  } else if (has(document, "deny") || has(document, "permit")) {
    good = take_changes(in, document, path, profile);
  } else {
    good = in.refuse(path, "is not one of the alternatives",
                     "an object with deny, permit, allow or defaultAction", document);
  }
  if (!good) return *std::move(in.problem);
  return profile;
}

}  // namespace cloister::request
