// Relay: the captured output of one job, and the process that writes it
// (daemon/relay).
//
// Owned by its Job. A process of its own, because a write may wait for a disk for as long
// as it likes; beside init and not below it, where the payload could signal it. Its files
// have no name: they are gone when nobody holds them any more, however we end.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "host/child_watch.hpp"
#include "host/scratch.hpp"
#include "plan/output.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::monitor {

// The files of a job, empty of a stream that is not captured. They may be written.
using Outputs = std::array<sys::UniqueFd, plan::kCaptured>;
// The same file, to be read alone. Empty, with errno.
sys::UniqueFd open_to_read(const sys::UniqueFd& output);
// Empties and closes them: a reader that still has them open does not use up space.
void drop(Outputs& outputs);

class Relay : public std::enable_shared_from_this<Relay> {
 public:
  using OnFull = std::function<void()>;  // the job has written more than a limit that ends it
  using OnGone = std::function<void()>;  // whatever it writes now is not captured

  Relay(boost::asio::io_context& io, OnFull full, OnGone gone);

  // `program` and `cgroup` (-1: none) are borrowed. `pipes` receives what the job writes
  // to, where a stream is captured. False with errno: nothing is left behind and nothing
  // is called.
  bool start(int program, int cgroup, const plan::Capture (&wanted)[plan::kCaptured],
             Scratch& scratch, Outputs& pipes);
  // Takes what the pipes hold; then `gone` is called, at the latest in a second.
  void end();

  // What the job has written until now.
  plan::OutputState state(uint32_t stream) const;
  const sys::UniqueFd& output(uint32_t stream) const { return outputs_[stream]; }
  Outputs take_outputs() { return std::move(outputs_); }

 private:
  void read_reports();
  void ended();

  boost::asio::posix::stream_descriptor control_;
  ChildWatch end_;
  boost::asio::steady_timer patience_;
  Outputs outputs_;
  OnFull full_;
  OnGone gone_;
};

}  // namespace cloister::monitor
