// Places: the paths at which mounts are made, and the order in which they are.
//
// A place has one spelling: absolute, no ".", no "..", no slash too many. What
// lies nearer to the root is made first, so what lies deeper lies above,
// whatever field or layer of the request it came from; and no place is there
// twice. The front sorts by this order, plan::check() refuses any other, and
// init compares each place with the kernel's own list (verify_mounts.cpp): a
// mount that lands where its place says cannot be hidden by one made later.
//
// Freestanding: init reads this too.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace cloister::plan {

// How many names lead there; none to "/".
inline uint32_t depth_of(const char* place) {
  if (place[1] == 0) return 0;
  uint32_t depth = 0;
  for (; *place; ++place) depth += *place == '/';
  return depth;
}

// Less than 0, 0 or more than 0, as strcmp(3).
inline int compare_places(const char* one, const char* other) {
  const uint32_t depth = depth_of(one), other_depth = depth_of(other);
  if (depth != other_depth) return depth < other_depth ? -1 : 1;
  for (; *one && *one == *other; ++one, ++other) {
  }
  return static_cast<unsigned char>(*one) - static_cast<unsigned char>(*other);
}

// Whether it is that directory, or lies in it.
inline bool lies_in(const char* place, const char* directory) {
  if (directory[1] == 0) return true;
  for (; *directory; ++place, ++directory)
    if (*place != *directory) return false;
  return *place == 0 || *place == '/';
}

inline bool is_place(const char* path) {
  if (path[0] != '/') return false;
  if (path[1] == 0) return true;
  while (*path == '/') {
    const char* const name = ++path;
    while (*path && *path != '/') ++path;
    const size_t size = static_cast<size_t>(path - name);
    const bool dots = name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.'));
    if (size == 0 || dots) return false;
  }
  return true;
}

}  // namespace cloister::plan
