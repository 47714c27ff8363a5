// cloister-relay: writes the captured output of one job to files.
//
// Started by the monitor, with the descriptors of host/relay.hpp. It reads what the job
// writes and never waits for anybody but the disk: whoever reads the output reads the
// files (lib/plan/output.hpp). When the control socket ends, the job has ended: what the
// pipes hold by then is the end of its output, whoever else has them open.
#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>

#include "plan/output.hpp"
#include "plan/relay.hpp"
#include "sys/powers.hpp"

// Under AddressSanitizer: the leak check reads /proc, from which this program keeps itself.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace cloister::relay {
namespace {

class Stream {
 public:
  Stream(int pipe, int file) : pipe_(pipe), file_(file) {
    is_open_ = ::pread(file_, &header_, sizeof header_, 0) == sizeof header_ &&
               header_.magic == plan::kOutputMagic;
  }

  int polled() const { return is_open_ && !full_ ? pipe_ : -1; }

  // Moves what the pipe holds, but nothing past a limit that ends the job. True if the job
  // has passed it just now.
  bool take(short events) {
    if (events & POLLIN) {
      const uint64_t there = held();
      const uint64_t room = kills() ? header_.capture.max - header_.bytes : there;
      seen_ = header_.bytes + there;
      move(std::min(there, room));
      if (there > room) return full_ = true;
    } else if (events) {
      is_open_ = false;  // nobody holds its other end
    }
    return false;
  }

  // Moves the rest. What is written after this is not captured.
  void finish() {
    if (!is_open_) return;
    // The job may have read what it wrote.
    const uint64_t end = std::max(seen_, header_.bytes + held());
    if (!full_) take(POLLIN);
    // What is more than the limit stays in the pipe, and counts.
    if (header_.bytes < end) put(offsetof(plan::OutputHeader, bytes), header_.bytes = end);
  }

 private:
  bool kills() const { return header_.capture.on_limit == plan::OnLimit::kill; }

  uint64_t held() const {
    int bytes = 0;
    return ::ioctl(pipe_, FIONREAD, &bytes) == 0 ? static_cast<uint64_t>(bytes) : 0;
  }

  void move(uint64_t left) {
    const plan::OutputLayout layout(header_.capture);
    while (left > 0) {
      const plan::Piece room = header_.error ? plan::Piece{} : layout.room(header_.bytes);
      const uint64_t most = room.length ? std::min(room.length, left) : left;
      const bool overwrites = room.length && header_.bytes + most > header_.capture.max;
      if (overwrites) put(offsetof(plan::OutputHeader, overrun), header_.bytes + most);
      auto at = static_cast<loff_t>(room.offset);
      const ssize_t got = ::splice(pipe_, nullptr, room.length ? file_ : STDIN_FILENO,
                                   room.length ? &at : nullptr, most, SPLICE_F_NONBLOCK);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno != EAGAIN && room.length) {
        // A full disk: the job goes on, and its output is no longer kept.
        header_.error = errno;
        if (overwrites) put(offsetof(plan::OutputHeader, overrun), header_.bytes);
        put(offsetof(plan::OutputHeader, error), header_.error);
        put(offsetof(plan::OutputHeader, failed_at), header_.bytes);
        continue;
      }
      if (got <= 0) return;
      const auto moved = static_cast<uint64_t>(got);
      left -= moved;
      put(offsetof(plan::OutputHeader, bytes), header_.bytes += moved);
      if (overwrites && moved < most) put(offsetof(plan::OutputHeader, overrun), header_.bytes);
    }
  }

  // By write(2), which tells those who watch the file. The page is there already.
  template <class T>
  void put(size_t at, T value) const {
    (void)!::pwrite(file_, &value, sizeof value, static_cast<off_t>(at));
  }

  const int pipe_, file_;
  plan::OutputHeader header_{};
  uint64_t seen_ = 0;  // bytes that the job has written, as far as is known
  bool is_open_ = false, full_ = false;
};

// Leaves nothing but the open descriptors: no capability, and no file can be opened.
bool confine() {
  landlock_ruleset_attr governed{};
  governed.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // all of ABI 1
  const long rules = ::syscall(SYS_landlock_create_ruleset, &governed, sizeof governed, 0);
  if (!sys::keep_only(0) || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
      ::prctl(PR_SET_DUMPABLE, 0) < 0)
    return false;
  if (rules < 0) return true;  // this kernel has none
  const bool restricted = ::syscall(SYS_landlock_restrict_self, rules, 0) == 0;
  ::close(static_cast<int>(rules));
  return restricted;
}

void run() {
  Stream streams[plan::kCaptured] = {{plan::relay::kFirstPipe, plan::relay::kFirstFile},
                                     {plan::relay::kFirstPipe + 1, plan::relay::kFirstFile + 1}};
  for (;;) {
    pollfd set[] = {{plan::relay::kControl, POLLIN, 0},
                    {streams[0].polled(), POLLIN, 0},
                    {streams[1].polled(), POLLIN, 0}};
    if (::poll(set, 3, -1) < 0) continue;
    if (set[0].revents) break;
    for (uint32_t i = 0; i < plan::kCaptured; ++i)
      if (set[1 + i].revents && streams[i].take(set[1 + i].revents))
        ::send(plan::relay::kControl, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  for (Stream& stream : streams) stream.finish();
}

}  // namespace
}  // namespace cloister::relay

int main() {
  ::signal(SIGXFSZ, SIG_IGN);
  if (!cloister::relay::confine()) {
    std::perror("cloister-relay");
    return 1;
  }
  cloister::relay::run();
  return 0;
}
