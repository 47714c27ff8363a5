// Draft: a Plan that is being written. One function for each part of the
// request; each fills in its part and returns the first problem, if any.
// Internal to resolve.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/builder.hpp"
#include "resolve/caller.hpp"
#include "resolve/descriptors.hpp"

namespace cloister::front {

using MaybeProblem = std::optional<Problem>;

struct Draft {
  const request::Effective& effective;
  const Request& request;
  const Caller& caller;
  Descriptors descriptors;
  plan::Builder plan{};
  std::optional<std::string> named_home{};  // of the user that `identity` names
  std::string cwd_of_workspace{};
  std::string home_inside{};                        // once a mount at "~" has decided it
  bool home_is_mounted = false;                     // there is one
  std::optional<std::vector<std::string>> homes{};  // of homes_of()
  std::vector<std::string> notes{};                 // what a dry run says beside the numbers
  std::vector<std::string> warnings{};              // what a person is told before a run
  std::vector<std::string> mount_fields{};  // of the request, one for each mount of the plan
};

MaybeProblem resolve_identity(Draft& draft);  // first: it sets named_home
MaybeProblem resolve_namespaces(Draft& draft);
MaybeProblem resolve_outbound(Draft& draft, const Outbound& outbound);  // of resolve_namespaces
MaybeProblem resolve_mounts(Draft& draft);      // and all that is one in the end
MaybeProblem check_leased(Draft& draft);        // what a job with leased ids must not do
MaybeProblem resolve_streams(Draft& draft);     // and file_actions
MaybeProblem resolve_program(Draft& draft);     // executable, argv, env, cwd
MaybeProblem resolve_seccomp(Draft& draft);     // after program: it knows how it is executed
MaybeProblem resolve_numbers(Draft& draft);     // signals, scheduling, limits, lifetime
MaybeProblem resolve_privileges(Draft& draft);  // capabilities, dumpable; after the numbers
MaybeProblem resolve_landlock(Draft& draft);

// Of whom the payload runs as (home.cpp), for "~"; empty if there is none.
std::string home_outside(const Draft& draft);  // where sources are opened
std::string home_inside(const Draft& draft);   // what HOME says in the box
// Every place that is home of the caller or of whom it runs as.
const std::vector<std::string>& homes_of(Draft& draft);
void set_home(Draft& draft, std::map<std::string, std::string>& env);

// `bytes` in memory that nobody can change any more, opened for reading.
request::Result<sys::UniqueFd> sealed_content(const std::string& field, const std::string& bytes);

// The absolute form of `path`, "~" expanded; empty where that needs a home and
// there is none. The first for what is opened here, the second for places inside.
std::string expand_home(const Draft& draft, const std::string& path);
std::string expand_inside(const Draft& draft, const std::string& path);

// The lines that the request itself has; none where it leaves them to be chosen.
inline std::optional<std::vector<IdMapping>> lines_of(const std::optional<IdMap>& map) {
  const auto* lines = map ? std::get_if<std::vector<IdMapping>>(&*map) : nullptr;
  return lines ? std::optional(*lines) : std::nullopt;
}

// What the payload can come to hold, as a mask of 1 << CAP_*.
inline uint64_t bounding_set(const Draft& draft) {
  if (draft.request.capabilities) return draft.request.capabilities->bounding.value_or(0);
  // posix_spawn(3) as oneself: root keeps what root has.
  return draft.request.defaults == Defaults::caller && draft.caller.uid == 0 ? kAllCapabilities : 0;
}

inline Problem refused(std::string field, std::string reason, std::string expected = {},
                       std::string got = {}) {
  return {Problem::Kind::invalid, std::move(field), std::move(reason), std::move(expected),
          std::move(got)};
}
// A system call on behalf of `field` failed with `error`.
Problem failed_call(std::string field, std::string what, int error);

}  // namespace cloister::front
