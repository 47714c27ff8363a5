// Monitor: accept, identify, hand over; and pass each Ask to the job table.
//
// Reads no byte that a client wrote, opens no path that a client named and
// receives no descriptor: a connection goes, unread, to a front.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <list>
#include <memory>

#include "admit/door.hpp"
#include "admit/fronts.hpp"
#include "config/config.hpp"
#include "host/image.hpp"
#include "host/pasta.hpp"
#include "life/audit.hpp"
#include "life/jobs.hpp"

namespace cloister::monitor {

struct Programs {
  sys::UniqueFd front;
  Image init, network;
  sys::UniqueFd sweep;  // may be empty: there are no scratch directories on disk
  sys::UniqueFd relay;
};

class Monitor {
 public:
  // `records` is the record directory, or an empty fd (private mode). `journal`
  // is journald's socket. config.scratch is a path, or empty: there is no place.
  Monitor(boost::asio::io_context& io, Config config, plan::Mode mode, Programs programs,
          sys::UniqueFd records, std::string journal);

  void listen(sys::UniqueFd listener);
  // Private mode: one connection, and the monitor ends with it.
  void serve_only(sys::UniqueFd connection);
  const Config& config() const { return config_; }
  // Decisions from now on are by this one; jobs and connections that are there stay.
  void adopt(Config config);
  // Kills all jobs, reaps those that die within 10 s, then stops the io_context.
  void shut_down();

  const Cgroups& cgroups() const { return cgroups_; }

 private:
  void accept(std::shared_ptr<boost::asio::posix::stream_descriptor> listener);
  void admit(sys::UniqueFd connection);
  // How long making the front has kept us, or will.
  Door::Clock::duration serve(sys::UniqueFd connection, Peer peer);
  Door::Clock::duration assign(std::vector<sys::UniqueFd> connections, Peer peer,
                               const plan::Refusal& refuse);
  plan::Refusal confined(const Peer& peer, bool complete) const;
  void on_ask(Front& front, const plan::Ask& ask);
  void on_gone(Front& front);
  void uncount(uid_t uid, uint32_t connections);
  void replenish_soon();
  void end_fronts();

  boost::asio::io_context& io_;
  Config config_;
  plan::Mode mode_;
  Programs programs_;
  sys::UniqueFd records_;
  Surroundings surroundings_;
  Cgroups cgroups_;
  Slots slots_;
  Quotas quotas_;
  Audit audit_;
  Pasta pasta_;
  Leases leases_;
  Scratch scratch_;
  Workshop shop_;
  Jobs jobs_;
  Fronts fronts_;
  Door door_;
  uint32_t connections_in_all_ = 0;
  boost::asio::steady_timer pause_, refill_;
  const bool only_one_ = mode_ == plan::Mode::private_;  // connection
  bool ending_ = false, refill_armed_ = false;
};

}  // namespace cloister::monitor
