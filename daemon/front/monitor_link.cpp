#include "monitor_link.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

namespace cloister::front {

using boost::asio::posix::stream_descriptor;

std::optional<Answer> receive_tell(int socket) {
  Answer answer;
  iovec bytes{&answer.tell, sizeof answer.tell};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  const int error = errno;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); size > 0 && part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    int fds[4];
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(fds, CMSG_DATA(part), count * sizeof(int));
    for (size_t i = 0; i < count; ++i) answer.descriptors.emplace_back(fds[i]);
  }
  errno = error;
  if (size != sizeof answer.tell) {
    if (size >= 0) errno = EPIPE;
    return {};
  }
  return answer;
}

MonitorLink::MonitorLink(boost::asio::io_context& io) : tells_(io, plan::kTellFd) {
  ::fcntl(plan::kTellFd, F_SETFL, O_NONBLOCK);
}

plan::Ask MonitorLink::make(plan::AskKind kind) {
  plan::Ask ask;
  std::memset(&ask, 0, sizeof ask);
  ask.kind = kind;
  ask.sequence = ++sequence_;
  return ask;
}

bool MonitorLink::ask(const plan::Ask& ask) {
  ssize_t written;
  do written = ::write(plan::kAskFd, &ask, sizeof ask);
  while (written < 0 && errno == EINTR);
  return written == sizeof ask;
}

boost::asio::awaitable<std::optional<Answer>> MonitorLink::answer(uint32_t sequence) {
  for (;;) {
    if (auto next = receive_tell(tells_.native_handle())) {
      if (next->tell.sequence == sequence) co_return next;
      continue;
    }
    if (errno != EAGAIN) co_return std::nullopt;
    co_await tells_.async_wait(stream_descriptor::wait_read, boost::asio::use_awaitable);
  }
}

}  // namespace cloister::front
