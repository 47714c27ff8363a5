// Peer: the kernel's word on who is at the other end of a connection.
//
// Read from the socket and, for what a socket does not tell, from /proc under
// a pidfd that proves it was the same process. Nothing here comes from the
// client's bytes.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admit/label.hpp"
#include "plan/plan.hpp"
#include "plan/refusals.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

using Rlimits = std::array<uint64_t, plan::kRlimits>;

struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::vector<gid_t> groups;
  sys::UniqueFd pidfd;  // SO_PEERPIDFD (6.5), else pidfd_open(2) of the pid
  bool no_new_privs = false;
  uint64_t permitted = 0;  // capabilities; 0 unless every uid of the peer is 0
  uint64_t bounding = 0;
  uint32_t ids = 0;        // plan::kSubuids | ...: what its front is told
  uint32_t limits = 0;     // plan::kCpuTimeThere | ...: the same
  uint32_t filters = 0;    // of seccomp(2)
  std::string label;       // of a security module, label.hpp; empty: there is none
  uint32_t elsewhere = 0;  // bits of the namespaces that are not ours: no job is shared into ours

  bool holds(int capability) const { return (permitted >> capability) & 1; }
  bool in_group(gid_t group) const;

  // What the peer process itself has; read once, when first asked for. Empty
  // when the peer is gone.
  struct Own {
    Rlimits hard_limits;  // /proc/PID/limits
    int nice;
    int oom_score_adj;
    uint32_t login_uid;  // plan::kNone: none
  };
  const std::optional<Own>& own() const;
  // /proc/PID/cgroup as it is now. Empty when the peer is gone.
  std::string cgroups() const;

 private:
  mutable bool own_read_ = false;
  mutable std::optional<Own> own_;
};

// Where the daemon itself stands; a peer that stands elsewhere is confined.
class Surroundings {
 public:
  Surroundings();

  // Says of a /proc/PID/cgroup whether it is that of one of our jobs.
  void jobs_are(std::function<bool(std::string_view)> is_job) { is_job_ = std::move(is_job); }

  // None when the peer stands where we stand, else why it is not served:
  // confined_caller (other user, mount or pid namespaces, another root, one of
  // our jobs), seccomp_filter, lsm_label, caller_is_gone.
  plan::Reason confinement_of(const Peer& peer) const;
  // The namespaces, as bits of plan::Namespace, in which it is and we are not.
  uint32_t elsewhere(const Peer& peer) const;
  // It has filters that our children would not have.
  bool filters(const Peer& peer) const { return peer.filters > filters_; }
  // A label that confines and is not ours.
  bool confines(const std::string& label) const { return label != label_ && is_confined(label); }
  uint32_t login_uid() const { return login_uid_; }

 private:
  struct Place {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const Place&) const = default;
  };
  std::array<Place, 4> own_{};
  std::array<Place, plan::kNamespaces> namespaces_{};
  std::function<bool(std::string_view)> is_job_;
  std::string label_;
  uint32_t filters_ = 0, login_uid_ = plan::kNone;
};

// Credentials and groups: what is needed to count a connection that has said
// nothing yet. Nothing when getsockopt(2) fails, or at more than kMaxGroups groups.
std::optional<Peer> peer_of(int connection);

// Adds pidfd and the facts from /proc. False when the peer is gone.
bool complete(Peer& peer, int connection);

}  // namespace cloister::monitor
