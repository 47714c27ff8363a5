// From here: the payload's process. The order is the kernel's: what needs
// power first, then the ids, then what must happen with the payload's rights.
#include <asm/errno.h>
#include <linux/prctl.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

// Set after the last change of ids, which clears it, prctl(2). A parent that
// died before that sends nothing any more; from another pid namespace than its
// own it is seen as 0, getppid(2).
void die_with_parent(Job& job, int32_t parent) {
  must(job, Step::parent_death, call(Call::prctl, PR_SET_PDEATHSIG, kSigKill));
  const long now = call(Call::getppid);
  if (now != parent && !(now == 0 && job.joined(Namespace::pid)))
    fail(job, Step::parent_death, ESRCH);
}

void enter_cwd(Job& job) {
  const plan::Header& h = job.header();
  if (h.cwd_descriptor != kNone) {
    must(job, Step::cwd, call(Call::fchdir, job.descriptors[h.cwd_descriptor]));
    if (h.cwd.length == 0) return;
  }
  must(job, Step::cwd, call(Call::chdir, h.cwd.length ? job.plan().c_str(h.cwd) : "/"));
}

void forbid_new_privileges(Job& job) {
  if (!(job.header().flags & plan::kNoNewPrivs) && !job.has(plan::kForceNoNewPrivs)) return;
  must(job, Step::no_new_privs, call(Call::prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

}  // namespace

void become_payload(Job& job, int32_t parent) {
  job.in_payload = true;
  // The monitor learns our pid from the kernel's credentials on this message.
  report(job, plan::ReportKind::forked);
  enter_v1_cgroups(job);
  if (job.inside_is_for_payload()) {
    make_user_namespace(job);
    make_inside(job);
  }
  make_cgroup_namespace(job);
  join_time_namespace(job);
  set_session(job);
  set_scheduling(job);
  set_process_attributes(job);
  drop_groups_and_ids(job);
  die_with_parent(job, parent);
  hide_descriptors(job);
  enter_cwd(job);
  must(job, Step::umask, call(Call::umask, job.header().umask));
  perform_actions(job);
  prepare_landlock(job);
  stand_by_for_listener(job);
  set_limits(job);
  set_capabilities(job);
  forbid_new_privileges(job);
  enter_landlock(job);
  reset_signals(job);
  execute(job);
}

}  // namespace cloister::init
