// MonitorLink: the front's end of the two channels to the monitor. Asks go out
// through a pipe, Tells come in with descriptors; each answer finds the call
// that asked by its sequence number.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <optional>
#include <vector>

#include "plan/messages.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {

struct Answer {
  plan::Tell tell;
  std::vector<sys::UniqueFd> descriptors;
};

// A whole Tell from `socket`; blocks unless the socket is non-blocking. Nothing
// at the end of the stream, or when there is none yet (errno EAGAIN).
std::optional<Answer> receive_tell(int socket);

class MonitorLink {
 public:
  explicit MonitorLink(boost::asio::io_context& io);

  // A new Ask with its sequence number set.
  plan::Ask make(plan::AskKind kind);
  // False when the monitor is gone.
  bool ask(const plan::Ask& ask);
  // The next answer to `sequence`; answers to others are dropped, since one
  // call is served at a time. Nothing when the monitor is gone.
  boost::asio::awaitable<std::optional<Answer>> answer(uint32_t sequence);
  // The same without waiting. False when the monitor is gone; `answer` may stay empty.
  bool poll_answer(uint32_t sequence, std::optional<Answer>& answer);
  // Until one may be there.
  boost::asio::awaitable<void> readable();

 private:
  boost::asio::posix::stream_descriptor tells_;
  uint32_t sequence_ = 0;
};

}  // namespace cloister::front
