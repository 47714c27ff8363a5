// A child of ours, and what is heard of it until its exec.
#include <asm/errno.h>
#include <asm/siginfo.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "kernel.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {

// clone3(2) without a stack of its own is fork(2).
long fork_process(uint64_t flags, int* pidfd, int cgroup) {
  clone_args args{};
  args.flags = flags;
  args.exit_signal = kSigChld;
  if (pidfd) {
    args.flags |= CLONE_PIDFD;
    args.pidfd = reinterpret_cast<uint64_t>(pidfd);
  }
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup);
  }
  return call(Call::clone3, &args, sizeof args);
}

long result_of(long child) {
  siginfo_t info{};
  const long waited = call(Call::waitid, P_PID, child, &info, WEXITED, nullptr);
  if (waited < 0) return waited;
  return info.si_code == CLD_EXITED ? -long{info.si_status} : -EINTR;
}

void share_words(Job& job, Step step) {
  const long at = must(job, step,
                       call(Call::mmap, nullptr, sizeof(Words), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  job.words = reinterpret_cast<Words*>(at);
}

// What init hears of its child by.
void prepare_fork(Job& job, Step step) {
  job.step = step;
  // A socket, not a pipe: its end in the payload's process cannot be opened a
  // second time through /proc/self/fd.
  int ends[2];
  must(job, step, call(Call::socketpair, kAfUnix, kSockSeqpacket | kSockCloexec, 0, ends));
  job.status_read = ends[0];
  job.status_write = ends[1];
  const uint64_t child_changes = uint64_t{1} << (kSigChld - 1);
  job.signals = must_fd(
      job, step, call(Call::signalfd4, -1, &child_changes, kSigSetBytes, O_CLOEXEC | O_NONBLOCK));
  job.epoll = must_fd(job, step, call(Call::epoll_create1, O_CLOEXEC));
  share_words(job, step);
}

namespace {

// True once the other end is closed; takes the filter's listener that comes before.
bool closed(Job& job) {
  char what = 0;
  IoVec bytes{&what, 1};
  PassedFds<1> passed{};
  Message message{};
  message.vector = &bytes;
  message.vector_length = 1;
  message.control = &passed;
  message.control_length = sizeof passed;
  const long got = call(Call::recvmsg, job.status_read, &message, kMsgCmsgCloexec);
  if (got == -EINTR) return false;
  if (got != 1) return true;
  if (message.control_length > 0) job.listener = passed.fds[0];
  return false;
}

// What follows `word` in a file below /proc; the part before the last ')' of
// /proc/PID/stat may hold anything.
class Text {
 public:
  Text(const Job& job, const char* path) {
    const long fd = call(Call::openat, job.proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    const long got = call(Call::read, fd, bytes_, sizeof bytes_ - 1);
    close(static_cast<int>(fd));
    if (got > 0) length_ = got;
  }
  // The number after this many spaces or tabs behind the last `mark`.
  uint64_t number_behind(char mark, int spaces) const {
    long at = length_;
    while (at > 0 && bytes_[at] != mark) --at;
    for (; spaces > 0 && at < length_; ++at) spaces -= bytes_[at] == ' ' || bytes_[at] == '\t';
    uint64_t number = 0;
    for (; bytes_[at] >= '0' && bytes_[at] <= '9'; ++at)
      number = number * 10 + static_cast<uint64_t>(bytes_[at] - '0');
    return number;
  }

 private:
  char bytes_[512]{};
  long length_ = 0;
};

// /proc/PID/stat has the flags of a process that is dead too: one of them falls
// with its first successful execve(2).
bool never_executed(const Job& job) {
  // Our /proc may be of an outer pid namespace, where the payload has another
  // number. A pidfd tells the one that counts there: "Pid:\t123\nNSpid:...".
  const long pidfd = call(Call::pidfd_open, job.payload, 0);
  if (pidfd < 0) return false;
  Line<48> info, stat;
  info << "self/fdinfo/" << static_cast<int32_t>(pidfd);
  const uint64_t pid = Text(job, info.c_str()).number_behind('P', 1);
  close(static_cast<int>(pidfd));
  if (pid == 0) return false;
  stat << static_cast<uint32_t>(pid) << "/stat";
  // ") state ppid pgrp session tty tpgid flags"
  constexpr int kFieldsBefore = 7;
  constexpr uint64_t kForkNoExec = 0x40;  // PF_FORKNOEXEC
  return (Text(job, stat.c_str()).number_behind(')', kFieldsBefore) & kForkNoExec) != 0;
}

// It died before its exec, and not by a step that failed: of a signal from
// outside, or of its filter. An exec takes the flag before it closes our socket,
// so who has it still is on its way out, where files go long before the rest.
void tell_from_death(Job& job) {
  if (!never_executed(job)) return;
  siginfo_t info{};
  must(job, Step::fork, call(Call::waitid, P_PID, job.payload, &info, WEXITED | WNOWAIT, nullptr));
  const bool filter = info.si_status == kSigSys;
  fail(job, {Step::exec, kNone,
             job.cancelled ? ECANCELED
             : filter      ? EPERM
                           : EINTR,
             static_cast<uint32_t>(info.si_status)});
}

}  // namespace

void await_exec(Job& job) {
  for (;;) {
    if (!await(job, job.status_read)) continue;
    if (closed(job)) break;
  }
  close(job.status_read);
  const Words& words = *job.words;
  if (words.failure.step != Step::none) fail(job, words.failure);
  if (words.ready) {
    tell_from_death(job);
    job.started = true;
    return;
  }
  // The end of file without a word: the process died in one of our steps.
  siginfo_t info{};
  must(job, Step::fork, call(Call::waitid, P_PID, job.payload, &info, WEXITED | WNOWAIT, nullptr));
  fail(job, {Step::fork, kNone, job.cancelled ? ECANCELED : EINTR,
             static_cast<uint32_t>(info.si_status)});
}

}  // namespace cloister::init
