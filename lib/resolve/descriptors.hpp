// Descriptors: what came with the message and what the front opened, in the
// order in which a Plan counts them. Each passed one is used exactly once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "request/text.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {

class Descriptors {
 public:
  explicit Descriptors(std::vector<sys::UniqueFd> passed)
      : passed_(std::move(passed)), uses_of_passed_(passed_.size()) {}

  // Puts passed descriptor `index` into the Plan and returns its place there.
  // Refuses one that was not sent or is in use already, naming `field`.
  request::Result<uint32_t> pass(const std::string& field, uint32_t index, plan::Use use,
                                 bool directory = false);
  // Borrows a passed descriptor that is not handed on but stands for others: a
  // pidfd, which may do so several times.
  request::Result<int> stand_in(const std::string& field, uint32_t index);
  // Takes one out that is used here and handed on to nobody.
  request::Result<sys::UniqueFd> take(const std::string& field, uint32_t index);
  // Looks at one before it is passed; -1 if it was not sent or is in use.
  int peek(uint32_t index) const;

  uint32_t add(sys::UniqueFd fd, plan::Use use);

  // The first passed descriptor that nothing used.
  std::optional<Problem> unused() const;

  const std::vector<plan::Descriptor>& list() const { return list_; }
  std::vector<sys::UniqueFd> take() { return std::move(open_); }

 private:
  enum class Used : uint8_t { no, passed, stand_in };

  std::optional<Problem> refuse(const std::string& field, uint32_t index, Used allowed) const;

  std::vector<sys::UniqueFd> passed_;
  std::vector<Used> uses_of_passed_;
  std::vector<plan::Descriptor> list_;
  std::vector<sys::UniqueFd> open_;
};

}  // namespace cloister::front
