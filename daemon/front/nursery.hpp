// The nursery: the process that all fronts are forked from. What every front
// needs (libraries, profiles, the compiled filter) is made once, and a new front
// costs a fork. It never meets a client: a front is given one only later, by
// the monitor, over a channel that the nursery does not have.
#pragma once

#include <functional>

namespace cloister::front {

// Serves the monitor on `control` until its end: a message of one byte with a
// pipe's write end and a socket makes a front, which has them as kAskFd and
// kTellFd and runs `front`; the answer is its pidfd. Returns the exit code.
int serve_nursery(int control, const std::function<int()>& front);

}  // namespace cloister::front
