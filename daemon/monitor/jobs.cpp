#include "jobs.hpp"
#include "sys/root.hpp"

#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace cloister::monitor {

using plan::Ask;
using plan::Cause;
using plan::JobPhase;
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

void refuse(Front& front, const Ask& ask, RefusalKind kind, const char* field = "") {
  refuse(front, ask, refusal(kind, field, ""));
}

std::array<uint8_t, 16> id_of(const uint8_t (&id)[16]) {
  std::array<uint8_t, 16> key;
  std::copy(std::begin(id), std::end(id), key.begin());
  return key;
}

// `wanted` comes from a front: it may lack its NUL.
bool equal(plan::View plan, plan::Text text, const char (&wanted)[plan::kMaxName + 8]) {
  const size_t length = ::strnlen(wanted, sizeof wanted);
  return text.length == length && std::memcmp(plan.c_str(text), wanted, length) == 0;
}

bool tagged(plan::View plan, const Ask& ask) {
  for (uint32_t i = 0; i < plan->tags.count; ++i) {
    const plan::Tag& tag = plan.at(plan->tags, i);
    if (equal(plan, tag.key, ask.tag_key) && equal(plan, tag.value, ask.tag_value)) return true;
  }
  return false;
}

uint64_t microseconds_since(std::chrono::steady_clock::time_point start) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                   std::chrono::steady_clock::now() - start)
                                   .count());
}

}  // namespace

// How many ended jobs of one user. Each holds a descriptor of ours, its Plan: no
// user gets more than an eighth of them.
static uint32_t bounded_by_descriptors(uint32_t kept) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) < 0) return kept;
  return static_cast<uint32_t>(std::min<rlim_t>(kept, files.rlim_cur / 8));
}

Jobs::Jobs(Workshop& shop, const Config& config, Quotas& quotas, Audit& audit)
    : shop_(shop), config_(config), quotas_(quotas), audit_(audit), expiry_(shop.io),
      refill_(shop.io) {}

bool Jobs::may_see(const Peer& peer, const Job& job) {
  return peer.uid == job.state().owner || peer.holds(CAP_KILL);
}

Jobs::Entry* Jobs::find(const uint8_t (&id)[16], const Peer& peer) {
  const auto found = table_.find(id_of(id));
  if (found == table_.end() || found->second.removed) return nullptr;
  return may_see(peer, *found->second.job) ? &found->second : nullptr;
}

Joinable Jobs::joinable(const uint8_t (&id)[16], const Peer& peer) {
  const Entry* entry = find(id, peer);
  // Of one that is not alive the number may be another process's by now.
  if (!entry || !entry->job->alive() || entry->job->state().phase == JobPhase::preparing) return {};
  uint32_t fresh = 0;
  for (uint32_t i = 0; i < plan::kNamespaces; ++i)
    fresh |= uint32_t{entry->job->plan()->namespaces[i].join == plan::Join::fresh} << i;
  return {entry->job->init(), entry->job->state().pid, fresh,
          (entry->job->plan()->flags & plan::kOutbound) != 0};
}

Jobs::Entry* Jobs::known_key(const Peer& peer, plan::View plan) {
  if (plan->idempotency_key.length == 0) return nullptr;
  for (auto& [id, entry] : table_) {
    const plan::View other = entry.job->plan();
    if (!entry.removed && entry.job->state().owner == peer.uid &&
        other->idempotency_key.length == plan->idempotency_key.length &&
        std::memcmp(other.c_str(other->idempotency_key), plan.c_str(plan->idempotency_key),
                    plan->idempotency_key.length) == 0)
      return &entry;
  }
  return nullptr;
}

