#include "host/relay.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "host/spawn.hpp"
#include "plan/relay.hpp"

namespace cloister::monitor {
namespace {

using boost::asio::posix::stream_descriptor;

// Makes the file with its header. The whole first page is written, so that a later change
// of the header needs no space on a full disk.
bool begin_output(const plan::Capture& capture, Scratch& scratch, sys::UniqueFd& output) {
  output = scratch.nameless_file();
  if (!output) return false;
  char page[plan::kOutputHeader] = {};
  plan::OutputHeader header{};
  header.magic = plan::kOutputMagic;
  header.capture = capture;
  header.failed_at = UINT64_MAX;
  std::memcpy(page, &header, sizeof header);
  return ::pwrite(output.borrow(), page, sizeof page, 0) == sizeof page;
}

template <class T>
void put(const sys::UniqueFd& output, size_t at, T value) {
  (void)!::pwrite(output.borrow(), &value, sizeof value, static_cast<off_t>(at));
}

}  // namespace

// The mode of the file, 0444, keeps a reader from opening it for writing through /proc.
sys::UniqueFd open_to_read(const sys::UniqueFd& output) {
  const std::string path = "/proc/self/fd/" + std::to_string(output.borrow());
  return sys::UniqueFd(output ? ::open(path.c_str(), O_RDONLY | O_CLOEXEC) : -1);
}

void drop(Outputs& outputs) {
  for (sys::UniqueFd& output : outputs) {
    if (output) (void)!::ftruncate(output.borrow(), 0);
    output.reset();
  }
}

Relay::Relay(boost::asio::io_context& io, OnFull full, OnGone gone)
    : control_(io), end_(io), patience_(io), full_(std::move(full)), gone_(std::move(gone)) {}

bool Relay::start(int program, int cgroup, const plan::Capture (&wanted)[plan::kCaptured],
                  Scratch& scratch, Outputs& pipes) {
  const sys::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  int ends[2];
  if (!null || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return false;
  sys::UniqueFd ours(ends[0]);
  const sys::UniqueFd theirs(ends[1]);
  // Its standard error is ours.
  std::array<FdMove, 3 + 2 * plan::kCaptured> moves = {
      {{null.borrow(), 0}, {null.borrow(), 1}, {theirs.borrow(), plan::relay::kControl}}};
  size_t count = 3;
  Outputs reading;
  for (uint32_t i = 0; i < plan::kCaptured; ++i) {
    const int number = static_cast<int>(i);
    if (wanted[i].max > 0) {
      int pipe[2];
      if (::pipe2(pipe, O_CLOEXEC) < 0) return false;
      reading[i].reset(pipe[0]);
      pipes[i].reset(pipe[1]);
      if (!begin_output(wanted[i], scratch, outputs_[i])) return false;
    }
    const auto or_null = [&](const sys::UniqueFd& fd) { return fd ? fd.borrow() : null.borrow(); };
    moves[count++] = {or_null(reading[i]), plan::relay::kFirstPipe + number};
    moves[count++] = {or_null(outputs_[i]), plan::relay::kFirstFile + number};
  }
  Spawn request{.executable = program, .name = "cloister-relay", .moves = moves};
  request.cgroup = cgroup;
  Child child = spawn(request);
  if (child.pid < 0) return false;
  control_.assign(ours.take());
  end_.of_child(std::move(child), [self = shared_from_this()](const Reaped&) { self->ended(); });
  read_reports();
  return true;
}

void Relay::read_reports() {
  control_.async_wait(
      stream_descriptor::wait_read, [self = shared_from_this()](boost::system::error_code error) {
        if (error) return;
        char full = 0;
        const ssize_t size =
            ::recv(self->control_.native_handle(), &full, sizeof full, MSG_DONTWAIT);
        if (size == 0) return;  // its end: see its pidfd
        if (size > 0) self->full_();
        if (self->control_.is_open()) self->read_reports();
      });
}

void Relay::end() {
  if (!control_.is_open()) return;
  boost::system::error_code ignored;
  control_.close(ignored);
  // A disk that does not answer, or somebody who has its uid and has stopped it.
  patience_.expires_after(std::chrono::seconds(1));
  patience_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error) return;
    self->end_.kill();
    // What its pipes hold is not known any more.
    for (uint32_t i = 0; i < plan::kCaptured; ++i)
      if (const plan::OutputState state = self->state(i); state.captured && !state.error) {
        put(self->outputs_[i], offsetof(plan::OutputHeader, failed_at), state.bytes);
        put(self->outputs_[i], offsetof(plan::OutputHeader, error), int32_t{ETIMEDOUT});
      }
    self->ended();
  });
}

void Relay::ended() {
  boost::system::error_code ignored;
  control_.close(ignored);
  patience_.cancel();
  for (const sys::UniqueFd& output : outputs_)
    if (output) put(output, offsetof(plan::OutputHeader, ended), uint32_t{1});
  full_ = nullptr;
  if (const OnGone gone = std::exchange(gone_, nullptr)) gone();
}

plan::OutputState Relay::state(uint32_t stream) const {
  plan::OutputHeader header{};
  if (!outputs_[stream] || ::pread(outputs_[stream].borrow(), &header, sizeof header, 0) !=
                               static_cast<ssize_t>(sizeof header))
    return {};
  const uint64_t stored = std::min(header.bytes, header.failed_at);
  return {header.bytes, plan::OutputLayout(header.capture).kept(stored), 1, header.error};
}

}  // namespace cloister::monitor
