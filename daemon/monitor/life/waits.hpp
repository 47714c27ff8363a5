// Waits: who waits for which job, and what of it each is told.
#pragma once

#include <list>
#include <map>
#include <set>
#include <unordered_map>

#include "admit/fronts.hpp"
#include "life/job_table.hpp"

namespace cloister::monitor {

// Of one job or of a set. The front is alive: disconnected() removes its waits.
struct Waiter {
  Front* front;
  uint32_t sequence, options;
  bool submitter;  // hears without having asked, and takes no event from others
};

// A job as it is now, to one front.
void tell_event(Front& front, uint32_t sequence, const JobTable::Entry& entry,
                plan::JobPhase event);
// Without a name, a wait is for one's own.
bool selects(const plan::Ask& ask, const JobTable::Entry& entry);

class Waits {
 public:
  // A front serves one call after the other, so an honest one has one wait at a time.
  static constexpr uint32_t kMostOfAFront = 16;
  static constexpr uint32_t kMostSets = 1024;  // of a user: by tag, by group, for any

  // False: there are too many already.
  bool ask_for(const JobTable::Entry& entry, const Waiter& waiter);
  bool ask_for_set(const plan::Ask& ask, const Waiter& waiter);
  // The submitter hears the end; one that streams hears everything.
  void subscribe(const JobTable::Entry& entry, const Waiter& waiter);

  // Something has happened to a job. `continued`: it runs, and was stopped.
  void tell(JobTable::Entry& entry, plan::JobPhase event, bool continued);
  void refuse_submitters(const JobTable::Entry& entry, const plan::Refusal& refusal);
  // The job is forgotten: whoever waits for it by its name is told that there is none.
  void forget(const JobTable::Entry& entry);
  void disconnected(const Front& front);

 private:
  struct SetWaiter : Waiter {
    plan::Ask ask;
  };
  // What one connection waits for.
  struct Asker {
    std::multiset<JobId> jobs;  // by their names
    uint32_t asked = 0;         // waits of all kinds, but for those of submitters
  };

  void add(const JobTable::Entry& entry, const Waiter& waiter);
  void let_go(const Waiter& waiter, const JobId* named);
  bool hear(JobTable::Entry& entry, const Waiter& waiter, plan::JobPhase event, bool continued);

  std::map<JobId, std::list<Waiter>> jobs_;
  std::map<uid_t, std::list<SetWaiter>> sets_;
  std::unordered_map<const Front*, Asker> askers_;
};

}  // namespace cloister::monitor
