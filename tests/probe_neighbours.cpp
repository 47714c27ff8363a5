// Acts of a payload that looks for others: processes, IPC objects, keys and
// sockets that are not its own.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "probe_say.hpp"

namespace cloister::probe {
namespace {

std::vector<pid_t> listed() {
  std::vector<pid_t> out;
  if (DIR* directory = opendir("/proc")) {
    while (const dirent* entry = readdir(directory)) {
      if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') out.push_back(atoi(entry->d_name));
    }
    closedir(directory);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// MOST: processes that /proc lists, and those up to this number that can be asked for.
int do_pids(const Arguments& a) {
  const pid_t most = a.empty() ? 100'000 : atoi(a[0]);
  Attempts out;
  out.json.key("listed").begin_array();
  for (const pid_t pid : listed()) out.json.number(pid);
  out.json.end_array().key("answering").begin_array();
  for (pid_t pid = 1; pid <= most; ++pid) {
    if (kill(pid, 0) == 0 || errno != ESRCH) out.json.number(pid);
  }
  out.json.end_array();
  return out.done();
}

// PID: everything that one process may do to another of its own user.
int do_assault(const Arguments& a) {
  if (a.empty()) return 121;
  const pid_t pid = atoi(a[0]);
  const std::string directory = "/proc/" + std::string(a[0]);
  Attempts attempt;
  attempt("kill", kill(pid, SIGKILL));
  attempt("kill group", kill(-pid, SIGKILL));
  attempt("tgkill", syscall(SYS_tgkill, pid, pid, SIGKILL));
  attempt("sigqueue", sigqueue(pid, SIGKILL, sigval{}));
  if (attempt("ptrace", ptrace(PTRACE_ATTACH, pid, nullptr, nullptr))) {
    waitpid(pid, nullptr, __WALL);
    ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  }
  attempt("ptrace seize", ptrace(PTRACE_SEIZE, pid, nullptr, nullptr));
  char byte;
  iovec here{&byte, 1}, there{reinterpret_cast<void*>(0x400000), 1};
  attempt("process_vm_readv", process_vm_readv(pid, &here, 1, &there, 1, 0));
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  attempt("pidfd_open", process);
  if (process >= 0) {
    attempt("pidfd_getfd", syscall(SYS_pidfd_getfd, process, 0, 0));
    attempt("pidfd_send_signal", syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0));
  }
  rlimit limit{1, 1};
  attempt("prlimit", prlimit(pid, RLIMIT_NOFILE, &limit, nullptr));
  attempt("setpriority", setpriority(PRIO_PROCESS, static_cast<id_t>(pid), 19));
  const sched_param none{};
  attempt("sched_setscheduler", sched_setscheduler(pid, SCHED_BATCH, &none));
  attempt("setpgid", setpgid(pid, 0));
  attempt("kcmp", syscall(SYS_kcmp, getpid(), pid, 1, 0, 0));
  for (const char* file : {"/mem", "/environ", "/maps", "/cmdline", "/status", "/root", "/fd"}) {
    attempt.descriptor(file, open((directory + file).c_str(), O_RDONLY | O_CLOEXEC));
  }
  return attempt.done();
}

// PID...: a signal to everything and everybody, by every call that sends one.
int do_storm(const Arguments& a) {
  constexpr int kSignal = SIGUSR1;
  signal(kSignal, SIG_IGN);
  std::vector<std::string> hits;
  const auto at = [&](pid_t pid) {
    const std::string name = std::to_string(pid);
    if (kill(pid, kSignal) == 0) hits.push_back("kill " + name);
    if (kill(-pid, kSignal) == 0) hits.push_back("kill -" + name);
    if (sigqueue(pid, kSignal, sigval{}) == 0) hits.push_back("sigqueue " + name);
    siginfo_t forged{};
    forged.si_signo = kSignal;
    forged.si_code = SI_QUEUE;
    if (syscall(SYS_rt_tgsigqueueinfo, pid, pid, kSignal, &forged) == 0)
      hits.push_back("tgsigqueue " + name);
    int ends[2];
    if (pipe(ends) < 0) return;
    for (const pid_t owner : {pid, -pid}) {
      if (fcntl(ends[0], F_SETOWN, owner) < 0) continue;
      fcntl(ends[0], F_SETSIG, kSignal);
      fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK);
      (void)!write(ends[1], "x", 1);
      hits.push_back("F_SETOWN " + std::to_string(owner));
    }
    close(ends[0]);
    close(ends[1]);
  };
  const pid_t own = getpid(), group = getpgid(0);
  for (const char* pid : a) {
    if (atoi(pid) != own && atoi(pid) != group) at(atoi(pid));
  }
  for (pid_t pid = 2; pid < 70'000; ++pid) {
    if (pid == own || pid == group) continue;
    if (kill(pid, kSignal) == 0) hits.push_back("kill " + std::to_string(pid));
    if (kill(-pid, kSignal) == 0) hits.push_back("kill -" + std::to_string(pid));
  }
  Attempts out;
  out.json.key("hits").begin_array();
  for (const auto& hit : hits) out.json.bytes(hit);
  out.json.end_array();
  out("kill all", kill(-1, kSignal));
  out("kill init", kill(1, kSignal));
  return out.done();
}

void ipc(const Arguments& a, bool make) {
  const int flags = make ? IPC_CREAT | IPC_EXCL | 0666 : 0;
  const key_t key = atoi(a[0]);
  const std::string name = "/" + std::string(a[1]);
  Attempts attempt;
  attempt("shm", shmget(key, 4096, flags));
  attempt("sem", semget(key, 1, flags));
  attempt("msg", msgget(key, flags));
  mq_attr shape{};
  shape.mq_maxmsg = 1;
  shape.mq_msgsize = 16;
  const int open_flags = make ? O_RDWR | O_CREAT | O_EXCL : O_RDWR;
  attempt("mq", mq_open(name.c_str(), open_flags, 0666, &shape));
  attempt.descriptor("shm_open", shm_open(name.c_str(), open_flags, 0666));
  for (const char* kind : {"shm", "sem", "msg"}) {
    int lines = -1;  // the first names the columns
    if (FILE* table = fopen((std::string("/proc/sysvipc/") + kind).c_str(), "re")) {
      for (int c; (c = fgetc(table)) != EOF;) lines += c == '\n';
      fclose(table);
    }
    attempt.json.number(std::string(kind) + " listed", lines);
  }
  attempt.done();
}

// KEY NAME: made, and kept until somebody ends us.
int do_ipc_make(const Arguments& a) {
  if (a.size() < 2) return 121;
  ipc(a, true);
  for (;;) pause();
}

int do_ipc_find(const Arguments& a) {
  if (a.size() < 2) return 121;
  ipc(a, false);
  return 0;
}

constexpr struct {
  const char* name;
  int id;
} kRings[] = {{"process", KEY_SPEC_PROCESS_KEYRING},
              {"session", KEY_SPEC_SESSION_KEYRING},
              {"user", KEY_SPEC_USER_KEYRING},
              {"user session", KEY_SPEC_USER_SESSION_KEYRING}};

// NAME: the key in every keyring.
int do_key_add(const Arguments& a) {
  if (a.empty()) return 121;
  Attempts attempt;
  for (const auto& ring : kRings) {
    attempt(ring.name, syscall(SYS_add_key, "user", a[0], "secret", 6, ring.id));
  }
  attempt.done();
  if (a.size() > 1) {  // stay
    for (;;) pause();
  }
  return 0;
}

int do_key_find(const Arguments& a) {
  if (a.empty()) return 121;
  Attempts attempt;
  attempt("request_key", syscall(SYS_request_key, "user", a[0], nullptr, 0));
  for (const auto& ring : kRings) {
    attempt(ring.name, syscall(SYS_keyctl, KEYCTL_SEARCH, ring.id, "user", a[0], 0));
  }
  // By its number, as /proc/keys lists it.
  bool named = false;
  if (FILE* table = fopen("/proc/keys", "re")) {
    char line[1024];
    while (fgets(line, sizeof line, table)) named |= strstr(line, a[0]) != nullptr;
    fclose(table);
  }
  attempt.json.boolean("listed", named);
  return attempt.done();
}

socklen_t address_of(const char* name, sockaddr_un& out) {
  out.sun_family = AF_UNIX;
  strncpy(out.sun_path, name, sizeof out.sun_path - 1);
  if (name[0] != '@') return sizeof out;
  out.sun_path[0] = '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + strlen(name));
}

// PATH or @NAME: listens there until somebody ends us.
int do_serve(const Arguments& a) {
  if (a.empty()) return 121;
  sockaddr_un address{};
  const socklen_t size = address_of(a[0], address);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Attempts attempt;
  attempt("bind", bind(fd, reinterpret_cast<sockaddr*>(&address), size));
  attempt("listen", listen(fd, 8));
  attempt.done();
  for (;;) pause();
}

// PATH TEXT: the text and a NUL to that socket, and what comes back up to a NUL.
int do_ask(const Arguments& a) {
  if (a.size() < 2) return 121;
  sockaddr_un address{};
  const socklen_t size = address_of(a[0], address);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Attempts attempt;
  if (attempt("error", connect(fd, reinterpret_cast<sockaddr*>(&address), size)))
    (void)send(fd, a[1], strlen(a[1]) + 1, MSG_NOSIGNAL);
  std::string answer;
  for (char c; answer.size() < 100'000;) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, 5000) <= 0 || read(fd, &c, 1) <= 0 || c == '\0') break;
    answer += c;
  }
  attempt.json.bytes("answer", answer);
  return attempt.done();
}

// PORT: connections to ourselves on every address, and an end that closes none.
int do_half_open(const Arguments& a) {
  if (a.empty()) return 121;
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<uint16_t>(atoi(a[0])));
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Attempts attempt;
  attempt("bind", bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any));
  attempt("listen", listen(listener, 2));
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < 20; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)connect(fd, reinterpret_cast<sockaddr*>(&any), sizeof any);
    const linger wait{1, 100};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &wait, sizeof wait);
    const std::string data(4096, 'x');
    for (int n = 0; n < 1000 && send(fd, data.data(), data.size(), MSG_NOSIGNAL) > 0; ++n) {
    }
  }
  return attempt.done();
}

