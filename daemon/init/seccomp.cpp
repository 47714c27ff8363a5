// System call filters: loading them in the payload's process, and answering the
// calls that a client's filter punishes with death.
//
// Between the last filter and the exec this program makes no call but execve(2),
// and exit_group(2) when that fails: whatever else the filter forbids, it does
// not forbid us. So everything is ready before, and what has to be said after is
// said in memory (Job::words).
#include <asm/errno.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/ioctl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/time.h>

#include "baseline_program.hpp"
#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr uint32_t kClientsIndex = 1;  // of Step::seccomp; 0 is the baseline and what goes with it
constexpr timespec kMoment{0, 50'000};

struct Program {
  const plan::Instruction* code;
  uint32_t count;
};
template <uint32_t count>
constexpr Program program(const plan::Instruction (&code)[count]) {
  return {code, count};
}
constexpr Program kRestraints[] = {
    {nullptr, 0}, program(kNoSetUid), program(kNoSetIds), program(kLeased)};
static_assert(sizeof kRestraints / sizeof kRestraints[0] ==
              static_cast<size_t>(plan::Restraint::count_));

long load(const plan::Instruction* program, uint32_t count, unsigned flags) {
  const sock_fprog filter{static_cast<unsigned short>(count),
                          reinterpret_cast<sock_filter*>(const_cast<plan::Instruction*>(program))};
  return call(Call::seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
}

// From here: a process beside the payload's, with the same table of descriptors
// and no filter. The listener's number is all it waits for: to send it, the
// payload's own process would need sendmsg(2), which the filter may forbid.
[[noreturn]] void send_listener(Job& job, int payload) {
  const Words& words = *job.words;
  while (__atomic_load_n(&words.listener, __ATOMIC_ACQUIRE) == 0) {
    PollFd set[] = {{payload, kPollIn, 0}};
    timespec moment = kMoment;
    call(Call::ppoll, set, 1, &moment, nullptr);
    if (set[0].revents) exit(1);
  }
  char what = 'L';
  IoVec bytes{&what, 1};
  PassedFds<1> passed{sizeof(PassedFds<1>) - sizeof(int), kSolSocket, kScmRights, {words.listener}};
  passed.length = offsetof(PassedFds<1>, fds) + sizeof(int);
  Message message{};
  message.vector = &bytes;
  message.vector_length = 1;
  message.control = &passed;
  message.control_length = sizeof passed;
  call(Call::sendmsg, job.status_write, &message, kMsgNoSignal);
  exit(0);
}

// Whether it does within a second. A thread of which there is no pidfd is looked
// for again and again.
bool ends(int32_t thread, int pidfd) {
  if (pidfd >= 0) {
    PollFd set[] = {{pidfd, kPollIn, 0}};
    timespec patience{1, 0};
    return call(Call::ppoll, set, 1, &patience, nullptr) > 0;
  }
  for (int i = 0; i < 20'000; ++i) {
    if (call(Call::tkill, thread, 0) < 0) return true;
    timespec moment = kMoment;
    call(Call::ppoll, nullptr, 0, &moment, nullptr);
  }
  return false;
}

// seccomp_unotify(2): the process is dead when this returns, or as good as.
void kill_caller(Job& job, const seccomp_notif& call_made) {
  const auto thread = static_cast<int32_t>(call_made.pid);
  constexpr unsigned kThread = O_EXCL;  // PIDFD_THREAD, Linux 6.9
  long caller = call(Call::pidfd_open, thread, 0);
  if (caller < 0) caller = call(Call::pidfd_open, thread, kThread);
  // It still waits for our answer, so the number is still its own.
  uint64_t id = call_made.id;
  const bool waits = call(Call::ioctl, job.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
  const bool of_payload = job.payload_alive && call(Call::tgkill, job.payload, thread, 0) == 0;
  const auto strike = [&](int signal) {
    if (caller >= 0)
      call(Call::pidfd_send_signal, caller, signal, nullptr, 0);
    else
      call(Call::tkill, thread, signal);
  };
  if (waits) {
    if (of_payload) job.record.seccomp_hit |= plan::kHitPayload;
    // The signal that the kernel would send. A process that has taken care not
    // to die of it dies of the other.
    strike(kSigSys);
    if (!ends(thread, static_cast<int>(caller))) strike(kSigKill);
  }
  if (caller >= 0) close(static_cast<int>(caller));
}

}  // namespace

// Without no_new_privs a filter takes CAP_SYS_ADMIN, seccomp(2), and so does a
// Landlock domain. It is kept until the exec, which computes the sets anew and
// never from this one.
uint64_t power_to_filter(const Job& job) {
  const bool filtered = job.has(plan::kBaseline) || job.header().seccomp.count > 0 ||
                        job.order.restraint != plan::Restraint::none || job.domain > 0;
  const bool bound = (job.header().flags & plan::kNoNewPrivs) || job.has(plan::kForceNoNewPrivs);
  return filtered && !bound ? uint64_t{1} << CAP_SYS_ADMIN : 0;
}

void stand_by_for_listener(Job& job) {
  if (!(job.header().seccomp_flags & plan::kFilterWatched)) return;
  const long self = call(Call::getpid);
  const int payload = must_fd(job, Step::seccomp, call(Call::pidfd_open, self, 0), kClientsIndex);
  // A child of init's, so that the payload finds none that it did not make. PID 1
  // of a namespace can have no sibling, clone(2).
  clone_args args{};
  args.flags = CLONE_FILES | (self == 1 ? 0 : CLONE_PARENT);
  const long pid = must(job, Step::seccomp, call(Call::clone3, &args, sizeof args), kClientsIndex);
  if (pid == 0) send_listener(job, payload);
}

void load_filters(Job& job) {
  const plan::Header& h = job.header();
  const Program ours[] = {job.has(plan::kBaseline) ? program(kBaselineProgram) : Program{},
                          kRestraints[static_cast<uint32_t>(job.order.restraint)]};
  for (const Program& each : ours)
    if (each.count > 0) must(job, Step::seccomp, load(each.code, each.count, 0), 0);
  if (h.seccomp.count == 0) return;
  unsigned flags = 0;
  if (h.seccomp_flags & plan::kFilterLog) flags |= SECCOMP_FILTER_FLAG_LOG;
  if (h.seccomp_flags & plan::kFilterSpecAllow) flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  if (h.seccomp_flags & plan::kFilterWatched) flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  const long loaded = must(
      job, Step::seccomp, load(job.plan().begin(h.seccomp), h.seccomp.count, flags), kClientsIndex);
  if (loaded > 0)
    __atomic_store_n(&job.words->listener, static_cast<int32_t>(loaded), __ATOMIC_RELEASE);
}

void answer_violation(Job& job, short events) {
  if (events & kPollIn) {
    seccomp_notif call_made{};  // has to be zero, or the kernel takes it for input
    if (call(Call::ioctl, job.listener, SECCOMP_IOCTL_NOTIF_RECV, &call_made) == 0) {
      plan::ExitRecord& record = job.record;
      if (!(record.seccomp_hit & plan::kHitPayload)) {
        record.seccomp_hit |= plan::kHitSeen;
        record.seccomp_arch = call_made.data.arch;
        record.seccomp_number = call_made.data.nr;
      }
      kill_caller(job, call_made);
    }
    return;
  }
  // Nobody is under the filter any more.
  close(job.listener);
  job.listener = 0;
}

}  // namespace cloister::init
