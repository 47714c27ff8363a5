// Building a Plan: append strings and arrays, then `finish()` into one block.
// Only the front and tests build Plans.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "plan.hpp"

namespace cloister::plan {

class Builder {
 public:
  Builder();

  Header& header() { return header_; }
  Header* operator->() { return &header_; }

  Text text(std::string_view bytes);
  Span<Text> texts(std::span<const std::string> list);

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
  std::string finish();

 private:
  uint32_t append(const void* bytes, size_t size);

  Header header_{};
  std::string body_;
};

}  // namespace cloister::plan
