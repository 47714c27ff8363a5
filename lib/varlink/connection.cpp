#include "varlink/connection.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "varlink/transfer.hpp"

namespace cloister::varlink {

namespace asio = boost::asio;

Connection::Connection(Socket socket) : socket_(std::move(socket)) {
  socket_.native_non_blocking(true);
}

asio::awaitable<Result<Message>> Connection::read() {
  boost::system::error_code waiting;
  for (;;) {
    const auto progress = receive(socket_.native_handle(), reader_);
    if (!progress) co_return progress.error();
    if (*progress == Progress::complete) co_return reader_.take();
    if (*progress == Progress::blocked)
      co_await socket_.async_wait(Socket::wait_read,
                                  asio::redirect_error(asio::use_awaitable, waiting));
    if (waiting) co_return waiting;
  }
}

asio::awaitable<Result<void>> Connection::write(std::string json,
                                                std::span<const int> descriptors) {
  FrameWriter writer(std::move(json), descriptors);
  boost::system::error_code waiting;
  for (;;) {
    const auto progress = send(socket_.native_handle(), writer);
    if (!progress) co_return progress.error();
    if (*progress == Progress::complete) co_return Result<void>();
    if (*progress == Progress::blocked)
      co_await socket_.async_wait(Socket::wait_write,
                                  asio::redirect_error(asio::use_awaitable, waiting));
    if (waiting) co_return waiting;
  }
}

void Connection::close() {
  boost::system::error_code ignored;  // the number is gone whatever close(2) says
  socket_.close(ignored);
}

}  // namespace cloister::varlink
