// Jobs: what a connection may do about jobs, and what happens to jobs by
// themselves. Whose they are and what is kept is job_table.hpp, who waits for them
// waits.hpp.
#pragma once

#include <functional>
#include <memory>

#include "admit/fronts.hpp"
#include "config/config.hpp"
#include "life/audit.hpp"
#include "life/job_table.hpp"
#include "life/quota.hpp"
#include "life/waits.hpp"

namespace cloister::monitor {

class Jobs {
 public:
  // `config` may become another one between two calls.
  Jobs(Workshop& shop, const Config& config, Quotas& quotas, Audit& audit);

  // One for each kind of Ask; answers the front. `submit` authorises, launches and
  // announces a job of the front's.
#define X(id) void id(Front& front, const plan::Ask& ask);
  CLOISTER_ASKS(X)
#undef X

  // plan::kSubuids | ...
  uint32_t ids_of(uid_t uid) const { return monitor::ids_of(id_sources(), uid); }

  // The connection is gone: on_disconnect of its jobs, its waits forgotten.
  void disconnected(Front& front);
  // Kills all; `idle` is called when the last init is reaped.
  void shut_down(std::function<void()> idle);
  // On standard error: jobs of which something lives.
  void tell_who_is_left();

 private:
  IdSources id_sources() const;
  Setting setting();
  Joinable joinable(const uint8_t (&id)[16], const Peer& peer);
  plan::Refusal no_room(uid_t user, const Rule& rule, plan::View plan, uint32_t bytes);
  JobTable::Entry& take_in(Front& front, std::shared_ptr<Job> job, const Labels& labels,
                           uint32_t bytes);
  void accept(Front& front, const plan::Ask& ask, const JobTable::Entry& entry, int passed = -1);
  void refuse_submit(Front& front, const plan::Ask& ask, plan::View plan,
                     const plan::Refusal& refusal);
  void on_event(Job& job, plan::JobPhase before);
  void on_refused(Job& job, const plan::Refusal& refusal);
  void on_gone(Job& job);
  void on_disconnect(JobTable::Entry& entry, uid_t by);
  void uncount(JobTable::Entry& entry);
  void end_if_idle();
  void replenish_in(std::chrono::milliseconds delay);
  void expire();

  Workshop& shop_;
  const Config& config_;
  Quotas& quotas_;
  Audit& audit_;
  Waits waits_;
  JobTable table_;
  uint32_t living_ = 0;   // jobs of which something lives
  uint32_t running_ = 0;  // whose end has not been told
  boost::asio::steady_timer expiry_;
  bool expiry_armed_ = false;
  boost::asio::steady_timer refill_;  // the slots
  bool refill_armed_ = false;
  uint64_t serial_ = 0;
  bool shutting_down_ = false;
  std::function<void()> idle_;
};

}  // namespace cloister::monitor
