#include "life/jobs.hpp"
#include "sys/root.hpp"

#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "decide/refusal.hpp"
#include "sys/hex.hpp"

namespace cloister::monitor {

using plan::Ask;
using plan::Cause;
using plan::JobPhase;
using plan::Reason;
using plan::Refusal;
using plan::RefusalKind;
using plan::Tell;
using plan::TellKind;

namespace {

Tell make_tell(TellKind kind, uint32_t sequence) {
  Tell tell;
  std::memset(&tell, 0, sizeof tell);
  tell.kind = kind;
  tell.sequence = sequence;
  return tell;
}

void done(Front& front, const Ask& ask) { front.tell(make_tell(TellKind::done, ask.sequence)); }

void refuse(Front& front, const Ask& ask, const Refusal& refusal) {
  Tell tell = make_tell(TellKind::refused, ask.sequence);
  tell.refusal = refusal;
  if (ask.kind == plan::AskKind::submit)
    front.tell(tell, {front.plan()});
  else
    front.tell(tell);
}

void refuse(Front& front, const Ask& ask, Reason reason, const char* field = "") {
  refuse(front, ask, refusal(field, reason, {}));
}

std::array<uint8_t, 16> id_of(const uint8_t (&id)[16]) {
  std::array<uint8_t, 16> key;
  std::copy(std::begin(id), std::end(id), key.begin());
  return key;
}

uint64_t microseconds_since(std::chrono::steady_clock::time_point start) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                   std::chrono::steady_clock::now() - start)
                                   .count());
}

}  // namespace

// A front serves one call after the other, so an honest one has one wait at a time.
constexpr uint32_t kMostWaitsOfAFront = 16;
constexpr uint32_t kMostSetWaits = 1024;  // of a user: by tag, by group, for any

// How many ended jobs of one user. Each holds a descriptor of ours, its Plan: no
// user gets more than an eighth of them.
static uint32_t bounded_by_descriptors(uint32_t kept) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) < 0) return kept;
  return static_cast<uint32_t>(std::min<rlim_t>(kept, files.rlim_cur / 8));
}

Jobs::Jobs(Workshop& shop, const Config& config, Quotas& quotas, Audit& audit)
    : shop_(shop),
      config_(config),
      quotas_(quotas),
      audit_(audit),
      expiry_(shop.io),
      refill_(shop.io) {}

bool Jobs::may_see(const Peer& peer, const plan::JobState& job) {
  return peer.uid == job.owner || peer.holds(CAP_KILL);
}

Jobs::Entry* Jobs::find(const uint8_t (&id)[16], const Peer& peer) {
  const auto found = table_.find(id_of(id));
  if (found == table_.end() || found->second.removed) return nullptr;
  return may_see(peer, found->second.state()) ? &found->second : nullptr;
}

Joinable Jobs::joinable(const uint8_t (&id)[16], const Peer& peer) {
  const Entry* entry = find(id, peer);
  // Of one that is not alive the number may be another process's by now.
  if (!entry || !entry->job || !entry->job->alive() || entry->state().phase == JobPhase::preparing)
    return {};
  uint32_t fresh = 0;
  for (uint32_t i = 0; i < plan::kNamespaces; ++i)
    fresh |= uint32_t{entry->job->plan()->namespaces[i].join == plan::Join::fresh} << i;
  return {entry->job->init(), entry->state().pid, fresh,
          (entry->job->plan()->flags & plan::kOutbound) != 0};
}

Jobs::Entry* Jobs::known_key(const Peer& peer, const Labels& labels) {
  if (labels.key == 0) return nullptr;
  const auto owner = owners_.find(peer.uid);
  if (owner == owners_.end()) return nullptr;
  const auto known = owner->second.keys.find(labels.key);
  if (known == owner->second.keys.end()) return nullptr;
  Entry& entry = table_.at(known->second);
  return entry.removed ? nullptr : &entry;
}

