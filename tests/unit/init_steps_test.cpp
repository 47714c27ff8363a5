// Every step that init and the payload's process can fail at, made to fail
// exactly there. What no request can provoke is provoked by a seccomp filter
// that answers one system call with an error.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <set>

#include "init_driver.hpp"
#include "outcome.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::kNone;
using plan::MountKind;
using plan::Namespace;
using plan::Op;
using plan::Step;

namespace {

// In init's process before its exec: `number` with these arguments fails.
std::function<void()> answer(int number, int error, std::vector<scmp_arg_cmp> arguments = {}) {
  return [=] {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    // We have CAP_SYS_ADMIN, and no_new_privs would be one thing more that differs.
    const bool loaded =
        filter && seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) == 0 &&
        seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), number,
                               static_cast<unsigned>(arguments.size()), arguments.data()) == 0 &&
        seccomp_load(filter) == 0;
    if (!loaded) ::_exit(119);
  };
}

std::vector<scmp_arg_cmp> first_is(uint64_t value) {
  return {SCMP_A0_64(SCMP_CMP_EQ, value)};
}

struct Case {
  Step step;
  int error;
  uint32_t index;
  const char* how;
  std::function<void(Driver&)> prepare;
};

void unshare_fails(Driver& job, Namespace which, uint64_t flag) {
  job.fresh(which);
  job.before_exec = answer(SCMP_SYS(unshare), ENOSPC, first_is(flag));
}

void filtered(Driver& job, const std::vector<plan::Instruction>& program, uint32_t flags = 0) {
  job.plan->seccomp = job.plan.span(program);
  job.plan->seccomp_flags = flags;
  job.plan->flags |= plan::kNoNewPrivs;
}

// Descriptors that a case needs as long as its job lives.
std::vector<sys::UniqueFd> held;
int hold(int fd) {
  held.emplace_back(fd);
  return fd;
}

void is_network_process(Driver& job, const char* pasta) {
  job.order.flags |= plan::kNetworkProcess;
  job.plan->flags |= plan::kOutbound;
  job.fresh(Namespace::net);
  job.pasta = hold(::open(pasta, O_RDONLY | O_CLOEXEC));
}

// 127.0.0.1, and a port of it at which somebody listens.
plan::Published taken_port() {
  const int socket = hold(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(socket, any, size) == 0);
  REQUIRE(::listen(socket, 1) == 0);
  REQUIRE(::getsockname(socket, any, &size) == 0);
  return {{127, 0, 0, 1}, plan::kInet, 0, 80, ntohs(address.sin_port)};
}

