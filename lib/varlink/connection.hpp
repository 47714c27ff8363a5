// A Varlink connection on Boost.Asio: whole messages in and out, as coroutines.
// Used by the front (service side) and by the asynchronous client. One read and
// one write may be under way at the same time, not two of either.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <span>
#include <string>

#include "varlink/frame.hpp"

namespace cloister::varlink {

class Connection {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;

  // Takes the socket and makes it non-blocking.
  explicit Connection(Socket socket);

  // The next message. FrameError::closed is the orderly end. After any error
  // the connection must be closed: the framing is lost.
  boost::asio::awaitable<Result<Message>> read();

  // Borrows `descriptors` until it returns.
  boost::asio::awaitable<Result<void>> write(std::string json,
                                             std::span<const int> descriptors = {});

  // A message has begun and has not ended.
  bool inside_message() const { return !reader_.empty(); }

  Socket& socket() { return socket_; }
  void close();

 private:
  Socket socket_;
  FrameReader reader_;
};

}  // namespace cloister::varlink
