// From an Approved to an init that has its Order.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "life/job.hpp"
#include "plan/namespaces.hpp"
#include "sys/rights.hpp"

namespace cloister::monitor {
namespace {

// /proc/PID/stat: "pid (name) state ppid ..."; the name may hold anything.
bool is_child_of(int process, pid_t parent) {
  const sys::UniqueFd stat(::openat(process, "stat", O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t size = stat ? ::read(stat.borrow(), text, sizeof text - 1) : -1;
  if (size <= 0) return false;
  text[size] = 0;
  const char* after = std::strrchr(text, ')');
  return after && std::strlen(after) > 4 && std::atoi(after + 4) == parent;
}

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
  const sys::UniqueFd process(
      ::open(("/proc/" + std::to_string(pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!process) return {};
  if (of_payload && !is_child_of(process.borrow(), join.of.init)) {
    errno = ESRCH;
    return {};
  }
  // What children get is what a joined job's payload has.
  const std::string file = std::string("ns/") + describe(join.which).for_children;
  return sys::UniqueFd(::openat(process.borrow(), file.c_str(), O_RDONLY | O_CLOEXEC));
}

static_assert(plan::kMaxOrderFds <= sys::kMaxRights);

}  // namespace

plan::Failure Job::launch(const Approved& approved, sys::UniqueFd& passed) {
  const auto failed = [](plan::Step step) { return plan::Failure{step, plan::kNone, errno, 0}; };
  plan::Order& order = order_;
  order = approved.order();
  rule_ = approved.rule();
  const IdDecision& ids = approved.ids();
  lease_ = ids.lease;
  const bool born_mapped = !ids.birth.uids.empty();
  maps_ = born_mapped ? ids.birth : ids.job;
  setgroups_denied_ = ids.fixed_groups;
  order.uid_lines = static_cast<uint32_t>(ids.job.uids.size());
  order.gid_lines = static_cast<uint32_t>(ids.job.gids.size());
  order.client_uid_lines = static_cast<uint32_t>(ids.client.uids.size());
  order.client_gid_lines = static_cast<uint32_t>(ids.client.gids.size());

  // What the init has not had since its birth, for the numbers from kPlanFd on
  // that are free: the plan, then the namespaces of other jobs as in join_of.
  sys::Rights descriptors = {plan_.borrow()};
  std::vector<sys::UniqueFd> joins;
  for (const Approved::JobJoin& join : approved.job_joins()) {
    joins.push_back(open_namespace(join));
    if (!joins.back()) return failed(plan::Step::join);
    order.join_of[order.join_count++] = static_cast<uint32_t>(join.which);
    descriptors.add(joins.back().borrow());
  }

  Birth birth{.namespaces = approved.clone_flags(),
              .ambient = (order.flags & plan::kFreshUser) != 0};
  // What acts for the client is in the client's groups.
  birth.set_groups =
      (ids.fixed_groups || order.client_uid_lines > 0) && shop_.mode == plan::Mode::system;
  birth.groups = owner_.groups;
  if (plan()->caller_cgroup) birth.caller_cgroups = &approved.caller_cgroups();
  Slot slot;
  if (const plan::Failure failure = shop_.slots.take(birth, slot); failure.error) return failure;
  std::copy(slot.job.begin(), slot.job.end(), state_.job);
  std::copy(slot.job.begin(), slot.job.end(), order.job);
  leaves_ = std::move(slot.leaves);
  record_ = std::move(slot.record);
  passed = std::move(slot.passed);
  // From here a process is ours, and its end is seen on the pidfd.
  init_ = slot.init.pid;
  end_.assign(slot.init.pidfd.take());
  control_.assign(slot.control.take());
  watch_init();
  const auto give_up = [&](plan::Step step) {
    failure_ = failed(step);
    kill(plan::Cause::setup, 0);  // the verdict says so
    return plan::Failure{};
  };

  if (leaves_.kill) {
    order.flags |= plan::kPayloadCgroup | plan::kCgroupKill;
    // clone3(2) into a cgroup asks for the rights of the one who clones, and in
    // a user namespace init has none here; a write asks for those of the one who
    // opened the file, cgroups(7).
    const plan::Join user = plan()->namespaces[static_cast<uint32_t>(plan::Namespace::user)].join;
    const bool in_user_namespace =
        (user != plan::Join::host && user != plan::Join::fresh) || (order.flags & plan::kFreshUser);
    if (in_user_namespace && !leaves_.tasks) {
      leaves_.tasks.reset(::openat(leaves_.payload.borrow(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
      if (!leaves_.tasks) return give_up(plan::Step::cgroup);
    }
  }
  if (leaves_.tasks) {
    ++order.tasks_count;
    descriptors.add(leaves_.tasks.borrow());
  }
  for (const sys::UniqueFd& tasks : leaves_.hierarchies) {
    ++order.tasks_count;
    descriptors.add(tasks.borrow());
  }
  if (plan::needs_disk(plan())) {
    failure_ = shop_.scratch.make(slot.job, scratch_);
    if (failure_.error) {
      kill(plan::Cause::setup, 0);
      return {};
    }
    scratch_ids_ = born_mapped ? ids.birth : IdMaps{};
    order.flags |= plan::kScratch;
    descriptors.add(scratch_.borrow());
  }
  std::string message(reinterpret_cast<const char*>(&order), sizeof order);
  for (const auto* map : {&ids.job.uids, &ids.job.gids, &ids.client.uids, &ids.client.gids})
    message.append(reinterpret_cast<const char*>(map->data()), map->size() * sizeof(plan::IdMap));
  if (!sys::send_rights(control_.native_handle(), message.data(), message.size(), descriptors))
    return give_up(plan::Step::clone);
  if (outbound() && !(order.flags & plan::kFreshUser))
    if (failure_ = start_network(0); failure_.error) {
      kill(plan::Cause::setup, 0);
      return {};
    }
  plan_.rest();
  read_reports();
  deadline_.expires_after(std::chrono::milliseconds(plan()->setup_timeout_ms));
  on_deadline();
  return {};
}

}  // namespace cloister::monitor
