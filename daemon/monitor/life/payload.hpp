// Payload: the monitor's own view of a job's payload, by its pidfd.
//
// Init watches the payload and writes the record. This is the second source, for
// when init cannot: whoever has init's ids can stop, starve or kill it. It says
// that the payload has ended, and how, and takes a SIGKILL past init.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "sys/unique_fd.hpp"

namespace cloister::monitor {

class Payload {
 public:
  explicit Payload(boost::asio::io_context& io) : pidfd_(io) {}

  // `pid` is the one in init's pid namespace. `ended` is called once, while `owner`,
  // whose part this is, lives.
  void watch(sys::UniqueFd pidfd, int32_t pid, std::weak_ptr<void> owner,
             std::function<void()> ended);
  // Nobody is called any more.
  void forget();
  void kill();
  bool lives();  // as far as it is watched
  // CLOCK_BOOTTIME, when lives() was first false.
  int64_t ended_at_ns() const { return ended_at_ns_; }
  int32_t pid() const { return pid_; }

  // How it ended, if it has and the kernel still tells. `executed` is known of one
  // that is not reaped yet alone: ask before its init is killed.
  struct End {
    int32_t status;  // as wait4(2) has it
    bool executed;   // its program; until then it is our own code
  };
  const std::optional<End>& end();

 private:
  void await_end(std::weak_ptr<void> owner, std::function<void()> ended);

  boost::asio::posix::stream_descriptor pidfd_;
  int32_t pid_ = 0;
  int64_t ended_at_ns_ = 0;
  std::optional<End> seen_;
};

}  // namespace cloister::monitor
