// A job while it lives: what its init reports, and what it is told.
#include "life/job.hpp"

#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "host/clock.hpp"
#include "host/id_map.hpp"
#include "sys/hex.hpp"

namespace cloister::monitor {

using boost::asio::posix::stream_descriptor;
using plan::Cause;
using plan::JobPhase;
using std::chrono::steady_clock;

Job::Job(Workshop& shop, const Peer& owner, MappedPlan plan, uint64_t serial)
    : shop_(shop),
      plan_(std::move(plan)),
      control_(shop.io),
      oom_(shop.io),
      deadline_(shop.io),
      patience_(shop.io),
      wall_time_(shop.io),
      cpu_time_(shop.io),
      memory_(shop.io),
      init_watch_(shop.io),
      payload_watch_(shop.io) {
  // What facts are judged by; the process behind the connection may be gone by then.
  owner_.uid = owner.uid;
  owner_.gid = owner.gid;
  owner_.groups = owner.groups;
  owner_.permitted = owner.permitted;
  state_.owner = owner.uid;
  state_.serial = serial;
  state_.mode = shop.mode;
  state_.accepted_at_ns = now_ns(CLOCK_REALTIME);
  real_minus_boot_ns_ = state_.accepted_at_ns - now_ns(CLOCK_BOOTTIME);
  acts_.stop_signal = this->plan()->stop_signal;
  acts_.stop_timeout_ns = static_cast<int64_t>(this->plan()->stop_timeout_ms) * 1'000'000;
  acts_.rlimits = this->plan()->rlimits;
  acts_.oom_ends_job = this->plan()->limits.on_oom == plan::OnOom::kill_job;
  acts_.filter_signals = (this->plan()->seccomp_flags & plan::kFilterSignals) != 0;
}

void Job::observe(OnEvent event, OnRefused refused, OnGone gone) {
  on_event_ = std::move(event);
  on_refused_ = std::move(refused);
  on_gone_ = std::move(gone);
}

void Job::timed(uint64_t authorise_us, uint64_t slot_us) {
  state_.authorise_us = authorise_us;
  state_.slot_us = slot_us;
}

bool Job::take(Event event) {
  if (const std::optional<State> to = next(life_, event)) {
    life_ = *to;
    return true;
  }
  std::fprintf(stderr, "cloisterd: internal error: job j-%s: unexpected event %s in state %s\n",
               sys::hex(state_.job).c_str(), name_of(event), name_of(life_));
  defective_ = true;
  kill(Cause::cloister, 0);
  return false;
}

void Job::announce(JobPhase phase) {
  const JobPhase before = std::exchange(state_.phase, phase);
  state_.event = phase;
  if (on_event_) on_event_(*this, before);
}

// Nobody listens to an init whose end has been told.
void Job::read_reports() {
  control_.async_wait(stream_descriptor::wait_read,
                      [self = shared_from_this()](boost::system::error_code error) {
                        if (error) return;
                        while (self->running() && self->read_report()) {
                        }
                      });
}

// True: there may be another one.
bool Job::read_report() {
  struct {
    plan::Report report;
    plan::Fact facts[plan::kFactsPerReport];
  } message;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
  iovec bytes{&message, sizeof message};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t size =
      ::recvmsg(control_.native_handle(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
    read_reports();
    return false;
  }
  if (size < static_cast<ssize_t>(sizeof message.report)) return false;  // its end: see its pidfd
  const size_t facts = (static_cast<size_t>(size) - sizeof message.report) / sizeof(plan::Fact);
  message.report.count = std::min<uint32_t>(message.report.count, static_cast<uint32_t>(facts));
  pid_t sender = 0;
  sys::UniqueFd passed;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials;
      std::memcpy(&credentials, CMSG_DATA(part), sizeof credentials);
      sender = credentials.pid;
    } else if (part->cmsg_type == SCM_RIGHTS) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part), sizeof fd);
      passed.reset(fd);
    }
  }
  on_report(message.report, message.facts, sender, std::move(passed));
  return true;
}

void Job::on_report(const plan::Report& report, const plan::Fact* facts, pid_t sender,
                    sys::UniqueFd passed) {
  switch (report.kind) {
    case plan::ReportKind::facts: return on_facts(facts, report.count);
    case plan::ReportKind::maps:
      return write_id_maps(shop_.io, {init_, owner_.uid, owner_.gid, maps_, setgroups_denied_},
                           [self = shared_from_this()](const plan::Failure& failure) {
                             if (self->alive()) self->on_mapped(failure);
                           });
    case plan::ReportKind::forked:
      state_.pid = sender;  // of the child that sent it, as the kernel translates it for us
      return;
    case plan::ReportKind::payload:
      if (!passed || !alive() || parts_.has(Part::payload)) return;
      payload_ = report.pid;
      parts_.add(Part::payload);
      // What is called while the Job goes would be called on nothing.
      return payload_watch_.of_another(std::move(passed), [weak = weak_from_this()](const Reaped&) {
        if (const auto self = weak.lock()) self->on_payload_ended();
      });
    case plan::ReportKind::started: return on_change(Event::started);
    case plan::ReportKind::stopped:
      state_.stop_signal = static_cast<int32_t>(report.detail);
      return on_change(Event::stopped);
    case plan::ReportKind::continued: return on_change(Event::continued);
    case plan::ReportKind::ended: return finish(Event::record_whole);
  }
}

