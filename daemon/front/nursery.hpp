// The nursery: the process that all fronts are forked from. What every front
// needs (libraries, profiles, the compiled filter) is made once, and a new front
// costs a fork. The nursery never has a client's connection: the monitor sends one
// to a front later, over a channel that the nursery does not have.
#pragma once

#include <functional>

namespace cloister::front {

// Serves the monitor on `control` until the monitor ends. Each message asks for a front: it
// is one byte with two descriptors, the write end of a pipe and a socket, which the front
// has as kAskFd and kTellFd. The front runs `front`. The answer is the byte with the pidfd
// of the front, or without one if none could be made. Returns the exit code.
int serve_nursery(int control, const std::function<int()>& front);

}  // namespace cloister::front
