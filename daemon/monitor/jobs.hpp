// Jobs: the table of all jobs, who waits for which, and what is kept.
//
// A job is found by its id and its owner together: somebody else's job is
// answered like one that never was.
#pragma once

#include <list>
#include <map>
#include <memory>

#include "audit.hpp"
#include "config.hpp"
#include "fronts.hpp"
#include "job.hpp"
#include "quota.hpp"

namespace cloister::monitor {

class Jobs {
 public:
  // `config` may become another one between two calls.
  Jobs(Workshop& shop, const Config& config, Quotas& quotas, Audit& audit);

  // Authorises, launches and announces a job of `front`'s; answers the front.
  void submit(Front& front, const plan::Ask& ask);
  void wait(Front& front, const plan::Ask& ask);
  void signal(Front& front, const plan::Ask& ask);
  void stop(Front& front, const plan::Ask& ask);
  void list(Front& front, const plan::Ask& ask);
  void inspect(Front& front, const plan::Ask& ask);
  void remove(Front& front, const plan::Ask& ask);
  void describe(Front& front, const plan::Ask& ask);

  // plan::kSubuids | ...
  uint32_t ids_of(uid_t uid) const { return monitor::ids_of(id_sources(), uid); }

  // The connection is gone: on_disconnect of its jobs, its waits forgotten.
  void disconnected(Front& front);
  // Kills all; `idle` is called when the last init is reaped.
  void shut_down(std::function<void()> idle);

 private:
  using Id = std::array<uint8_t, 16>;
  struct Entry {
    std::shared_ptr<Job> job;
    Front* front;  // the connection it lives with; null once detached
    bool gone = false;     // init is reaped
    bool removed = false;  // nobody wants the verdict any more
  };
  struct Waiter {
    std::weak_ptr<Front> front;
    plan::Ask ask;
    bool every_event;  // the submitter: all events until the end
  };

  static bool may_see(const Peer& peer, const Job& job);
  Entry* find(const uint8_t (&id)[16], const Peer& peer);
  IdSources id_sources() const;
  Joinable joinable(const uint8_t (&id)[16], const Peer& peer);
  Entry* known_key(const Peer& peer, plan::View plan);
  bool selects(const plan::Ask& ask, const Peer& peer, const Job& job) const;

  void subscribe(Front& front, const plan::Ask& ask, Job& job);
  void refuse_submit(Front& front, const plan::Ask& ask, plan::View plan,
                     const plan::Refusal& refusal);
  void on_event(Job& job);
  void on_refused(Job& job, const plan::Refusal& refusal);
  void on_gone(Job& job);
  void end_if_idle();
  void replenish_in(std::chrono::milliseconds delay);
  void forget(const Id& id);
  void expire();
  void tell_event(Front& front, uint32_t sequence, Job& job, plan::JobPhase event);

  Workshop& shop_;
  const Config& config_;
  Quotas& quotas_;
  Audit& audit_;
  std::map<Id, Entry> table_;
  std::map<uint64_t, Id> order_;  // by serial
  std::list<Waiter> waiters_;
  std::map<uid_t, uint32_t> kept_;
  boost::asio::steady_timer expiry_;
  bool expiry_armed_ = false;
  boost::asio::steady_timer refill_;  // the slots
  bool refill_armed_ = false;
  uint64_t serial_ = 0;
  bool shutting_down_ = false;
  std::function<void()> idle_;
};

}  // namespace cloister::monitor
