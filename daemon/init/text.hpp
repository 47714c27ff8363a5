// Text without a C library: NUL-terminated bytes and decimal numbers.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace cloister::init {

inline size_t length(const char* text) {
  size_t n = 0;
  while (text[n]) ++n;
  return n;
}

inline bool starts_with(const char* text, const char* prefix) {
  while (*prefix)
    if (*text++ != *prefix++) return false;
  return true;
}

inline bool contains(const char* text, char byte) {
  for (; *text; ++text)
    if (*text == byte) return true;
  return false;
}

// Builds one short line in a buffer of its own. What does not fit is a
// mistake of ours, seen as `overflow()`.
template <size_t Capacity>
class Line {
 public:
  Line& operator<<(const char* text) {
    while (*text) put(*text++);
    return *this;
  }
  Line& operator<<(uint64_t value) {
    char digits[20];
    size_t n = 0;
    do {
      digits[n++] = static_cast<char>('0' + value % 10);
    } while (value /= 10);
    while (n > 0) put(digits[--n]);
    return *this;
  }
  Line& operator<<(uint32_t value) { return *this << uint64_t{value}; }
  Line& operator<<(int64_t value) {
    if (value < 0) put('-');
    return *this << (value < 0 ? -static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
  }
  Line& operator<<(int32_t value) { return *this << int64_t{value}; }

  const char* c_str() const { return bytes_; }
  size_t size() const { return size_; }
  bool overflow() const { return overflow_; }

 private:
  void put(char byte) {
    if (size_ + 1 < Capacity)
      bytes_[size_++] = byte;
    else
      overflow_ = true;
  }

  char bytes_[Capacity]{};
  size_t size_ = 0;
  bool overflow_ = false;
};

}  // namespace cloister::init
