// What the monitor says, in the client's words.
#pragma once

#include <string>

#include "cloister/request.hpp"
#include "monitor_link.hpp"
#include "varlink/render.hpp"
#include "varlink/service.hpp"

namespace cloister::front {

varlink::Reply reply_to(const Problem& problem);
// `id` is how the client named the job, for NoSuchJob.
varlink::Reply reply_to(const plan::Refusal& refusal, const std::string& id);

// The job's Plan, mapped for as long as it is read.
class JobPlan {
 public:
  explicit JobPlan(const sys::UniqueFd& memfd);
  ~JobPlan();
  JobPlan(const JobPlan&) = delete;
  JobPlan& operator=(const JobPlan&) = delete;
  // False when it cannot be mapped.
  explicit operator bool() const { return block_ != nullptr; }
  plan::View view() const { return plan::View(block_); }

 private:
  void* block_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace cloister::front
