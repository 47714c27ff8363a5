// The steps of the payload's process, from its fork to its exec.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

#include "init_steps.hpp"

namespace cloister::test {

using plan::kNone;
using plan::Namespace;
using plan::Op;
using plan::Step;

namespace {

void filtered(Driver& job, const std::vector<plan::Instruction>& program, uint32_t flags = 0) {
  job.plan->seccomp = job.plan.span(program);
  job.plan->seccomp_flags = flags;
  job.plan->flags |= plan::kNoNewPrivs;
}

}  // namespace

std::vector<Case> cases_of_payload() {
  return {
      {Step::fork, EAGAIN, kNone, "no more processes",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(clone3), EAGAIN); }},
      {Step::payload_cgroup, EBADF, 0, "a tasks file that cannot be written",
       [](Driver& job) {
         job.joins = {hold(::open("/dev/null", O_RDONLY | O_CLOEXEC))};
         job.order.tasks_count = 1;
       }},
      {Step::cgroup_namespace, ENOSPC, kNone, "no more cgroup namespaces",
       [](Driver& job) { unshare_fails(job, Namespace::cgroup, CLONE_NEWCGROUP); }},
      {Step::unshare, EINVAL, kNone, "a flag that unshare does not know",
       [](Driver& job) { job.plan->unshare = 1; }},
      {Step::unshare, EINVAL, kNone, "a namespace by the way",
       [](Driver& job) { job.plan->unshare = CLONE_NEWNS; }},
      {Step::setpgroup, EPERM, kNone, "a group of another session",
       [](Driver& job) {
         job.plan->flags |= plan::kSetpgroup;
         job.plan->setpgroup = 1;
       }},
      {Step::controlling_terminal, ENOTTY, kNone, "a terminal that is none",
       [](Driver& job) {
         job.receive(hold(::open("/dev/null", O_RDWR | O_CLOEXEC)), 0);
         job.plan->flags |= plan::kSetsid;
         job.plan->controlling_fd = 0;
       }},
      {Step::affinity, EINVAL, kNone, "processors that are not there",
       [](Driver& job) { job.plan->affinity[plan::kCpuBytes - 1] = 0x80; }},
      {Step::nice, EACCES, kNone, "setpriority",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(setpriority), EACCES); }},
      {Step::scheduler, EINVAL, kNone, "a policy that the kernel does not know",
       [](Driver& job) { job.plan->scheduler = {plan::kHasPolicy, 77, 0, 0, 0, 0, 0}; }},
      {Step::ioprio, EINVAL, kNone, "a class that the kernel does not know",
       [](Driver& job) { job.plan->ioprio = 7 << 13; }},
      {Step::oom_score_adj, EACCES, kNone, "the file in /proc",
       [](Driver& job) {
         job.before_exec =
             answer(SCMP_SYS(openat), EACCES, {SCMP_A2_64(SCMP_CMP_EQ, O_WRONLY | O_CLOEXEC)});
       }},
      {Step::personality, EINVAL, kNone, "personality",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(personality), EINVAL); }},
      {Step::timer_slack, EPERM, kNone, "PR_SET_TIMERSLACK",
       [](Driver& job) {
         job.before_exec = answer(SCMP_SYS(prctl), EPERM, first_is(PR_SET_TIMERSLACK));
       }},
      {Step::keyring, EDQUOT, kNone, "no more keys",
       [](Driver& job) {
         job.plan->flags |= plan::kNewKeyring;
         job.before_exec = answer(SCMP_SYS(keyctl), EDQUOT);
       }},
      {Step::setgroups, ENOMEM, kNone, "setgroups",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(setgroups), ENOMEM); }},
      {Step::setresgid, EINVAL, kNone, "a gid without a mapping",
       [](Driver& job) {
         job.fresh(Namespace::user);
         job.uid_map = job.gid_map = {{0, 100000, 10}};
         job.plan->identity.rgid = 10;
       }},
      {Step::setresuid, EAGAIN, kNone, "setresuid",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(setresuid), EAGAIN, first_is(0)); }},
      {Step::resetids, EPERM, kNone, "the second setresgid",
       [](Driver& job) {
         job.plan->flags |= plan::kResetIds;
         job.before_exec =
             answer(SCMP_SYS(setresgid), EPERM, {SCMP_A0_64(SCMP_CMP_EQ, UINT64_MAX)});
       }},
      {Step::verify_ids, EPERM, kNone, "a setresuid that lies",
       [](Driver& job) {
         job.plan->identity = {1000, 1000, 1000, 1000, 1000, 1000, {}, 0, 0};
         job.before_exec = answer(SCMP_SYS(setresuid), 0);
       }},
      {Step::verify_ids, EPERM, kNone, "a setgroups that lies",
       [](Driver& job) {
         job.groups = {5};
         job.before_exec = answer(SCMP_SYS(setgroups), 0);
       }},
      {Step::parent_death, EINVAL, kNone, "PR_SET_PDEATHSIG",
       [](Driver& job) {
         // Init's own is another signal.
         job.before_exec = answer(SCMP_SYS(prctl), EINVAL,
                                  {SCMP_A0_64(SCMP_CMP_EQ, uint64_t{PR_SET_PDEATHSIG}),
                                   SCMP_A1_64(SCMP_CMP_EQ, uint64_t{SIGKILL})});
       }},
      {Step::parent_death, ESRCH, kNone, "a parent that is another",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(getppid), 0); }},
      {Step::cwd, ENOENT, kNone, "a directory that is not there",
       [](Driver& job) { job.plan->cwd = job.plan.text("/nonexistent"); }},
      {Step::umask, EIO, kNone, "umask",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(umask), EIO); }},
      {Step::file_action, ENOENT, 1, "a file that is not there",
       [](Driver& job) {
         job.act(Op::close, 5);
         job.act(Op::open, 5, 0, "/nonexistent").flags = O_RDONLY;
       }},
      {Step::file_action, EBADF, 0, "a number past the limit",
       [](Driver& job) { job.act(Op::dup2, 0, plan::kMaxFd); }},
      {Step::pty, EIO, 0, "no terminal to be had",
       [](Driver& job) {
         job.plan->flags |= plan::kPty;
         job.act(Op::pty, 0);
         job.before_exec = answer(SCMP_SYS(ioctl), EIO, {SCMP_A1_64(SCMP_CMP_EQ, TIOCSPTLCK)});
       }},
      {Step::pty, EIO, 0, "a terminal that does not become the controlling one",
       [](Driver& job) {
         job.plan->flags |= plan::kPty;
         job.act(Op::pty, 0);
         job.before_exec = answer(SCMP_SYS(ioctl), EIO, {SCMP_A1_64(SCMP_CMP_EQ, TIOCSCTTY)});
       }},
      {Step::rlimit, EPERM, RLIMIT_NOFILE, "more descriptors than the kernel has",
       [](Driver& job) {
         job.plan->rlimits[RLIMIT_NOFILE] = {UINT64_MAX, UINT64_MAX, 1, 0};
       }},
      {Step::capabilities, EPERM, 3, "the bounding set",
       [](Driver& job) {
         job.before_exec =
             answer(SCMP_SYS(prctl), EPERM,
                    {SCMP_A0_64(SCMP_CMP_EQ, PR_CAPBSET_DROP), SCMP_A1_64(SCMP_CMP_EQ, 3)});
       }},
      {Step::capabilities, EPERM, kNone, "a capability that nobody has",
       [](Driver& job) { job.order.capabilities.permitted = uint64_t{1} << 62; }},
      {Step::capabilities, EPERM, CAP_SYS_RESOURCE, "a bounding set with more than there is",
       [](Driver& job) {
         job.plan->capabilities.set = 1;
         job.order.capabilities.bounding = uint64_t{1} << CAP_SYS_RESOURCE;
         job.before_exec = answer(
             SCMP_SYS(prctl), 0,
             {SCMP_A0_64(SCMP_CMP_EQ, PR_CAPBSET_READ), SCMP_A1_64(SCMP_CMP_EQ, CAP_SYS_RESOURCE)});
       }},
      {Step::capabilities, EPERM, kNone, "a capset that lies",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(capset), 0); }},
      {Step::capabilities, EPERM, kNone, "capset",
       [](Driver& job) {
         // Of a payload that is uid 0 init sets its own sets, too.
         job.plan->identity = {1000, 1000, 1000, 1000, 1000, 1000, {}, 0, 0};
         job.before_exec = answer(SCMP_SYS(capset), EPERM);
       }},
      {Step::ambient, EPERM, CAP_CHOWN, "an ambient capability that is not inheritable",
       [](Driver& job) { job.order.capabilities.permitted = job.order.capabilities.ambient = 1; }},
      {Step::ambient, EPERM, CAP_CHOWN, "an ambient capability that is not raised",
       [](Driver& job) {
         plan::Capabilities& sets = job.order.capabilities;
         sets.permitted = sets.inheritable = sets.ambient = 1;
         job.before_exec = answer(SCMP_SYS(prctl), 0, first_is(PR_CAP_AMBIENT));
       }},
      {Step::securebits, EPERM, kNone, "PR_SET_SECUREBITS",
       [](Driver& job) {
         job.order.capabilities.securebits = SECBIT_NOROOT;
         job.before_exec = answer(SCMP_SYS(prctl), EPERM, first_is(PR_SET_SECUREBITS));
       }},
      {Step::securebits, EPERM, kNone, "securebits that are locked otherwise",
       [](Driver& job) {
         job.plan->capabilities.set = 1;
         job.order.capabilities.securebits = SECBIT_NO_SETUID_FIXUP;
         job.before_exec = [] {
           if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP_LOCKED) < 0) ::_exit(119);
         };
       }},
      {Step::landlock_rules, ENOSYS, kNone, "a kernel without Landlock",
       [](Driver& job) {
         job.plan->landlock.handled_fs = 1;
         job.before_exec = answer(SCMP_SYS(landlock_create_ruleset), ENOSYS);
       }},
      {Step::landlock_rules, E2BIG, kNone, "a kernel that knows less of it",
       [](Driver& job) {
         job.plan->landlock.scoped = 1;
         job.before_exec = answer(SCMP_SYS(landlock_create_ruleset), E2BIG);
       }},
      {Step::landlock_rules, ENOENT, 1, "a rule about what is not there",
       [](Driver& job) {
         job.plan->landlock.handled_fs = 15;
         job.landlock_paths = {{job.plan.text("/usr"), 15, 0}, {job.plan.text("/nowhere"), 15, 0}};
       }},
      {Step::landlock, EPERM, kNone, "Landlock without no_new_privs",
       [](Driver& job) {
         job.plan->landlock.handled_net = 1;
         job.before_exec = answer(SCMP_SYS(landlock_restrict_self), EPERM);
       }},
      {Step::loginuid, EACCES, kNone, "a login uid that is not there to be written",
       [](Driver& job) {
         job.order.flags |= plan::kSetLoginUid;
         job.before_exec =
             answer(SCMP_SYS(openat), EACCES, {SCMP_A2_64(SCMP_CMP_EQ, O_RDWR | O_CLOEXEC)});
       }},
      {Step::loginuid, EPERM, kNone, "a login uid that is not taken on",
       [](Driver& job) {
         job.order.flags |= plan::kSetLoginUid;
         job.order.login_uid = 4242;
         job.before_exec = answer(SCMP_SYS(pread64), 0);
       }},
      {Step::lsm_label, EACCES, kNone, "a label that may not be taken on",
       [](Driver& job) {
         job.order.flags |= plan::kSetLabel;
         std::strcpy(job.order.label, "exec no-such-profile");
         // oom_score_adj is written before it, with three bytes at most.
         job.before_exec = answer(SCMP_SYS(write), EACCES, {SCMP_A2_64(SCMP_CMP_EQ, 20)});
       }},
      {Step::no_new_privs, EINVAL, kNone, "PR_SET_NO_NEW_PRIVS",
       [](Driver& job) {
         job.order.flags |= plan::kForceNoNewPrivs;
         job.before_exec = answer(SCMP_SYS(prctl), EINVAL, first_is(PR_SET_NO_NEW_PRIVS));
       }},
      {Step::signals, EINVAL, 5, "a disposition",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(rt_sigaction), EINVAL, first_is(5)); }},
      {Step::seccomp, ENOSYS, 0, "a kernel that takes no baseline filter",
       [](Driver& job) {
         job.order.flags |= plan::kBaseline;
         job.before_exec = answer(SCMP_SYS(seccomp), ENOSYS, first_is(SECCOMP_SET_MODE_FILTER));
       }},
      {Step::seccomp, EINVAL, 1, "a program without an end",
       [](Driver& job) {
         filtered(job, {{BPF_JMP | BPF_JA, 0, 0, 9}});
       }},
      {Step::seccomp, EAGAIN, 1, "no process to stand by for the listener",
       [](Driver& job) {
         filtered(job, {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}}, plan::kFilterWatched);
         job.before_exec = answer(SCMP_SYS(pidfd_open), EAGAIN);
       }},
      {Step::exec, EPERM, kNone, "a filter that kills who executes a program",
       [](Driver& job) {
         filtered(job, {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
                        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SCMP_SYS(execve)},
                        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS},
                        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}});
       }},
      {Step::exec, ENOENT, kNone, "a program that is not there, under a filter that allows no more",
       [](Driver& job) {
         job.argv = {"/nonexistent"};
         filtered(job, {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
                        {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SCMP_SYS(execve)},
                        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SCMP_SYS(exit_group)},
                        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
                        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS}});
       }},
      {Step::exec, ENOENT, kNone, "a program that is not there",
       [](Driver& job) { job.argv = {"/nonexistent"}; }},
      {Step::exec, EACCES, kNone, "a program that may not be executed",
       [](Driver& job) { job.argv = {"/etc/passwd"}; }},
      {Step::exec, EACCES, kNone, "a name that is found, but forbidden",
       [](Driver& job) {
         job.plan->flags |= plan::kSearchPath;
         job.plan->search = job.plan.text("/etc:/nonexistent");
         job.argv = {"passwd"};
       }},
      {Step::exec, E2BIG, kNone, "more arguments than the kernel takes",
       [](Driver& job) {
         for (int i = 0; i < 60; ++i) job.argv.emplace_back(131000, 'x');
       }},
  };
}

}  // namespace cloister::test
