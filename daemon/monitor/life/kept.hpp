// Kept: what stays of a job that has ended, of which nothing lives any more: how
// it ended, its Plan as an unmapped memfd, and its captured output, for who asks about it.
//
// When its owner has no room for all the Plans, the oldest are cut down to what
// tells one job from another. Then a verdict is told as before, and Inspect has
// no request to show.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "host/relay.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

// By what a job is found beside its id: hashes, so that nobody's Plan is mapped
// to look. Only jobs of one user are compared: who made two that collide has
// taken nobody in but themselves.
struct Labels {
  uint64_t key = 0;  // of the idempotency key; 0: none
  uint64_t digest = 0;
  std::vector<uint64_t> tags;

  explicit Labels(plan::View plan);
  // `key` and `value` of a front's Ask: they may lack their NUL.
  bool tagged(const plan::Ask& ask) const;
};

class Kept {
 public:
  // `ended`: CLOCK_BOOTTIME.
  Kept(const plan::JobState& state, sys::UniqueFd plan, Outputs outputs, std::chrono::seconds ended)
      : state_(state),
        plan_(std::move(plan)),
        outputs_(std::move(outputs)),
        ended_boottime_(ended) {}

  const plan::JobState& state() const { return state_; }
  int plan_fd() const { return plan_.borrow(); }
  sys::UniqueFd open_output(uint32_t stream) const { return open_to_read(outputs_[stream]); }
  void drop_output() { drop(outputs_); }
  std::chrono::seconds ended_boottime() const { return ended_boottime_; }
  // Its bytes now; as they were when it cannot be cut down.
  uint32_t cut(uint32_t bytes);

 private:
  plan::JobState state_;
  sys::UniqueFd plan_;
  Outputs outputs_;
  std::chrono::seconds ended_boottime_;
};

// What a Plan of this size takes, in whole pages.
uint32_t bytes_of_plan(uint32_t bytes);

}  // namespace cloister::monitor
