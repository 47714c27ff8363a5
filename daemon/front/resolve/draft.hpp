// Draft: a Plan that is being written. One function for each part of the
// request; each fills in its part and returns the first problem, if any.
// Internal to resolve.
#pragma once

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
  plan::Builder plan;
  std::optional<std::string> named_home;  // of the user that `identity` names
  std::string cwd_of_workspace;
  std::vector<std::string> notes;  // what a dry run says beside the numbers
};

MaybeProblem resolve_identity(Draft& draft);  // first: it sets named_home
MaybeProblem resolve_namespaces(Draft& draft);
MaybeProblem resolve_outbound(Draft& draft, const Outbound& outbound);  // of resolve_namespaces
// The resolv.conf of an outbound job in a mount namespace of its own.
std::optional<Mount> resolver_mount(const Draft& draft);
MaybeProblem resolve_mounts(Draft& draft);   // and all that is one in the end
MaybeProblem check_leased(Draft& draft);     // what a job with leased ids must not do
MaybeProblem resolve_streams(Draft& draft);  // and file_actions
MaybeProblem resolve_program(Draft& draft);  // executable, argv, env, cwd
MaybeProblem resolve_seccomp(Draft& draft);  // after program: it knows how it is executed
MaybeProblem resolve_numbers(Draft& draft);  // signals, scheduling, limits, lifetime
MaybeProblem resolve_privileges(Draft& draft);  // capabilities, dumpable; after the numbers
MaybeProblem resolve_landlock(Draft& draft);

// Of whom the payload runs as, for "~"; empty if there is none.
inline const std::string& home_of(const Draft& draft) {
  return draft.named_home ? *draft.named_home : draft.caller.home();
}

// `bytes` in memory that nobody can change any more, opened for reading.
request::Result<sys::UniqueFd> sealed_content(const std::string& field, const std::string& bytes);

// The absolute form of `path`, "~" expanded; empty where that needs a home and
// there is none.
std::string expand_home(const Draft& draft, const std::string& path);

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
