// What cloister-relay is started with. Descriptor 0 is /dev/null; those of a stream that
// is not captured are too.
#pragma once

#include "output.hpp"

namespace cloister::plan::relay {

// SOCK_SEQPACKET to the monitor. A byte says that the job has written more than a limit
// that ends it. Its end says that the job has ended.
inline constexpr int kControl = 3;
inline constexpr int kFirstPipe = 4;                       // read ends, by stream
inline constexpr int kFirstFile = kFirstPipe + kCaptured;  // with their headers written

}  // namespace cloister::plan::relay
