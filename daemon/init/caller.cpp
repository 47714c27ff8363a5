// What a process has of the job's caller: its login uid, the label that follows from
// its own, its cgroups.
#include <asm/errno.h>
#include <linux/fcntl.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {

// Before the files of the payload are opened, when the descriptor of /proc is
// gone. Whether the label may be taken on is asked at the exec.
void label_next_exec(Job& job) {
  if (!job.has(plan::kSetLabel)) return;
  constexpr Step step = Step::lsm_label;
  const int fd =
      must_fd(job, step, call(Call::openat, job.proc, "self/attr/exec", O_WRONLY | O_CLOEXEC));
  must(job, step, call(Call::write, fd, job.order.label, length(job.order.label)));
  close(fd);
}

// In init, which the payload inherits it from: once set, it may be immutable.
// The file counts ids as the user namespace of who opens it does, so this comes
// before any namespace of the payload's own.
void take_login_uid(Job& job) {
  if (!job.has(plan::kSetLoginUid)) return;
  constexpr Step step = Step::loginuid;
  const int fd =
      must_fd(job, step, call(Call::openat, job.proc, "self/loginuid", O_RDWR | O_CLOEXEC));
  Line<16> value;
  value << job.order.login_uid;
  must(job, step, call(Call::write, fd, value.c_str(), value.size()));
  char now[16];
  const long got = must(job, step, call(Call::pread64, fd, now, sizeof now, 0));
  if (static_cast<size_t>(got) != value.size() || !starts_with(now, value.c_str()))
    fail(job, step, EPERM);
  close(fd);
}

void enter_v1_cgroups(Job& job) {
  const int first = plan::kFirstJoinFd + static_cast<int>(job.order.join_count);
  for (uint32_t i = 0; i < job.order.tasks_count; ++i)
    must(job, Step::payload_cgroup, call(Call::write, first + static_cast<int>(i), "0", 1), i);
}

}  // namespace cloister::init
