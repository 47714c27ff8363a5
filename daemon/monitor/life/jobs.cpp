// The verbs of a connection about jobs, and what happens to jobs by themselves.
#include "life/jobs.hpp"

#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "decide/refusal.hpp"
#include "host/clock.hpp"
#include "life/answers.hpp"
#include "sys/hex.hpp"
#include "sys/root.hpp"

namespace cloister::monitor {

using plan::Ask;
using plan::Cause;
using plan::JobPhase;
using plan::Reason;
using plan::Refusal;
using plan::RefusalKind;
using plan::Tell;
using plan::TellKind;
using Entry = JobTable::Entry;

namespace {

uint64_t microseconds_since(std::chrono::steady_clock::time_point start) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                   std::chrono::steady_clock::now() - start)
                                   .count());
}

// Bytes that the captured output of a job may take, and those that it has taken.
uint64_t output_of(plan::View plan) {
  uint64_t bytes = 0;
  for (const plan::Capture& capture : plan->capture)
    if (capture.max > 0) bytes += plan::kOutputHeader + capture.max;
  return bytes;
}

uint64_t output_of(const plan::JobState& ended) {
  uint64_t bytes = 0;
  for (const plan::OutputState& output : ended.output)
    if (output.captured) bytes += plan::kOutputHeader + output.kept;
  return bytes;
}

// How many ended jobs of one user. Each holds a descriptor of ours, its Plan: no
// user gets more than an eighth of them; and as many more for captured output, of which
// there may be two of a job.
uint32_t bounded_by_descriptors(uint32_t kept) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) < 0) return kept;
  return static_cast<uint32_t>(std::min<rlim_t>(kept, files.rlim_cur / 8));
}

}  // namespace

Jobs::Jobs(Workshop& shop, const Config& config, Quotas& quotas, Audit& audit)
    : shop_(shop),
      config_(config),
      quotas_(quotas),
      audit_(audit),
      table_([this](Entry& entry) { waits_.forget(entry); }),
      expiry_(shop.io),
      refill_(shop.io) {}

Joinable Jobs::joinable(const uint8_t (&id)[16], const Peer& peer) {
  const Entry* entry = table_.find(id, peer);
  // Of one that is not alive the number may be another process's by now.
  if (!entry || !entry->job || !entry->job->alive() || entry->state().phase == JobPhase::preparing)
    return {};
  uint32_t fresh = 0;
  for (uint32_t i = 0; i < plan::kNamespaces; ++i)
    fresh |= uint32_t{entry->job->plan()->namespaces[i].join == plan::Join::fresh} << i;
  return {entry->job->init(), entry->state().pid, fresh,
          (entry->job->plan()->flags & plan::kOutbound) != 0};
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
  if (Entry* known = table_.known_key(peer.uid, labels);
      known && view->method != plan::Method::plan_only) {
    if (known->labels.digest != labels.digest)
      return refuse(front, ask, Reason::key_reused, "idempotency_key");
    return accept(front, ask, *known);
  }
  const Decision<Approved> approved = authorise(peer, view, setting());
  if (!approved) return refuse_submit(front, ask, view, approved.error());
  const Rule& rule = *approved->rule();
  if (view->method == plan::Method::plan_only) {
    Tell tell = make_tell(TellKind::planned, ask.sequence);
    tell.refusal = refusal("", Reason::none, rule.name);
    if (approved->order().flags & plan::kCoverKernel) tell.refusal.detail = plan::kPlannedCovered;
    return front.tell(tell, {front.plan()});
  }
  const uint32_t bytes = bytes_of_plan(ask.plan_bytes);
  if (const Refusal busy = no_room(peer.uid, rule, view, bytes); busy.kind != RefusalKind::none)
    return refuse_submit(front, ask, view, busy);

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
  accept(front, ask, take_in(front, std::move(job), labels, bytes), passed.borrow());
}

