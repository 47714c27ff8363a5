#include "varlink/frame.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cloister::varlink {
namespace {

// The bytes of one peek. Most messages fit in kFirstRoom. The room grows with the
// message, so that one of 4 MiB takes few steps. It starts small, so that a short
// message does not copy megabytes of those that are queued behind it.
constexpr size_t kFirstRoom = 4096;
constexpr size_t kLargestRoom = 256u << 10;

// The warning is wrong here: the destructor of error_category is protected, so no
// category is deleted through a pointer to it.
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class FrameCategory final : public boost::system::error_category {
 public:
  const char* name() const noexcept override { return "cloister.frame"; }
  std::string message(int code) const override {
    switch (static_cast<FrameError>(code)) {
      case FrameError::closed: return "the peer closed the connection";
      case FrameError::truncated: return "the peer closed the connection inside a message";
      case FrameError::too_large: return "no NUL within 4 MiB: the message is too large";
      case FrameError::too_many_descriptors: return "more than 253 descriptors with one message";
      case FrameError::lost_descriptors:
        return "passed descriptors could not be received (the limit of open files may be too low)";
      case FrameError::late_descriptors:
        return "descriptors were not sent with the first byte of a message";
    }
    return "unknown framing error";
  }
};

}  // namespace

const boost::system::error_category& frame_category() noexcept {
  static const FrameCategory category;
  return category;
}

std::span<char> FrameReader::room() {
  // One byte more than the limit, so that the NUL that ends a message of exactly
  // kMaxMessageBytes is seen.
  const size_t most = kMaxMessageBytes + 1 - used_;
  const size_t size = std::min(std::clamp(used_, kFirstRoom, kLargestRoom), most);
  if (buffer_.size() < used_ + size) {
    if (buffer_.capacity() < used_ + size) buffer_.reserve(2 * (used_ + size));
    buffer_.resize(used_ + size);
  }
  return {buffer_.data() + used_, size};
}

Result<size_t> FrameReader::peeked(size_t count) {
  if (count == 0) return used_ == 0 ? FrameError::closed : FrameError::truncated;
  const char* begin = buffer_.data() + used_;
  const void* nul = std::memchr(begin, '\0', count);
  if (nul != nullptr) return static_cast<size_t>(static_cast<const char*>(nul) - begin) + 1;
  if (used_ + count > kMaxMessageBytes) return FrameError::too_large;
  return count;
}

Result<bool> FrameReader::consumed(size_t count, std::vector<sys::UniqueFd> descriptors) {
  if (!descriptors.empty()) {
    if (used_ != 0) return FrameError::late_descriptors;
    if (descriptors.size() > kMaxDescriptors) return FrameError::too_many_descriptors;
    descriptors_ = std::move(descriptors);
  }
  used_ += count;
  // A read never goes past a NUL, so a NUL can only be the last byte.
  return buffer_[used_ - 1] == '\0';
}

Message FrameReader::take() {
  buffer_.resize(used_ - 1);
  used_ = 0;
  return {std::exchange(buffer_, {}), std::exchange(descriptors_, {})};
}

FrameWriter::FrameWriter(std::string json, std::span<const int> descriptors)
    : bytes_(std::move(json)), descriptors_(descriptors.begin(), descriptors.end()) {
  bytes_.push_back('\0');
}

}  // namespace cloister::varlink
