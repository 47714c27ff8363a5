#include "host/child_watch.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdlib>
#include <string>

#include "host/clock.hpp"
#include "host/process_stat.hpp"

namespace cloister::monitor {

using boost::asio::posix::stream_descriptor;

static_assert(plan::kExited == CLD_EXITED && plan::kKilled == CLD_KILLED &&
              plan::kDumped == CLD_DUMPED && plan::kCoreFlag == WCOREFLAG);

namespace {

constexpr std::chrono::milliseconds kMoment(20);

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

bool is_readable(int pidfd) {
  pollfd end{pidfd, POLLIN, 0};
  return ::poll(&end, 1, 0) > 0;
}

// The number by which we know it; not above 0 once it is reaped.
pid_t number_of(int pidfd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(pidfd);
  const sys::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t size = file ? ::read(file.borrow(), text, sizeof text) : 0;
  const std::string info(text, size > 0 ? static_cast<size_t>(size) : 0);
  const size_t at = info.find("\nPid:");
  return at == info.npos ? 0 : std::atoi(info.c_str() + at + 5);
}

// Of one that nobody has reaped.
std::optional<ChildWatch::Outcome> of_zombie(int pidfd) {
  const pid_t number = number_of(pidfd);
  if (number <= 0) return {};
  const sys::UniqueFd process = open_process(number);
  if (!process || number_of(pidfd) != number) return {};
  const std::optional<ProcessStat> stat = stat_of(process.borrow());
  if (!stat || stat->state != 'Z') return {};
  return ChildWatch::Outcome{plan::child_end_of(stat->wait_status), stat->executed()};
}

// We are the subreaper: what loses its parent becomes our child.
std::optional<plan::ChildEnd> reap_adopted(int pidfd) {
  siginfo_t info{};
  if (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
    return {};
  return plan::ChildEnd{info.si_code, info.si_status};
}

}  // namespace

struct ChildWatch::Watched {
  Watched(boost::asio::io_context& io, sys::UniqueFd pidfd, pid_t ours)
      : end(io, pidfd.take()), again(io), child(ours) {}
  stream_descriptor end;
  boost::asio::steady_timer again;
  const pid_t child;        // 0: another's
  int64_t ended_at_ns = 0;  // CLOCK_BOOTTIME, when it was first seen to have ended

  bool lives() {
    if (!is_readable(end.native_handle())) return true;
    if (!ended_at_ns) ended_at_ns = now_ns(CLOCK_BOOTTIME);
    return false;
  }
  void close() {
    boost::system::error_code ignored;  // it is ours alone
    end.close(ignored);
    again.cancel();
  }
};

void ChildWatch::of_child(Child child, OnEnd on_end) {
  forget();
  watched_ = std::make_shared<Watched>(io_, std::move(child.pidfd), child.pid);
  wait(watched_, std::move(on_end));
}

void ChildWatch::of_another(sys::UniqueFd pidfd, OnEnd on_end) {
  forget();
  watched_ = std::make_shared<Watched>(io_, std::move(pidfd), 0);
  wait(watched_, std::move(on_end));
}

// What is called lies with the event loop, not here: what it has captured may own us.
void ChildWatch::wait(const std::shared_ptr<Watched>& of, OnEnd on_end) {
  of->end.async_wait(stream_descriptor::wait_read,
                     [of, on_end = std::move(on_end)](boost::system::error_code error) mutable {
                       if (!error) look(of, std::move(on_end));
                     });
}

void ChildWatch::look(const std::shared_ptr<Watched>& of, OnEnd on_end) {
  if (!of->end.is_open()) return;  // it was forgotten meanwhile
  if (of->child == 0) {
    if (of->lives()) return wait(of, std::move(on_end));
    return on_end({true, 0, 0});
  }
  const Reaped reaped = reap(of->child);
  if (reaped.ended) {
    of->close();
    return on_end(reaped);
  }
  if (of->lives()) return wait(of, std::move(on_end));
  // It is dead and cannot be reaped: it is traced.
  of->again.expires_after(kMoment);
  of->again.async_wait([of, on_end = std::move(on_end)](boost::system::error_code error) mutable {
    if (!error) look(of, std::move(on_end));
  });
}

void ChildWatch::forget() {
  if (pidfd() < 0) return;
  if (watched_->child == 0) reap_adopted(pidfd());
  watched_->close();
}

int ChildWatch::pidfd() const {
  return watched_ && watched_->end.is_open() ? watched_->end.native_handle() : -1;
}

bool ChildWatch::lives() { return pidfd() >= 0 && watched_->lives(); }

int64_t ChildWatch::ended_at_ns() const { return watched_ ? watched_->ended_at_ns : 0; }

void ChildWatch::kill() {
  if (pidfd() >= 0) ::syscall(SYS_pidfd_send_signal, pidfd(), SIGKILL, nullptr, 0);
}

const std::optional<ChildWatch::Outcome>& ChildWatch::outcome() {
  if (!outcome_ && pidfd() >= 0) outcome_ = outcome_of(pidfd());
  return outcome_;
}

std::string words_of(plan::ChildEnd end) {
  return (end.code == plan::kExited ? "exit " : "signal ") + std::to_string(end.status);
}

std::optional<ChildWatch::Outcome> outcome_of(int pidfd) {
  const std::optional<ChildWatch::Outcome> zombie = of_zombie(pidfd);
  const std::optional<plan::ChildEnd> reaped = reap_adopted(pidfd);
  if (zombie) return zombie;
  if (reaped) return ChildWatch::Outcome{*reaped, false};
  PidfdInfo info{};
  info.mask = kExit;
  if (::ioctl(pidfd, kGetInfo, &info) == 0 && (info.mask & kExit))
    return ChildWatch::Outcome{plan::child_end_of(info.exit_code), false};
  return {};
}

}  // namespace cloister::monitor
