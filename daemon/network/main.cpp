// cloister-network: makes the network of one outbound job and keeps it connected.
//
// It runs as the client, in the leaf of the job's init and outside the job's pid
// namespace, where no signal of the payload's reaches it, and works as an init
// whose payload is pasta(1), in the payload's leaf:
//
//   monitor -- cloister-network (here) in the network namespace, waiting
//                   \-- pasta          in the host's network namespace
//
// What it has in common with an init is init's own code (daemon/init/meson.build);
// of what init alone does (mounts, ids and filters of a payload) there is nothing.
//
// Who owns a user namespace has every power in it from outside, whatever its
// capabilities (user_namespaces(7)). So the network must not belong to one that
// the payload's uid owns: as root's service we make one that is root's, and map
// the client into it. A rootless job is in a user namespace already, and there
// the payload is inside, where only capabilities count: we join that one.
#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/siginfo.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "kernel.hpp"
#include "rules.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

// What pasta asks for: to enter the namespace and to set up its interface, and
// nothing of it counts outside the user namespace.
constexpr uint64_t kPowers = uint64_t{1} << CAP_SYS_ADMIN | uint64_t{1} << CAP_NET_ADMIN;

void own_user_namespace(Job& job) {
  constexpr Step step = Step::network_owner;
  job.step = step;
  if (job.order.join_count > 0) {
    must(job, step, call(Call::setns, plan::kFirstJoinFd, CLONE_NEWUSER));
  } else {
    if (job.order.network_owner != 0)
      become_mapped(job, job.order.network_owner, job.order.network_owner);
    must(job, step, call(Call::unshare, CLONE_NEWUSER));
    report(job, plan::ReportKind::maps);
    await_proceed(job, step);
    become_mapped(job, job.order.mapped_uid, job.order.mapped_gid);
  }
  keep_only(job, step, kPowers);
  // pasta opens our namespace by our pid; a change of credentials hides it.
  must(job, step, call(Call::prctl, PR_SET_DUMPABLE, 1));
  must(job, step, call(Call::prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

// Tried out with the client's rights, so that a port which is taken or not the
// client's has its name in the answer; pasta only says that it gave up.
void try_ports(Job& job) {
  constexpr Step step = Step::publish;
  job.step = step;
  const plan::Header& h = job.header();
  for (uint32_t i = 0; i < h.published.count; ++i) {
    const plan::Published& port = job.plan().at(h.published, i);
    const auto number = static_cast<uint16_t>(port.host_port);
    const auto swapped = static_cast<uint16_t>(number >> 8 | number << 8);
    sockaddr_in six_less{};
    sockaddr_in6 six{};
    six_less.sin_family = static_cast<uint16_t>(port.family);
    six_less.sin_port = swapped;
    six.sin6_family = static_cast<uint16_t>(port.family);
    six.sin6_port = swapped;
    auto* const four = reinterpret_cast<uint8_t*>(&six_less.sin_addr);
    for (int k = 0; k < 4; ++k) four[k] = port.address[k];
    for (int k = 0; k < 16; ++k) six.sin6_addr.in6_u.u6_addr8[k] = port.address[k];
    const int fd = must_fd(
        job, step,
        call(Call::socket, port.family, (port.udp ? kSockDgram : kSockStream) | kSockCloexec, 0),
        i);
    const int on = 1;
    // Over connections that are still dying, but not over a listener.
    if (!port.udp)
      must(job, step, call(Call::setsockopt, fd, kSolSocket, kSoReuseAddr, &on, sizeof on), i);
    if (port.family == plan::kInet)
      must(job, step, call(Call::bind, fd, &six_less, sizeof six_less), i);
    else
      must(job, step, call(Call::bind, fd, &six, sizeof six), i);
    close(fd);
  }
}

// Within a second of the link's start the kernel asks, from the address ::, whether
// anybody else has its link-local address; older versions of pasta take :: for the
// job's and lose answers on their way. Only pasta is on that link: nobody is asked.
// Without IPv6 there are no such files. Where /proc/sys is read-only, the kernel asks on,
// and answers may be lost: the job is launched all the same.
void detect_no_duplicates(Job& job) {
  constexpr const char* kSwitches[] = {"sys/net/ipv6/conf/all/accept_dad",
                                       "sys/net/ipv6/conf/default/accept_dad"};
  for (const char* path : kSwitches) {
    const long fd = call(Call::openat, job.proc, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) continue;
    call(Call::write, static_cast<int>(fd), "0", 1);
    close(static_cast<int>(fd));
  }
}

void make_network(Job& job) {
  job.step = Step::net_namespace;
  must(job, Step::net_namespace, call(Call::unshare, CLONE_NEWNET));
  detect_no_duplicates(job);
  raise_loopback(job);
  close_metadata_services(job);
}

// --- from here: the process that becomes pasta -----------------------------------

using Word = Line<96>;

// "127.0.0.1/8080:80", as pasta's -t and -u want it.
void write_port(Word& out, const plan::Published& port) {
  constexpr char kDigits[] = "0123456789abcdef";
  if (port.family == plan::kInet) {
    for (int i = 0; i < 4; ++i) out << (i ? "." : "") << uint32_t{port.address[i]};
  } else {
    for (int i = 0; i < 16; ++i) {
      const char hex[] = {kDigits[port.address[i] >> 4], kDigits[port.address[i] & 15], 0};
      out << (i && i % 2 == 0 ? ":" : "") << hex;
    }
  }
  out << "/" << port.host_port << ":" << port.port;
}

class Arguments {
 public:
  void add(const char* word) { list_[count_++] = word; }
  const char** get() { return list_; }

 private:
  const char* list_[48 + 2 * plan::kMaxPublished]{};
  uint32_t count_ = 0;
};

const char** arguments(Job& job, int32_t network) {
  static Arguments all;
  static Word path, ports[plan::kMaxPublished];
  const plan::Header& h = job.header();
  path << "/proc/" << network << "/ns/net";
  static const char* const kAlways[] = {"pasta", "--foreground", "--quiet", "--config-net",
                                        "--ns-ifname", "net0", "--no-netns-quit", "--no-dhcp",
                                        "--no-dhcpv6", "--no-ra",
                                        // Or the gateway's address is the host's loopback,
                                        "--no-map-gw",
                                        // and so are ports of the namespace's own loopback.
                                        "-T", "none", "-U", "none", "--dns-forward",
                                        plan::kDnsAddress, "--dns-forward", plan::kDnsAddress6};
  for (const char* word : kAlways) all.add(word);
  bool tcp = false, udp = false;
  for (uint32_t i = 0; i < h.published.count; ++i) {
    const plan::Published& port = job.plan().at(h.published, i);
    (port.udp ? udp : tcp) = true;
    write_port(ports[i], port);
    if (ports[i].overflow()) fail(job, Step::publish, ENAMETOOLONG, i);
    all.add(port.udp ? "-u" : "-t");
    all.add(ports[i].c_str());
  }
  if (!tcp) all.add("-t"), all.add("none");
  if (!udp) all.add("-u"), all.add("none");
  all.add("--netns");
  all.add(path.c_str());
  return all.get();
}

[[noreturn]] void become_pasta(Job& job, int32_t parent) {
  job.in_payload = true;
  constexpr Step step = Step::pasta;
  // First: whoever closes a socket with something unread in it takes away what
  // it has said itself (ECONNRESET).
  char go = 0;
  if (must(job, step, call(Call::recvfrom, job.status_write, &go, 1, 0)) != 1)
    fail(job, step, ECANCELED);
  enter_v1_cgroups(job);
  must(job, step, call(Call::prctl, PR_SET_PDEATHSIG, kSigKill));
  if (call(Call::getppid) != parent) fail(job, step, ESRCH);
  // What pasta would fail at without a word.
  close(must_fd(job, Step::tun, call(Call::openat, AT_FDCWD, "/dev/net/tun", O_RDWR | O_CLOEXEC)));
  const char** argv = arguments(job, parent);
  label_next_exec(job);
  make_ambient(job, step, kPowers);
  job.words->ready = 1;
  const uint64_t none = 0;
  must(job, step, call(Call::rt_sigprocmask, 2 /* SIG_SETMASK */, &none, nullptr, kSigSetBytes));
  const char* env[] = {nullptr};
  fail(job, step, -call(Call::execveat, plan::kPastaFd, "", argv, env, AT_EMPTY_PATH));
}

// --- the network process again -----------------------------------------------------

// "Seccomp_filters:" of /proc/PID/status, Linux 5.9.
int filters_of(Job& job, int32_t pid) {
  Line<32> path;
  path << pid << "/status";
  const long fd = call(Call::openat, job.proc, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  static char text[4096];
  const long got = call(Call::read, fd, text, sizeof text - 1);
  close(static_cast<int>(fd));
  text[got > 0 ? got : 0] = 0;
  constexpr char kLabel[] = "\nSeccomp_filters:\t";
  for (const char* at = text; *at; ++at) {
    if (!starts_with(at, kLabel)) continue;
    int filters = 0;
    for (at += sizeof kLabel - 1; *at >= '0' && *at <= '9'; ++at)
      filters = filters * 10 + *at - '0';
    return filters;
  }
  return -1;
}

bool has_ended(Job& job) {
  siginfo_t info{};
  must(job, Step::pasta,
       call(Call::waitid, P_PID, job.payload, &info, WEXITED | WNOWAIT | WNOHANG, nullptr));
  return info.si_pid == job.payload;
}

// pasta has no word for "ready" that every version of it says. But it installs
// its filter when all is set up, as the last thing before it serves.
void await_pasta(Job& job, int filters) {
  job.step = Step::pasta;
  while (filters_of(job, job.payload) <= filters) {
    if (has_ended(job)) fail(job, Step::pasta, job.cancelled ? ECANCELED : ENETUNREACH);
    await(job, kUntilTime, 1);
  }
}

Job the_job;

[[noreturn]] void run(Job& job) {
  begin(job);
  receive_order(job);
  hold_proc(job);
  read_plan(job);
  take_login_uid(job);
  own_user_namespace(job);
  try_ports(job);
  // A filter that we are under counts for pasta as well.
  const auto self = static_cast<int32_t>(call(Call::getpid));
  const int filters = filters_of(job, self);
  if (filters < 0) fail(job, Step::pasta, ENOSYS);
  prepare_fork(job, Step::pasta);
  const long pid = must(job, Step::pasta, fork_process(0));
  if (pid == 0) become_pasta(job, self);
  job.payload = static_cast<int32_t>(pid);
  job.payload_alive = true;
  close(job.status_write);
  // pasta stays in the host's network: only now do we leave it.
  make_network(job);
  const char go = 1;
  must(job, Step::pasta, call(Call::sendto, job.status_read, &go, 1, kMsgNoSignal));
  await_exec(job);
  await_pasta(job, filters);
  report(job, plan::ReportKind::started);
  reap_until_ended(job);
  finish(job);
}

}  // namespace

extern "C" [[noreturn]] void cloister_main() { run(the_job); }

}  // namespace cloister::init
