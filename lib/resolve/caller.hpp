// Caller: who is connected, in the kernel's word, and what the caller's
// process is like. Also where the layers of a request come together.
//
// Runs in the front, as the client: the kernel itself limits what can be read
// of the caller's process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/messages.hpp"
#include "request/layers.hpp"
#include "resolve/profiles.hpp"

namespace cloister::front {

struct Caller {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  pid_t pid = 0;
  bool no_new_privs = false;
  plan::Mode mode = plan::Mode::system;
  uint32_t ids = 0;     // plan::kSubuids | ...
  uint32_t limits = 0;  // plan::kCpuTimeThere | ...
  mutable std::optional<std::string> known_home, known_home_of_process;

  // Of the user database (NSS), asked when first wanted; empty if there is none.
  const std::string& home() const;
  // HOME of the caller's process; empty where that cannot be read, as root's.
  const std::string& home_of_process() const;
  // Where the caller keeps profiles: $XDG_CONFIG_HOME/cloister/profiles, else below
  // ~/.config; empty without a home.
  std::string own_profiles() const;
};

// From the kernel's word.
// The signals that the caller's process ignores, which an exec keeps, execve(2):
// bit n-1 = signal n.
std::optional<Problem> read_ignored(const Caller& caller, uint64_t& ignored);

Caller make_caller(const plan::Peer& peer, std::vector<uint32_t> groups);

// Why limits, "subordinate" and "dynamic" cannot be had, where a layer asks for them.
request::Lacks lacks_of(const Caller& caller, const std::vector<request::Layer>& layers);

// Constants <- the caller's own values, if the profile says so <- what the
// request implies <- profile <- request. Reads the profile's env_pass from the caller's
// environment.
request::Result<request::Effective> complete(const Request& request, const Profiles& profiles,
                                             const Caller& caller);

inline bool is_subordinate(const std::optional<IdMap>& map) {
  return map && std::holds_alternative<SubordinateIds>(*map);
}

}  // namespace cloister::front
