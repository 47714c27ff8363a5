// Framing: JSON objects, each ended by one NUL, over an AF_UNIX stream, and
// which descriptors belong to which of them. No I/O here: transfer.hpp moves
// the bytes, fuzzers and tests drive the same code from memory. Runs in the
// client and in the front (on the client's side of the boundary); the monitor
// never reads a message.
//
// The rule on the wire: the sendmsg(2) that carries the first byte of a
// message carries all its descriptors (SCM_RIGHTS).
//
// Why reading takes two steps. recvmsg(2) on a stream stops *behind* the
// buffer that has SCM_RIGHTS, not in front of it (unix_stream_read_generic):
// when message A without descriptors is followed by B with some, one big read
// returns A, the start of B, and B's descriptors, and nothing says which byte
// they came with. So first peek, and then read
//   - up to and with the first NUL, if the peek shows one. The read ends inside
//     or at the end of A, and the kernel does not touch the buffer behind it, so
//     what it delivers came with bytes of A;
//   - else exactly what was peeked: all of it is A, so its descriptors are A's.
// What is peeked without a NUL is always read at once, so each byte of a message
// is peeked and scanned once however the sender dribbles. A peek passes no
// control buffer: the kernel installs nothing and keeps the descriptors queued.
//
// Descriptors that arrive with a read which does not start a message came late:
// an error, never handed to that message or to the next. A late batch that the
// kernel merged with the first bytes *of the same message* cannot be told apart
// and needs not be: it is that message's own.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/unique_fd.hpp"

namespace cloister::varlink {

// Bytes of JSON in one message; the NUL is not counted.
inline constexpr size_t kMaxMessageBytes = 4u << 20;
// SCM_MAX_FD, unix(7): the kernel refuses more in one sendmsg(2).
inline constexpr size_t kMaxDescriptors = 253;

struct Message {
  std::string json;  // without the NUL
  std::vector<sys::UniqueFd> descriptors;
};

enum class FrameError {
  closed = 1,            // the peer closed between two messages
  truncated,             // the peer closed inside a message
  too_large,             // more than kMaxMessageBytes without a NUL
  too_many_descriptors,  // more than kMaxDescriptors with one message
  lost_descriptors,      // MSG_CTRUNC: some could not be received
  late_descriptors,      // not with the first byte of a message
};

const boost::system::error_category& frame_category() noexcept;
inline boost::system::error_code make_error_code(FrameError e) noexcept {
  return {static_cast<int>(e), frame_category()};
}

template <class T>
using Result = boost::system::result<T>;

// Takes a stream apart. Per step: peek into `room()`, call `peeked()`, read as
// many bytes as it says into the start of the same room, call `consumed()`.
// After an error the connection is of no use any more.
class FrameReader {
 public:
  // Where the next peek goes; never empty. Valid until the next call.
  std::span<char> room();

  // `count` bytes lie in room(); 0 = end of the stream. How many of them to read.
  Result<size_t> peeked(size_t count);

  // They were read, with these descriptors. True: a message is complete.
  Result<bool> consumed(size_t count, std::vector<sys::UniqueFd> descriptors);

  // The complete message; the reader starts on the next one.
  Message take();

  // Nothing of a message has arrived.
  bool empty() const { return used_ == 0; }

 private:
  std::string buffer_;  // [0, used_) is the message so far, the rest is room
  size_t used_ = 0;
  std::vector<sys::UniqueFd> descriptors_;
};

// One message on its way out. Borrows the descriptors: they stay the caller's,
// open until done() or the writer is dropped.
class FrameWriter {
 public:
  FrameWriter(std::string json, std::span<const int> descriptors);

  std::string_view rest() const { return std::string_view(bytes_).substr(sent_); }
  // To be sent with rest(): all of them with the first byte, then none.
  std::span<const int> descriptors() const {
    return sent_ == 0 ? std::span<const int>(descriptors_) : std::span<const int>();
  }
  void sent(size_t count) { sent_ += count; }
  bool done() const { return sent_ == bytes_.size(); }

 private:
  std::string bytes_;
  std::vector<int> descriptors_;
  size_t sent_ = 0;
};

}  // namespace cloister::varlink

template <>
struct boost::system::is_error_code_enum<cloister::varlink::FrameError> : std::true_type {};