void Jobs::submit(Front& front, const Ask& ask) {
  const auto start = std::chrono::steady_clock::now();
  const Peer& peer = front.peer();
  plan::Flaw flaw;
  MappedPlan plan(front.take_plan(), ask.plan_bytes, flaw);
  if (flaw != plan::Flaw::none) {
    Refusal invalid = refusal(RefusalKind::invalid, "plan", "flaw");
    invalid.detail = static_cast<uint32_t>(flaw);
    return refuse(front, ask, invalid);
  }
  if (shutting_down_) return refuse(front, ask, RefusalKind::shutting_down);
  const plan::View view = plan.view();
  if (Entry* known = known_key(peer, view); known && view->method != plan::Method::plan_only) {
    Job& job = *known->job;
    if (job.plan()->request_digest != view->request_digest)
      return refuse(front, ask, RefusalKind::key_reused, "idempotency_key");
    Tell tell = make_tell(TellKind::accepted, ask.sequence);
    tell.state = job.state();
    front.tell(tell, {front.plan()});
    return subscribe(front, ask, job);
  }
  const Setting setting{config_.policy, shop_.mode, [this](const auto& id, const Peer& asking) {
                          return joinable(id, asking);
                        },
                        shop_.no_pasta, shop_.scratch.why_not(), id_sources(), shop_.surroundings,
                        shop_.cgroups.version(), sys::is_root(), shop_.landlock_abi};
  const Decision<Approved> approved = authorise(peer, view, setting);
  if (!approved) return refuse_submit(front, ask, view, approved.error());
  const Rule& rule = *approved->rule();
  if (view->method == plan::Method::plan_only) {
    Tell tell = make_tell(TellKind::planned, ask.sequence);
    tell.refusal = refusal(RefusalKind::none, "", "", 0, 0, rule.name);
    if (approved->order().flags & plan::kCoverKernel) tell.refusal.detail = plan::kPlannedCovered;
    return front.tell(tell, {front.plan()});
  }
  if (const auto over = quotas_.may_launch(peer.uid, rule.quota, view->descriptors.count)) {
    Refusal busy = refusal(RefusalKind::busy, "", rule.member(over->member), over->limit,
                           over->in_use, rule.name);
    busy.detail = static_cast<uint32_t>(over->retry.count());
    return refuse_submit(front, ask, view, busy);
  }

  auto job = std::make_shared<Job>(shop_, peer, std::move(plan), ++serial_);
  const uint64_t authorised_us = microseconds_since(start);
  sys::UniqueFd passed;
  const plan::Failure failure = job->launch(*approved, passed);
  if (failure.error) {
    Refusal failed = refusal(RefusalKind::launch_failed, "", "", 0, 0, rule.name);
    failed.failure = failure;
    return refuse_submit(front, ask, job->plan(), failed);
  }
  job->timed(authorised_us, microseconds_since(start) - authorised_us);
  job->observe([this](Job& of) { on_event(of); },
               [this](Job& of, const Refusal& refusal) { on_refused(of, refusal); },
               [this](Job& of) { on_gone(of); });
  const Id id = id_of(job->state().job);
  table_[id] = {job, &front};
  order_[job->state().serial] = id;
  quotas_.begin(peer.uid, job->plan()->descriptors.count);
  audit_.accepted(job->state(), job->plan(), rule);

  Tell tell = make_tell(TellKind::accepted, ask.sequence);
  tell.state = job->state();
  front.tell(tell, {front.plan(), passed.borrow()});
  subscribe(front, ask, *job);
}

// A user's service has no ids to give away.
IdSources Jobs::id_sources() const {
  const bool leases = shop_.mode == plan::Mode::system && shop_.landlock_abi >= kLeasableAbi;
  return {&config_.subordinate, leases ? &shop_.leases : nullptr,
          shop_.cgroups.version() != 0};
}

void Jobs::refuse_submit(Front& front, const Ask& ask, plan::View plan, const Refusal& refusal) {
  // A dry run decides about nothing.
  if (plan->method != plan::Method::plan_only) audit_.refused(front.peer().uid, plan, refusal);
  refuse(front, ask, refusal);
}

