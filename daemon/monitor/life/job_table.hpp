// JobTable: all jobs that live or are kept, and what each user has of them.
//
// A job is found by its id and its owner together: somebody else's job is
// answered like one that never was. Everything here is counted against the user
// whose it is, and nothing that one user does makes us walk over another's.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>

#include "life/job.hpp"
#include "life/kept.hpp"

namespace cloister::monitor {

class Front;

using JobId = std::array<uint8_t, 16>;
JobId id_of(const uint8_t (&id)[16]);

class JobTable {
 public:
  struct Entry {
    std::shared_ptr<Job> job;    // until nothing of it lives
    std::unique_ptr<Kept> kept;  // from then on
    Labels labels;
    const Front* front = nullptr;           // the connection it lives with; null once detached
    uint32_t bytes = 0;                     // of its Plan, counted against its owner
    uint64_t output = 0;                    // bytes of its output, likewise
    std::list<JobId>* among = nullptr;      // once it has ended: Owner::whole or Owner::cut,
    std::list<JobId>::iterator place = {};  // and where in it
    bool removed = false;                   // nobody wants the verdict any more
    bool counted = false;                   // against the jobs of its owner, quota.hpp
    bool waited = false;                    // a wait without WNOWAIT has taken the ending,
    bool change_waited = true;              // and the last stop or continue, waitid(2)

    const plan::JobState& state() const { return job ? job->state() : kept->state(); }
    int plan_fd() const { return job ? job->plan_fd() : kept->plan_fd(); }
    sys::UniqueFd open_output(uint32_t stream) const {
      return job ? job->open_output(stream) : kept->open_output(stream);
    }
    bool running() const { return job && job->running(); }
    std::chrono::seconds ended() const {
      return job ? job->ended_boottime() : kept->ended_boottime();
    }
  };
  using Serials = std::map<uint64_t, JobId>;

  // `forgotten` is called for each job that goes, while its entry is there.
  explicit JobTable(std::function<void(Entry&)> forgotten) : forgotten_(std::move(forgotten)) {}

  // The caller says whose life it is (`job` or `kept`), and with which connection.
  Entry& add(const plan::JobState& state, Labels labels, uint32_t bytes);
  Entry& at(const JobId& id) { return table_.at(id); }
  Entry* find(const uint8_t (&id)[16], const Peer& peer);
  // The job of this user with the same idempotency key.
  Entry* known_key(uid_t user, const Labels& labels);
  // In the order of their serials: of one user, of all.
  const Serials& of(uid_t user) const;
  const Serials& all() const { return order_; }
  uint32_t kept(uid_t user) const;
  uint64_t bytes(uid_t user) const;

  void live_with(Entry& entry, const Front& front);
  // They live with it no more.
  std::vector<Entry*> detach(const Front& front);
  // The user has no connection any more.
  void drop_if_idle(uid_t user);

  // Until that many bytes more fit below the owner's bound: the oldest of its ended
  // jobs give up their requests, then the oldest are forgotten. 0: no bound.
  bool make_room(uid_t user, uint64_t bytes, uint64_t most);
  // The same of captured output: the oldest ended jobs lose theirs, also until fewer
  // than `most_jobs` have any.
  bool make_room_for_output(uid_t user, uint64_t bytes, uint64_t most, size_t most_jobs);
  // What it may take, and at its end what it has taken.
  void count_output(Entry& entry, uint64_t bytes);
  uint64_t output(uid_t user) const;
  // Its end has been told. Its owner has no more than `most` that are kept: those
  // that were cut down go first, then the oldest.
  void ended(Entry& entry, uint32_t most);
  // Nothing of it lives any more.
  void keep(Entry& entry, std::unique_ptr<Kept> kept);
  // A job is forgotten when its verdict is not wanted any more and its init is
  // reaped.
  void forget(const JobId& id);
  // Forgets those that have been kept for `keep`, at `now` (CLOCK_BOOTTIME); the time
  // until the next one is due, if there is one.
  std::optional<std::chrono::seconds> expire(std::chrono::seconds now, std::chrono::seconds keep);

 private:
  // What one user has here.
  struct Owner {
    Serials jobs;
    std::list<JobId> whole, cut;     // ended, in that order; the latter without their requests
    std::map<uint64_t, JobId> keys;  // idempotency keys, by Labels::key
    uint64_t bytes = 0;              // of Plans
    Serials outputs;                 // that have captured output,
    uint64_t output = 0;             // of so many bytes
    uint32_t kept() const { return static_cast<uint32_t>(whole.size() + cut.size()); }
  };

  std::function<void(Entry&)> forgotten_;
  std::map<JobId, Entry> table_;
  Serials order_;
  std::map<uid_t, Owner> owners_;
  std::unordered_map<const Front*, std::set<JobId>> connections_;
};

}  // namespace cloister::monitor
