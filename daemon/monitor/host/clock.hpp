#pragma once

#include <time.h>

#include <cstdint>

namespace cloister::monitor {

inline int64_t now_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace cloister::monitor