// `kind` none: the user may have one more.
Refusal Jobs::no_room(uid_t user, const Rule& rule, plan::View plan, uint32_t bytes) {
  if (const auto over = quotas_.may_launch(user, rule.quota, plan->descriptors.count)) {
    Refusal busy = refusal("", over->reason, rule.name, over->limit, over->in_use);
    busy.detail = static_cast<uint32_t>(over->retry.count());
    return busy;
  }
  if (!table_.make_room(user, bytes, rule.quota.request_bytes))
    return refusal("", Reason::rule_quota_request_bytes, rule.name, rule.quota.request_bytes,
                   table_.bytes(user));
  if (!table_.make_room_for_output(user, output_of(plan), rule.quota.output_bytes,
                                   bounded_by_descriptors(config_.kept_per_uid) / 2))
    return refusal("", Reason::rule_quota_output_bytes, rule.name, rule.quota.output_bytes,
                   table_.output(user));
  return {};
}

Entry& Jobs::take_in(Front& front, std::shared_ptr<Job> job, const Labels& labels, uint32_t bytes) {
  job->observe([this](Job& of, JobPhase before) { on_event(of, before); },
               [this](Job& of, const Refusal& refusal) { on_refused(of, refusal); },
               [this](Job& of) { on_gone(of); });
  Entry& entry = table_.add(job->state(), labels, bytes);
  entry.job = std::move(job);
  table_.count_output(entry, output_of(entry.job->plan()));
  entry.counted = true;
  table_.live_with(entry, front);
  ++living_, ++running_;
  quotas_.begin(entry.state().owner, entry.job->plan()->descriptors.count);
  audit_.accepted(entry.state(), entry.job->plan(), *entry.job->rule());
  return entry;
}

// The submitter hears the end; one that streams hears everything, from where
// the job is now. `passed`: of a new job, the way to its init; -1: it is known.
void Jobs::accept(Front& front, const Ask& ask, const Entry& entry, int passed) {
  Tell tell = make_tell(TellKind::accepted, ask.sequence);
  tell.state = entry.state();
  const bool streams = (ask.options & WSTOPPED) != 0;
  sys::Rights descriptors = {front.plan()};
  Outputs outputs;
  for (uint32_t i = 0; i < plan::kCaptured; ++i) {
    if (streams) outputs[i] = entry.open_output(i);
    tell.state.output[i].captured = static_cast<bool>(outputs[i]);
    if (outputs[i]) descriptors.add(outputs[i].borrow());
  }
  if (passed >= 0) descriptors.add(passed);
  front.tell(tell, descriptors);
  const JobPhase phase = entry.state().phase;
  if (!entry.running() || (streams && phase != JobPhase::preparing))
    tell_event(front, ask.sequence, entry, phase);
  if (entry.running()) waits_.subscribe(entry, {&front, ask.sequence, ask.options, true});
}

Setting Jobs::setting() {
  return {config_.policy,
          shop_.mode,
          [this](const auto& id, const Peer& asking) { return joinable(id, asking); },
          shop_.no_pasta,
          shop_.scratch.why_not(),
          id_sources(),
          shop_.surroundings,
          shop_.cgroups.version(),
          sys::is_root(),
          shop_.landlock_abi};
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
  if (ask.select == plan::Select::id) {
    // A named job can be asked about as often as one likes.
    named = table_.find(ask.job, front.peer());
    if (named && answers(*named)) return;
  } else {
    // Like waitid(2): a set is waited through one by one.
    for (const auto& [serial, id] : table_.of(front.peer().uid)) {
      Entry& entry = table_.at(id);
      if (!entry.removed && !entry.waited && selects(ask, entry) && answers(entry)) return;
    }
  }
  if (!any) return refuse(front, ask, Reason::no_such_job);
  if (ask.options & WNOHANG) return done(front, ask);
  const Waiter waiter{&front, ask.sequence, ask.options, false};
  if (!(named ? waits_.ask_for(*named, waiter) : waits_.ask_for_set(ask, waiter)))
    refuse(front, ask, Reason::waits);
}

