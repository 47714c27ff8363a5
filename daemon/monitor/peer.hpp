// Peer: the kernel's word on who is at the other end of a connection.
//
// Read from the socket and, for what a socket does not tell, from /proc under
// a pidfd that proves it was the same process. Nothing here comes from the
// client's bytes.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

using Rlimits = std::array<uint64_t, plan::kRlimits>;

struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::vector<gid_t> groups;
  sys::UniqueFd pidfd;           // SO_PEERPIDFD (6.5), else pidfd_open(2) of the pid
  bool no_new_privs = false;
  uint64_t permitted = 0;        // capabilities; 0 unless every uid of the peer is 0
  uint64_t bounding = 0;
  uint32_t ids = 0;              // plan::kSubuids | ...: what its front is told

  bool holds(int capability) const { return (permitted >> capability) & 1; }
  bool in_group(gid_t group) const;

  // What the peer process itself has; read once, when first asked for. Empty
  // when the peer is gone.
  struct Own {
    Rlimits hard_limits;  // /proc/PID/limits
    int nice;
    int oom_score_adj;
  };
  const std::optional<Own>& own() const;

 private:
  mutable bool own_read_ = false;
  mutable std::optional<Own> own_;
};

// Where the daemon itself stands; a peer that stands elsewhere is confined.
class Surroundings {
 public:
  Surroundings();

  // The part of the daemon's own cgroup path under which jobs live; a peer
  // there is one of our jobs. Empty: no cgroups.
  void jobs_below(std::string cgroup_path) { jobs_ = std::move(cgroup_path); }

  // Null when the peer stands where we stand, else the rule that it breaks:
  // one of "user-namespace", "mnt-namespace", "pid-namespace", "root-directory",
  // "inside-a-job", "caller-is-gone".
  const char* confinement_of(const Peer& peer) const;

 private:
  struct Place {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const Place&) const = default;
  };
  std::array<Place, 4> own_{};
  std::string jobs_;
};

// Credentials and groups: what is needed to count a connection that has said
// nothing yet. Nothing when getsockopt(2) fails, or at more than kMaxGroups groups.
std::optional<Peer> peer_of(int connection);

// Adds pidfd and the facts from /proc. False when the peer is gone.
bool complete(Peer& peer, int connection);

}  // namespace cloister::monitor
