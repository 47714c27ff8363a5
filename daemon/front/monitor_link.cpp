#include "monitor_link.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "sys/rights.hpp"

namespace cloister::front {

using boost::asio::posix::stream_descriptor;

std::optional<Answer> receive_tell(int socket) {
  Answer answer;
  const ssize_t size =
      sys::receive_rights(socket, &answer.tell, sizeof answer.tell, answer.descriptors);
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

bool MonitorLink::poll_answer(uint32_t sequence, std::optional<Answer>& answer) {
  do answer = receive_tell(tells_.native_handle());
  while (answer && answer->tell.sequence != sequence);
  return answer || errno == EAGAIN;
}

boost::asio::awaitable<void> MonitorLink::readable() {
  co_await tells_.async_wait(stream_descriptor::wait_read, boost::asio::use_awaitable);
}

boost::asio::awaitable<std::optional<Answer>> MonitorLink::answer(uint32_t sequence) {
  std::optional<Answer> answer;
  while (poll_answer(sequence, answer) && !answer) co_await readable();
  co_return answer;
}

}  // namespace cloister::front
