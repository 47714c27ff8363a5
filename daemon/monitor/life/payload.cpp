#include "life/payload.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace cloister::monitor {
namespace {

using boost::asio::posix::stream_descriptor;

// PIDFD_GET_INFO of linux/pidfd.h, which Debian 12 has not. With kExit (Linux
// 6.15) it tells the status of a process that was reaped.
struct PidfdInfo {
  uint64_t mask, cgroup;
  uint32_t pid, tgid, ppid;
  uint32_t ids[8];
  int32_t exit_code;
};
constexpr uint64_t kExit = 1 << 3;
constexpr unsigned long kGetInfo = _IOWR(0xFF, 11, PidfdInfo);
static_assert(sizeof(PidfdInfo) == 64);

int32_t status_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return W_EXITCODE(info.si_status, 0);
  return info.si_status | (info.si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

std::string contents(int directory, const char* path) {
  const sys::UniqueFd file(::openat(directory, path, O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t size = file ? ::read(file.borrow(), text, sizeof text) : 0;
  return std::string(text, size > 0 ? static_cast<size_t>(size) : 0);
}

// The number by which we know it; not above 0 once it is reaped.
int number_of(int pidfd) {
  const std::string info =
      contents(AT_FDCWD, ("/proc/self/fdinfo/" + std::to_string(pidfd)).c_str());
  const size_t at = info.find("\nPid:");
  return at == info.npos ? 0 : std::atoi(info.c_str() + at + 5);
}

// From /proc/PID/stat, while nobody has reaped it: "pid (name) state ppid pgrp
// session tty tpgid flags ... exit_code". A directory of /proc stays the process's
// that it was opened for.
std::optional<Payload::End> of_zombie(int pidfd) {
  const int number = number_of(pidfd);
  if (number <= 0) return {};
  const sys::UniqueFd process(
      ::open(("/proc/" + std::to_string(number)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!process || number_of(pidfd) != number) return {};
  const std::string stat = contents(process.borrow(), "stat");
  const size_t name = stat.rfind(')'), last = stat.rfind(' ');
  unsigned flags = 0;
  if (name == stat.npos || last == stat.npos ||
      std::sscanf(stat.c_str() + name, ") Z %*d %*d %*d %*d %*d %u", &flags) != 1)
    return {};
  constexpr unsigned kForkNoExec = 0x40;  // PF_FORKNOEXEC
  return Payload::End{std::atoi(stat.c_str() + last), (flags & kForkNoExec) == 0};
}

}  // namespace

void Payload::watch(sys::UniqueFd pidfd, int32_t pid, std::weak_ptr<void> owner,
                    std::function<void()> ended) {
  if (pidfd_.is_open()) return;
  pid_ = pid;
  pidfd_.assign(pidfd.take());
  await_end(std::move(owner), std::move(ended));
}

void Payload::await_end(std::weak_ptr<void> owner, std::function<void()> ended) {
  pidfd_.async_wait(stream_descriptor::wait_read, [this, owner, ended = std::move(ended)](
                                                      boost::system::error_code error) mutable {
    const auto held = owner.lock();
    if (error || !held || !pidfd_.is_open()) return;
    if (!lives()) return ended();
    await_end(std::move(owner), std::move(ended));
  });
}

void Payload::forget() {
  boost::system::error_code ignored;  // it is ours alone
  pidfd_.close(ignored);
}

bool Payload::lives() {
  if (!pidfd_.is_open()) return false;
  pollfd end{pidfd_.native_handle(), POLLIN, 0};
  if (::poll(&end, 1, 0) == 0) return true;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  if (!ended_at_ns_) ended_at_ns_ = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  return false;
}

void Payload::kill() {
  if (pidfd_.is_open())
    ::syscall(SYS_pidfd_send_signal, pidfd_.native_handle(), SIGKILL, nullptr, 0);
}

const std::optional<Payload::End>& Payload::end() {
  if (seen_ || !pidfd_.is_open()) return seen_;
  const int pidfd = pidfd_.native_handle();
  seen_ = of_zombie(pidfd);
  // Ours to reap once its init is dead, because we are the subreaper.
  siginfo_t end{};
  if (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &end, WEXITED | WNOHANG) == 0 && end.si_pid > 0 &&
      !seen_)
    seen_ = {status_of(end), false};
  PidfdInfo info{};
  info.mask = kExit;
  if (!seen_ && ::ioctl(pidfd, kGetInfo, &info) == 0 && (info.mask & kExit))
    seen_ = {info.exit_code, false};
  return seen_;
}

}  // namespace cloister::monitor
