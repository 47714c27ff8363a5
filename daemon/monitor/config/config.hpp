// Config: root's own word, cloisterd.json(5). Read at start and at SIGHUP;
// names become numbers here, so that no user database is asked while a request
// waits.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "host/cgroup.hpp"
#include "host/lease.hpp"
#include "admit/misconfiguration.hpp"
#include "decide/policy.hpp"
#include "decide/subordinate.hpp"

namespace cloister::monitor {

struct Config {
  Policy policy;
  uint32_t connections = 4096;    // of all users
  uint32_t kept_per_uid = 10000;  // ended, not removed
  std::chrono::seconds keep{3600};
  uint32_t spare_fronts = 2;
  bool confined_callers = false;
  CgroupChoice cgroup = CgroupChoice::automatic;
  std::string pasta = "/usr/bin/pasta";  // for outbound networks
  std::string scratch;                   // for directories on disk; empty: the usual place
  Pool lease;
  SubordinateIds subordinate;  // of its own files, see read_subordinate()
  Misconfiguration wrong;      // if there is one, the rest says nothing
};

// Fills `config` from `path`. Where anything is wrong `config` is what it was: an
// unknown or repeated member, a wrong type, an unknown user, a file that somebody
// other than `owner` could write.
Misconfiguration read_config(const std::string& path, uid_t owner, Config& config);
// The same of a text.
Misconfiguration parse_config(std::string_view text, Config& config);

// Adds what /etc/subuid and /etc/subgid say; lines that make no sense are told
// on standard error. Wrong are: files that others can write, in the service of
// root; and a pool of leases that has ids that are somebody's there.
Misconfiguration read_subordinate(bool of_root, Config& config);

}  // namespace cloister::monitor
