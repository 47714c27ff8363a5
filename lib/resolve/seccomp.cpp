// The client's own filter, from its words to the bytes of the Plan.
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <charconv>
#include <cstring>
#include <list>
#include <nlohmann/json.hpp>

#include "resolve/draft.hpp"
#include "resolve/filter.hpp"

namespace cloister::front {
namespace {

// Compiled once for each text: those of shipped profiles in the nursery, from
// which every front is forked; a client's own as often as it comes again.
struct Cached {
  std::string key;
  Filter filter;
};
constexpr size_t kMostCached = 16;

FilterSetting setting_of(const Draft& draft) {
  FilterSetting setting;
  setting.capabilities = bounding_set(draft);
  utsname host{};
  if (::uname(&host) == 0) {
    const char* const end = host.release + std::strlen(host.release);
    const auto major = std::from_chars(host.release, end, setting.kernel_major);
    if (major.ptr != end) std::from_chars(major.ptr + 1, end, setting.kernel_minor);
  }
  return setting;
}

request::Result<const Filter*> compiled(const Draft& draft) {
  static std::list<Cached> cache;
  const FilterSetting setting = setting_of(draft);
  const std::string& text = draft.request.seccomp->json;
  const std::string key = std::to_string(setting.capabilities) + ' ' + text;
  for (const Cached& one : cache)
    if (one.key == key) return &one.filter;
  const auto document = request::parse_text(text);
  if (!document) return document.error();
  const auto profile = request::read_seccomp(*document);
  if (!profile) return profile.error();
  auto filter = compile_filter(*profile, setting);
  if (!filter) return filter.error();
  if (cache.size() == kMostCached) cache.pop_back();
  cache.push_front({key, *std::move(filter)});
  return &cache.front().filter;
}

// Init has loaded the filter when it calls execve(2), and the program has to be
// able to end. Pointers are what an attacker of the client's would choose, so
// every kind of argument has to be let through.
MaybeProblem lets_a_program_run(Draft& draft, const Filter& filter) {
  const bool by_descriptor = draft.plan->executable_descriptor != plan::kNone;
  const struct {
    int number;
    const char* name;
  } needed[] = {{by_descriptor ? SYS_execveat : SYS_execve, by_descriptor ? "execveat" : "execve"},
                {SYS_exit_group, "exit_group"}};
  for (const auto& [number, name] : needed)
    for (const uint64_t argument : {uint64_t{0}, uint64_t{0x7ffd12345678}, UINT64_MAX})
      if (native_answer(filter, number, argument) != SECCOMP_RET_ALLOW)
        return refused("seccomp", std::string("would not let the payload call ") + name,
                       std::string("a filter that allows ") + name, "");
  return std::nullopt;
}

}  // namespace

MaybeProblem resolve_seccomp(Draft& draft) {
  if (!draft.request.seccomp) return std::nullopt;
  const auto filter = compiled(draft);
  if (!filter) return filter.error();
  const Filter& chosen = **filter;
  if (chosen.program.empty()) return std::nullopt;
  if (auto problem = lets_a_program_run(draft, chosen)) return problem;
  draft.plan->seccomp = draft.plan.span(chosen.program);
  draft.plan->seccomp_flags = chosen.flags;
  draft.notes.insert(draft.notes.end(), chosen.notes.begin(), chosen.notes.end());
  draft.notes.push_back("seccomp: a filter of " + std::to_string(chosen.program.size()) +
                        " instructions, with the same answers for every ABI that it names");
  return std::nullopt;
}

}  // namespace cloister::front
