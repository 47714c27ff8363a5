// What init has to do with files that answer nobody but their user: FUSE without
// allow_other refuses root too, and NFS takes root for nobody. A child that is
// the caller does it. The child has no power, and the caller none over it that
// would make init believe another answer: it cannot be traced, because its ids
// have changed, prctl(2), PR_SET_DUMPABLE. Whoever stops it makes the set-up run
// out of time.
#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

struct Answer {
  long result;
  struct stat status;
};

long become_caller(const Job& job) {
  const long uid = job.order.caller_uid, gid = job.order.caller_gid;
  long result = call(Call::setgroups, 0, nullptr);
  // Where that is denied to all, user_namespaces(7), its groups are the caller's.
  if (result == -EPERM && job.is_inside()) result = 0;
  if (result == 0) result = call(Call::setresgid, gid, gid, gid);
  if (result == 0) result = call(Call::setresuid, uid, uid, uid);
  // Also uid 0, which keeps them otherwise.
  if (result == 0 && !job.has(plan::kSearchesAll)) result = set_sets({0, 0, 0});
  return result;
}

// `act` fills in the answer. `shared`: with the descriptors of init itself.
template <class Act>
Answer ask(const Job& job, uint64_t shared, Act act) {
  Answer got{-EIO, {}};
  int ends[2];
  if (call(Call::socketpair, kAfUnix, kSockSeqpacket | kSockCloexec, 0, ends) < 0) return got;
  const long child = fork_process(shared);
  if (child == 0) {
    Answer out{become_caller(job), {}};
    if (out.result == 0) act(out);
    call(Call::sendto, ends[1], &out, sizeof out, kMsgNoSignal);
    exit(0);
  }
  if (child > 0) {
    call(Call::waitid, P_PID, child, nullptr, WEXITED, nullptr);
    const long size = call(Call::recvfrom, ends[0], &got, sizeof got, kMsgDontWait);
    if (size != sizeof got) got.result = -EIO;
  }
  close(ends[0]);
  close(ends[1]);
  return got;
}

}  // namespace

long look_as_caller(const Job& job, int fd, struct stat& status) {
  const Answer answer =
      ask(job, 0, [fd](Answer& out) { out.result = call(Call::fstat, fd, &out.status); });
  if (answer.result == 0) status = answer.status;
  return answer.result;
}

long open_as_caller(const Job& job, int root, const char* path, const open_how& how) {
  return ask(job, CLONE_FILES, [&](Answer& out) { out.result = open_by_rules(root, path, how); })
      .result;
}

}  // namespace cloister::init
