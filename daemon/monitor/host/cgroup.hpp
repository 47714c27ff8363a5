// Where jobs live in the cgroup trees: BASE/ID/init and BASE/ID/payload.
//
// Two leaves, so that limits on the payload never take the process that
// writes the record. cgroup v2 first, also the tree without controllers of a
// hybrid host: it gives cgroup.kill (5.14) and CLONE_INTO_CGROUP (5.7). Where
// there is no v2 tree, one v1 hierarchy serves and the payload moves itself.
// A payload may be asked for below its caller's cgroup instead.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/controllers.hpp"
#include "plan/order.hpp"
#include "plan/policy.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

// The leaves of one job. All descriptors are CLOEXEC and owned here.
struct Leaves {
  std::string name;       // below BASE; empty: no cgroup
  sys::UniqueFd init;     // directory, v2
  sys::UniqueFd payload;  // directory
  sys::UniqueFd kill;     // cgroup.kill of the payload's leaf, v2
  sys::UniqueFd tasks;    // through which the payload moves itself, where init cannot clone into it
  std::vector<sys::UniqueFd> hierarchies;  // v1 `tasks` files, for the same
  std::string below_caller;      // directory of the payload's leaf; empty: BASE/NAME/payload
  uint64_t inode = 0;            // of that directory
  bool limited = false;          // there are v1 cgroups of that name too, controllers.hpp
  sys::UniqueFd oom_event;       // v1, eventfd(2): memory is short here, or in a cgroup above
  uint64_t shortages = 0;        // that it has told of
  uint64_t shortages_above = 0;  // those above alone, until it was made
  explicit operator bool() const { return !name.empty(); }
  // What removes them when nothing of theirs is open any more.
  Leaves names() const;
};

using plan::CgroupChoice;

class Cgroups {
 public:
  // Makes BASE below the cgroup that the daemon runs in. `version()` is 0 when
  // there is no tree that we may write; `why_not()` then says why.
  explicit Cgroups(CgroupChoice choice);
  ~Cgroups();
  Cgroups(const Cgroups&) = delete;
  Cgroups& operator=(const Cgroups&) = delete;

  int version() const { return version_; }
  const std::string& why_not() const { return why_not_; }
  // plan::kCpuTimeThere | ...: which limits can be enforced.
  uint32_t limits() const;
  // As it stands in /proc/PID/cgroup; empty without cgroups.
  const std::string& path() const { return path_; }

  // New leaves, from the spare pair if there is one. Without a name, and
  // with errno, when they cannot be made.
  Leaves make();
  // The same with the payload's below the cgroup of the caller, whose
  // /proc/PID/cgroup is `cgroups`. Needs version() 2.
  Leaves make_below(const std::string& cgroups);
  // True for the /proc/PID/cgroup of a payload of ours.
  bool is_job(std::string_view cgroups) const;
  // True while nobody else has removed them.
  bool there(const Leaves& leaves) const;
  // Limits what will be in the payload's leaf. False with errno.
  bool limit(Leaves& leaves, const plan::Limits& limits);
  Counted counted(const Leaves& leaves) const;
  // Makes the spare pair, and now and then removes what services that were killed
  // have left; off the path of any request.
  void prepare();

  // Removes the leaves of an ended job; false while the kernel still holds
  // them (EBUSY: a dying task): call again later.
  bool remove(const Leaves& leaves);
  // They could not be removed for long: prepare() goes on trying, now and then.
  // `until` is let go of when it has.
  void leave(Leaves leaves, std::shared_ptr<const void> until);
  // After a service that was killed in the cgroup that this process is in: removes what it
  // has left, so that systemd(1) can start it again.
  static void clean_up();
  // SIGKILL to all in the payload's leaf.
  static bool kill(const Leaves& leaves);
  // Processor time of all that is or was in the payload's leaf, in us; v2 alone has it,
  // with and without its cpu controller. plan::kNotMeasured where it cannot be read.
  static uint64_t cpu_time_us(const Leaves& leaves);

 private:
  struct Left {
    Leaves leaves;
    std::shared_ptr<const void> until;
  };
  bool remove(const std::string& name);
  Leaves create();
  void sweep();
  void find_controllers(CgroupChoice choice);
  bool make_base();
  bool open_base(const std::string& mount, const std::string& own, int version);

  int version_ = 0;
  uint64_t next_ = 0;
  sys::UniqueFd base_;       // held, cgroup_hold.hpp
  std::string mount_, own_;  // the tree, and the daemon's place in it
  std::string directory_, path_, why_not_ = "no cgroup file system is mounted";
  std::unique_ptr<Controllers> controllers_;
  Leaves spare_;
  std::vector<Left> left_;
  std::chrono::steady_clock::time_point swept_{};
  std::map<std::string, std::string> below_callers_;  // directory: as /proc/PID/cgroup has it
};

}  // namespace cloister::monitor
