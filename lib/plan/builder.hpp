// Building a Plan, or another flat block: append strings and arrays, then
// `finish()` into one block. Only the front and tests build Plans.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "plan.hpp"

namespace cloister::plan {

// A block that begins with a `Head`, which has `bytes`.
template <class Head>
class BlockBuilder {
  static_assert(sizeof(Head) % 8 == 0);

 public:
  Head& header() { return header_; }
  Head* operator->() { return &header_; }

  Text text(std::string_view bytes) {
    if (bytes.empty()) return kEmpty;
    const auto offset = static_cast<uint32_t>(sizeof(Head) + body_.size());
    body_.append(bytes);
    body_.push_back('\0');
    return {offset, static_cast<uint32_t>(bytes.size())};
  }

  template <class T>
  Span<T> span(std::span<const T> list) {
    static_assert(std::is_trivially_copyable_v<T>);
    return {append(list.data(), list.size_bytes()), static_cast<uint32_t>(list.size())};
  }
  template <class T>
  Span<T> span(const std::vector<T>& list) {
    return span(std::span<const T>(list));
  }

  // The whole block. The builder is spent.
  std::string finish() {
    header_.bytes = static_cast<uint32_t>(sizeof(Head) + body_.size());
    std::string block(reinterpret_cast<const char*>(&header_), sizeof(Head));
    block += body_;
    return block;
  }

 protected:
  static constexpr Text kEmpty{sizeof(Head), 0};

 private:
  uint32_t append(const void* bytes, size_t size) {
    if (size == 0) return 0;
    body_.resize((body_.size() + 7) / 8 * 8);
    const auto offset = static_cast<uint32_t>(sizeof(Head) + body_.size());
    body_.append(static_cast<const char*>(bytes), size);
    return offset;
  }

  Head header_{};
  std::string body_ = std::string(8, '\0');  // begins with the empty string of every unset Text
};

class Builder : public BlockBuilder<Header> {
 public:
  Builder();

  // A member of the header, of at most 8 bytes.
  void set(const Member& member, uint64_t value);

  Span<Text> texts(std::span<const std::string> list);
};

}  // namespace cloister::plan