void Jobs::submit(Front& front, const Ask& ask) {
  const auto start = std::chrono::steady_clock::now();
  const Peer& peer = front.peer();
  plan::Flaw flaw;
  MappedPlan plan(front.take_plan(), ask.plan_bytes, flaw);
  if (flaw != plan::Flaw::none) {
    Refusal invalid = refusal("plan", Reason::flaw, {});
    invalid.detail = static_cast<uint32_t>(flaw);
    return refuse(front, ask, invalid);
  }
  if (shutting_down_) return refuse(front, ask, Reason::shutting_down);
  const plan::View view = plan.view();
  const Labels labels(view);
  if (Entry* known = known_key(peer, labels); known && view->method != plan::Method::plan_only) {
    if (known->labels.digest != labels.digest)
      return refuse(front, ask, Reason::key_reused, "idempotency_key");
    Tell tell = make_tell(TellKind::accepted, ask.sequence);
    tell.state = known->state();
    front.tell(tell, {front.plan()});
    return subscribe(front, ask, *known);
  }
  const Setting setting{config_.policy,
                        shop_.mode,
                        [this](const auto& id, const Peer& asking) { return joinable(id, asking); },
                        shop_.no_pasta,
                        shop_.scratch.why_not(),
                        id_sources(),
                        shop_.surroundings,
                        shop_.cgroups.version(),
                        sys::is_root(),
                        shop_.landlock_abi};
  const Decision<Approved> approved = authorise(peer, view, setting);
  if (!approved) return refuse_submit(front, ask, view, approved.error());
  const Rule& rule = *approved->rule();
  if (view->method == plan::Method::plan_only) {
    Tell tell = make_tell(TellKind::planned, ask.sequence);
    tell.refusal = refusal("", Reason::none, rule.name);
    if (approved->order().flags & plan::kCoverKernel) tell.refusal.detail = plan::kPlannedCovered;
    return front.tell(tell, {front.plan()});
  }
  if (const auto over = quotas_.may_launch(peer.uid, rule.quota, view->descriptors.count)) {
    Refusal busy = refusal("", over->reason, rule.name, over->limit, over->in_use);
    busy.detail = static_cast<uint32_t>(over->retry.count());
    return refuse_submit(front, ask, view, busy);
  }

  const uint32_t bytes = bytes_of_plan(ask.plan_bytes);
  Owner& owner = owners_[peer.uid];
  if (!make_room(owner, bytes, rule.quota.request_bytes))
    return refuse_submit(front, ask, view,
                         refusal("", Reason::rule_quota_request_bytes, rule.name,
                                 rule.quota.request_bytes, owner.bytes));

  auto job = std::make_shared<Job>(shop_, peer, std::move(plan), ++serial_);
  const uint64_t authorised_us = microseconds_since(start);
  sys::UniqueFd passed;
  const plan::Failure failure = job->launch(*approved, passed);
  if (failure.error) {
    Refusal failed = refusal("", Reason::none, rule.name);
    failed.kind = RefusalKind::launch_failed;
    failed.failure = failure;
    return refuse_submit(front, ask, job->plan(), failed);
  }
  job->timed(authorised_us, microseconds_since(start) - authorised_us);
  job->observe([this](Job& of) { on_event(of); },
               [this](Job& of, const Refusal& refusal) { on_refused(of, refusal); },
               [this](Job& of) { on_gone(of); });
  const Id id = id_of(job->state().job);
  const auto [added, fresh] = table_.try_emplace(id, Entry{job, nullptr, labels});
  Entry& entry = added->second;
  entry.front = &front;
  entry.bytes = bytes;
  askers_[&front].jobs.insert(id);
  order_[job->state().serial] = id;
  owner.jobs[job->state().serial] = id;
  owner.bytes += bytes;
  if (labels.key != 0) owner.keys[labels.key] = id;
  ++living_, ++running_;
  quotas_.begin(peer.uid, job->plan()->descriptors.count);
  audit_.accepted(job->state(), job->plan(), rule);

  Tell tell = make_tell(TellKind::accepted, ask.sequence);
  tell.state = job->state();
  front.tell(tell, {front.plan(), passed.borrow()});
  subscribe(front, ask, entry);
}

// A user's service has no ids to give away.
IdSources Jobs::id_sources() const {
  const bool leases = shop_.mode == plan::Mode::system && shop_.landlock_abi >= kLeasableAbi;
  return {&config_.subordinate, leases ? &shop_.leases : nullptr, shop_.cgroups.version() != 0};
}