// The submitter hears the end; one that streams hears everything, from where
// the job is now.
void Jobs::subscribe(Front& front, const Ask& ask, Job& job) {
  const bool streams = (ask.options & WSTOPPED) != 0;
  if (!job.running() || (streams && job.state().phase != JobPhase::preparing))
    tell_event(front, ask.sequence, job, job.state().phase);
  if (!job.running()) return;
  Waiter waiter{front.weak_from_this(), ask, true};
  std::copy(std::begin(job.state().job), std::end(job.state().job), waiter.ask.job);
  waiter.ask.select = plan::Select::id;
  waiters_.push_back(std::move(waiter));
}

void Jobs::tell_event(Front& front, uint32_t sequence, Job& job, JobPhase event) {
  Tell tell = make_tell(TellKind::event, sequence);
  tell.state = job.state();
  tell.state.event = event;
  front.tell(tell, {job.plan_fd()});
}

bool Jobs::selects(const Ask& ask, const Peer& peer, const Job& job) const {
  if (ask.select == plan::Select::id)
    return id_of(ask.job) == id_of(job.state().job) && may_see(peer, job);
  // Without a name, a wait is for one's own.
  if (job.state().owner != peer.uid) return false;
  switch (ask.select) {
    case plan::Select::tag: return tagged(job.plan(), ask);
    // Init leads a session; the payload leads a group of its own in it.
    case plan::Select::pgid: return job.state().pid != 0 && job.state().pid == ask.pgid;
    default: return true;
  }
}

void Jobs::wait(Front& front, const Ask& ask) {
  bool any = false;
  for (const auto& [serial, id] : order_) {
    const Entry& entry = table_.at(id);
    Job& job = *entry.job;
    if (entry.removed || !selects(ask, front.peer(), job)) continue;
    // Like waitid(2): a set is waited through one by one; a named job can be
    // asked about as often as one likes.
    if (job.waited && ask.select != plan::Select::id) continue;
    any = true;
    const JobPhase phase = job.state().phase;
    const uint32_t change = phase == JobPhase::stopped ? WSTOPPED : WCONTINUED;
    const bool ended = phase == JobPhase::ended;
    if (ended ? ask.options & WEXITED : !job.change_waited && (ask.options & change)) {
      if (!(ask.options & WNOWAIT)) (ended ? job.waited : job.change_waited) = true;
      return tell_event(front, ask.sequence, job, phase);
    }
  }
  if (!any) return refuse(front, ask, RefusalKind::no_such_job);
  if (ask.options & WNOHANG) return done(front, ask);
  waiters_.push_back({front.weak_from_this(), ask, false});
}

void Jobs::on_event(Job& job) {
  const JobPhase event = job.state().event;
  const bool continued = event == JobPhase::running && job.announced() == JobPhase::stopped;
  if (continued || event == JobPhase::stopped) job.change_waited = false;
  for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
    const auto current = waiter++;
    const std::shared_ptr<Front> front = current->front.lock();
    if (!front || !selects(current->ask, front->peer(), job)) continue;
    const uint32_t options = current->ask.options;
    const bool submitter = current->every_event && (options & WSTOPPED);
    const bool wanted = submitter || (event == JobPhase::ended && (options & WEXITED)) ||
                        (event == JobPhase::stopped && (options & WSTOPPED)) ||
                        (continued && (options & WCONTINUED));
    if (!wanted) continue;
    if (!current->every_event && !(options & WNOWAIT))
      (event == JobPhase::ended ? job.waited : job.change_waited) = true;
    tell_event(*front, current->ask.sequence, job, event);
    if (!current->every_event || event == JobPhase::ended) waiters_.erase(current);
  }
  const uid_t owner = job.state().owner;
  if (job.announced() == JobPhase::preparing) {
    quotas_.arrived(owner, job.plan()->descriptors.count);
    // Not at once: the end of a job that is short would wait until we are done.
    replenish_in(std::chrono::milliseconds(3));
  }
  if (event != JobPhase::ended) return;
  replenish_in(std::chrono::milliseconds(0));  // after what is told now
  audit_.ended(job.state(), job.plan(), *job.rule());
  if (!job.held()) quotas_.end(owner);  // else it still costs us, and the user keeps it so
  ++kept_[owner];
  const uint32_t most = bounded_by_descriptors(config_.kept_per_uid);
  for (auto oldest = order_.begin(); kept_[owner] > most && oldest != order_.end();) {
    const Id id = (oldest++)->second;
    const Job& other = *table_.at(id).job;
    if (other.state().owner == owner && !other.running() && &other != &job) forget(id);
  }
  expire();
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
  for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
    const auto current = waiter++;
    const std::shared_ptr<Front> front = current->front.lock();
    if (!front || !current->every_event || id_of(current->ask.job) != id_of(job.state().job))
      continue;
    Tell tell = make_tell(TellKind::refused, current->ask.sequence);
    tell.refusal = refusal;
    front->tell(tell);
    waiters_.erase(current);
  }
}

