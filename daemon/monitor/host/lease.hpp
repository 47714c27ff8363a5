// Leases: ids out of root's pool that belong to one job at a time. A block of
// them is mapped into a user namespace; a single one is uid and gid of a job
// whose identity is "dynamic".
//
// A lease ends with its last holder, which is a job of which no process is left.
// Ids go round: none is leased again before all others have been, across restarts
// of the service too.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "plan/policy.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

using plan::Pool;

struct Lease {
  const uint32_t first, count;
};

class Leases {
 public:
  using Held = std::shared_ptr<const Lease>;
  static constexpr const char* kFile = "leases";

  // Before configure(): how far the ids have gone round is kept in kFile of this
  // directory, which belongs to the service alone. False, with errno, if it cannot be.
  bool keep_in(int directory);

  // Leases that are out stay so, wherever they lie. Ids of the pool that a
  // process has now, left by a service before this one, count as leased.
  void configure(const Pool& pool);

  bool has_blocks() const { return pool_.count > pool_.block; }
  bool has_ids() const { return pool_.count > 0; }

  // Null: all are out, or how far they have gone round could not be written down.
  Held take_block();
  Held take_id();

  uint32_t blocks() const { return has_ids() ? pool_.count / pool_.block - 1 : 0; }
  uint32_t ids() const { return has_ids() ? pool_.block : 0; }

 private:
  using Out = std::map<uint32_t, uint32_t>;  // first -> count
  struct Shelf {
    uint32_t first = 0, end = 0;  // of the pool; an end may be 2^32 - 1, never more
    uint32_t step = 1;
    uint32_t next = 0;  // not the id that was given back last
    void go_on_at(uint32_t id) {
      if (id >= first && id < end && (id - first) % step == 0) next = id;
    }
  };

  struct Position {
    uint32_t magic, next_block, next_id, reserved;
  };

  Held take(Shelf& shelf);
  bool write_down();
  Held search(Shelf& shelf);
  void find_living();

  Pool pool_;
  sys::UniqueFd file_;  // empty: nothing is kept
  Shelf blocks_, ids_;
  std::shared_ptr<Out> out_ = std::make_shared<Out>();
  Out living_;
};

}  // namespace cloister::monitor