// At a place of the host's, of one directory for everything it needs; `as` is
// what that one is.
void overlay(Driver& job, const char* directory, plan::LayerRole as) {
  job.fresh(Namespace::mnt);
  job.bind("/", "/", plan::kMountRecursive);
  std::vector<plan::Layer> layers;
  for (const auto role :
       {plan::LayerRole::lower, plan::LayerRole::upper, plan::LayerRole::work}) {
    const int fd = hold(::open(role == as ? directory : "/usr/bin", O_PATH | O_CLOEXEC));
    const bool lower = role == plan::LayerRole::lower;
    layers.push_back({role, job.pass(fd, lower ? plan::Use::mount : plan::Use::writable_layer),
                      job.plan.text("")});
  }
  job.mount(MountKind::overlay, "/mnt").layers = job.plan.span(layers);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {Step::start, EPERM, kNone, "setsid is refused",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(setsid), EPERM); }},
      {Step::start, EPROTO, kNone, "an order of another version",
       [](Driver& job) { job.order.version = 77; }},
      {Step::plan, EINVAL, 3, "a plan of another version",
       [](Driver& job) { job.spoil = [](std::string& block) { block[4] = 99; }; }},
      {Step::descriptors, EMFILE, 0, "no room for them",
       [](Driver& job) {
         for (int i = 0; i < 20; ++i) job.receive(0, i);
         job.before_exec = [] {
           const rlimit few{20, 20};
           ::setrlimit(RLIMIT_NOFILE, &few);
         };
       }},
      {Step::descriptors, EPROTO, 0, "more than the plan says",
       [](Driver& job) {
         for (int i = 0; i < 2; ++i) job.receive(0, i);
         job.spoil = [](std::string& block) {
           auto* h = reinterpret_cast<plan::Header*>(block.data());
           h->descriptors.count = 1;
           h->actions.count = 1;
         };
       }},
      {Step::facts, EIO, 0, "fstat of a descriptor",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.receive(0, 0);
         job.before_exec = answer(SCMP_SYS(fcntl), EIO, {SCMP_A1_64(SCMP_CMP_EQ, F_GETFL)});
       }},
      {Step::join, EINVAL, static_cast<uint32_t>(Namespace::net), "a namespace of another type",
       [](Driver& job) {
         const int uts = hold(::open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));
         job.plan->namespaces[static_cast<int>(Namespace::net)] = {
             plan::Join::descriptor, job.pass(uts, plan::Use::namespace_join), {}};
       }},
      {Step::sources, EINVAL, 0, "a source that is no file of a mount",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         int ends[2];
         REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
         hold(ends[1]);
         job.bind("/", "/", 0).descriptor = job.pass(hold(ends[0]), plan::Use::mount);
       }},
      {Step::sources, EMFILE, 8, "no room for one clone more",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         for (int i = 0; i < 10; ++i) job.bind("/usr", "/", plan::kMountReadOnly);
         job.before_exec = [] {
           // 0 to 6, the descriptors in two messages of their own, /proc, and eight clones.
           const rlimit few{7 + 1 + 10 + 8, 7 + 1 + 10 + 8};
           ::setrlimit(RLIMIT_NOFILE, &few);
         };
       }},
      {Step::sources, ESTALE, 0, "rootless: a path that leads elsewhere by now",
       [](Driver& job) {
         job.uid = 65534;
         job.clone_flags = CLONE_NEWUSER;
         job.order.flags |= plan::kFreshUser | plan::kFixedGroups;
         job.order.mapped_uid = job.order.mapped_gid = 65534;
         job.fresh(Namespace::mnt);
         job.bind("/usr", "/", plan::kMountRecursive).source = job.plan.text("/etc");
       }},
      {Step::scratch, EBADF, 1, "a directory on disk, and nowhere to make it",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", 0);
         job.mount(plan::MountKind::scratch, "/tmp").flags = plan::kMountOnDisk;
       }},
      {Step::mount_namespace, ENOSPC, kNone, "no more mount namespaces",
       [](Driver& job) { unshare_fails(job, Namespace::mnt, CLONE_NEWNS); }},
      {Step::mounts, ENOENT, 1, "a mount point that only the host could make",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountReadOnly | plan::kMountRecursive);
         job.mount(MountKind::tmpfs, "/nonexistent/place");
       }},
      {Step::mounts, EINVAL, kNone, "mounts without a mount namespace of their own",
       [](Driver& job) { job.mount(MountKind::tmpfs, "/tmp"); }},
      {Step::mounts, EINVAL, 1, "a directory over a file",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountRecursive);
         job.mount(MountKind::tmpfs, "/etc/passwd");
       }},
      {Step::idmap, EAGAIN, 0, "no more processes for a map",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         const std::vector<plan::IdMap> line = {{0, 0, 1}};
         plan::Mount& root = job.bind("/usr", "/", plan::kMountReadOnly);
         root.uid_map = root.gid_map = job.plan.span(line);
         job.before_exec = answer(SCMP_SYS(clone3), EAGAIN);
       }},
      {Step::overlay, EINVAL, 1, "a layer that the kernel makes up",
       [](Driver& job) { overlay(job, "/proc/sys", plan::LayerRole::lower); }},
      {Step::overlay, ENOTEMPTY, 1, "a work directory with something in it",
       [](Driver& job) { overlay(job, "/usr", plan::LayerRole::work); }},
      {Step::content, EINVAL, 1, "a content that may still change",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountRecursive);
         const int file = hold(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
         job.mount(MountKind::file, "/etc/passwd", plan::kMountIsFile).descriptor =
             job.pass(file, plan::Use::content);
       }},
      {Step::device, ENODEV, 1, "a device that is none",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountRecursive);
         job.mount(MountKind::device, "/dev/null", plan::kMountIsFile).descriptor =
             job.pass(hold(::open("/etc/passwd", O_PATH | O_CLOEXEC)), plan::Use::device);
       }},
      {Step::secret, ENOENT, 1, "a secret that would lie on the host",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountRecursive);
         job.mount(MountKind::secret, "/etc/no-such-secret", plan::kMountIsFile).descriptor =
             job.pass(hold(::open("/etc/passwd", O_RDONLY | O_CLOEXEC)), plan::Use::content);
       }},
      {Step::mask, EIO, 1, "no file to mask with",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountRecursive);
         job.mount(MountKind::mask, "/etc/passwd");
         job.before_exec = answer(SCMP_SYS(mknodat), EIO);
       }},
      {Step::lock, EIO, 1, "a tree that cannot be cloned again",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", 0);
         job.mount(MountKind::lock, "/etc");
         const auto flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE;
         job.before_exec =
             answer(SCMP_SYS(open_tree), EIO, {SCMP_A2_64(SCMP_CMP_EQ, static_cast<uint64_t>(flags))});
       }},
      {Step::pivot, EIO, kNone, "pivot_root",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountRecursive);
         job.before_exec = answer(SCMP_SYS(pivot_root), EIO);
       }},
      {Step::publish, EADDRINUSE, 1, "a port at which somebody listens",
       [](Driver& job) {
         is_network_process(job, "/bin/true");
         job.published = {{{127, 0, 0, 1}, plan::kInet, 1, 80, 40111}, taken_port()};
       }},
      {Step::publish, EADDRNOTAVAIL, 0, "an address that the host does not have",
       [](Driver& job) {
         is_network_process(job, "/bin/true");
         job.published = {{{0x20, 1, 0x0d, 0xb8, 77}, plan::kInet6, 1, 80, 8080}};
       }},
      {Step::network_owner, ENOSPC, kNone, "no more user namespaces",
       [](Driver& job) {
         is_network_process(job, "/bin/true");
         job.before_exec = answer(SCMP_SYS(unshare), ENOSPC, first_is(CLONE_NEWUSER));
       }},
      {Step::net_namespace, ENOSPC, kNone, "no more network namespaces, of a network process",
       [](Driver& job) {
         is_network_process(job, "/bin/true");
         job.before_exec = answer(SCMP_SYS(unshare), ENOSPC, first_is(CLONE_NEWNET));
       }},
      {Step::network_rules, EOPNOTSUPP, 0, "a kernel without rules of routing",
       [](Driver& job) {
         is_network_process(job, "/bin/true");
         job.before_exec = answer(SCMP_SYS(sendto), EOPNOTSUPP, {SCMP_A3_64(SCMP_CMP_EQ, 0)});
       }},
      {Step::tun, ENODEV, kNone, "a host without tun devices",
       [](Driver& job) {
         is_network_process(job, "/bin/true");
         job.before_exec =
             answer(SCMP_SYS(openat), ENODEV, {SCMP_A2_64(SCMP_CMP_EQ, O_RDWR | O_CLOEXEC)});
       }},
      {Step::pasta, EACCES, kNone, "a pasta that may not be executed",
       [](Driver& job) { is_network_process(job, "/etc/passwd"); }},
      {Step::pasta, ENETUNREACH, kNone, "a pasta that gives up",
       [](Driver& job) { is_network_process(job, "/bin/false"); }},
      {Step::verify_mounts, EPERM, 1, "a read-only that was only said",
       [](Driver& job) {
         job.fresh(Namespace::mnt);
         job.bind("/", "/", plan::kMountRecursive);
         job.mount(MountKind::tmpfs, "/mnt", plan::kMountReadOnly);
         // The one that seals a tmpfs is not recursive.
         job.before_exec =
             answer(SCMP_SYS(mount_setattr), 0, {SCMP_A2_64(SCMP_CMP_EQ, AT_EMPTY_PATH)});
       }},
      {Step::user_namespace, ENOSPC, kNone, "no more user namespaces",
       [](Driver& job) { unshare_fails(job, Namespace::user, CLONE_NEWUSER); }},
      {Step::become_mapped, EINVAL, kNone, "an id that the map does not have",
       [](Driver& job) {
         job.fresh(Namespace::user);
         job.uid_map = job.gid_map = {{5, 100000, 10}};
         job.before_exec = answer(SCMP_SYS(setresgid), EINVAL, first_is(5));
       }},
      {Step::user_namespace, EPERM, kNone, "rootless: an id that is not init's to map",
       [](Driver& job) {
         job.uid = 65534;
         job.clone_flags = CLONE_NEWUSER;
         job.order.flags |= plan::kFreshUser | plan::kFixedGroups;
         job.order.mapped_uid = job.order.mapped_gid = 65534;
         job.fresh(Namespace::user);
         job.gid_map = {{0, 65534, 1}};
         job.uid_map = {{0, 100000, 1}};
       }},
      {Step::start, EPROTO, kNone, "an order with more lines than came along",
       [](Driver& job) { job.spoil_order = [](std::string& message) { message.resize(message.size() - 1); }; }},
      {Step::net_namespace, ENOSPC, kNone, "no more network namespaces",
       [](Driver& job) { unshare_fails(job, Namespace::net, CLONE_NEWNET); }},
      {Step::ipc_namespace, ENOSPC, kNone, "no more IPC namespaces",
       [](Driver& job) { unshare_fails(job, Namespace::ipc, CLONE_NEWIPC); }},
      {Step::uts_namespace, ENOSPC, kNone, "no more UTS namespaces",
       [](Driver& job) { unshare_fails(job, Namespace::uts, CLONE_NEWUTS); }},
      {Step::loopback, EINVAL, kNone, "the host's loopback",
       [](Driver& job) { job.plan->flags |= plan::kLoopbackUp; }},
      {Step::hostname, EINVAL, kNone, "the host's own name",
       [](Driver& job) { job.plan->hostname = job.plan.text("x"); }},
      {Step::domainname, EPERM, kNone, "setdomainname",
       [](Driver& job) {
         job.fresh(Namespace::uts);
         job.plan->domainname = job.plan.text("x");
         job.before_exec = answer(SCMP_SYS(setdomainname), EPERM);
       }},
      {Step::sysctl, EPERM, 1, "a sysctl of the host's",
       [](Driver& job) {
         job.fresh(Namespace::net);
         job.sysctls = {{job.plan.text("net/ipv4/ip_forward"), job.plan.text("0")},
                        {job.plan.text("kernel/core_pattern"), job.plan.text("x")}};
       }},
      {Step::sysctl, EINVAL, 0, "a way out of the allowed ones",
       [](Driver& job) {
         job.fresh(Namespace::net);
         job.sysctls = {{job.plan.text("net/../kernel/core_pattern"), job.plan.text("x")}};
       }},
      {Step::time_namespace, ENOSPC, kNone, "no more time namespaces",
       [](Driver& job) { unshare_fails(job, Namespace::time, CLONE_NEWTIME); }},
      {Step::time_offsets, ERANGE, kNone, "an offset before the beginning of time",
       [](Driver& job) {
         job.fresh(Namespace::time);
         job.plan->flags |= plan::kTimeOffsets;
         job.plan->boottime_offset_ns = INT64_MIN;
       }},
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
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(setresuid), EAGAIN); }},
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
         job.before_exec = answer(SCMP_SYS(prctl), EINVAL, first_is(PR_SET_PDEATHSIG));
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
         job.before_exec = answer(SCMP_SYS(prctl), 0,
                                  {SCMP_A0_64(SCMP_CMP_EQ, PR_CAPBSET_READ),
                                   SCMP_A1_64(SCMP_CMP_EQ, CAP_SYS_RESOURCE)});
       }},
      {Step::capabilities, EPERM, kNone, "a capset that lies",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(capset), 0); }},
      {Step::capabilities, EPERM, kNone, "capset",
       [](Driver& job) { job.before_exec = answer(SCMP_SYS(capset), EPERM); }},
      {Step::ambient, EPERM, CAP_CHOWN, "an ambient capability that is not inheritable",
       [](Driver& job) {
         job.order.capabilities.permitted = job.order.capabilities.ambient = 1;
       }},
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
       [](Driver& job) { filtered(job, {{BPF_JMP | BPF_JA, 0, 0, 9}}); }},
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
  return all;
}

}  // namespace