void Jobs::on_event(Job& job, JobPhase before) {
  Entry& entry = table_.at(id_of(job.state().job));
  const uid_t user = job.state().owner;
  const JobPhase event = job.state().event;
  const bool continued = event == JobPhase::running && before == JobPhase::stopped;
  if (continued || event == JobPhase::stopped) entry.change_waited = false;
  waits_.tell(entry, event, continued);
  if (before == JobPhase::preparing) {
    quotas_.arrived(user, job.plan()->descriptors.count);
    // Not at once: the end of a job that is short would wait until we are done.
    replenish_in(std::chrono::milliseconds(3));
  }
  if (event != JobPhase::ended) return;
  replenish_in(std::chrono::milliseconds(0));  // after what is told now
  audit_.ended(job.state(), job.plan(), *job.rule());
  if (!job.held()) uncount(entry);  // else it still costs us, and the user keeps it so
  table_.count_output(entry, output_of(job.state()));
  table_.ended(entry, bounded_by_descriptors(config_.kept_per_uid));
  expire();
  --running_;
  end_if_idle();
}

void Jobs::uncount(Entry& entry) {
  if (std::exchange(entry.counted, false)) quotas_.end(entry.state().owner);
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
  waits_.refuse_submitters(table_.at(id_of(job.state().job)), refusal);
}

void Jobs::on_gone(Job& job) {
  Entry& entry = table_.at(id_of(job.state().job));
  uncount(entry);
  // Whoever calls us holds the job.
  table_.keep(entry, std::make_unique<Kept>(job.state(), job.take_plan(), job.take_outputs(),
                                            job.ended_boottime()));
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

void Jobs::expire() {
  if (std::exchange(expiry_armed_, true)) return;
  const std::chrono::seconds now(now_ns(CLOCK_BOOTTIME) / 1'000'000'000);
  const std::optional<std::chrono::seconds> next = table_.expire(now, config_.keep);
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
  Entry* entry = table_.find(ask.job, front.peer());
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
  Entry* entry = table_.find(ask.job, front.peer());
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
  const JobTable::Serials& jobs = all ? table_.all() : table_.of(front.peer().uid);
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
  const Entry* entry = table_.find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, Reason::no_such_job);
  Tell tell = make_tell(TellKind::row, ask.sequence);
  tell.state = entry->state();
  front.tell(tell, {entry->plan_fd()});
}

void Jobs::output(Front& front, const Ask& ask) {
  const Entry* entry = table_.find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, Reason::no_such_job);
  sys::UniqueFd output;
  if (ask.stream < plan::kCaptured) output = entry->open_output(ask.stream);
  Tell tell = make_tell(TellKind::row, ask.sequence);
  tell.state = entry->state();
  sys::Rights descriptors;
  if (output) descriptors.add(output.borrow());
  front.tell(tell, descriptors);
}

void Jobs::remove(Front& front, const Ask& ask) {
  const Entry* entry = table_.find(ask.job, front.peer());
  if (!entry) return refuse(front, ask, Reason::no_such_job);
  if (entry->running()) return refuse(front, ask, Reason::running);
  table_.forget(id_of(ask.job));
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
  tell.host.jobs_kept = table_.kept(front.peer().uid);
  tell.host.jobs_kept_limit = bounded_by_descriptors(config_.kept_per_uid);
  tell.host.waits_limit = Waits::kMostSets;
  tell.host.request_bytes = table_.bytes(front.peer().uid);
  tell.host.request_bytes_limit = quota.request_bytes;
  tell.host.output_bytes = table_.output(front.peer().uid);
  tell.host.output_bytes_limit = quota.output_bytes;
  tell.host.jobs_limit = quota.jobs;
  tell.host.connections_limit = quota.connections;
  front.tell(tell);
}

void Jobs::disconnected(Front& front) {
  const uid_t user = front.peer().uid;
  waits_.disconnected(front);
  for (Entry* entry : table_.detach(front)) on_disconnect(*entry, user);
  table_.drop_if_idle(user);
}

void Jobs::on_disconnect(Entry& entry, uid_t by) {
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
  for (const auto& [serial, id] : table_.all())
    if (const Entry& entry = table_.at(id); entry.job)
      entry.job->kill(Cause::shutdown, ::geteuid());
  end_if_idle();
}

void Jobs::tell_who_is_left() {
  for (const auto& [serial, id] : table_.all()) {
    const Entry& entry = table_.at(id);
    const auto left = entry.job ? entry.job->left() : std::nullopt;
    if (left)
      std::fprintf(stderr, "cloisterd: job j-%s is left behind: its %s does not end (init %d)\n",
                   sys::hex(id).c_str(), name_of(*left), entry.job->init());
  }
}

}  // namespace cloister::monitor