void Jobs::on_gone(Job& job) {
  if (const auto entry = table_.find(id_of(job.state().job)); entry != table_.end()) {
    entry->second.gone = true;
    if (job.held()) quotas_.end(job.state().owner);
    if (entry->second.removed) forget(entry->first);
  }
  if (shutting_down_) job.erase_record();
  end_if_idle();
}

void Jobs::end_if_idle() {
  if (!shutting_down_ || !idle_) return;
  bool running = false, gone = true;
  for (const auto& [id, entry] : table_) {
    running |= entry.job->running();
    gone &= entry.gone;
  }
  if (gone) return std::exchange(idle_, nullptr)();
  if (running) return;
  // All is told. What is dead and cannot be reaped (ptrace(2)) keeps nobody.
  refill_.expires_after(std::chrono::seconds(1));
  refill_.async_wait([this](boost::system::error_code error) {
    if (!error && idle_) std::exchange(idle_, nullptr)();
  });
}

// A job is forgotten when its verdict is not wanted any more and its init is
// reaped; the record file goes with it.
void Jobs::forget(const Id& id) {
  const auto found = table_.find(id);
  if (found == table_.end()) return;
  if (!found->second.gone) {
    found->second.removed = true;
    return;
  }
  const plan::JobState state = found->second.job->state();
  found->second.job->erase_record();
  order_.erase(state.serial);
  --kept_[state.owner];
  table_.erase(found);
}

void Jobs::expire() {
  if (std::exchange(expiry_armed_, true)) return;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const auto keep = config_.keep;
  std::optional<std::chrono::seconds> next;
  std::vector<Id> old;
  for (const auto& [id, entry] : table_) {
    if (entry.job->running()) continue;
    const auto left = keep - (std::chrono::seconds(now.tv_sec) - entry.job->ended_boottime());
    if (left.count() <= 0)
      old.push_back(id);
    else if (!next || left < *next)
      next = left;
  }
  for (const Id& id : old) forget(id);
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
  if (!entry) return refuse(front, ask, RefusalKind::no_such_job);
  const bool known = ask.signal >= 1 && ask.signal <= 64 && ask.scope < plan::Scope::count_;
  if (!known) return refuse(front, ask, RefusalKind::invalid, "signal");
  // An ended job takes signals as kill(2) takes one for a zombie: nothing happens.
  if (entry->job->running() && !entry->job->signal(ask.signal, ask.scope, front.peer().uid)) {
    const bool preparing = entry->job->state().phase == JobPhase::preparing;
    if (ask.signal == SIGKILL || (ask.signal == SIGTERM && preparing))
      entry->job->kill(Cause::canceled, front.peer().uid);
    else
      return refuse(front, ask, RefusalKind::busy, preparing ? "preparing" : "signals");
  }
  done(front, ask);
}