TEST_CASE("a failure is reported with its step, its index and its errno") {
  NEEDS_ROOT();
  for (const Case& each : cases()) {
    CAPTURE(std::string(plan::describe(each.step).name));
    CAPTURE(std::string(each.how));
    Driver job;
    each.prepare(job);
    const plan::ExitRecord& record = job.run();
    CHECK(record.ending == plan::Ending::not_started);
    CHECK(record.commit == plan::kRecordCommitted);
    CHECK(plan::describe(record.failure.step).name == std::string(plan::describe(each.step).name));
    CHECK(record.failure.error == each.error);
    CHECK(record.failure.index == each.index);
    CHECK(job.init_status() == 0);
    held.clear();
  }
}

TEST_CASE("descriptors that never come because the front is gone are a failure") {
  NEEDS_ROOT();
  Driver job;
  job.receive(0, 0);
  job.announced_descriptors = 0;
  job.start();
  job.hang_up_front();
  const plan::ExitRecord& record = job.end();
  CHECK(record.failure.step == Step::descriptors);
  CHECK(record.failure.error == ECONNRESET);
}

// Init calls setsid too, so a filter has to tell the two apart: SCMP_ACT_TRACE
// lets a traced process go on and answers ENOSYS to one that nobody traces.
TEST_CASE("a failed setsid of the payload is reported as that") {
  NEEDS_ROOT();
  Driver job;
  job.plan->flags |= plan::kSetsid;
  job.before_exec = [] {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (seccomp_rule_add(filter, SCMP_ACT_TRACE(1), SCMP_SYS(setsid), 0) < 0 ||
        seccomp_load(filter) < 0)
      ::_exit(119);
  };
  job.start();
  int status = 0;
  REQUIRE(::waitpid(job.init_pid(), &status, 0) == job.init_pid());
  REQUIRE(::ptrace(PTRACE_SETOPTIONS, job.init_pid(), nullptr, PTRACE_O_TRACESECCOMP) == 0);
  do {
    REQUIRE(::ptrace(PTRACE_CONT, job.init_pid(), nullptr, nullptr) == 0);
    REQUIRE(::waitpid(job.init_pid(), &status, 0) == job.init_pid());
    REQUIRE(WIFSTOPPED(status));
  } while (status >> 8 != (SIGTRAP | PTRACE_EVENT_SECCOMP << 8));
  REQUIRE(::ptrace(PTRACE_DETACH, job.init_pid(), nullptr, nullptr) == 0);
  const plan::ExitRecord& record = job.end();
  CHECK(record.failure.step == Step::setsid);
  CHECK(record.failure.error == ENOSYS);
}

TEST_CASE("every step of init and of the payload has a case that fails there") {
  std::set<Step> seen = {Step::setsid};  // the case above
  for (const Case& each : cases()) seen.insert(each.step);
  for (uint32_t i = 0; i < static_cast<uint32_t>(Step::count_); ++i) {
    const auto step = static_cast<Step>(i);
    const plan::Stage stage = plan::describe(step).stage;
    if (stage != plan::Stage::init && stage != plan::Stage::payload) continue;
    CAPTURE(plan::describe(step).name);
    CHECK(seen.contains(step));
  }
}
