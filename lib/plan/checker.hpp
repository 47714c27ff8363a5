// What the checks of flat blocks share: offsets, counts, texts and ranges, and
// the first flaw that was found. Freestanding.
#pragma once

#include "plan.hpp"

namespace cloister::plan {

// Why a block was refused; `none` means it was accepted.
enum class Flaw : uint32_t { none, size, magic, version, span, text, count, range, descriptor };

class Checker {
 public:
  // `header`: the size of what every offset lies behind.
  Checker(const void* block, uint32_t bytes, uint32_t header)
      : base_(static_cast<const uint8_t*>(block)), bytes_(bytes), header_(header) {}

  Flaw flaw() const { return flaw_; }

  bool that(bool holds, Flaw otherwise) {
    if (!holds && flaw_ == Flaw::none) flaw_ = otherwise;
    return holds;
  }

  // `count` elements of `size` bytes each, at most `most` of them.
  bool lies_in_block(uint32_t offset, uint32_t count, uint32_t size, uint64_t most) {
    if (!that(count <= most, Flaw::count)) return false;
    if (count == 0) return true;
    const uint64_t end = offset + uint64_t{count} * size;
    return that(offset % 8 == 0 && offset >= header_ && end <= bytes_, Flaw::span);
  }
  template <class T>
  bool span(Span<T> span, uint64_t most) {
    return lies_in_block(span.offset, span.count, sizeof(T), most);
  }

  // A zero Text is the empty string: byte 0 of a block is never NUL, so it
  // must still point at one.
  bool text(Text text, uint64_t most) {
    if (!that(text.length <= most, Flaw::count)) return false;
    const uint64_t end = uint64_t{text.offset} + text.length;
    if (!that(text.offset >= header_ && end < bytes_, Flaw::text)) return false;
    for (uint64_t i = text.offset; i < end; ++i)
      if (!that(base_[i] != 0, Flaw::text)) return false;
    return that(base_[end] == 0, Flaw::text);
  }

  template <class Enum>
  bool one_of(Enum value) {
    return that(static_cast<uint32_t>(value) < static_cast<uint32_t>(Enum::count_), Flaw::range);
  }

  bool range(int64_t value, int64_t low, int64_t high) {
    return that(value >= low && value <= high, Flaw::range);
  }

 private:
  const uint8_t* const base_;
  const uint64_t bytes_;
  const uint32_t header_;
  Flaw flaw_ = Flaw::none;
};

}  // namespace cloister::plan
