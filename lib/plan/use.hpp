// What a descriptor of the client's is for. Freestanding: init reads this too.
#pragma once

#include <stdint.h>

namespace cloister::plan {

// What a passed descriptor is for. The monitor authorises by this and by the
// facts that init reads from the descriptor itself (order.hpp).
enum class Use : uint32_t {
  payload,
  executable,
  cwd,
  mount,  // source of a bind, lower layer of an overlay
  namespace_join,
  content,         // a sealed memfd of the front's: what a file or secret holds
  writable_layer,  // upper or work of an overlay
  device,          // a node of the host's /dev
  count_,
  none = UINT32_MAX  // no descriptor is named
};

}  // namespace cloister::plan