void dial(Attempts& attempt, std::string_view name, const char* host, int port) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v4.sin_port = v6.sin6_port = htons(static_cast<uint16_t>(port));
  v6.sin6_family = AF_INET6;
  const bool six = strchr(host, ':') != nullptr;
  std::string bare = host;
  if (const size_t scope = bare.find('%'); scope != bare.npos) {
    v6.sin6_scope_id = static_cast<uint32_t>(atoi(bare.c_str() + scope + 1));
    bare.resize(scope);
  }
  inet_pton(six ? AF_INET6 : AF_INET, bare.c_str(),
            six ? static_cast<void*>(&v6.sin6_addr) : &v4.sin_addr);
  const int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int result = six ? connect(fd, reinterpret_cast<sockaddr*>(&v6), sizeof v6)
                   : connect(fd, reinterpret_cast<sockaddr*>(&v4), sizeof v4);
  if (result < 0 && errno == EINPROGRESS) {
    pollfd ready{fd, POLLOUT, 0};
    int error = ETIMEDOUT;
    socklen_t size = sizeof error;
    if (poll(&ready, 1, 2000) > 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    result = error ? -1 : 0;
    errno = error;
  }
  attempt(name, result);
  const int saved = errno;
  close(fd);
  errno = saved;
}

// ADDRESS PORT ...
int do_dial(const Arguments& a) {
  Attempts attempt;
  for (size_t i = 0; i + 1 < a.size(); i += 2) dial(attempt, a[i], a[i], atoi(a[i + 1]));
  return attempt.done();
}

