// OutputReader: reads the captured output of a job as it grows (lib/plan/output.hpp), from
// files that only the relay writes. A slow reader delays neither the job nor other readers.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "plan/output.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {

class OutputReader {
 public:
  // Of a stream whose descriptor is empty nothing is read.
  using Files = std::array<sys::UniqueFd, plan::kCaptured>;
  OutputReader(boost::asio::io_context& io, Files files);

  struct Chunk {
    uint32_t stream;
    uint64_t offset;   // what lies between this and the end of the last chunk was not kept
    std::string data;  // at most kMost bytes
  };
  static constexpr size_t kMost = 48 << 10;

  bool reads(uint32_t stream) const { return static_cast<bool>(files_[stream]); }
  bool reads_any() const { return reads(0) || reads(1); }
  void seek(uint32_t stream, uint64_t offset) { positions_[stream] = offset; }
  uint64_t position(uint32_t stream) const { return positions_[stream]; }
  // The next of what is there, of one stream after the other; nothing when that was all.
  std::optional<Chunk> next();
  // Whether the job has ended: what next() finds after this is the rest.
  bool ended() const;
  // Whether the monitor has dropped it, because newer jobs needed the room.
  bool dropped() const;
  // Waits until there may be more. Returns at once if more came since the last call.
  boost::asio::awaitable<void> changed();

 private:
  std::optional<Chunk> next_of(uint32_t stream);

  Files files_;
  std::array<uint64_t, plan::kCaptured> positions_{};
  uint32_t turn_ = 0;
  boost::asio::posix::stream_descriptor events_;  // inotify(7), unless the user has no more
  boost::asio::steady_timer pause_;               // instead
};

}  // namespace cloister::front
