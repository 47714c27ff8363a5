// The decision: may this peer have this Plan? Numbers against numbers.
//
// The peer is the kernel's word, the Plan is a checked block that a hostile
// front may have written. Only `authorise()` makes an Approved, and only an
// Approved can be launched. What a process could do for itself with the
// peer's credentials is allowed; the rest needs a grant of root's, and is
// refused by name otherwise, never lowered.
#pragma once

#include <boost/system/result.hpp>
#include <functional>
#include <vector>

#include "config.hpp"
#include "peer.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"

namespace cloister::monitor {

// A job whose namespaces another may join; `init` is 0 when there is none.
struct Joinable {
  pid_t init = 0, payload = 0;
};
using FindJob = std::function<Joinable(const uint8_t (&id)[16], const Peer& asking)>;

struct Setting {
  const Config& config;
  plan::Mode mode;
  FindJob joinable;
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
  // What init is told; the descriptors it names are the launcher's to add.
  const plan::Order& order() const { return order_; }
  // CLONE_NEWPID, CLONE_NEWUSER: what init must be born with.
  uint64_t clone_flags() const { return clone_flags_; }
  const std::vector<JobJoin>& job_joins() const { return job_joins_; }
  // Lines for /proc/PID/uid_map and gid_map; empty when init is in no new
  // user namespace that the monitor has to map.
  const std::vector<plan::IdMap>& uid_map() const { return uid_map_; }
  const std::vector<plan::IdMap>& gid_map() const { return gid_map_; }
  // setgroups(2) is switched off in the new user namespace, so that nobody
  // sheds a group that is there to keep them out (user_namespaces(7)).
  bool setgroups_denied() const { return (order_.flags & plan::kFixedGroups) != 0; }

 private:
  friend class Judge;
  explicit Approved(plan::View plan) : plan_(plan) {}
  plan::View plan_;
  plan::Order order_{};
  uint64_t clone_flags_ = 0;
  std::vector<JobJoin> job_joins_;
  std::vector<plan::IdMap> uid_map_, gid_map_;
};

// `plan` has passed plan::check().
Decision<Approved> authorise(const Peer& peer, plan::View plan, const Setting& setting);

// What init read from one descriptor of the client's. `kind == none`: allowed.
plan::Refusal authorise_fact(const Peer& peer, plan::View plan, const plan::Fact& fact,
                             plan::Mode mode);

}  // namespace cloister::monitor