void Jobs::refuse_submit(Front& front, const Ask& ask, plan::View plan, const Refusal& refusal) {
  // A dry run decides about nothing.
  if (plan->method != plan::Method::plan_only) audit_.refused(front.peer().uid, plan, refusal);
  refuse(front, ask, refusal);
}

// The submitter hears the end; one that streams hears everything, from where
// the job is now.
void Jobs::subscribe(Front& front, const Ask& ask, Entry& entry) {
  const bool streams = (ask.options & WSTOPPED) != 0;
  const JobPhase phase = entry.state().phase;
  if (!entry.running() || (streams && phase != JobPhase::preparing))
    tell_event(front, ask.sequence, entry, phase);
  if (entry.running()) add_waiter(entry, {&front, ask.sequence, ask.options, true});
}

void Jobs::tell_event(Front& front, uint32_t sequence, const Entry& entry, JobPhase event) {
  Tell tell = make_tell(TellKind::event, sequence);
  tell.state = entry.state();
  tell.state.event = event;
  front.tell(tell, {entry.plan_fd()});
}

// Without a name, a wait is for one's own.
bool Jobs::selects(const Ask& ask, const Entry& entry) {
  switch (ask.select) {
    case plan::Select::tag: return entry.labels.tagged(ask);
    // Init leads a session; the payload leads a group of its own in it.
    case plan::Select::pgid: return entry.state().pid != 0 && entry.state().pid == ask.pgid;
    default: return true;
  }
}

void Jobs::wait(Front& front, const Ask& ask) {
  bool any = false;
  // Whether that is the answer.
  const auto answers = [&](Entry& entry) {
    any = true;
    const JobPhase phase = entry.state().phase;
    const uint32_t change = phase == JobPhase::stopped ? WSTOPPED : WCONTINUED;
    const bool ended = phase == JobPhase::ended;
    if (!(ended ? ask.options & WEXITED : !entry.change_waited && (ask.options & change)))
      return false;
    if (!(ask.options & WNOWAIT)) (ended ? entry.waited : entry.change_waited) = true;
    tell_event(front, ask.sequence, entry, phase);
    return true;
  };
  Entry* named = nullptr;
  Owner& owner = owners_[front.peer().uid];
  if (ask.select == plan::Select::id) {
    // A named job can be asked about as often as one likes.
    named = find(ask.job, front.peer());
    if (named && answers(*named)) return;
  } else {
    // Like waitid(2): a set is waited through one by one.
    for (const auto& [serial, id] : owner.jobs) {
      Entry& entry = table_.at(id);
      if (!entry.removed && !entry.waited && selects(ask, entry) && answers(entry)) return;
    }
  }
  if (!any) return refuse(front, ask, Reason::no_such_job);
  if (ask.options & WNOHANG) return done(front, ask);
  Asker& asker = askers_[&front];
  // An honest front has one at a time. Those with a name lie with their job; the
  // others are looked through at each event of the user's.
  if (asker.asked >= kMostWaitsOfAFront || (!named && owner.waiters.size() >= kMostSetWaits))
    return refuse(front, ask, Reason::waits);
  ++asker.asked;
  const Waiter waiter{&front, ask.sequence, ask.options, false};
  if (named) return add_waiter(*named, waiter);
  owner.waiters.push_back({waiter, ask});
}

void Jobs::add_waiter(Entry& entry, const Waiter& waiter) {
  entry.waiters.push_back(waiter);
  askers_[waiter.front].waits.insert(id_of(entry.state().job));
}

// It is out of its list already.
void Jobs::let_go(const Waiter& waiter, const Entry* named) {
  Asker& asker = askers_[waiter.front];
  if (named) asker.waits.erase(asker.waits.find(id_of(named->state().job)));
  if (!waiter.submitter) --asker.asked;
}

