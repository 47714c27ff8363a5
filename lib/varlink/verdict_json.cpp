// Verdict and JobInfo as JSON, and the words for their enumerators.
#include <string>
#include <string_view>

#include "cloister/job.hpp"
#include "cloister/verdict.hpp"
#include "plan/endings.hpp"
#include "request/text.hpp"
#include "varlink/members.hpp"
#include "varlink/render.hpp"

namespace cloister {
namespace {

// Index = enumerator; the first is what a word we do not know becomes.
constexpr std::string_view kModes[] = {"unknown", "system", "user", "private"};
constexpr std::string_view kEndings[] = {"unknown",
#define X(id, words) #id,
                                         CLOISTER_ENDINGS(X)
#undef X
};
constexpr std::string_view kCauses[] = {"unknown",
#define X(id, fault, exit_code, words) #id,
                                        CLOISTER_CAUSES(X)
#undef X
};
constexpr std::string_view kFaults[] = {"unknown",
#define X(id, word) word,
                                        CLOISTER_FAULTS(X)
#undef X
};
constexpr std::string_view kPhases[] = {"unknown", "preparing", "running", "stopped", "ended"};

// The tables have the order of the enumerations.
#define X(id, words) static_assert(kEndings[static_cast<size_t>(Ending::id)] == #id);
CLOISTER_ENDINGS(X)
#undef X
#define X(id, fault, exit_code, words) \
  static_assert(kCauses[static_cast<size_t>(Cause::id)] == #id);
CLOISTER_CAUSES(X)
#undef X
#define X(id, word) static_assert(kFaults[static_cast<size_t>(Fault::id)] == word);
CLOISTER_FAULTS(X)
#undef X
static_assert(std::size(kModes) == static_cast<size_t>(Mode::private_) + 1);
static_assert(std::size(kEndings) == static_cast<size_t>(Ending::lost) + 1);
static_assert(std::size(kCauses) == static_cast<size_t>(Cause::cloister) + 1);
static_assert(std::size(kFaults) == static_cast<size_t>(Fault::cloister) + 1);
static_assert(std::size(kPhases) == static_cast<size_t>(JobPhase::ended) + 1);

template <class Word, size_t count>
void find(const std::string_view (&names)[count], std::string_view name, Word& word) {
  word = Word{};
  for (size_t i = 1; i < count; i++)
    if (names[i] == name) word = static_cast<Word>(i);
}

std::string one_line(const varlink::Json& value) {
  return value.dump(-1, ' ', false, varlink::Json::error_handler_t::replace);
}

}  // namespace

std::string_view to_string(Mode mode) { return kModes[static_cast<size_t>(mode)]; }
std::string_view to_string(Ending ending) { return kEndings[static_cast<size_t>(ending)]; }
std::string_view to_string(Cause cause) { return kCauses[static_cast<size_t>(cause)]; }
std::string_view to_string(Fault fault) { return kFaults[static_cast<size_t>(fault)]; }
std::string_view to_string(JobPhase phase) { return kPhases[static_cast<size_t>(phase)]; }

std::string to_json(const Verdict& verdict) { return one_line(varlink::to_dom(verdict)); }
std::string to_json(const JobInfo& job) { return one_line(varlink::to_dom(job)); }

std::optional<Verdict> verdict_from_json(std::string_view text, std::string* why) {
  std::string reason;
  Verdict verdict;
  const auto parsed = request::parse_text(text);
  if (!parsed) {
    reason = parsed.error().reason;
  } else if (varlink::read(*parsed, verdict, "", reason) && verdict.id.empty()) {
    reason = "id is missing";
  }
  if (reason.empty()) return verdict;
  if (why != nullptr) *why = reason;
  return {};
}

namespace varlink {

void from_string(std::string_view name, Mode& word) { find(kModes, name, word); }
void from_string(std::string_view name, Ending& word) { find(kEndings, name, word); }
void from_string(std::string_view name, Cause& word) { find(kCauses, name, word); }
void from_string(std::string_view name, Fault& word) { find(kFaults, name, word); }
void from_string(std::string_view name, JobPhase& word) { find(kPhases, name, word); }

void put(Json& object, const char* name, Json value) { object[name] = std::move(value); }

const Json* found(const Json& object, const char* name) {
  const auto at = object.find(name);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

std::string below(const std::string& path, const char* name) {
  return path.empty() ? name : path + "." + name;
}

bool read(const Json& value, Verdict& out, const std::string& path, std::string& why) {
  return read_members(value, out, path, why);
}
bool read(const Json& value, JobInfo& out, const std::string& path, std::string& why) {
  return read_members(value, out, path, why);
}
bool read(const Json& value, Failure& out, const std::string& path, std::string& why) {
  return read_members(value, out, path, why);
}

Json to_dom(const Verdict& verdict) { return write(verdict); }
Json to_dom(const JobInfo& job) { return write(job); }

Json to_dom(const Failure& failure) {
  Json dom = Json::object();
  each_field(failure, [&](const char* name, const auto& member) { put(dom, name, write(member)); });
  for (const char* name : {"field", "errno_name", "hint"})
    if (dom[name] == "") dom[name] = nullptr;
  if (failure.error_number == 0) dom["errno"] = nullptr;
  return dom;
}

}  // namespace varlink
}  // namespace cloister
