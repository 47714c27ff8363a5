// Slots: inits that are started ahead and wait for their Order.
//
// A slot is everything a job needs that does not depend on its Plan: record,
// cgroup leaves, channels, and a running init at its first wait. It is used
// once. What needs another birth (a user namespace, the caller's groups) is
// made when it is asked for, by the same code.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "host/cgroup.hpp"
#include "host/spawn.hpp"
#include "plan/record.hpp"

namespace cloister::monitor {

struct Slot {
  std::array<uint8_t, 16> job{};  // its id, from getrandom(2)
  Leaves leaves;                  // without a name: no cgroups here
  sys::UniqueFd record;
  sys::UniqueFd control;  // SOCK_SEQPACKET to init, with SO_PASSCRED
  sys::UniqueFd passed;   // the front's end of the channel to init
  Child init;
};

// What an init has to be born with.
struct Birth {
  uint64_t namespaces = 0;  // CLONE_NEWPID, CLONE_NEWUSER
  bool ambient = false;
  std::span<const gid_t> groups{};
  bool set_groups = false;
  const std::string* caller_cgroups =
      nullptr;  // the payload goes below them, Cgroups::make_below()
};

class Slots {
 public:
  // `records` is the record directory, borrowed, or -1: records are memfds.
  // `spares` are the births of which one each is kept ready, at most kSpares.
  static constexpr size_t kSpares = 2;
  // Starts an init, Image::run().
  using Starter = std::function<Child(const Spawn&)>;
  Slots(Cgroups& cgroups, Starter start, int records, std::vector<Birth> spares);
  ~Slots();

  // On failure the step and errno are in the result, and nothing is left behind.
  plan::Failure take(const Birth& birth, Slot& slot);
  // Makes the spares that are missing; call when nothing is urgent.
  void replenish();

  void erase_record(const std::array<uint8_t, 16>& job);

 private:
  plan::Failure make(const Birth& birth, Slot& slot);
  void discard(Slot& slot);

  Cgroups& cgroups_;
  const Starter start_;
  int records_;
  std::vector<Birth> spares_;
  std::array<Slot, kSpares> waiting_;  // of spares_, or empty
};

}  // namespace cloister::monitor
