#include "life/waits.hpp"

#include <sys/wait.h>

#include "decide/refusal.hpp"
#include "life/answers.hpp"

namespace cloister::monitor {

using Entry = JobTable::Entry;
using plan::JobPhase;
using plan::Tell;
using plan::TellKind;

void tell_event(Front& front, uint32_t sequence, const Entry& entry, JobPhase event) {
  Tell tell = make_tell(TellKind::event, sequence);
  tell.state = entry.state();
  tell.state.event = event;
  front.tell(tell, {entry.plan_fd()});
}

bool selects(const plan::Ask& ask, const Entry& entry) {
  switch (ask.select) {
    case plan::Select::tag: return entry.labels.tagged(ask);
    // Init leads a session; the payload leads a group of its own in it.
    case plan::Select::pgid: return entry.state().pid != 0 && entry.state().pid == ask.pgid;
    default: return true;
  }
}

void Waits::add(const Entry& entry, const Waiter& waiter) {
  const JobId id = id_of(entry.state().job);
  jobs_[id].push_back(waiter);
  askers_[waiter.front].jobs.insert(id);
}

bool Waits::ask_for(const Entry& entry, const Waiter& waiter) {
  Asker& asker = askers_[waiter.front];
  if (asker.asked >= kMostOfAFront) return false;
  ++asker.asked;
  add(entry, waiter);
  return true;
}

// They are looked through at each event of the user's, those with a name at the
// events of their job alone.
bool Waits::ask_for_set(const plan::Ask& ask, const Waiter& waiter) {
  Asker& asker = askers_[waiter.front];
  std::list<SetWaiter>& sets = sets_[waiter.front->peer().uid];
  if (asker.asked >= kMostOfAFront || sets.size() >= kMostSets) return false;
  ++asker.asked;
  sets.push_back({waiter, ask});
  return true;
}

void Waits::subscribe(const Entry& entry, const Waiter& waiter) { add(entry, waiter); }

// It is out of its list already.
void Waits::let_go(const Waiter& waiter, const JobId* named) {
  Asker& asker = askers_[waiter.front];
  if (named) asker.jobs.erase(asker.jobs.find(*named));
  if (!waiter.submitter) --asker.asked;
}

// Whether it has heard all it waited for.
bool Waits::hear(Entry& entry, const Waiter& waiter, JobPhase event, bool continued) {
  const uint32_t options = waiter.options;
  const bool streams = waiter.submitter && (options & WSTOPPED);
  const bool wanted = streams || (event == JobPhase::ended && (options & WEXITED)) ||
                      (event == JobPhase::stopped && (options & WSTOPPED)) ||
                      (continued && (options & WCONTINUED));
  if (!wanted) return false;
  if (!waiter.submitter && !(options & WNOWAIT))
    (event == JobPhase::ended ? entry.waited : entry.change_waited) = true;
  tell_event(*waiter.front, waiter.sequence, entry, event);
  // Start is answered by the first that it hears.
  return !waiter.submitter || event == JobPhase::ended ||
         entry.job->plan()->method == plan::Method::start;
}

void Waits::tell(Entry& entry, JobPhase event, bool continued) {
  const JobId id = id_of(entry.state().job);
  if (const auto found = jobs_.find(id); found != jobs_.end()) {
    std::list<Waiter>& waiters = found->second;
    for (auto waiter = waiters.begin(); waiter != waiters.end();) {
      const auto current = waiter++;
      if (!hear(entry, *current, event, continued)) continue;
      let_go(*current, &id);
      waiters.erase(current);
    }
    if (waiters.empty()) jobs_.erase(found);
  }
  if (const auto found = sets_.find(entry.state().owner); found != sets_.end()) {
    std::list<SetWaiter>& waiters = found->second;
    for (auto waiter = waiters.begin(); waiter != waiters.end();) {
      const auto current = waiter++;
      if (!selects(current->ask, entry) || !hear(entry, *current, event, continued)) continue;
      let_go(*current, nullptr);
      waiters.erase(current);
    }
    if (waiters.empty()) sets_.erase(found);
  }
}

void Waits::refuse_submitters(const Entry& entry, const plan::Refusal& refusal) {
  const JobId id = id_of(entry.state().job);
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  std::erase_if(found->second, [&](const Waiter& waiter) {
    if (!waiter.submitter) return false;
    Tell tell = make_tell(TellKind::refused, waiter.sequence);
    tell.refusal = refusal;
    waiter.front->tell(tell);
    let_go(waiter, &id);
    return true;
  });
}

void Waits::forget(const Entry& entry) {
  const JobId id = id_of(entry.state().job);
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  for (const Waiter& waiter : found->second) {
    Tell tell = make_tell(TellKind::refused, waiter.sequence);
    tell.refusal = refusal("", plan::Reason::no_such_job, {});
    waiter.front->tell(tell);
    let_go(waiter, &id);
  }
  jobs_.erase(found);
}

void Waits::disconnected(const Front& front) {
  const auto found = askers_.find(&front);
  if (found == askers_.end()) return;
  const auto of_front = [&](const Waiter& waiter) { return waiter.front == &front; };
  for (const JobId& id : found->second.jobs)
    if (const auto job = jobs_.find(id); job != jobs_.end()) {
      std::erase_if(job->second, of_front);
      if (job->second.empty()) jobs_.erase(job);
    }
  if (const auto sets = sets_.find(front.peer().uid); sets != sets_.end()) {
    std::erase_if(sets->second, of_front);
    if (sets->second.empty()) sets_.erase(sets);
  }
  askers_.erase(found);
}

}  // namespace cloister::monitor