bool Jobs::hear(Entry& entry, const Waiter& waiter, JobPhase event, bool continued) {
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

void Jobs::on_event(Job& job) {
  const Id id = id_of(job.state().job);
  Entry& entry = table_.at(id);
  const uid_t user = job.state().owner;
  Owner& owner = owners_[user];
  const JobPhase event = job.state().event;
  const bool continued = event == JobPhase::running && job.announced() == JobPhase::stopped;
  if (continued || event == JobPhase::stopped) entry.change_waited = false;
  for (auto waiter = entry.waiters.begin(); waiter != entry.waiters.end();) {
    const auto current = waiter++;
    if (!hear(entry, *current, event, continued)) continue;
    const Waiter heard = *current;
    entry.waiters.erase(current);
    let_go(heard, &entry);
  }
  for (auto waiter = owner.waiters.begin(); waiter != owner.waiters.end();) {
    const auto current = waiter++;
    if (!selects(current->ask, entry) || !hear(entry, *current, event, continued)) continue;
    const Waiter heard = *current;
    owner.waiters.erase(current);
    let_go(heard, nullptr);
  }
  if (job.announced() == JobPhase::preparing) {
    quotas_.arrived(user, job.plan()->descriptors.count);
    // Not at once: the end of a job that is short would wait until we are done.
    replenish_in(std::chrono::milliseconds(3));
  }
  if (event != JobPhase::ended) return;
  replenish_in(std::chrono::milliseconds(0));  // after what is told now
  audit_.ended(job.state(), job.plan(), *job.rule());
  if (!job.held()) quotas_.end(user);  // else it still costs us, and the user keeps it so
  entry.among = &owner.whole;
  entry.place = owner.whole.insert(owner.whole.end(), id);
  while (owner.kept() > bounded_by_descriptors(config_.kept_per_uid))
    forget(owner.cut.empty() ? owner.whole.front() : owner.cut.front());
  expire();
  --running_;
  end_if_idle();
}

// Never later than it was to be: many jobs that start would put it off for ever.
void Jobs::replenish_in(std::chrono::milliseconds delay) {
  const auto at = std::chrono::steady_clock::now() + delay;
  if (shutting_down_ || (refill_armed_ && refill_.expiry() <= at)) return;
  refill_armed_ = true;
  refill_.expires_at(at);
  refill_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    refill_armed_ = false;
    shop_.slots.replenish();
    shop_.cgroups.prepare();
  });
}

void Jobs::on_refused(Job& job, const Refusal& refusal) {
  audit_.refused(job.state().owner, job.plan(), refusal, &job.state());
  Entry& entry = table_.at(id_of(job.state().job));
  for (auto waiter = entry.waiters.begin(); waiter != entry.waiters.end();) {
    const auto current = waiter++;
    if (!current->submitter) continue;
    Tell tell = make_tell(TellKind::refused, current->sequence);
    tell.refusal = refusal;
    current->front->tell(tell);
    const Waiter told = *current;
    entry.waiters.erase(current);
    let_go(told, &entry);
  }
}

void Jobs::on_gone(Job& job) {
  const Id id = id_of(job.state().job);
  Entry& entry = table_.at(id);
  if (job.held()) quotas_.end(job.state().owner);
  entry.kept = std::make_unique<Kept>(job);
  entry.job.reset();  // whoever calls us holds it
  if (entry.removed) forget(id);
  --living_;
  end_if_idle();
}

void Jobs::end_if_idle() {
  if (!shutting_down_ || !idle_) return;
  if (living_ == 0) return std::exchange(idle_, nullptr)();
  if (running_ > 0) return;
  // All is told. What is dead and cannot be reaped (ptrace(2)) keeps nobody.
  refill_.expires_after(std::chrono::seconds(1));
  refill_.async_wait([this](boost::system::error_code error) {
    if (!error && idle_) std::exchange(idle_, nullptr)();
  });
}

// Until that many bytes more fit below the owner's bound: the oldest of its ended
// jobs give up their requests, then the oldest are forgotten. 0: no bound.
bool Jobs::make_room(Owner& owner, uint64_t bytes, uint64_t most) {
  if (most == 0) return true;
  for (auto next = owner.whole.begin(); owner.bytes + bytes > most && next != owner.whole.end();) {
    const auto current = next++;
    Entry& entry = table_.at(*current);
    if (!entry.kept) continue;  // its init is being reaped
    const uint32_t left = entry.kept->cut(entry.bytes);
    owner.bytes -= entry.bytes - left;
    entry.bytes = left;
    owner.cut.splice(owner.cut.end(), owner.whole, current);
    entry.among = &owner.cut;
  }
  while (owner.bytes + bytes > most && !owner.cut.empty()) forget(owner.cut.front());
  return owner.bytes + bytes <= most;
}

