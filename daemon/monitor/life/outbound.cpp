// The network process of a job with an outbound network.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <vector>

#include "life/job.hpp"
#include "sys/root.hpp"

namespace cloister::monitor {

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
  NetworkProcess::Recipe recipe{
      .program = shop_.network, .pasta = shop_.pasta, .plan = plan_.borrow()};
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
  if (failure.error)
    network_.reset();
  else
    parts_.add(Part::network);
  return failure;
}

void Job::on_network_gone(const plan::Failure& why) {
  network_.reset();
  on_helper_gone(Part::network, Event::network_ended, why);
}

void Job::on_helper_gone(Part part, Event event, const plan::Failure& why) {
  parts_.gone(part);
  if (!take(event)) return;
  if (life_ == State::finishing) return give_back();
  if (life_ == State::preparing) return fail(why);
  // A payload that has ended by itself meanwhile keeps its ending: see tell_end().
  failure_ = why;
  helper_lost_ = true;
  note_sent(SIGKILL, 0);
  kill_payload();
}

}  // namespace cloister::monitor
