// Config: root's own word, cloisterd.json(5). Read at start; names become
// numbers here, so that no user database is asked while a request waits.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace cloister::monitor {

struct IdRange {
  uint32_t first;
  uint32_t last;  // inclusive
  bool holds(uint32_t low, uint32_t high) const { return first <= low && high <= last; }
};

// Further ids that some callers may take on.
struct Grant {
  std::string name;  // told to the caller when it decides
  std::vector<uid_t> users;
  std::vector<gid_t> groups;
  std::vector<IdRange> uids;
  std::vector<IdRange> gids;
};

enum class CgroupChoice { automatic, v2, v1, none };

struct Config {
  std::vector<Grant> grants;
  uint32_t connections = 4096;
  uint32_t connections_per_uid = 1024;
  uint32_t jobs_per_uid = 4096;   // running
  uint32_t kept_per_uid = 10000;  // ended, not removed
  std::chrono::seconds keep{3600};
  uint32_t spare_fronts = 2;
  bool confined_callers = false;
  CgroupChoice cgroup = CgroupChoice::automatic;
};

// Fills `config` from `path`. An empty string, or the sentence that says what
// is wrong: an unknown or repeated member, a wrong type, an unknown user, a
// file that somebody other than `owner` could write.
std::string read_config(const std::string& path, uid_t owner, Config& config);

}  // namespace cloister::monitor
