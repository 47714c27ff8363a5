// The decision: may this peer have this Plan? Numbers against numbers.
//
// The peer is the kernel's word, the Plan is a checked block that a hostile
// front may have written. Only `authorise()` makes an Approved, and only an
// Approved can be launched. What a process could do for itself with the
// peer's credentials is allowed unless the rule of root's policy that speaks of
// the peer forbids it; the rest needs a grant of that rule's. What is not
// allowed is refused by name, never lowered.
#pragma once

#include <boost/system/result.hpp>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "admit/peer.hpp"
#include "decide/authorise_ids.hpp"
#include "decide/policy.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::monitor {

// A job whose namespaces another may join; `init` is 0 when there is none.
struct Joinable {
  pid_t init = 0, payload = 0;
  uint32_t fresh = 0;     // bits: the namespaces that it made
  bool outbound = false;  // its network leads out
};
using FindJob = std::function<Joinable(const uint8_t (&id)[16], const Peer& asking)>;

struct Setting {
  const Policy& policy;
  plan::Mode mode;
  FindJob joinable;
  plan::Reason no_pasta;  // why there are no outbound networks; none: there are
  plan::Reason no_disk;   // why no scratch directories on disk
  IdSources ids;
  const Surroundings& own;
  int cgroup_version = 0;  // Cgroups::version()
  bool root = true;        // the service is, sys::is_root()
  int landlock_abi = 0;    // below 1: there is none
};

template <class T>
using Decision = boost::system::result<T, plan::Refusal>;

class Approved {
 public:
  struct JobJoin {
    plan::Namespace which;
    Joinable of;
  };

  plan::View plan() const { return plan_; }
  // Which decided, and decides about the rest of this job.
  const std::shared_ptr<const Rule>& rule() const { return rule_; }
  // What init is told; the descriptors it names are the launcher's to add.
  const plan::Order& order() const { return order_; }
  // CLONE_NEWPID, CLONE_NEWUSER: what init must be born with.
  uint64_t clone_flags() const { return clone_flags_; }
  const std::vector<JobJoin>& job_joins() const { return job_joins_; }
  // /proc/PID/cgroup of the caller; empty unless the payload goes below its own.
  const std::string& caller_cgroups() const { return caller_cgroups_; }
  const IdDecision& ids() const { return ids_; }

 private:
  friend class Judge;
  Approved(plan::View plan, std::shared_ptr<const Rule> rule)
      : plan_(plan), rule_(std::move(rule)) {}
  plan::View plan_;
  std::shared_ptr<const Rule> rule_;
  plan::Order order_{};
  uint64_t clone_flags_ = 0;
  std::vector<JobJoin> job_joins_;
  IdDecision ids_;
  std::string caller_cgroups_;
};

// `plan` has passed plan::check().
Decision<Approved> authorise(const Peer& peer, plan::View plan, const Setting& setting);

// What init read from one descriptor of the client's. `kind == none`: allowed.
// `covered`: the job has kCoverKernel.
plan::Refusal authorise_fact(const Peer& peer, const Rule& rule, plan::View plan,
                             const plan::Fact& fact, plan::Mode mode, bool covered = false);

}  // namespace cloister::monitor
