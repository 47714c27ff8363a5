// Job: one sandbox, from the clone of its init to its record.
//
// Owned by Jobs. Everything it does to a process goes through its init's
// control socket or a pidfd; everything it says about an ending comes from the
// record that init wrote, or from the kernel, or is `lost`. What can happen to it
// when is the table of states.hpp. The parts of its life, in their order: launch.cpp,
// outbound.cpp, job.cpp, limits.cpp, escalation.cpp, ending.cpp.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>

#include "decide/authorise.hpp"
#include "host/cgroup.hpp"
#include "host/child_watch.hpp"
#include "host/network_process.hpp"
#include "host/relay.hpp"
#include "host/scratch.hpp"
#include "life/cause.hpp"
#include "life/mapped_plan.hpp"
#include "life/slots.hpp"
#include "life/states.hpp"
#include "plan/messages.hpp"
#include "sys/landlock.hpp"
#include "sys/rights.hpp"

namespace cloister::monitor {

// What every job needs of the monitor.
struct Workshop {
  boost::asio::io_context& io;
  Cgroups& cgroups;
  Slots& slots;
  plan::Mode mode;
  const Image& init;
  const Image& network;   // cloister-network
  int relay;              // cloister-relay, borrowed
  int pasta;              // borrowed; -1: there is none
  plan::Reason no_pasta;  // why
  Leases& leases;
  Scratch& scratch;
  const Surroundings& surroundings;
  int landlock_abi = sys::landlock_abi();
};

class Job : public std::enable_shared_from_this<Job> {
 public:
  // state().event says what; `before` is the phase until then.
  using OnEvent = std::function<void(Job&, plan::JobPhase before)>;
  using OnRefused = std::function<void(Job&, const plan::Refusal&)>;  // a descriptor was denied
  using OnGone = std::function<void(Job&)>;  // init is reaped, nothing is left

  Job(Workshop& shop, const Peer& owner, MappedPlan plan, uint64_t serial);

  // On failure no process came to be: the step and errno are in the result, and
  // nothing is left behind. From then on a failure is an end of the job, and its
  // verdict says so. `passed` receives the front's end of the channel to init.
  plan::Failure launch(const Approved& approved, sys::UniqueFd& passed);
  void observe(OnEvent event, OnRefused refused, OnGone gone);

  const plan::JobState& state() const { return state_; }
  plan::View plan() const { return plan_.view(); }
  int plan_fd() const { return plan_.borrow(); }
  // What is captured of a stream, to be read; empty: nothing is.
  sys::UniqueFd open_output(uint32_t stream) const {
    return relay_ ? open_to_read(relay_->output(stream)) : sys::UniqueFd();
  }
  // At its end: nothing asks for plan() or open_output() after that.
  sys::UniqueFd take_plan() { return plan_.take(); }
  Outputs take_outputs() { return relay_ ? relay_->take_outputs() : Outputs(); }
  // Its end has not been told; the process that it was may be gone.
  bool running() const { return is_running(life_); }
  bool alive() const { return is_alive(life_); }
  pid_t init() const { return init_; }
  // Its end was told, but the kernel keeps its init: it is not `gone`.
  bool held() const { return life_ == State::held; }
  // What of it has to go next; nothing: it is gone.
  std::optional<Part> left() const { return parts_.first(); }
  // The one that approved it.
  const std::shared_ptr<const Rule>& rule() const { return rule_; }
  std::chrono::seconds ended_boottime() const { return ended_boottime_; }
  void timed(uint64_t authorise_us, uint64_t slot_us);

  // False when the payload is not there to be signalled (any more, or yet), or
  // too many signals wait for init already.
  bool signal(int signal, plan::Scope scope, uid_t by);
  // stop_signal, then SIGKILL after `timeout`; SIGKILL at once before start.
  void stop(plan::Cause cause, uid_t by, std::chrono::milliseconds timeout);
  void kill(plan::Cause cause, uid_t by);

 private:
  // False, when it had no row: that is a defect, and the job ends as `lost`.
  bool take(Event event);
  void announce(plan::JobPhase phase);

