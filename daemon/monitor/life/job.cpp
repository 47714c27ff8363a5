#include "life/job.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "host/id_map.hpp"
#include "host/orphans.hpp"
#include "host/spawn.hpp"
#include "sys/hex.hpp"
#include "sys/rights.hpp"
#include "sys/root.hpp"

namespace cloister::monitor {

using boost::asio::posix::stream_descriptor;
using plan::Cause;
using plan::JobPhase;

namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

int64_t now_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

MappedPlan::MappedPlan(sys::UniqueFd memfd, uint32_t bytes, plan::Flaw& flaw) {
  flaw = plan::Flaw::size;
  struct stat info {};
  if (bytes > plan::kMaxBytes || ::fstat(memfd.borrow(), &info) < 0 || info.st_size != bytes ||
      (::fcntl(memfd.borrow(), F_GET_SEALS) & kSeals) != kSeals)
    return;
  void* block = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, memfd.borrow(), 0);
  if (block == MAP_FAILED) return;
  block_ = block;
  bytes_ = bytes;
  memfd_ = std::move(memfd);
  flaw = plan::check(block_, bytes_);
}

MappedPlan::MappedPlan(MappedPlan&& other) noexcept
    : memfd_(std::move(other.memfd_)),
      block_(std::exchange(other.block_, nullptr)),
      bytes_(other.bytes_) {}

MappedPlan::~MappedPlan() { take(); }

void MappedPlan::rest() { ::madvise(block_, bytes_, MADV_DONTNEED); }

sys::UniqueFd MappedPlan::take() {
  if (block_) ::munmap(std::exchange(block_, nullptr), bytes_);
  return std::move(memfd_);
}

Job::Job(Workshop& shop, const Peer& owner, MappedPlan plan, uint64_t serial)
    : shop_(shop),
      plan_(std::move(plan)),
      control_(shop.io),
      end_(shop.io),
      deadline_(shop.io),
      patience_(shop.io),
      payload_(shop.io) {
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
  acts_.filter_signals = (this->plan()->seccomp_flags & plan::kFilterSignals) != 0;
}

void Job::observe(OnEvent event, OnRefused refused, OnGone gone) {
  on_event_ = std::move(event);
  on_refused_ = std::move(refused);
  on_gone_ = std::move(gone);
}

// False when the queue is full. That init is gone is seen on the pidfd.
bool Job::send(plan::CommandKind kind, int signal, plan::Scope scope) {
  const plan::Command command{kind, signal, scope, 0};
  return ::send(control_.native_handle(), &command, sizeof command, MSG_DONTWAIT | MSG_NOSIGNAL) >=
             0 ||
         errno != EAGAIN;
}

void Job::note_sent(int signal, uid_t by) { acts_.sent.note(signal, by, now_ns(CLOCK_BOOTTIME)); }

void Job::announce(JobPhase phase) {
  before_ = std::exchange(state_.phase, phase);
  state_.event = phase;
  if (on_event_) on_event_(*this);
}

void Job::timed(uint64_t authorise_us, uint64_t slot_us) {
  state_.authorise_us = authorise_us;
  state_.slot_us = slot_us;
}

