// cloister-init: from the clone to the exit record of one job.
//
// Started by the monitor with the descriptors of lib/plan/order.hpp and full
// power; the only code of ours between the clone and the payload. `launch`
// below is the whole path. Every verb succeeds or leaves by `fail`.
#include "verbs.hpp"

namespace cloister::init {
namespace {

Job the_job;

[[noreturn]] void launch(Job& job) {
  begin(job);
  receive_order(job);
  if (job.has(plan::kAhead)) {
    make_namespaces_ahead(job);
    receive_order(job);
  }
  // Held from here, because the sandbox may have another /proc or none.
  hold_proc(job);
  read_plan(job);
  keep_or_leave_namespaces(job);
  receive_descriptors(job);
  open_namespaces_of_processes(job);
  report_facts(job);
  enter_fresh_user(job);
  take_login_uid(job);
  join_namespaces(job);
  make_pid_namespace(job);
  make_domain(job);
  clone_sources(job);
  attach_mounts(job);
  enter_outbound_network(job);
  if (!job.inside_is_for_payload()) make_inside(job);
  job.record.forked_at_ns = boottime_ns();
  fork_payload(job);
  await_exec(job);
  job.record.started_at_ns = boottime_ns();
  announce_start(job);
  reap_until_ended(job);
  finish(job);
}

}  // namespace

extern "C" [[noreturn]] void cloister_main() {
  the_job.answer_listener = answer_violation;
  launch(the_job);
}

}  // namespace cloister::init
