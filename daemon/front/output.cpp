#include "output.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <string>
#include <utility>

namespace cloister::front {
namespace {

// The members are written one by one, each at once; `bytes` after what it counts.
plan::OutputHeader header_of(const sys::UniqueFd& file) {
  plan::OutputHeader header{};
  (void)!::pread(file.borrow(), &header, sizeof header, 0);
  return header;
}

}  // namespace

OutputReader::OutputReader(boost::asio::io_context& io, Files files)
    : files_(std::move(files)), events_(io), pause_(io) {
  if (!reads_any()) return;
  sys::UniqueFd events(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!events) return;
  for (const sys::UniqueFd& file : files_) {
    const std::string path = "/proc/self/fd/" + std::to_string(file.borrow());
    if (file && ::inotify_add_watch(events.borrow(), path.c_str(), IN_MODIFY) < 0) return;
  }
  events_.assign(events.take());
}

std::optional<OutputReader::Chunk> OutputReader::next() {
  for (uint32_t i = 0; i < plan::kCaptured; ++i) {
    const uint32_t stream = std::exchange(turn_, (turn_ + 1) % plan::kCaptured);
    if (!reads(stream)) continue;
    if (auto chunk = next_of(stream)) return chunk;
  }
  return {};
}

std::optional<OutputReader::Chunk> OutputReader::next_of(uint32_t stream) {
  const sys::UniqueFd& file = files_[stream];
  uint64_t& position = positions_[stream];
  for (;;) {
    const plan::OutputHeader header = header_of(file);
    if (position >= header.bytes) return {};
    const plan::OutputLayout layout(header.capture);
    const uint64_t end = std::min(header.bytes, header.failed_at);
    const uint64_t from = layout.first_kept(position, std::max(header.overrun, end));
    if (from >= end) {
      position = header.bytes;
      return {};
    }
    std::string data;
    const uint64_t most = std::min(end, from + kMost);
    for (uint64_t at = from; at < most && layout.first_kept(at, header.overrun) == at;) {
      const plan::Piece piece = layout.room(at);
      const size_t before = data.size();
      data.resize(before + std::min(piece.length, most - at));
      const ssize_t got = ::pread(file.borrow(), data.data() + before, data.size() - before,
                                  static_cast<off_t>(piece.offset));
      data.resize(before + static_cast<size_t>(std::max(got, ssize_t{0})));
      if (got <= 0) break;
      at += static_cast<uint64_t>(got);
    }
    if (data.empty()) return {};
    // Some of it may have been overwritten meanwhile.
    if (layout.first_kept(from, header_of(file).overrun) != from) continue;
    position = from + data.size();
    return Chunk{stream, from, std::move(data)};
  }
}

bool OutputReader::ended() const {
  for (const sys::UniqueFd& file : files_)
    if (file && !header_of(file).ended) return false;
  return true;
}

bool OutputReader::dropped() const {
  for (const sys::UniqueFd& file : files_)
    if (file && header_of(file).magic != plan::kOutputMagic) return true;
  return false;
}

boost::asio::awaitable<void> OutputReader::changed() {
  boost::system::error_code ignored;
  if (!events_.is_open()) {
    pause_.expires_after(std::chrono::milliseconds(20));
    co_return co_await pause_.async_wait(
        boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  co_await events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                              boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  char events[4096];
  (void)!::read(events_.native_handle(), events, sizeof events);
}

}  // namespace cloister::front