void Job::read_reports() {
  control_.async_wait(stream_descriptor::wait_read, [self = shared_from_this()](
                                                        boost::system::error_code error) {
    if (error) return;
    for (;;) {
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
          ::recvmsg(self->control_.native_handle(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (size < static_cast<ssize_t>(sizeof message.report)) return;  // init's end: see its pidfd
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
      self->on_report(message.report, message.facts, sender, std::move(passed));
      if (!self->running()) return;
    }
    self->read_reports();
  });
}

void Job::on_report(const plan::Report& report, const plan::Fact* facts, pid_t sender,
                    sys::UniqueFd passed) {
  switch (report.kind) {
    case plan::ReportKind::facts: return on_facts(facts, report.count);
    case plan::ReportKind::maps:
      return write_id_maps(shop_.io, {init_, owner_.uid, owner_.gid, maps_, setgroups_denied_},
                           [self = shared_from_this()](const plan::Failure& failure) {
                             if (self->running()) self->on_mapped(failure);
                           });
    case plan::ReportKind::forked:
      state_.pid = sender;  // of the child that sent it, as the kernel translates it for us
      return;
    case plan::ReportKind::payload:
      if (passed)
        payload_.watch(std::move(passed), report.pid, weak_from_this(),
                       [this] { on_payload_ended(); });
      return;
    case plan::ReportKind::started:
      state_.started_at_ns = now_ns(CLOCK_REALTIME);
      if (!ending()) deadline_.cancel();
      return announce(JobPhase::running);
    case plan::ReportKind::stopped:
      state_.stop_signal = static_cast<int32_t>(report.detail);
      return announce(JobPhase::stopped);
    case plan::ReportKind::continued: return announce(JobPhase::running);
    case plan::ReportKind::ended: return finish();
  }
}

void Job::on_mapped(const plan::Failure& failure) {
  failure_ = failure;
  // A rootless job is in its user namespace from its birth: the network is made in it.
  if (!failure_.error && outbound() && !network_) failure_ = start_network(init_);
  failure_.error ? kill(Cause::setup, 0) : proceed();
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

// Nothing else is in the queue of an init that waits for this.
void Job::proceed() { send(plan::CommandKind::proceed); }

bool Job::signal(int signal, plan::Scope scope, uid_t by) {
  if (!running() || state_.phase == JobPhase::preparing) return false;
  if (finishing_) return true;                    // as a zombie takes it
  const int64_t before = now_ns(CLOCK_BOOTTIME);  // it may have ended by the time we are back
  if (!send(plan::CommandKind::signal, signal, scope)) return false;
  acts_.sent.note(signal, by, before);
  return true;
}

void Job::kill(Cause cause, uid_t by) {
  if (!alive()) return;
  if (!ending()) acts_.intent = cause;
  note_sent(SIGKILL, by);
  Cgroups::kill(leaves_);
  payload_.kill();
  // Init may be blocked in a step, where nothing of the payload runs yet; later
  // an init that lets its queue fill up and has to obey is one that is stuck.
  if (state_.phase == JobPhase::preparing || !send(plan::CommandKind::kill)) kill_init();
}

void Job::stop(Cause cause, uid_t by, std::chrono::milliseconds timeout) {
  if (!alive()) return;
  if (state_.phase == JobPhase::preparing || timeout.count() == 0) return kill(cause, by);
  if (!ending()) acts_.intent = cause;
  stopped_by_ = by;
  signal(plan()->stop_signal, plan::Scope::main, by);
  signal(SIGCONT, plan::Scope::main, by);  // a stopped payload takes no other signal
  deadline_.expires_after(timeout);
  on_deadline();
}

void Job::on_deadline() {
  deadline_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || !self->alive()) return;
    if (self->state_.phase == JobPhase::preparing)
      self->failure_ = {plan::Step::setup_timeout, plan::kNone, ETIMEDOUT, 0};
    self->kill(Cause::setup, self->stopped_by_);  // keeps an earlier intent
  });
}

void Job::watch_init() {
  end_.async_wait(stream_descriptor::wait_read,
                  [self = shared_from_this()](boost::system::error_code error) {
                    if (error) return;
                    self->init_end_ = reap(self->init_);
                    if (!self->init_end_.ended) return self->watch_init_again();
                    self->finish_or_reclaim();
                  });
}

bool Job::outbound() const { return (plan()->flags & plan::kOutbound) != 0; }

