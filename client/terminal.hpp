// Our terminal and the job's: raw mode, both ways of the relay, the size.
//
// For `run -t`. Ours is put back on every way out, since the destructor does it.
#pragma once

#include <termios.h>

#include <string>

#include "cloister/unique_fd.hpp"

namespace cloister::command {

// Makes `fd` raw while it lives; does nothing if it is no terminal.
class RawMode {
 public:
  explicit RawMode(int fd);
  ~RawMode();
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

  void suspend();  // as it was before
  void resume();   // raw again; takes what it was in between for the new "before"

 private:
  const int fd_;
  bool raw_ = false;
  termios before_{};
};

// Copies stdin to the master and the master to stdout. The loop that owns it
// polls what want_*() say and calls the matching step.
class Relay {
 public:
  explicit Relay(UniqueFd master);  // makes it non-blocking

  RawMode& raw() { return raw_; }
  int master() const { return master_.borrow(); }  // -1 once it is closed
  short wanted_of_stdin() const;                   // poll(2) events, 0: nothing
  short wanted_of_stdout() const;
  short wanted_of_master() const;

  void step(short stdin_events, short stdout_events, short master_events);
  void follow_size();  // the master takes the size of our terminal

  // What the job wrote before it ended, to stdout.
  void drain();

 private:
  void read_stdin();
  void write_master();
  void read_master();
  void write_stdout();
  void end_of_stdin();

  UniqueFd master_;
  std::string to_job_, to_us_;
  char last_ = '\n';  // byte that went to the job
  bool stdin_open_ = true, master_open_ = true;
  RawMode raw_;
};

}  // namespace cloister::command
