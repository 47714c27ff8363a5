// Scratch: directories on disk that end with their jobs.
//
// STORE/JOB/N: the store is the service's alone (0700), JOB is the job's id, and
// N is made by init, shown to the payload and owned by it. While its service
// lives, JOB is locked, flock(2); one that nobody has locked was left by a
// service that was killed.
//
// What a payload leaves is removed by cloister-sweep (daemon/sweep), a process of
// its own: it takes as long as there is to remove. A user's service runs it in a
// user namespace with the ids of the job, whose files are not all the user's.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>

#include "host/id_maps.hpp"
#include "plan/record.hpp"
#include "plan/refusals.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

class Scratch {
 public:
  using JobId = std::array<uint8_t, 16>;

  // `store` is made when the first job needs it, or empty: there is no place
  // for one. `sweep`, the program, is borrowed, or -1: it is not installed.
  Scratch(boost::asio::io_context& io, std::string store, int sweep);

  // Why there can be no directories on disk; none: there can be.
  plan::Reason why_not() const { return why_not_; }

  // JOB, locked for as long as `directory` or a copy of it is open: init closes
  // its own when it has made what it needs.
  plan::Failure make(const JobId& job, sys::UniqueFd& directory);
  // Removes JOB with all that is in it; `done` is called when that has ended,
  // well or not. What is left is told on standard error.
  void remove(const JobId& job, const IdMaps& maps, std::function<void()> done);
  // One that is gone with its last descriptor, to be written, and opened anew to be read
  // alone. In memory where there is no place on disk. Empty, with errno.
  sys::UniqueFd nameless_file();
  // Removes what services before this one left.
  void remove_abandoned(const IdMaps& maps);

 private:
  bool open_store(bool make);
  void start_sweep(const char* name, const IdMaps& maps, std::function<void()> done);

  boost::asio::io_context& io_;
  const std::string path_;
  const int sweep_;
  const plan::Reason why_not_;
  sys::UniqueFd store_;
};

}  // namespace cloister::monitor