plan::Failure Job::start_network(pid_t user_namespace_of) {
  sys::UniqueFd user_namespace;
  if (user_namespace_of > 0) {
    user_namespace.reset(::open(("/proc/" + std::to_string(user_namespace_of) + "/ns/user").c_str(),
                                O_RDONLY | O_CLOEXEC));
    if (!user_namespace) return {plan::Step::network_owner, plan::kNone, errno, 0};
  }
  // What is called while the Job goes would be called on nothing.
  const std::weak_ptr<Job> weak = weak_from_this();
  network_ = std::make_shared<NetworkProcess>(
      shop_.io,
      [weak](sys::UniqueFd network) {
        const auto self = weak.lock();
        const plan::Command command{plan::CommandKind::network, 0, plan::Scope::main, 0};
        if (self && self->running())
          sys::send_rights(self->control_.native_handle(), &command, sizeof command,
                           {network.borrow()}, MSG_DONTWAIT);
      },
      [weak](const plan::Failure& why) {
        if (const auto self = weak.lock()) self->on_network_gone(why);
      });
  NetworkProcess::Recipe recipe{.init = shop_.init, .pasta = shop_.pasta, .plan = plan_.borrow()};
  recipe.uid = owner_.uid;
  recipe.gid = owner_.gid;
  recipe.groups = owner_.groups;
  recipe.set_groups = shop_.mode == plan::Mode::system && sys::is_root();
  recipe.job = &order_;
  if (user_namespace) recipe.user_namespace = user_namespace.borrow();
  sys::UniqueFd own_tasks;
  std::vector<int> tasks;
  if (leaves_.kill) {  // v2
    own_tasks.reset(::openat(leaves_.payload.borrow(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (!own_tasks) return {plan::Step::cgroup, plan::kNone, errno, 0};
    recipe.init_leaf = leaves_.init.borrow();
    tasks.push_back(own_tasks.borrow());
  } else if (leaves_.tasks) {
    tasks.push_back(leaves_.tasks.borrow());
  }
  for (const sys::UniqueFd& more : leaves_.hierarchies) tasks.push_back(more.borrow());
  recipe.tasks = tasks;
  const plan::Failure failure = network_->start(recipe);
  if (failure.error) network_.reset();
  return failure;
}

void Job::on_network_gone(const plan::Failure& why) {
  network_.reset();
  if (finishing_) return finish_or_reclaim();
  if (!running()) return;
  failure_ = why;
  if (state_.phase == JobPhase::preparing) return kill(Cause::setup, 0);
  // A payload that has ended by itself meanwhile keeps its ending: see finish().
  network_lost_ = true;
  note_sent(SIGKILL, 0);
  Cgroups::kill(leaves_);
  payload_.kill();
  if (!send(plan::CommandKind::kill)) kill_init();
}

// What of the job is the host's: ports, and what lies on its disk. It is gone
// when the end is told.
bool Job::all_gone() {
  const bool first = !std::exchange(finishing_, true);
  if (network_) {
    if (first) network_->end();
    return false;
  }
  if (!scratch_) return true;
  if (std::exchange(removing_, true)) return false;
  Cgroups::kill(leaves_);  // if init could not
  shop_.scratch.remove(std::to_array(state_.job), scratch_ids_, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->scratch_.reset();
    self->finish_or_reclaim();
  });
  return false;
}

void Job::finish_or_reclaim() {
  finish();
  if (init_end_.ended && !running()) reclaim();
}

// Reads the record and says how it ended. Called when init says that the
// record is there, when init itself has ended, and when all_gone() may be true.
void Job::finish() {
  if (!running() || awaits_payload() || !all_gone()) return;
  plan::ExitRecord& record = state_.record;
  const bool ours = ::pread(record_.borrow(), &record, sizeof record, 0) == sizeof record &&
                    record.magic == plan::kRecordMagic &&
                    std::equal(record.job, record.job + 16, state_.job);
  const bool whole = ours && record.commit == plan::kRecordCommitted;
  if (!whole) Cgroups::kill(leaves_);  // a whole record is written when nothing lives any more
  const bool told = ours && (whole || record.commit == plan::kRecordPayloadEnded);
  if (!told && !kernel_tells_end()) {
    record = {};
    // Init ended without a word. If we ended it ourselves before the payload
    // was there, we know that nothing ran; else nobody knows.
    state_.lost = state_.phase != JobPhase::preparing || !ending();
    if (state_.lost)
      std::fprintf(stderr, "cloisterd: init %d ended without a record (%s %d)\n", init_,
                   init_end_.code == CLD_EXITED ? "exit" : "signal", init_end_.status);
    if (!state_.lost) record.ending = plan::Ending::not_started;
  }
  // What init saw of our ending it is not why.
  if (!state_.lost && record.ending == plan::Ending::not_started && failure_.error)
    record.failure = failure_;
  const bool killed = WIFSIGNALED(record.wait_status) && WTERMSIG(record.wait_status) == SIGKILL;
  if (network_lost_ && !ending() && (killed || !whole)) {
    acts_.intent = Cause::cloister;
    record.failure = failure_;
  }
  shop_.slots.erase_record(std::to_array(state_.job));  // it is in our memory now
  deadline_.cancel();
  patience_.cancel();
  held_ = init_killed_ && !init_end_.ended;
  payload_.forget();
  const int64_t ended =
      record.ended_at_ns ? record.ended_at_ns + real_minus_boot_ns_ : now_ns(CLOCK_REALTIME);
  state_.ended_at_ns = ended;
  if (record.started_at_ns) {
    state_.started_at_ns = record.started_at_ns + real_minus_boot_ns_;
    state_.exec_us = static_cast<uint64_t>(record.started_at_ns - record.forked_at_ns) / 1000;
  }
  if (state_.started_at_ns)
    state_.wall_us = static_cast<uint64_t>(ended - state_.started_at_ns) / 1000;
  ended_boottime_ = std::chrono::seconds((ended - real_minus_boot_ns_) / 1'000'000'000);
  const Judgement why = judge(record, state_.lost, acts_);
  state_.cause = why.cause;
  state_.killed_signal = why.signal;
  state_.killed_by = why.by;
  announce(JobPhase::ended);
}

void Job::reclaim() {
  boost::system::error_code ignored;  // both are ours alone and at their end
  control_.close(ignored);
  end_.close(ignored);
  record_.reset();
  leaves_ = leaves_.names();
  // Of an init or a network process that was killed what it had is ours.
  const bool orphaned = (init_end_.code != CLD_EXITED || outbound()) && !end_orphans();
  if (orphaned || !shop_.cgroups.remove(leaves_)) {
    // EBUSY: a task that is dying still counts for a moment, and one that sleeps
    // in the kernel for as long as it likes: nobody waits for that one.
    constexpr int kTries = 8;
    if (reclaims_ < kTries) {
      deadline_.expires_after(std::chrono::milliseconds(20) * (1 << reclaims_++));
      deadline_.async_wait([self = shared_from_this()](boost::system::error_code error) {
        if (!error) self->reclaim();
      });
      return;
    }
    std::fprintf(stderr, "cloisterd: what job j-%s had is left: %s\n", sys::hex(state_.job).c_str(),
                 std::strerror(orphaned ? EBUSY : errno));
    shop_.cgroups.leave(std::move(leaves_), lease_);
  }
  // No process of the job's is left, so its ids are free, unless its cgroup is left.
  lease_.reset();
  if (on_gone_) on_gone_(*this);
}

}  // namespace cloister::monitor
