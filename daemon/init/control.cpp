// The monitor's socket and the child's signals: init waits in this file only,
// so a kill is obeyed whatever init waits for.
#include <asm/errno.h>
#include <linux/eventpoll.h>
#include <linux/prctl.h>
#include <linux/signalfd.h>
#include <linux/time_types.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

void cancel(Job& job) {
  job.cancelled = true;
  // Before the fork there is nothing to kill but the launch itself.
  if (job.payload == 0) fail(job, job.step, ECANCELED);
  kill_everything(job);
}

// Everybody who could ask is gone with it.
void lose_monitor(Job& job) {
  job.orphaned = true;
  cancel(job);
}

void deliver(Job& job, int signal, plan::Scope scope) {
  if (signal < 1 || signal > kSignals) return;  // the monitor checks; 0 would be a probe
  if (!job.started) {
    // A payload that is still our own code would die of it in a launch step.
    job.held_signals |= uint64_t{1} << (signal - 1);
    return;
  }
  if (scope == plan::Scope::all) return signal_everything(job, signal);
  if (!job.payload_alive) return;  // reaped: the number may already be another process's
  const long group = call(Call::getpgid, job.payload);
  const bool own = group == call(Call::getpgid, 0);
  if (scope == plan::Scope::group && group > 0 && !own)
    call(Call::kill, -group, signal);
  else
    call(Call::kill, job.payload, signal);
}

void serve(Job& job) {
  plan::Command command{};
  PassedFds<1> passed{};
  IoVec bytes{&command, sizeof command};
  const Message message{nullptr, 0, &bytes, 1, &passed, sizeof passed, 0};
  const long got = call(Call::recvmsg, plan::kControlFd, &message, kMsgDontWait | kMsgCmsgCloexec);
  if (got == -EAGAIN || got == -EINTR) return;
  if (got != sizeof command) {
    return lose_monitor(job);  // 0 or an error
  }
  switch (command.kind) {
    case plan::CommandKind::proceed: job.proceed = true; return;
    case plan::CommandKind::signal: return deliver(job, command.signal, command.scope);
    case plan::CommandKind::kill: return cancel(job);
    case plan::CommandKind::network:
      if (message.control_length >= offsetof(PassedFds<1>, fds) + sizeof(int))
        job.network = passed.fds[0];
      return;
  }
}

}  // namespace

// PID 1 takes its whole namespace along. Another init has to kill what it started
// itself when it sees the control socket end, so it is only woken, in case that
// somebody has stopped it.
void heed_monitors_death(Job& job, Step step) {
  const int signal = call(Call::getpid) == 1 ? kSigKill : kSigCont;
  must(job, step, call(Call::prctl, PR_SET_PDEATHSIG, signal));
  // It may have died just before.
  PollFd control{plan::kControlFd, 0, 0};
  const __kernel_timespec at_once{};
  call(Call::ppoll, &control, 1, &at_once, nullptr);
  if (control.revents & kPollHup) lose_monitor(job);
}

// A spare waits here. The descriptors that come along need no look: the kernel
// has put them where lib/plan/order.hpp says.
void receive_order(Job& job) {
  PassedFds<plan::kMaxOrderFds> passed{};
  IoVec bytes[] = {{&job.order, sizeof job.order}, {job.map_lines, sizeof job.map_lines}};
  Message message{};
  message.vector = bytes;
  message.vector_length = 2;
  message.control = &passed;
  message.control_length = sizeof passed;
  const long got = call(Call::recvmsg, plan::kControlFd, &message, kMsgCmsgCloexec);
  const plan::Order& order = job.order;
  if (got < long{sizeof order} || (message.flags & kMsgCtrunc) ||
      order.version != plan::kOrderVersion || order.restraint >= plan::Restraint::count_ ||
      order.join_count > plan::kNamespaces || order.tasks_count > plan::kMaxTasksFds ||
      order.uid_lines > plan::kMaxMapLines || order.gid_lines > plan::kMaxMapLines ||
      order.client_uid_lines > plan::kMaxMapLines || order.client_gid_lines > plan::kMaxMapLines ||
      got != long{sizeof order} + long{order.uid_lines + order.gid_lines + order.client_uid_lines +
                                       order.client_gid_lines} *
                                      long{sizeof(plan::IdMap)})
    fail(job, Step::start, got < 0 ? -got : EPROTO);
}

