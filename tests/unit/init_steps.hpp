// Every step that init and the payload's process can fail at, made to fail
// exactly there. What no request can provoke is provoked by a seccomp filter
// that answers one system call with an error.
#pragma once

#include <linux/sched.h>
#include <seccomp.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "init_driver.hpp"
#include "outcome.hpp"

namespace cloister::test {

// A failure to come, and what `prepare` does to bring it about.
struct Case {
  plan::Step step;
  int error;
  uint32_t index;
  const char* how;
  std::function<void(Driver&)> prepare;
};

// The steps up to the fork of the payload's process, and those of that process.
std::vector<Case> cases_of_init();
std::vector<Case> cases_of_payload();

// In init's process before its exec: `number` with these arguments fails.
inline std::function<void()> answer(int number, int error,
                                    std::vector<scmp_arg_cmp> arguments = {}) {
  return [=] {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    // We have CAP_SYS_ADMIN, and no_new_privs would be one thing more that differs.
    const bool loaded =
        filter && seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) == 0 &&
        seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), number,
                               static_cast<unsigned>(arguments.size()), arguments.data()) == 0 &&
        seccomp_load(filter) == 0;
    if (!loaded) ::_exit(119);
  };
}

inline std::vector<scmp_arg_cmp> first_is(uint64_t value) {
  return {SCMP_A0_64(SCMP_CMP_EQ, value)};
}

inline void unshare_fails(Driver& job, plan::Namespace which, uint64_t flag) {
  job.fresh(which);
  job.before_exec = answer(SCMP_SYS(unshare), ENOSPC, first_is(flag));
}

// Descriptors that a case needs as long as its job lives.
inline std::vector<sys::UniqueFd> held;
inline int hold(int fd) {
  held.emplace_back(fd);
  return fd;
}

}  // namespace cloister::test
