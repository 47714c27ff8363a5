#include "reply.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include "plan/refusal_text.hpp"
#include "sys/names.hpp"

namespace cloister::front {
namespace {

// Why, and what to do.
std::string words_of(plan::Reason reason) {
  const plan::ReasonInfo& info = plan::describe(reason);
  return std::string(info.words) + "; " + info.hint;
}

}  // namespace

varlink::Reply reply_to(const Problem& problem) {
  switch (problem.kind) {
    case Problem::Kind::unsupported: return varlink::unsupported(problem.field, problem.reason);
    case Problem::Kind::failed: {
      Failure failure;
      failure.stage = "front";
      failure.step = "resolve";
      failure.field = problem.field;
      failure.error_number = problem.error;
      failure.errno_name = sys::errno_name(problem.error);
      failure.message = problem.reason;
      failure.hint = problem.expected;
      return varlink::launch_failed(failure);
    }
    case Problem::Kind::invalid: break;
  }
  return varlink::invalid_request(problem.field, problem.reason, problem.expected, problem.got);
}

varlink::Reply reply_to(const plan::Refusal& refusal, const std::string& id) {
  using plan::RefusalKind;
  switch (refusal.kind) {
    case RefusalKind::denied: {
      // Two zeros: this rule compares no numbers.
      const auto number = [&](uint64_t value) -> std::optional<int64_t> {
        if (refusal.limit == 0 && refusal.requested == 0) return {};
        return static_cast<int64_t>(value);
      };
      return varlink::denied(refusal.field, plan::rule_of(refusal), number(refusal.limit),
                             number(refusal.requested), words_of(refusal.reason), refusal.policy);
    }
    case RefusalKind::busy:
      return varlink::busy(refusal.detail ? refusal.detail : 100, refusal.requested, 0,
                           refusal.limit, plan::rule_of(refusal), words_of(refusal.reason));
    case RefusalKind::shutting_down:
      return varlink::busy(1000, {}, {}, {}, plan::rule_of(refusal), words_of(refusal.reason));
    case RefusalKind::no_such_job: return varlink::no_such_job(id);
    case RefusalKind::launch_failed:
      return varlink::launch_failed(varlink::make_failure(refusal.failure));
    case RefusalKind::unsupported:
      return varlink::unsupported(refusal.field, words_of(refusal.reason));
    case RefusalKind::none:
    case RefusalKind::misconfigured:  // said by main.cpp, which has the place
    case RefusalKind::invalid: break;
  }
  // An honest front has refused most of this by itself, and says where.
  return varlink::invalid_request(
      refusal.field, words_of(refusal.reason) + " (rule " + plan::rule_of(refusal) + ")", "", "");
}

JobPlan::JobPlan(const sys::UniqueFd& memfd) {
  struct stat info {};
  if (::fstat(memfd.borrow(), &info) < 0) return;
  void* block =
      ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, memfd.borrow(), 0);
  if (block == MAP_FAILED) return;
  block_ = block;
  bytes_ = static_cast<size_t>(info.st_size);
}

JobPlan::~JobPlan() {
  if (block_) ::munmap(block_, bytes_);
}

}  // namespace cloister::front