// A job is forgotten when its verdict is not wanted any more and its init is
// reaped.
void Jobs::forget(const Id& wanted) {
  const Id id = wanted;  // it may lie in a list of ours
  const auto found = table_.find(id);
  if (found == table_.end()) return;
  Entry& entry = found->second;
  if (entry.among) std::exchange(entry.among, nullptr)->erase(entry.place);
  entry.removed = true;
  if (!entry.kept) return;
  const plan::JobState& state = entry.state();
  Owner& owner = owners_[state.owner];
  for (const Waiter& waiter : entry.waiters) {
    Tell tell = make_tell(TellKind::refused, waiter.sequence);
    tell.refusal = refusal("", Reason::no_such_job, {});
    waiter.front->tell(tell);
    let_go(waiter, &entry);
  }
  if (entry.front) askers_[entry.front].jobs.erase(id);
  if (const auto key = owner.keys.find(entry.labels.key);
      key != owner.keys.end() && key->second == id)
    owner.keys.erase(key);
  owner.bytes -= entry.bytes;
  owner.jobs.erase(state.serial);
  order_.erase(state.serial);
  table_.erase(found);
}

void Jobs::expire() {
  if (std::exchange(expiry_armed_, true)) return;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  std::optional<std::chrono::seconds> next;
  // Those that ended first come first.
  for (auto& [user, owner] : owners_)
    for (std::list<Id>* among : {&owner.cut, &owner.whole})
      while (!among->empty()) {
        const Entry& oldest = table_.at(among->front());
        const auto left = config_.keep - (std::chrono::seconds(now.tv_sec) - oldest.ended());
        if (left.count() > 0) {
          next = std::min(left, next.value_or(left));
          break;
        }
        forget(among->front());
      }
  if (!next) {
    expiry_armed_ = false;
    return;
  }
  expiry_.expires_after(*next + std::chrono::seconds(1));
  expiry_.async_wait([this](boost::system::error_code error) {
    expiry_armed_ = false;
    if (!error) expire();
  });
}

void Jobs::signal(Front& front, const Ask& ask) {
  Entry* entry = find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, Reason::no_such_job);
  const bool known = ask.signal >= 1 && ask.signal <= 64 && ask.scope < plan::Scope::count_;
  if (!known) return refuse(front, ask, Reason::unknown_signal, "signal");
  // An ended job takes signals as kill(2) takes one for a zombie: nothing happens.
  if (entry->running() && !entry->job->signal(ask.signal, ask.scope, front.peer().uid)) {
    const bool preparing = entry->state().phase == JobPhase::preparing;
    if (ask.signal == SIGKILL || (ask.signal == SIGTERM && preparing))
      entry->job->kill(Cause::canceled, front.peer().uid);
    else
      return refuse(front, ask, preparing ? Reason::preparing : Reason::signals);
  }
  done(front, ask);
}

void Jobs::stop(Front& front, const Ask& ask) {
  Entry* entry = find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, Reason::no_such_job);
  if (entry->running()) {
    const uint64_t timeout = std::min(
        ask.timeout_ms == UINT64_MAX ? entry->job->plan()->stop_timeout_ms : ask.timeout_ms,
        plan::kMaxTimeoutMs);
    entry->job->stop(Cause::canceled, front.peer().uid, std::chrono::milliseconds(timeout));
  }
  Ask wait = ask;
  wait.select = plan::Select::id;
  wait.options = WEXITED | WNOWAIT;
  Jobs::wait(front, wait);
}