  // launch.cpp
  plan::Failure be_born(const Approved& approved, sys::UniqueFd& passed);
  plan::Failure equip(const IdDecision& ids, sys::Rights& descriptors);
  plan::Failure add_cgroups(sys::Rights& descriptors);
  plan::Failure start_relay(sys::Rights& descriptors, Outputs& pipes);
  void on_relay_gone();
  void fail(const plan::Failure& failure);
  void on_deadline();

  // outbound.cpp
  bool outbound() const;
  plan::Failure start_network(pid_t user_namespace_of);  // 0: as root, in one of its own
  void on_network_gone(const plan::Failure& why);
  // What the job cannot do without has ended.
  void on_helper_gone(Part part, Event event, const plan::Failure& why);

  // what init says, and what is said to it
  void read_reports();
  bool read_report();
  void on_report(const plan::Report& report, const plan::Fact* facts, pid_t sender,
                 sys::UniqueFd passed);
  void on_change(Event event);
  void on_mapped(const plan::Failure& failure);
  void on_facts(const plan::Fact* facts, uint32_t count);
  bool send(plan::CommandKind kind, int signal = 0, plan::Scope scope = plan::Scope::main);
  void proceed();
  void kill_payload();
  bool ending() const { return acts_.intent != plan::Cause::payload; }  // by our own hand
  void note_sent(int signal, uid_t by);
  void intend(plan::Cause cause);  // the first holds

  // limits.cpp
  void watch_memory();
  void count_shortages();
  void await_kill(int looks);
  void watch_limits();
  void watch_cpu_time(uint64_t before);
  void reach(plan::Cause cause);
  void on_limit(plan::Cause cause);
  void count_up();
  std::optional<uint32_t> stream_past_limit() const;
  plan::LimitHit limit_reached(plan::Cause cause, const plan::LimitHit& by_rlimit) const;

  // escalation.cpp: where init does not do its part
  void kill_init();
  void on_payload_ended();
  void lose_patience_in_a_moment();
  void lose_patience();
  bool leftovers_live() const;
  bool kernel_tells_end();

  // ending.cpp
  void on_init_ended(const Reaped& end);
  void finish(Event event);
  void give_back();
  void given_back(Part part);
  void read_record();
  void tell_end();
  void watch_no_more();
  void reclaim();

  Workshop& shop_;
  Peer owner_;
  std::shared_ptr<const Rule> rule_;
  MappedPlan plan_;
  State life_ = State::preparing;
  Parts parts_;
  plan::JobState state_{};  // as it is told to others
  IdMaps maps_;             // of the first user namespace that init reports
  Leases::Held lease_;
  bool setgroups_denied_ = false;
  boost::asio::posix::stream_descriptor control_;  // socket to init
  boost::asio::posix::stream_descriptor oom_;      // Leaves::oom_event
  boost::asio::steady_timer deadline_, patience_, wall_time_, cpu_time_, memory_;
  ChildWatch init_watch_;
  // The second source, for when init cannot: whoever has init's ids can stop,
  // starve or kill it.
  ChildWatch payload_watch_;
  sys::UniqueFd record_;
  Leaves leaves_;
  std::shared_ptr<NetworkProcess> network_;  // of an outbound job, until it is reaped
  std::shared_ptr<Relay> relay_;             // where output is captured
  plan::Order order_{};
  sys::UniqueFd scratch_;  // the lock of what it has on disk, until that is removed
  IdMaps scratch_ids_;     // whose files may be there
  pid_t init_ = 0;
  int32_t payload_ = 0;  // in init's pid namespace
  uint32_t facts_seen_ = 0;
  std::chrono::milliseconds cpu_pause_{0};
  plan::Cause early_limit_ = plan::Cause::payload;  // the limit that was reached before the start
  int reclaims_ = 0;                                // tries to remove the cgroup
  Reaped init_end_{};
  bool init_killed_ = false;  // by us
  bool helper_lost_ = false;  // network or relay, while the payload ran: it is ended for it
  bool defective_ = false;    // see take()
  Acts acts_;
  uid_t stopped_by_ = 0;  // who asked for the stop that the deadline is of
  plan::Failure failure_{};
  int64_t real_minus_boot_ns_ = 0;
  std::chrono::seconds ended_boottime_{};
  OnEvent on_event_;
  OnRefused on_refused_;
  OnGone on_gone_;
};

}  // namespace cloister::monitor
