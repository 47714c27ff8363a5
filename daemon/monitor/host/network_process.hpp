// NetworkProcess: the network process of one outbound job, and pasta below it
// (daemon/network).
//
// Owned by its Job. It is not below the job's init: in the job's pid namespace
// every payload could signal it, and each end of a job would have to tell it
// from what the payload left behind. It lives in the init's leaf, pasta in the
// payload's: so it outlives pasta, and its own end says that pasta is no more.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <span>

#include "host/cgroup.hpp"
#include "host/child_watch.hpp"
#include "host/image.hpp"
#include "host/spawn.hpp"
#include "plan/messages.hpp"

namespace cloister::monitor {

class NetworkProcess : public std::enable_shared_from_this<NetworkProcess> {
 public:
  // All borrowed, for the call alone.
  struct Recipe {
    const Image& program;  // cloister-network
    int pasta, plan;
    int init_leaf = -1;                // where it lives, and
    std::span<const int> tasks{};      // the files by which pasta enters the payload's
    const plan::Order* job = nullptr;  // whose owner of the network and caller's confinement hold
    uint32_t uid = 0, gid = 0;         // the client's: who pasta runs as
    std::span<const gid_t> groups{};
    bool set_groups = false;  // false where they are ours already
    int user_namespace = -1;  // to join instead of making one
  };
  using OnUp = std::function<void(sys::UniqueFd network)>;
  using OnGone = std::function<void(const plan::Failure& why)>;  // reaped

  NetworkProcess(boost::asio::io_context& io, OnUp up, OnGone gone);

  // On failure nothing is left behind and nothing is called.
  plan::Failure start(const Recipe& recipe);
  // Pasta is ended first, so that its ports are free when `gone` is called.
  void end();

 private:
  void read_reports();
  void on_report(const plan::Report& report);
  void ended();
  plan::Failure why_it_ended() const;

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor control_;
  ChildWatch end_;
  boost::asio::steady_timer patience_;
  sys::UniqueFd record_;
  pid_t pid_ = 0;
  uint32_t uid_ = 0, gid_ = 0;
  OnUp up_;
  OnGone gone_;
};

}  // namespace cloister::monitor