// One socket of each family and kind.
int do_sockets(const Arguments&) {
  Attempts attempt;
  constexpr struct {
    const char* name;
    int family, type, protocol;
  } kSockets[] = {{"unix", AF_UNIX, SOCK_STREAM, 0},
                  {"inet", AF_INET, SOCK_STREAM, 0},
                  {"inet6", AF_INET6, SOCK_STREAM, 0},
                  {"udp", AF_INET, SOCK_DGRAM, 0},
                  {"netlink route", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE},
                  {"raw", AF_INET, SOCK_RAW, IPPROTO_TCP},
                  {"raw6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
                  {"packet", AF_PACKET, SOCK_RAW, 0x300},
                  {"packet datagram", AF_PACKET, SOCK_DGRAM, 0x300},
                  {"alg", AF_ALG, SOCK_SEQPACKET, 0},
                  {"vsock", AF_VSOCK, SOCK_STREAM, 0},
                  {"key", AF_KEY, SOCK_RAW, 2},
                  {"xdp", AF_XDP, SOCK_RAW, 0},
                  {"bluetooth", AF_BLUETOOTH, SOCK_RAW, 1},
                  {"can", AF_CAN, SOCK_RAW, 1},
                  {"tipc", AF_TIPC, SOCK_SEQPACKET, 0},
                  {"rds", AF_RDS, SOCK_SEQPACKET, 0},
                  {"qipcrtr", AF_QIPCRTR, SOCK_DGRAM, 0},
                  {"netlink audit", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT},
                  {"netlink uevent", AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT},
                  {"netlink netfilter", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER},
                  {"netlink crypto", AF_NETLINK, SOCK_RAW, NETLINK_CRYPTO},
                  {"netlink connector", AF_NETLINK, SOCK_RAW, NETLINK_CONNECTOR}};
  for (const auto& each : kSockets) {
    attempt.descriptor(each.name, socket(each.family, each.type | SOCK_CLOEXEC, each.protocol));
  }
  // Multicast groups of the kernel's: events of others.
  const int route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  sockaddr_nl groups{};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR;
  attempt("netlink groups", bind(route, reinterpret_cast<sockaddr*>(&groups), sizeof groups));
  return attempt.done();
}

// SECONDS OWN...: takes hold of every process of its user that appears, and
// says whether one was the launcher's and not yet a payload.
int do_hunt(const Arguments& a) {
  const long end = time(nullptr) + (a.empty() ? 1 : atoi(a[0]));
  int tried = 0, attached = 0;
  std::vector<std::string> caught;
  const auto exe_of = [](pid_t pid) {
    char target[256];
    const ssize_t n =
        readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), target, sizeof target);
    return n < 0 ? std::string() : std::string(target, static_cast<size_t>(n));
  };
  const auto ours = [&](pid_t pid) {
    return exe_of(pid).find("memfd:cloister") != std::string::npos;
  };
  const auto before = listed();
  say("ready\n");
  while (time(nullptr) < end) {
    for (const pid_t pid : listed()) {
      if (std::binary_search(before.begin(), before.end(), pid)) continue;
      ++tried;
      const std::string name = std::to_string(pid);
      if (ours(pid)) caught.push_back("exe of " + name);
      const int memory = open(("/proc/" + name + "/mem").c_str(), O_RDWR | O_CLOEXEC);
      if (memory >= 0) {
        if (ours(pid)) caught.push_back("memory of " + name);
        close(memory);
      }
      const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
      const int fd = process < 0 ? -1 : static_cast<int>(syscall(SYS_pidfd_getfd, process, 3, 0));
      if (fd >= 0) {
        if (ours(pid)) caught.push_back("descriptor of " + name);
        close(fd);
      }
      if (process >= 0) close(process);
      // Not PTRACE_ATTACH, whose SIGSTOP may outlive the detaching: ptrace(2).
      if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0) {
        ++attached;
        ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr);
        waitpid(pid, nullptr, __WALL);
        if (ours(pid)) caught.push_back("trace of " + name);
        ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
      }
    }
  }
  Attempts out;
  out.json.number("tried", tried).number("attached", attached).key("caught").begin_array();
  for (const auto& what : caught) out.json.bytes(what);
  out.json.end_array();
  return out.done();
}

constexpr Act kNeighbours[] = {{"pids", do_pids},         {"assault", do_assault},
                               {"storm", do_storm},       {"ipc-make", do_ipc_make},
                               {"ipc-find", do_ipc_find}, {"key-add", do_key_add},
                               {"key-find", do_key_find}, {"serve", do_serve},
                               {"ask", do_ask},           {"half-open", do_half_open},
                               {"dial", do_dial},         {"sockets", do_sockets},
                               {"hunt", do_hunt}};

}  // namespace

std::span<const Act> neighbours() { return kNeighbours; }

}  // namespace cloister::probe
