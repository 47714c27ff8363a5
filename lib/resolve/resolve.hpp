// resolve(): an effective request becomes a Plan and the descriptors that go
// with it.
//
// Runs in the front, as the client, with no capability but a root client's
// CAP_DAC_READ_SEARCH: every path is opened with the client's own rights, and
// what the client could not read itself is refused. Names of users are
// resolved here and nowhere later.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "request/layers.hpp"
#include "resolve/caller.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {

struct Resolved {
  std::string plan_block;                  // passes plan::check()
  std::vector<sys::UniqueFd> descriptors;  // as many as the Plan counts, in its order
  std::vector<std::string> notes;          // for people, in a dry run
  std::vector<std::string> warnings;       // for people, before a run
  std::vector<std::string> mount_fields;   // of the request, one for each mount of the Plan
};

// What the request itself does not say.
struct Asked {
  plan::Method method = plan::Method::run;
  uint64_t request_digest = 0;  // digest_of() the request as the client sent it
  uint64_t parse_us = 0;        // goes into the Plan beside the time this takes
};

uint64_t digest_of(const Request& request);

// `passed` are the descriptors of the message, all of them; those that do not
// go into the Plan are closed.
request::Result<Resolved> resolve(const request::Effective& effective,
                                  std::vector<sys::UniqueFd> passed, const Caller& caller,
                                  const Asked& asked);

// What Inspect shows: the effective request without values of the environment
// and without inline content.
std::string shown_request(const Request& effective);

}  // namespace cloister::front
