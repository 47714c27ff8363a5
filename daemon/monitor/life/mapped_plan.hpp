// A sealed Plan, mapped read-only for as long as its job is known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plan/view.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

// Lives as long as the plan is mapped.
inline std::string_view text_of(plan::View plan, plan::Text text) {
  return {plan.c_str(text), text.length};
}

class MappedPlan {
 public:
  MappedPlan() = default;
  // Maps the memfd when it is sealed against every change, has `bytes` bytes
  // and passes plan::check(); else `flaw` says what is wrong.
  MappedPlan(sys::UniqueFd memfd, uint32_t bytes, plan::Flaw& flaw);
  MappedPlan(MappedPlan&& other) noexcept;
  MappedPlan& operator=(MappedPlan&&) = delete;
  ~MappedPlan();

  plan::View view() const { return plan::View(block_); }
  int borrow() const { return memfd_.borrow(); }
  // Of the pages that are seen; they come back when they are looked at.
  void rest();
  // The memfd, mapped no more.
  sys::UniqueFd take();

 private:
  sys::UniqueFd memfd_;
  void* block_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace cloister::monitor
