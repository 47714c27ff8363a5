// The steps of init itself.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init_steps.hpp"

namespace cloister::test {

using plan::kNone;
using plan::MountKind;
using plan::Namespace;
using plan::Step;

namespace {

void is_network_process(Driver& job, const char* pasta) {
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
  job.client_uids = job.client_gids = {{0, 0, UINT32_MAX}};
  job.order.client_powers = uint64_t{1} << CAP_SYS_ADMIN | uint64_t{1} << CAP_DAC_OVERRIDE;
  job.fresh(Namespace::mnt);
  job.bind("/", "/", plan::kMountRecursive);
  std::vector<plan::Layer> layers;
  for (const auto role : {plan::LayerRole::lower, plan::LayerRole::upper, plan::LayerRole::work}) {
    const int fd = hold(::open(role == as ? directory : "/usr/bin", O_PATH | O_CLOEXEC));
    const bool lower = role == plan::LayerRole::lower;
    layers.push_back({role, job.pass(fd, lower ? plan::Use::mount : plan::Use::writable_layer),
                      job.plan.text("")});
  }
  job.mount(MountKind::overlay, "/mnt").layers = job.plan.span(layers);
}

}  // namespace

std::vector<Case> cases_of_init() {
  return {
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
         job.before_exec = answer(SCMP_SYS(open_tree), EIO,
                                  {SCMP_A2_64(SCMP_CMP_EQ, static_cast<uint64_t>(flags))});
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
       [](Driver& job) {
         job.spoil_order = [](std::string& message) { message.resize(message.size() - 1); };
       }},
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
  };
}

}  // namespace cloister::test
