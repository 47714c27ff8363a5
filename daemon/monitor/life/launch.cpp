// From an Approved to an init that has its Order.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "host/process_stat.hpp"
#include "life/job.hpp"
#include "plan/namespaces.hpp"

namespace cloister::monitor {
namespace {

// Only the payload is in its cgroup namespace and in all that belongs to a user
// namespace of the job's own, and its pid may be another's by now. A directory of
// /proc stays the process's it was opened for.
sys::UniqueFd open_namespace(const Approved::JobJoin& join) {
  using plan::Namespace;
  const bool own_user = join.of.fresh >> static_cast<uint32_t>(Namespace::user) & 1;
  const bool of_payload =
      join.which == Namespace::cgroup ||
      (own_user && join.which != Namespace::mnt && join.which != Namespace::pid);
  const pid_t pid = of_payload ? join.of.payload : join.of.init;
  const sys::UniqueFd process = open_process(pid);
  if (!process) return {};
  if (of_payload) {
    const std::optional<ProcessStat> stat = stat_of(process.borrow());
    if (!stat || stat->parent != join.of.init) {
      errno = ESRCH;
      return {};
    }
  }
  // What children get is what a joined job's payload has.
  const std::string file = std::string("ns/") + describe(join.which).for_children;
  return sys::UniqueFd(::openat(process.borrow(), file.c_str(), O_RDONLY | O_CLOEXEC));
}

plan::Failure failed(plan::Step step) { return {step, plan::kNone, errno, 0}; }

static_assert(plan::kMaxOrderFds <= sys::kMaxRights);

}  // namespace

plan::Failure Job::launch(const Approved& approved, sys::UniqueFd& passed) {
  // What the init has not had since its birth, for the numbers from kPlanFd on
  // that are free: the plan, the namespaces of other jobs as in join_of, and what
  // equip() adds.
  sys::Rights descriptors = {plan_.borrow()};
  std::vector<sys::UniqueFd> joins;
  order_ = approved.order();
  for (const Approved::JobJoin& join : approved.job_joins()) {
    joins.push_back(open_namespace(join));
    if (!joins.back()) return failed(plan::Step::join);
    order_.join_of[order_.join_count++] = static_cast<uint32_t>(join.which);
    descriptors.add(joins.back().borrow());
  }
  if (const plan::Failure unborn = be_born(approved, passed); unborn.error) return unborn;
  // From here a process is ours, and its end is seen on the pidfd.
  if (const plan::Failure failure = equip(approved.ids(), descriptors); failure.error) {
    fail(failure);
    return {};
  }
  plan_.rest();
  read_reports();
  watch_memory();
  deadline_.expires_after(std::chrono::milliseconds(plan()->setup_timeout_ms));
  on_deadline();
  return {};
}

// The one door out of a launch once there is a process: whatever has failed, the
// job ends, and its verdict says where.
void Job::fail(const plan::Failure& failure) {
  if (!alive()) return;
  failure_ = failure;
  kill(plan::Cause::setup, 0);
}

plan::Failure Job::be_born(const Approved& approved, sys::UniqueFd& passed) {
  const IdDecision& ids = approved.ids();
  rule_ = approved.rule();
  lease_ = ids.lease;
  maps_ = ids.birth.uids.empty() ? ids.job : ids.birth;
  setgroups_denied_ = ids.fixed_groups;
  Birth birth{.namespaces = approved.clone_flags(),
              .ambient = (order_.flags & plan::kFreshUser) != 0};
  // What acts for the client is in the client's groups.
  birth.set_groups =
      (ids.fixed_groups || !ids.client.uids.empty()) && shop_.mode == plan::Mode::system;
  birth.groups = owner_.groups;
  if (plan()->caller_cgroup) birth.caller_cgroups = &approved.caller_cgroups();
  Slot slot;
  if (const plan::Failure failure = shop_.slots.take(birth, slot); failure.error) return failure;
  std::copy(slot.job.begin(), slot.job.end(), state_.job);
  std::copy(slot.job.begin(), slot.job.end(), order_.job);
  leaves_ = std::move(slot.leaves);
  record_ = std::move(slot.record);
  passed = std::move(slot.passed);
  control_.assign(slot.control.take());
  init_ = slot.init.pid;
  parts_.add(Part::init);
  if (leaves_) parts_.add(Part::leaves);
  init_watch_.of_child(std::move(slot.init), [self = shared_from_this()](const Reaped& end) {
    self->on_init_ended(end);
  });
  return {};
}

// Its Order, with all that it needs for it.
plan::Failure Job::equip(const IdDecision& ids, sys::Rights& descriptors) {
  if (const plan::Failure failure = add_cgroups(descriptors); failure.error) return failure;
  if (plan::needs_disk(plan())) {
    const plan::Failure failure = shop_.scratch.make(std::to_array(state_.job), scratch_);
    if (failure.error) return failure;
    parts_.add(Part::scratch);
    scratch_ids_ = ids.birth;
    order_.flags |= plan::kScratch;
    descriptors.add(scratch_.borrow());
  }
  Outputs pipes;
  if (plan()->captures(STDOUT_FILENO) || plan()->captures(STDERR_FILENO))
    if (const plan::Failure failure = start_relay(descriptors, pipes); failure.error)
      return failure;
  order_.uid_lines = static_cast<uint32_t>(ids.job.uids.size());
  order_.gid_lines = static_cast<uint32_t>(ids.job.gids.size());
  order_.client_uid_lines = static_cast<uint32_t>(ids.client.uids.size());
  order_.client_gid_lines = static_cast<uint32_t>(ids.client.gids.size());
  std::string message(reinterpret_cast<const char*>(&order_), sizeof order_);
  for (const auto* map : {&ids.job.uids, &ids.job.gids, &ids.client.uids, &ids.client.gids})
    message.append(reinterpret_cast<const char*>(map->data()), map->size() * sizeof(plan::IdMap));
  if (!sys::send_rights(control_.native_handle(), message.data(), message.size(), descriptors))
    return failed(plan::Step::clone);
  if (outbound() && !(order_.flags & plan::kFreshUser)) return start_network(0);
  return {};
}

// What the job writes to goes to init with its Order.
plan::Failure Job::start_relay(sys::Rights& descriptors, Outputs& pipes) {
  // What is called while the Job goes would be called on nothing.
  const std::weak_ptr<Job> weak = weak_from_this();
  relay_ = std::make_shared<Relay>(
      shop_.io,
      [weak] {
        if (const auto self = weak.lock()) self->on_limit(plan::Cause::output);
      },
      [weak] {
        if (const auto self = weak.lock()) self->on_relay_gone();
      });
  if (!relay_->start(shop_.relay, leaves_.init.borrow(), plan()->capture, shop_.scratch, pipes)) {
    const plan::Failure failure = failed(plan::Step::capture);
    relay_.reset();
    return failure;
  }
  parts_.add(Part::relay);
  for (const sys::UniqueFd& pipe : pipes)
    if (pipe) descriptors.add(pipe.borrow());
  return {};
}

void Job::on_relay_gone() {
  for (uint32_t i = 0; i < plan::kCaptured; ++i) state_.output[i] = relay_->state(i);
  // Who writes to a pipe that nobody reads gets a SIGPIPE, which is not its fault.
  on_helper_gone(Part::relay, Event::relay_ended, {plan::Step::capture, plan::kNone, EPIPE, 0});
}

plan::Failure Job::add_cgroups(sys::Rights& descriptors) {
  if (plan()->limits.cpu_time_ms > 0 && (!leaves_.kill || !leaves_.below_caller.empty()))
    return {plan::Step::cgroup, plan::kNone, EOPNOTSUPP, 0};
  if (plan()->limits.in_cgroups() && !shop_.cgroups.limit(leaves_, plan()->limits))
    return failed(plan::Step::cgroup);
  if (leaves_.kill) {
    order_.flags |= plan::kPayloadCgroup | plan::kCgroupKill;
    // clone3(2) into a cgroup asks for the rights of the one who clones, and in
    // a user namespace init has none here; a write asks for those of the one who
    // opened the file, cgroups(7).
    const plan::Join user = plan()->namespaces[static_cast<uint32_t>(plan::Namespace::user)].join;
    const bool in_user_namespace = (user != plan::Join::host && user != plan::Join::fresh) ||
                                   (order_.flags & plan::kFreshUser);
    if (in_user_namespace && !leaves_.tasks) {
      leaves_.tasks.reset(::openat(leaves_.payload.borrow(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
      if (!leaves_.tasks) return failed(plan::Step::cgroup);
    }
  }
  if (leaves_.tasks) {
    if (leaves_.kill) order_.flags |= plan::kEntersLeaf;
    ++order_.tasks_count;
    descriptors.add(leaves_.tasks.borrow());
  }
  for (const sys::UniqueFd& tasks : leaves_.hierarchies) {
    ++order_.tasks_count;
    descriptors.add(tasks.borrow());
  }
  return {};
}

}  // namespace cloister::monitor
