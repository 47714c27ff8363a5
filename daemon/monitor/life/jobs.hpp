// Jobs: the table of all jobs, who waits for which, and what is kept.
//
// A job is found by its id and its owner together: somebody else's job is
// answered like one that never was. Everything here is counted against the user
// whose it is, and nothing that one user does makes us walk over another's.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "life/audit.hpp"
#include "config/config.hpp"
#include "admit/fronts.hpp"
#include "life/job.hpp"
#include "life/kept.hpp"
#include "life/quota.hpp"

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
  // On standard error: jobs of which something lives.
  void tell_who_is_left() const;

 private:
  using Id = std::array<uint8_t, 16>;
  // Of one job or of a set. The front is alive: disconnected() removes its waits.
  struct Waiter {
    Front* front;
    uint32_t sequence, options;
    bool submitter;  // hears without having asked, and takes no event from others
  };
  struct SetWaiter : Waiter {
    plan::Ask ask;
  };
  struct Entry {
    std::shared_ptr<Job> job;    // until nothing of it lives
    std::unique_ptr<Kept> kept;  // from then on
    Labels labels;
    Front* front = nullptr;  // the connection it lives with; null once detached
    std::list<Waiter> waiters = {};
    uint32_t bytes = 0;                  // of its Plan, counted against its owner
    std::list<Id>* among = nullptr;      // once it has ended: Owner::whole or Owner::cut,
    std::list<Id>::iterator place = {};  // and where in it
    bool removed = false;                // nobody wants the verdict any more
    bool waited = false;                 // a wait without WNOWAIT has taken the ending,
    bool change_waited = true;           // and the last stop or continue, waitid(2)

    const plan::JobState& state() const { return job ? job->state() : kept->state(); }
    int plan_fd() const { return job ? job->plan_fd() : kept->plan_fd(); }
    bool running() const { return job && job->running(); }
    std::chrono::seconds ended() const {
      return job ? job->ended_boottime() : kept->ended_boottime();
    }
  };
  // What one user has here.
  struct Owner {
    std::map<uint64_t, Id> jobs;  // by serial
    std::list<Id> whole, cut;     // ended, in that order; the latter without their requests
    std::map<uint64_t, Id> keys;  // idempotency keys, by Labels::key
    std::list<SetWaiter> waiters;
    uint64_t bytes = 0;  // of Plans
    uint32_t kept() const { return static_cast<uint32_t>(whole.size() + cut.size()); }
  };
  // What one connection has here.
  struct Asker {
    std::set<Id> jobs;
    std::multiset<Id> waits;  // for jobs by their names
    uint32_t asked = 0;       // waits of all kinds, but for those of submitters
  };

  static bool may_see(const Peer& peer, const plan::JobState& job);
  Entry* find(const uint8_t (&id)[16], const Peer& peer);
  IdSources id_sources() const;
  Joinable joinable(const uint8_t (&id)[16], const Peer& peer);
  Entry* known_key(const Peer& peer, const Labels& labels);
  static bool selects(const plan::Ask& ask, const Entry& entry);

  void subscribe(Front& front, const plan::Ask& ask, Entry& entry);
  void refuse_submit(Front& front, const plan::Ask& ask, plan::View plan,
                     const plan::Refusal& refusal);
  void add_waiter(Entry& entry, const Waiter& waiter);
  void let_go(const Waiter& waiter, const Entry* named);
  // Whether it has heard all it waited for.
  bool hear(Entry& entry, const Waiter& waiter, plan::JobPhase event, bool continued);
  void on_event(Job& job);
  void on_refused(Job& job, const plan::Refusal& refusal);
  void on_gone(Job& job);
  void end_if_idle();
  void replenish_in(std::chrono::milliseconds delay);
  bool make_room(Owner& owner, uint64_t bytes, uint64_t most);
  void forget(const Id& id);
  void detach(Entry& entry, uid_t by);
  void expire();
  void tell_event(Front& front, uint32_t sequence, const Entry& entry, plan::JobPhase event);

  Workshop& shop_;
  const Config& config_;
  Quotas& quotas_;
  Audit& audit_;
  std::map<Id, Entry> table_;
  std::map<uint64_t, Id> order_;  // by serial
  std::map<uid_t, Owner> owners_;
  std::unordered_map<const Front*, Asker> askers_;
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