void report(Job& job, plan::ReportKind kind, uint32_t detail) {
  const plan::Report message{kind, 0, detail, job.payload};
  // A monitor that is gone is noticed where init waits; the record stays.
  call(Call::sendto, plan::kControlFd, &message, sizeof message, kMsgNoSignal);
}

void report_payload(Job& job) {
  plan::Report message{plan::ReportKind::payload, 0, 0, job.payload};
  IoVec bytes{&message, sizeof message};
  PassedFds<1> passed{
      offsetof(PassedFds<1>, fds) + sizeof(int), kSolSocket, kScmRights, {job.pidfd}};
  const Message carrier{nullptr, 0, &bytes, 1, &passed, sizeof passed, 0};
  call(Call::sendmsg, plan::kControlFd, &carrier, kMsgNoSignal);
}

namespace {

constexpr int kWaitedFor = 4;

// ppoll(2) counts what it is to wait for against RLIMIT_NOFILE, which whoever has
// our ids can set to 0, prlimit(2). An epoll(7) instance that is there already
// asks for no limit.
long wait_for_any(Job& job, PollFd* set, int count, const __kernel_timespec* left) {
  const long ready = call(Call::ppoll, set, count, left, nullptr);
  if (ready != -EINVAL || job.epoll <= 0) return ready;
  for (int i = 0; i < count; ++i) {
    epoll_event each{};
    each.events = static_cast<uint32_t>(set[i].events);
    each.data = static_cast<uint64_t>(i);
    if (set[i].fd >= 0) call(Call::epoll_ctl, job.epoll, EPOLL_CTL_ADD, set[i].fd, &each);
  }
  epoll_event happened[kWaitedFor];
  const long ms = left ? left->tv_sec * 1000 + left->tv_nsec / 1'000'000 : -1;
  const long found = call(Call::epoll_pwait, job.epoll, happened, count, ms, nullptr, kSigSetBytes);
  for (int i = 0; i < count; ++i)
    if (set[i].fd >= 0) call(Call::epoll_ctl, job.epoll, EPOLL_CTL_DEL, set[i].fd, happened);
  for (long i = 0; i < found; ++i)
    set[happened[i].data].revents = static_cast<short>(happened[i].events);
  return found;
}

// What `await` waits for instead of a descriptor.
constexpr int kUntilProceed = -1, kUntilNetwork = -2;

}  // namespace

bool await(Job& job, int fd, int ms) {
  const __kernel_timespec limit{ms / 1000, (ms % 1000) * 1'000'000L};
  for (;;) {
    if (fd == kUntilProceed && job.proceed) return true;
    if (fd == kUntilNetwork && job.network) return true;
    // Negative descriptors are skipped by the kernel, poll(2).
    PollFd set[kWaitedFor] = {{job.orphaned ? -1 : plan::kControlFd, kPollIn, 0},
                              {job.signals > 0 ? job.signals : -1, kPollIn, 0},
                              {fd, kPollIn, 0},
                              {job.listener > 0 ? job.listener : -1, kPollIn, 0}};
    // The kernel writes the time that is left into what it is given, ppoll(2).
    __kernel_timespec left = limit;
    const long ready = wait_for_any(job, set, kWaitedFor, ms < 0 ? nullptr : &left);
    if (ready == -EINTR) continue;
    must(job, job.step, ready);
    if (ready == 0) return false;
    if (set[0].revents) serve(job);
    if (set[3].revents) job.answer_listener(job, set[3].revents);
    if (set[2].revents) return true;
    if (set[1].revents) {
      signalfd_siginfo info;
      call(Call::read, job.signals, &info, sizeof info);
      return false;
    }
  }
}

void await_proceed(Job& job, Step step) {
  job.step = step;
  await(job, kUntilProceed);
  job.proceed = false;
}

void await_network(Job& job, Step step) {
  job.step = step;
  await(job, kUntilNetwork);
}

void release_held_signals(Job& job) {
  for (int signal = 1; signal <= kSignals; ++signal)
    if (job.held_signals >> (signal - 1) & 1) deliver(job, signal, plan::Scope::main);
  job.held_signals = 0;
}

}  // namespace cloister::init
