// FrameReader against a model of an AF_UNIX stream.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "varlink/frame.hpp"

namespace cloister::fuzz {
namespace {

using varlink::FrameError;

// One sendmsg(2).
struct Sent {
  size_t begin, end;   // offsets in the stream
  size_t descriptors;  // that wait to be read
};

// Numbers that are never open: above any fs.nr_open. Each belongs to the
// message of the byte that it was sent with.
constexpr int kFirstFake = 1 << 30;

class Stream {
 public:
  explicit Stream(FuzzedDataProvider& in) {
    for (size_t pieces = in.ConsumeIntegralInRange(1, 12); pieces > 0; --pieces) {
      const size_t descriptors = in.ConsumeBool() ? in.ConsumeIntegralInRange<size_t>(0, 255) : 0;
      // Without a byte of data nothing is sent, descriptors neither.
      const std::string bytes = in.ConsumeRandomLengthString(600);
      if (bytes.empty()) continue;
      sent_.push_back({bytes_.size(), bytes_.size() + bytes.size(), descriptors});
      bytes_ += bytes;
    }
  }

  const std::string& bytes() const { return bytes_; }
  size_t at() const { return at_; }
  bool over() const { return at_ == bytes_.size(); }
  int message_of(int fd) const { return owners_.at(static_cast<size_t>(fd - kFirstFake)); }

  // As unix_stream_read_generic() does it: a peek and a read stop behind the
  // first buffer whose descriptors wait, and a read takes those.
  size_t peek(std::span<char> room, size_t arrived) const {
    size_t end = std::min(arrived, at_ + room.size());
    for (const Sent& one : sent_)
      if (one.descriptors > 0 && one.end > at_) {
        end = std::min(end, one.end);
        break;
      }
    std::memcpy(room.data(), bytes_.data() + at_, end - at_);
    return end - at_;
  }

  size_t read(std::span<char> room, size_t wanted, std::vector<sys::UniqueFd>& fds) {
    size_t end = at_ + wanted;
    for (Sent& one : sent_) {
      if (one.descriptors == 0 || one.end <= at_ || one.begin >= end) continue;
      end = std::min(end, one.end);
      const auto message = static_cast<int>(
          std::count(bytes_.begin(), bytes_.begin() + static_cast<long>(one.begin), '\0'));
      for (; one.descriptors > 0; --one.descriptors) {
        fds.emplace_back(kFirstFake + static_cast<int>(owners_.size()));
        owners_.push_back(message);
      }
      break;
    }
    const size_t count = end - at_;
    std::memcpy(room.data(), bytes_.data() + at_, count);
    at_ = end;
    return count;
  }

 private:
  std::string bytes_;
  std::vector<Sent> sent_;
  std::vector<int> owners_;
  size_t at_ = 0;
};

void write_back(const varlink::Message& message, FuzzedDataProvider& in) {
  std::vector<int> borrowed;
  for (const auto& fd : message.descriptors) borrowed.push_back(fd.borrow());
  varlink::FrameWriter writer(message.json, borrowed);
  std::string out;
  while (!writer.done()) {
    require(writer.descriptors().size() == (out.empty() ? borrowed.size() : 0),
            "descriptors go with the first byte and with no other");
    const size_t count = in.ConsumeIntegralInRange<size_t>(1, writer.rest().size());
    out += writer.rest().substr(0, count);
    writer.sent(count);
  }
  require(out == message.json + '\0', "what is written is the message and one NUL");
}

}  // namespace

void framing(Bytes input) {
  FuzzedDataProvider in(input.data(), input.size());
  Stream stream(in);
  varlink::FrameReader reader;
  int messages = 0;
  size_t begin = 0, arrived = 0;  // of the message at hand; of the stream
  size_t owned = 0;
  for (;;) {
    require(reader.empty() == (stream.at() == begin), "empty() means between two messages");
    arrived = std::max(arrived, stream.at());
    if (arrived == stream.at() && !stream.over())
      arrived += in.ConsumeIntegralInRange<size_t>(1, stream.bytes().size() - arrived);
    const std::span<char> room = reader.room();
    require(!room.empty(), "there is always room for a peek");
    const size_t peeked = stream.peek(room, arrived);
    const auto wanted = reader.peeked(peeked);
    if (peeked == 0) {
      require(!wanted && wanted.error() ==
                             (stream.at() == begin ? FrameError::closed : FrameError::truncated),
              "the end of the stream is closed between, truncated inside a message");
      return;
    }
    require(wanted && *wanted > 0 && *wanted <= peeked, "what was peeked can be read");
    std::vector<sys::UniqueFd> fds;
    const bool first = stream.at() == begin;
    const size_t got = stream.read(room, *wanted, fds);
    const size_t delivered = fds.size();
    const auto complete = reader.consumed(got, std::move(fds));
    if (delivered > 0 && !first) {
      require(!complete && complete.error() == FrameError::late_descriptors,
              "descriptors behind the start of a message are late");
      return;
    }
    if (delivered > varlink::kMaxDescriptors) {
      require(!complete && complete.error() == FrameError::too_many_descriptors,
              "more descriptors than one message may have are refused");
      return;
    }
    if (delivered > 0) owned = delivered;
    const bool nul = stream.bytes()[stream.at() - 1] == '\0';
    require(complete && *complete == nul, "a message is complete at its NUL");
    if (!nul) continue;
    const varlink::Message message = reader.take();
    require(message.json == stream.bytes().substr(begin, stream.at() - 1 - begin),
            "a message is the bytes between two NULs");
    require(message.descriptors.size() == owned, "no descriptor gets lost");
    for (const auto& fd : message.descriptors)
      require(stream.message_of(fd.borrow()) == messages,
              "a descriptor belongs to the message it was sent with");
    write_back(message, in);
    begin = stream.at();
    owned = 0;
    ++messages;
  }
}

}  // namespace cloister::fuzz
