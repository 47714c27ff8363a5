// Job: one sandbox, from the clone of its init to its record.
//
// Owned by Jobs. Everything it does to a process goes through its init's
// control socket or a pidfd; everything it says about an ending comes from the
// record that init wrote, or from the kernel (payload.hpp), or is `lost`.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>

#include "decide/authorise.hpp"
#include "host/cgroup.hpp"
#include "host/network_process.hpp"
#include "host/scratch.hpp"
#include "life/cause.hpp"
#include "life/payload.hpp"
#include "life/slots.hpp"
#include "plan/messages.hpp"
#include "plan/view.hpp"
#include "sys/landlock.hpp"

namespace cloister::monitor {

// A sealed Plan, mapped read-only for as long as its job is known.
class MappedPlan {
 public:
  MappedPlan() = default;
  // Maps the memfd when it is sealed against every change, has `bytes` bytes
  // and passes plan::check(); else `flaw` says what is wrong.
  MappedPlan(sys::UniqueFd memfd, uint32_t bytes, plan::Flaw& flaw);
  MappedPlan(MappedPlan&& other) noexcept;
  MappedPlan& operator=(MappedPlan&&) = delete;
  ~MappedPlan();

  plan::View view() const { return plan::View(block_); }
  int borrow() const { return memfd_.borrow(); }
  // Of the pages that are seen; they come back when they are looked at.
  void rest();
  // The memfd, mapped no more.
  sys::UniqueFd take();

 private:
  sys::UniqueFd memfd_;
  void* block_ = nullptr;
  size_t bytes_ = 0;
};

// What every job needs of the monitor.
struct Workshop {
  boost::asio::io_context& io;
  Cgroups& cgroups;
  Slots& slots;
  plan::Mode mode;
  const Image& init;
  int pasta;              // borrowed; -1: there is none
  plan::Reason no_pasta;  // why
  Leases& leases;
  Scratch& scratch;
  const Surroundings& surroundings;
  int landlock_abi = sys::landlock_abi();
};

class Job : public std::enable_shared_from_this<Job> {
 public:
  using OnEvent = std::function<void(Job&)>;                          // state().event says what
  using OnRefused = std::function<void(Job&, const plan::Refusal&)>;  // a descriptor was denied
  using OnGone = std::function<void(Job&)>;  // init is reaped, nothing is left

  Job(Workshop& shop, const Peer& owner, MappedPlan plan, uint64_t serial);

  // From here a process exists. On failure the step and errno are in the
  // result and nothing is left behind. `passed` receives the front's end of
  // the channel to init.
  plan::Failure launch(const Approved& approved, sys::UniqueFd& passed);
  void observe(OnEvent event, OnRefused refused, OnGone gone);

  const plan::JobState& state() const { return state_; }
  plan::View plan() const { return plan_.view(); }
  int plan_fd() const { return plan_.borrow(); }
  // At its end: nothing asks for plan() after that.
  sys::UniqueFd take_plan() { return plan_.take(); }
  // Its end has not been told; the process that it was may be gone.
  bool running() const { return state_.phase != plan::JobPhase::ended; }
  bool alive() const { return running() && !finishing_; }
  pid_t init() const { return init_; }
  // Its end was told, but the kernel keeps its init: it is not `gone`.
  bool held() const { return held_; }
  // The one that approved it.
  const std::shared_ptr<const Rule>& rule() const { return rule_; }
  // The phase before the event that is being announced.
  plan::JobPhase announced() const { return before_; }
  std::chrono::seconds ended_boottime() const { return ended_boottime_; }
  void timed(uint64_t authorise_us, uint64_t slot_us);

  // False when the payload is not there to be signalled (any more, or yet), or
  // too many signals wait for init already.
  bool signal(int signal, plan::Scope scope, uid_t by);
  // stop_signal, then SIGKILL after `timeout`; SIGKILL at once before start.
  void stop(plan::Cause cause, uid_t by, std::chrono::milliseconds timeout);
  void kill(plan::Cause cause, uid_t by);

 private:
  void read_reports();
  void on_report(const plan::Report& report, const plan::Fact* facts, pid_t sender,
                 sys::UniqueFd passed);
  void on_mapped(const plan::Failure& failure);
  void on_facts(const plan::Fact* facts, uint32_t count);
  void on_deadline();
  void watch_init();
  // escalation.cpp: where init does not do its part
  void kill_init();
  void watch_init_again();
  void on_payload_ended();
  bool awaits_payload();
  void lose_patience_in_a_moment();
  void lose_patience();
  bool leftovers_live() const;
  bool kernel_tells_end();
  bool outbound() const;
  plan::Failure start_network(pid_t user_namespace_of);  // 0: as root, in one of its own
  void on_network_gone(const plan::Failure& why);
  void finish();
  bool all_gone();
  void finish_or_reclaim();
  void reclaim();
  bool send(plan::CommandKind kind, int signal = 0, plan::Scope scope = plan::Scope::main);
  void proceed();
  void announce(plan::JobPhase phase);
  bool ending() const { return acts_.intent != plan::Cause::payload; }  // by our own hand
  void note_sent(int signal, uid_t by);

  Workshop& shop_;
  Peer owner_;
  std::shared_ptr<const Rule> rule_;
  MappedPlan plan_;
  plan::JobState state_{};
  IdMaps maps_;  // of the first user namespace that init reports
  Leases::Held lease_;
  bool setgroups_denied_ = false;
  boost::asio::posix::stream_descriptor control_, end_;  // socket and pidfd of init
  boost::asio::steady_timer deadline_, patience_;
  Payload payload_;
  sys::UniqueFd record_;
  Leaves leaves_;
  std::shared_ptr<NetworkProcess> network_;  // of an outbound job, until it is reaped
  plan::Order order_{};
  sys::UniqueFd scratch_;  // the lock of what it has on disk, until that is removed
  IdMaps scratch_ids_;     // whose files may be there
  pid_t init_ = 0;
  uint32_t facts_seen_ = 0;
  int reclaims_ = 0;  // tries to remove the cgroup
  Reaped init_end_{};
  bool finishing_ = false;  // the payload has ended, not yet all that is to be gone with it
  bool removing_ = false, network_lost_ = false;
  bool init_killed_ = false, held_ = false;
  Acts acts_;
  uid_t stopped_by_ = 0;  // who asked for the stop that the deadline is of
  plan::Failure failure_{};
  int64_t real_minus_boot_ns_ = 0;
  std::chrono::seconds ended_boottime_{};
  plan::JobPhase before_ = plan::JobPhase::preparing;
  OnEvent on_event_;
  OnRefused on_refused_;
  OnGone on_gone_;
};

}  // namespace cloister::monitor