void Jobs::stop(Front& front, const Ask& ask) {
  Entry* entry = find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, RefusalKind::no_such_job);
  const uint64_t timeout =
      std::min(ask.timeout_ms == UINT64_MAX ? entry->job->plan()->stop_timeout_ms : ask.timeout_ms,
               plan::kMaxTimeoutMs);
  entry->job->stop(Cause::canceled, front.peer().uid, std::chrono::milliseconds(timeout));
  Ask wait = ask;
  wait.select = plan::Select::id;
  wait.options = WEXITED | WNOWAIT;
  Jobs::wait(front, wait);
}

void Jobs::list(Front& front, const Ask& ask) {
  uint32_t rows = 0;
  for (auto row = order_.upper_bound(ask.after); row != order_.end(); ++row) {
    const Entry& entry = table_.at(row->second);
    const Job& job = *entry.job;
    if (entry.removed || !may_see(front.peer(), job)) continue;
    if (ask.select == plan::Select::tag && !tagged(job.plan(), ask)) continue;
    Tell tell = make_tell(TellKind::row, ask.sequence);
    tell.state = job.state();
    front.tell(tell, {job.plan_fd()});
    if (++rows == plan::kRowsPerPage) break;
  }
  done(front, ask);
}

void Jobs::inspect(Front& front, const Ask& ask) {
  Entry* entry = find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, RefusalKind::no_such_job);
  Tell tell = make_tell(TellKind::row, ask.sequence);
  tell.state = entry->job->state();
  front.tell(tell, {entry->job->plan_fd()});
}

void Jobs::remove(Front& front, const Ask& ask) {
  Entry* entry = find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, RefusalKind::no_such_job);
  if (entry->job->running()) return refuse(front, ask, RefusalKind::busy, "running");
  forget(id_of(ask.job));
  done(front, ask);
}

void Jobs::describe(Front& front, const Ask& ask) {
  Tell tell = make_tell(TellKind::described, ask.sequence);
  tell.host.mode = static_cast<uint32_t>(shop_.mode);
  tell.host.features = (shop_.no_pasta ? 0 : plan::kPastaThere) |
                       (shop_.scratch.why_not() ? 0 : plan::kDiskThere);
  tell.host.cgroup_version = static_cast<uint32_t>(shop_.cgroups.version());
  const std::shared_ptr<const Rule> rule = config_.policy.rule_for(front.peer());
  const Quota& quota = rule->quota;
  rule->name.copy(tell.host.policy, sizeof tell.host.policy - 1);
  tell.host.jobs_running = quotas_.jobs(front.peer().uid);
  tell.host.jobs_kept = kept_[front.peer().uid];
  tell.host.jobs_limit = quota.jobs;
  tell.host.connections_limit = quota.connections;
  front.tell(tell);
}

void Jobs::disconnected(Front& front) {
  std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.front.lock().get() == &front; });
  for (auto& [id, entry] : table_) {
    if (entry.front != &front) continue;
    entry.front = nullptr;
    if (!entry.job->running()) continue;
    const plan::Header& plan = entry.job->plan().header();
    const auto timeout = std::chrono::milliseconds(plan.stop_timeout_ms);
    switch (plan.on_disconnect) {
      case plan::OnDisconnect::kill: entry.job->kill(Cause::disconnected, front.peer().uid); break;
      case plan::OnDisconnect::stop:
        entry.job->stop(Cause::disconnected, front.peer().uid, timeout);
        break;
      default: break;
    }
  }
}

void Jobs::shut_down(std::function<void()> idle) {
  shutting_down_ = true;
  idle_ = std::move(idle);
  for (auto& [id, entry] : table_) {
    entry.job->kill(Cause::shutdown, ::geteuid());
    if (entry.gone) entry.job->erase_record();
  }
  end_if_idle();
}

}  // namespace cloister::monitor
