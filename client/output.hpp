// Captured output on its way to the command's own stdout and stderr.
//
// For `run`, which copies it beside its other work, and `logs`, which does nothing else.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/calls.hpp"

namespace cloister::command {

// STDOUT_FILENO or STDERR_FILENO. Throws Trouble if the service names another stream.
int descriptor_of(std::string_view stream);

// "3 bytes of stdout were not kept".
std::string not_kept(uint64_t bytes, std::string_view stream);

// How far a stream has been read.
class Position {
 public:
  struct Step {
    uint64_t missing = 0;      // bytes before it that were not kept
    uint64_t offset = 0;       // of `fresh`
    std::string_view fresh{};  // what has not been read before; a part of `data`
  };
  Step advance(uint64_t offset, std::string_view data);

  void set(uint64_t next) { next_ = next; }
  uint64_t next() const { return next_; }

 private:
  uint64_t next_ = 0;
};

// The last lines of a stream, as tail(1) counts them.
class Tail {
 public:
  explicit Tail(uint64_t lines) : lines_(lines) {}
  void add(OutputChunk chunk);
  // The parts of it, in order. Nothing can be added after.
  std::vector<OutputChunk> take();
  uint64_t end() const { return end_; }  // the offset behind what was added

 private:
  struct Part {
    OutputChunk chunk;
    uint64_t newlines;
  };
  const uint64_t lines_;
  std::deque<Part> parts_;
  uint64_t newlines_ = 0, end_ = 0;
};

// Output that comes as events, to stdout and stderr, in the order in which it came. The
// loop that owns it polls descriptor() for POLLOUT and then calls write().
class OutputCopy {
 public:
  // Nothing is written to descriptors that were not open when the command began: by now
  // they may be something else. `quiet`: says nothing of output that was not kept.
  OutputCopy(const bool (&open)[3], bool quiet);

  void add(const Event& event);
  size_t waiting() const { return waiting_; }  // bytes
  int descriptor() const;                      // -1: nothing to write
  // A part, so that it does not block. False if what it writes to has just been found to
  // take nothing any more; output for that is dropped from then on.
  bool write();
  void drop();  // all that waits, and what comes

  bool failed() const { return failed_; }  // a write, and not because nobody reads

 private:
  struct Part {
    int fd;
    std::string data;
    size_t written = 0;
  };
  void push(int fd, std::string data);
  void forget(int fd);

  bool open_[3];
  const bool quiet_;
  Position positions_[3];
  std::deque<Part> parts_;
  size_t waiting_ = 0;
  bool failed_ = false;
};

}  // namespace cloister::command