void Job::on_change(Event event) {
  if (!take(event)) return;
  if (event == Event::started && life_ == State::running) {
    state_.started_at_ns = now_ns(CLOCK_REALTIME);
    if (!ending()) deadline_.cancel();
    watch_limits();
  }
  if (life_ == State::running) announce(JobPhase::running);
  if (life_ == State::stopped) announce(JobPhase::stopped);
}

void Job::on_mapped(const plan::Failure& failure) {
  if (failure.error) return fail(failure);
  // A rootless job is in its user namespace from its birth: the network is made in it.
  if (outbound() && !parts_.has(Part::network))
    if (const plan::Failure network = start_network(init_); network.error) return fail(network);
  proceed();
}

void Job::on_facts(const plan::Fact* facts, uint32_t count) {
  const plan::Header& header = plan().header();
  for (uint32_t i = 0; i < count && facts[i].index < header.descriptors.count; ++i, ++facts_seen_) {
    plan::Refusal refusal = authorise_fact(owner_, *rule_, plan(), facts[i], shop_.mode,
                                           (order_.flags & plan::kCoverKernel) != 0);
    if (refusal.kind == plan::RefusalKind::none && lease_)
      refusal = authorise_leased_fact(*rule_, facts[i]);
    if (refusal.kind == plan::RefusalKind::none) continue;
    kill(Cause::setup, 0);
    return on_refused_(*this, refusal);
  }
  uint32_t needed = 0;
  for (uint32_t i = 0; i < header.descriptors.count; ++i)
    needed += plan::needs_fact(header, plan().at(header.descriptors, i));
  if (facts_seen_ == needed) proceed();
}

// False when the queue is full. That init is gone is seen on the pidfd.
bool Job::send(plan::CommandKind kind, int signal, plan::Scope scope) {
  const plan::Command command{kind, signal, scope, 0};
  return ::send(control_.native_handle(), &command, sizeof command, MSG_DONTWAIT | MSG_NOSIGNAL) >=
             0 ||
         errno != EAGAIN;
}

// Nothing else is in the queue of an init that waits for this.
void Job::proceed() { send(plan::CommandKind::proceed); }

void Job::note_sent(int signal, uid_t by) { acts_.sent.note(signal, by, now_ns(CLOCK_BOOTTIME)); }

bool Job::signal(int signal, plan::Scope scope, uid_t by) {
  if (!running() || state_.phase == JobPhase::preparing) return false;
  if (life_ == State::finishing) return true;     // as a zombie takes it
  const int64_t before = now_ns(CLOCK_BOOTTIME);  // it may have ended by the time we are back
  if (!send(plan::CommandKind::signal, signal, scope)) return false;
  acts_.sent.note(signal, by, before);
  return true;
}

void Job::kill(Cause cause, uid_t by) {
  if (!alive()) return;
  intend(cause);
  note_sent(SIGKILL, by);
  kill_payload();
}

void Job::kill_payload() {
  Cgroups::kill(leaves_);
  payload_watch_.kill();
  // Init may be blocked in a step, where nothing of the payload runs yet; later
  // an init that lets its queue fill up and has to obey is one that is stuck.
  if (life_ == State::preparing || !send(plan::CommandKind::kill)) kill_init();
}

void Job::stop(Cause cause, uid_t by, std::chrono::milliseconds timeout) {
  if (!alive()) return;
  if (life_ == State::preparing || timeout.count() == 0) return kill(cause, by);
  // A limit that was reached holds, whoever gives the job more time.
  const auto last = acts_.intent == Cause::wall_time || acts_.intent == Cause::cpu_time
                        ? deadline_.expiry()
                        : steady_clock::time_point::max();
  intend(cause);
  stopped_by_ = by;
  signal(plan()->stop_signal, plan::Scope::main, by);
  signal(SIGCONT, plan::Scope::main, by);  // a stopped payload takes no other signal
  deadline_.expires_at(std::min(steady_clock::now() + timeout, last));
  on_deadline();
}

void Job::intend(Cause cause) {
  if (ending()) return;
  acts_.intent = cause;
  acts_.intent_at_ns = now_ns(CLOCK_BOOTTIME);
}

void Job::on_deadline() {
  deadline_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || !self->alive()) return;
    if (self->life_ == State::preparing)
      self->fail({plan::Step::setup_timeout, plan::kNone, ETIMEDOUT, 0});
    else
      self->kill(self->acts_.intent, self->stopped_by_);
  });
}

}  // namespace cloister::monitor
