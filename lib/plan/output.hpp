// Captured output: what a job writes to a stream, in a file of bounded size that
// cloister-relay writes and the front of the job's owner reads.
//
// A header, then room for `max` bytes: first those that are kept of the beginning, at
// their own place, then a ring for those of the end. Bytes count from the first that was
// written. Both sides use this file, so the layout is said once. Freestanding.
#pragma once

#include <stdint.h>

namespace cloister::plan {

enum class OnLimit : uint32_t { kill, truncate, count_ };
enum class Keep : uint32_t { head, tail, both, count_ };

struct Capture {
  uint64_t max;  // bytes that are kept; 0: the stream is not captured
  OnLimit on_limit;
  Keep keep;
};

inline constexpr uint32_t kCaptured = 2;
inline constexpr const char* kStreamNames[kCaptured] = {"stdout", "stderr"};
inline constexpr uint64_t kMaxCapture = uint64_t{1} << 40;
inline constexpr uint64_t kDefaultCapture = 10 << 20;

inline constexpr uint64_t kOutputMagic = 0x3074'756f'7263'6c63ULL;
inline constexpr uint32_t kOutputHeader = 4096;  // bytes before the first of the content

struct OutputHeader {
  uint64_t magic;
  Capture capture;
  uint64_t bytes;      // that the job has written
  uint64_t overrun;    // above `max`: the ring is overwritten up to here, now or in a moment
  uint64_t failed_at;  // from here on nothing is kept, because of `error`; else UINT64_MAX
  int32_t error;       // errno
  uint32_t ended;      // 1: nothing comes any more
};

// Where bytes are. `length` of them lie together from `offset` of the file on.
struct Piece {
  uint64_t offset;
  uint64_t length;  // 0: no byte is kept there
};

class OutputLayout {
 public:
  explicit constexpr OutputLayout(const Capture& capture)
      : max_(capture.max),
        head_(capture.keep == Keep::head   ? capture.max
              : capture.keep == Keep::both ? capture.max / 2
                                           : 0) {}

  // Room for the byte at `position` and those behind it, when they come.
  constexpr Piece room(uint64_t position) const {
    if (position < head_) return {kOutputHeader + position, head_ - position};
    if (ring() == 0) return {0, 0};
    const uint64_t at = (position - head_) % ring();
    return {kOutputHeader + head_ + at, ring() - at};
  }
  // The first byte from `position` on that is kept, if any is.
  constexpr uint64_t first_kept(uint64_t position, uint64_t overrun) const {
    if (position < head_ || overrun <= max_) return position;
    const uint64_t oldest = ring() == 0 ? UINT64_MAX : overrun - ring();
    return position < oldest ? oldest : position;
  }
  constexpr uint64_t kept(uint64_t bytes) const { return bytes < max_ ? bytes : max_; }

 private:
  constexpr uint64_t ring() const { return max_ - head_; }
  const uint64_t max_, head_;
};

// Of a stream, for a verdict.
struct OutputState {
  uint64_t bytes, kept;
  uint32_t captured;  // 1: it was
  int32_t error;      // as in the header
};

}  // namespace cloister::plan