void Jobs::list(Front& front, const Ask& ask) {
  const bool all = front.peer().holds(CAP_KILL);
  const std::map<uint64_t, Id>& jobs = all ? order_ : owners_[front.peer().uid].jobs;
  uint32_t rows = 0;
  for (auto row = jobs.upper_bound(ask.after); row != jobs.end(); ++row) {
    const Entry& entry = table_.at(row->second);
    if (entry.removed || (ask.select == plan::Select::tag && !entry.labels.tagged(ask))) continue;
    Tell tell = make_tell(TellKind::row, ask.sequence);
    tell.state = entry.state();
    front.tell(tell, {entry.plan_fd()});
    if (++rows == plan::kRowsPerPage) break;
  }
  done(front, ask);
}

void Jobs::inspect(Front& front, const Ask& ask) {
  const Entry* entry = find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, Reason::no_such_job);
  Tell tell = make_tell(TellKind::row, ask.sequence);
  tell.state = entry->state();
  front.tell(tell, {entry->plan_fd()});
}

void Jobs::remove(Front& front, const Ask& ask) {
  const Entry* entry = find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, Reason::no_such_job);
  if (entry->running()) return refuse(front, ask, Reason::running);
  forget(id_of(ask.job));
  done(front, ask);
}

void Jobs::describe(Front& front, const Ask& ask) {
  Tell tell = make_tell(TellKind::described, ask.sequence);
  tell.host.mode = static_cast<uint32_t>(shop_.mode);
  tell.host.features = (shop_.no_pasta == Reason::none ? plan::kPastaThere : 0) |
                       (shop_.scratch.why_not() == Reason::none ? plan::kDiskThere : 0);
  tell.host.cgroup_version = static_cast<uint32_t>(shop_.cgroups.version());
  const std::shared_ptr<const Rule> rule = config_.policy.rule_for(front.peer());
  const Quota& quota = rule->quota;
  rule->name.copy(tell.host.policy, sizeof tell.host.policy - 1);
  tell.host.jobs_running = quotas_.jobs(front.peer().uid);
  const Owner& owner = owners_[front.peer().uid];
  tell.host.jobs_kept = owner.kept();
  tell.host.jobs_kept_limit = bounded_by_descriptors(config_.kept_per_uid);
  tell.host.waits_limit = kMostSetWaits;
  tell.host.request_bytes = owner.bytes;
  tell.host.request_bytes_limit = quota.request_bytes;
  tell.host.jobs_limit = quota.jobs;
  tell.host.connections_limit = quota.connections;
  front.tell(tell);
}

void Jobs::disconnected(Front& front) {
  const uid_t user = front.peer().uid;
  if (const auto found = askers_.find(&front); found != askers_.end()) {
    const Asker asker = std::move(found->second);
    askers_.erase(found);
    const auto of_front = [&](const Waiter& waiter) { return waiter.front == &front; };
    for (const Id& id : asker.waits)
      if (const auto entry = table_.find(id); entry != table_.end())
        std::erase_if(entry->second.waiters, of_front);
    std::erase_if(owners_[user].waiters, of_front);
    for (const Id& id : asker.jobs) detach(table_.at(id), user);
  }
  const auto owner = owners_.find(user);
  if (owner != owners_.end() && owner->second.jobs.empty() && owner->second.waiters.empty())
    owners_.erase(owner);
}

void Jobs::detach(Entry& entry, uid_t by) {
  entry.front = nullptr;
  if (!entry.running()) return;
  const plan::Header& plan = entry.job->plan().header();
  switch (plan.on_disconnect) {
    case plan::OnDisconnect::kill: entry.job->kill(Cause::disconnected, by); break;
    case plan::OnDisconnect::stop:
      entry.job->stop(Cause::disconnected, by, std::chrono::milliseconds(plan.stop_timeout_ms));
      break;
    default: break;
  }
}

void Jobs::shut_down(std::function<void()> idle) {
  shutting_down_ = true;
  idle_ = std::move(idle);
  for (auto& [id, entry] : table_)
    if (entry.job) entry.job->kill(Cause::shutdown, ::geteuid());
  end_if_idle();
}

void Jobs::tell_who_is_left() const {
  for (const auto& [id, entry] : table_)
    if (entry.job)
      std::fprintf(stderr, "cloisterd: job j-%s is left: its init, %d, does not end\n",
                   sys::hex(id).c_str(), entry.job->init());
}

}  // namespace cloister::monitor
