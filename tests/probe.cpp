// The universal payload of the tests: prints as one line of JSON everything
// that a launcher can do to a process, as the process itself sees it.
//
//   probe                   report on standard output
//   probe report FD         report on that descriptor
//   probe report-file PATH  report into that file
//   probe WORD ...          one of the acts in probe_modes.cpp
//
// Asks by system call wherever there is one and by /proc only where not, so
// that it also answers in a sandbox without /proc: what cannot be known there
// is null.
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "probe_json.hpp"
#include "probe_modes.hpp"

extern char** environ;

namespace cloister::probe {
namespace {

std::optional<std::string> contents(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string out;
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) out.append(buffer, static_cast<size_t>(n));
  close(fd);
  if (n < 0) return std::nullopt;
  return out;
}

std::optional<std::string> link_target(const char* path) {
  char buffer[4096];
  const ssize_t n = readlink(path, buffer, sizeof buffer);
  if (n < 0) return std::nullopt;
  return std::string(buffer, static_cast<size_t>(n));
}

void maybe(Json& json, std::string_view name, const std::optional<std::string>& value) {
  if (value) {
    json.bytes(name, *value);
  } else {
    json.null(name);
  }
}

void file(Json& json, std::string_view name, const char* path) {
  maybe(json, name, contents(path));
}

std::vector<std::string_view> lines(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void file_lines(Json& json, std::string_view name, const char* path) {
  const auto text = contents(path);
  if (!text) {
    json.null(name);
    return;
  }
  json.key(name).begin_array();
  for (const auto line : lines(*text)) json.bytes(line);
  json.end_array();
}

void arguments(Json& json, int argc, char** argv) {
  json.key("argv").begin_array();
  for (int i = 0; i < argc; ++i) json.bytes(argv[i]);
  json.end_array();
  json.key("environ").begin_array();
  for (char** entry = environ; *entry; ++entry) json.bytes(*entry);
  json.end_array();
  maybe(json, "exe", link_target("/proc/self/exe"));
}

void ids(Json& json) {
  uid_t ruid, euid, suid;
  gid_t rgid, egid, sgid;
  getresuid(&ruid, &euid, &suid);
  getresgid(&rgid, &egid, &sgid);
  // setfsuid(2) of an invalid id changes nothing and gives the current one.
  const auto fsuid = static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1)));
  const auto fsgid = static_cast<gid_t>(setfsgid(static_cast<gid_t>(-1)));
  json.number("ruid", ruid).number("euid", euid).number("suid", suid).number("fsuid", fsuid);
  json.number("rgid", rgid).number("egid", egid).number("sgid", sgid).number("fsgid", fsgid);
  std::vector<gid_t> groups(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)));
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  json.key("groups").begin_array();
  for (int i = 0; i < count; ++i) json.number(groups[static_cast<size_t>(i)]);
  json.end_array();
}

void capabilities(Json& json) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  syscall(SYS_capget, &header, data);
  const auto both = [](uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; };
  uint64_t bounding = 0, ambient = 0;
  for (unsigned cap = 0; cap < 64; ++cap) {
    if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1) bounding |= 1ull << cap;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1) ambient |= 1ull << cap;
  }
  json.key("capabilities").begin_object();
  json.unsigned_number("effective", both(data[0].effective, data[1].effective));
  json.unsigned_number("permitted", both(data[0].permitted, data[1].permitted));
  json.unsigned_number("inheritable", both(data[0].inheritable, data[1].inheritable));
  json.unsigned_number("bounding", bounding).unsigned_number("ambient", ambient);
  json.end_object();
  json.number("securebits", prctl(PR_GET_SECUREBITS));
  json.number("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  // PR_GET_SECCOMP kills a process in strict mode, which then could not ask.
  json.number("seccomp", prctl(PR_GET_SECCOMP));
  json.number("dumpable", prctl(PR_GET_DUMPABLE));
  int parent_death = 0, subreaper = 0;
  prctl(PR_GET_PDEATHSIG, &parent_death);
  prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
  json.number("pdeathsig", parent_death).number("child_subreaper", subreaper);
}

void namespaces(Json& json) {
  static constexpr const char* kNames[] = {
      "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children",
      "user",   "uts"};
  json.key("namespaces").begin_object();
  for (const char* name : kNames) {
    struct stat status;
    const std::string path = std::string("/proc/self/ns/") + name;
    if (stat(path.c_str(), &status) == 0) {
      json.unsigned_number(name, status.st_ino);
    } else {
      json.null(name);
    }
  }
  json.end_object();
  file_lines(json, "uid_map", "/proc/self/uid_map");
  file_lines(json, "gid_map", "/proc/self/gid_map");
  file(json, "setgroups", "/proc/self/setgroups");
  file_lines(json, "timens_offsets", "/proc/self/timens_offsets");
  file_lines(json, "cgroup", "/proc/self/cgroup");
  file_lines(json, "mountinfo", "/proc/self/mountinfo");
}

const char* file_type(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFCHR: return "character";
    case S_IFBLK: return "block";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    case S_IFLNK: return "link";
    default: return "anonymous";  // pidfd, eventfd, ... have no type bits
  }
}

std::vector<int> open_descriptors() {
  std::vector<int> out;
  if (DIR* directory = opendir("/proc/self/fd")) {
    while (const dirent* entry = readdir(directory)) {
      char* end = nullptr;
      const long fd = strtol(entry->d_name, &end, 10);
      if (*end == '\0' && fd != dirfd(directory)) out.push_back(static_cast<int>(fd));
    }
    closedir(directory);
  } else {
    // A descriptor may lie above a limit that was lowered later.
    for (int fd = 0; fd < 1 << 16; ++fd) {
      if (fcntl(fd, F_GETFD) >= 0) out.push_back(fd);
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

void terminal(Json& json, int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) < 0) return;
  json.number("rows", size.ws_row).number("columns", size.ws_col);
  json.number("foreground", tcgetpgrp(fd));
  char name[256];
  if (ttyname_r(fd, name, sizeof name) == 0) {
    json.bytes("ttyname", name);
  } else {
    json.null("ttyname");
  }
}

void descriptors(Json& json, const std::vector<int>& fds) {
  json.key("fds").begin_array();
  for (const int fd : fds) {
    struct stat status;
    if (fstat(fd, &status) < 0) continue;
    json.begin_object().number("fd", fd).bytes("type", file_type(status.st_mode));
    json.unsigned_number("dev", status.st_dev).unsigned_number("ino", status.st_ino);
    json.unsigned_number("rdev", status.st_rdev).number("mode", status.st_mode & 07777);
    json.number("flags", fcntl(fd, F_GETFL));
    json.boolean("cloexec", (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    // O_PATH descriptors have no offset, pipes and sockets neither.
    const off_t offset = lseek(fd, 0, SEEK_CUR);
    if (offset >= 0) {
      json.number("offset", offset);
    } else {
      json.null("offset");
    }
    maybe(json, "target", link_target(("/proc/self/fd/" + std::to_string(fd)).c_str()));
    terminal(json, fd);
    json.end_object();
  }
  json.end_array();
}

void signals(Json& json, uint64_t blocked) {
  // The raw calls: glibc hides 32 and 33 from its own.
  struct KernelAction {
    void* handler;
    unsigned long flags;
    void* restorer;
    uint64_t mask;
  };
  uint64_t ignored = 0, caught = 0, pending = 0;
  for (int number = 1; number <= 64; ++number) {
    KernelAction action{};
    if (syscall(SYS_rt_sigaction, number, nullptr, &action, sizeof action.mask) < 0) continue;
    const uint64_t bit = 1ull << (number - 1);
    if (action.handler == reinterpret_cast<void*>(SIG_IGN)) {
      ignored |= bit;
    } else if (action.handler != reinterpret_cast<void*>(SIG_DFL)) {
      caught |= bit;
    }
  }
  syscall(SYS_rt_sigpending, &pending, sizeof pending);
  json.key("signals").begin_object();
  const auto set = [&](std::string_view name, uint64_t mask) {
    json.key(name).begin_array();
    for (int number = 1; number <= 64; ++number) {
      if (mask >> (number - 1) & 1) json.number(number);
    }
    json.end_array();
  };
  set("blocked", blocked);
  set("ignored", ignored);
  set("caught", caught);
  set("pending", pending);
  json.end_object();
}

void rlimits(Json& json) {
  static constexpr struct {
    const char* name;
    int resource;
  } kLimits[] = {{"RLIMIT_CPU", RLIMIT_CPU},           {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                 {"RLIMIT_DATA", RLIMIT_DATA},         {"RLIMIT_STACK", RLIMIT_STACK},
                 {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_RSS", RLIMIT_RSS},
                 {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                 {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},   {"RLIMIT_AS", RLIMIT_AS},
                 {"RLIMIT_LOCKS", RLIMIT_LOCKS},       {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                 {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
                 {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},     {"RLIMIT_RTTIME", RLIMIT_RTTIME}};
  json.key("rlimits").begin_object();
  for (const auto& limit : kLimits) {
    rlimit value{};
    getrlimit(static_cast<__rlimit_resource>(limit.resource), &value);
    json.key(limit.name).begin_object();
    const auto bound = [&](std::string_view name, rlim_t n) {
      if (n == RLIM_INFINITY) {
        json.bytes(name, "unlimited");
      } else {
        json.unsigned_number(name, n);
      }
    };
    bound("soft", value.rlim_cur);
    bound("hard", value.rlim_max);
    json.end_object();
  }
  json.end_object();
}

void scheduling(Json& json) {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes{};
  syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0);
  timespec interval{};
  sched_rr_get_interval(0, &interval);
  json.key("scheduler").begin_object();
  json.unsigned_number("policy", attributes.policy);
  json.unsigned_number("priority", attributes.priority);
  json.boolean("reset_on_fork", (attributes.flags & 1) != 0);  // SCHED_FLAG_RESET_ON_FORK
  json.unsigned_number("runtime_ns", attributes.runtime);
  json.unsigned_number("deadline_ns", attributes.deadline);
  json.unsigned_number("period_ns", attributes.period);
  json.number("rr_interval_ns", interval.tv_sec * 1'000'000'000 + interval.tv_nsec);
  json.end_object();
  json.number("nice", getpriority(PRIO_PROCESS, 0));
  cpu_set_t processors;
  CPU_ZERO(&processors);
  sched_getaffinity(0, sizeof processors, &processors);
  json.key("affinity").begin_array();
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &processors)) json.number(cpu);
  }
  json.end_array();
  const long io = syscall(SYS_ioprio_get, 1, 0);  // IOPRIO_WHO_PROCESS
  json.key("ioprio").begin_object();
  json.number("class", io >> 13).number("level", io & 7).end_object();
  const auto score = contents("/proc/self/oom_score_adj");
  if (score) {
    json.number("oom_score_adj", strtol(score->c_str(), nullptr, 10));
  } else {
    json.null("oom_score_adj");
  }
  json.unsigned_number("personality", static_cast<uint32_t>(personality(0xffffffff)));
  json.number("timer_slack_ns", prctl(PR_GET_TIMERSLACK));
}

void session(Json& json) {
  json.number("pid", getpid()).number("ppid", getppid());
  json.number("pgid", getpgid(0)).number("sid", getsid(0));
  const int controlling = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (controlling >= 0) {
    json.key("controlling_terminal").begin_object();
    terminal(json, controlling);
    json.end_object();
    close(controlling);
  } else {
    json.null("controlling_terminal");
  }
  const long serial = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
  char description[512]{};
  const long described =
      serial < 0 ? -1
                 : syscall(SYS_keyctl, KEYCTL_DESCRIBE, serial, description, sizeof description);
  json.key("keyring").begin_object();
  if (serial < 0) {
    json.null("serial");
  } else {
    json.number("serial", serial);
  }
  if (described < 0) {
    json.null("description");
  } else {
    json.bytes("description", description);
  }
  json.end_object();
}

void places(Json& json) {
  const mode_t mask = umask(0);
  umask(mask);
  json.number("umask", mask);
  char* cwd = getcwd(nullptr, 0);
  maybe(json, "cwd", cwd ? std::optional<std::string>(cwd) : std::nullopt);
  free(cwd);
  maybe(json, "root", link_target("/proc/self/root"));
  utsname names{};
  uname(&names);
  json.bytes("hostname", names.nodename).bytes("domainname", names.domainname);
  json.key("clocks_ns").begin_object();
  const auto clock = [&](std::string_view name, clockid_t id) {
    timespec now{};
    clock_gettime(id, &now);
    json.number(name, now.tv_sec * 1'000'000'000 + now.tv_nsec);
  };
  clock("realtime", CLOCK_REALTIME);
  clock("monotonic", CLOCK_MONOTONIC);
  clock("boottime", CLOCK_BOOTTIME);
  json.end_object();
}

void network(Json& json) {
  json.key("interfaces");
  struct if_nameindex* list = if_nameindex();
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (!list || control < 0) {
    json.null();
  } else {
    json.begin_array();
    for (auto* entry = list; entry->if_index != 0; ++entry) {
      ifreq request{};
      strncpy(request.ifr_name, entry->if_name, sizeof request.ifr_name - 1);
      ioctl(control, SIOCGIFFLAGS, &request);
      const int flags = request.ifr_flags;
      json.begin_object().bytes("name", entry->if_name).number("flags", flags);
      json.boolean("up", (flags & IFF_UP) != 0).end_object();
    }
    json.end_array();
  }
  if (control >= 0) close(control);
  if (list) if_freenameindex(list);
}

void status(Json& json) {
  const auto text = contents("/proc/self/status");
  if (!text) {
    json.null("status");
    return;
  }
  json.key("status").begin_object();
  for (const auto line : lines(*text)) {
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    json.bytes(line.substr(0, colon), value == line.npos ? "" : line.substr(value));
  }
  json.end_object();
}

// What fork(2) and execve(2) hand on without anybody naming it.
void handed_on(Json& json) {
  json.key("handed_on").begin_object();
  const auto option = [&](std::string_view name, int number, unsigned long argument = 0) {
    json.number(name, prctl(number, argument, 0, 0, 0));
  };
  option("thp_disable", PR_GET_THP_DISABLE);
  option("memory_merge", 68 /* PR_GET_MEMORY_MERGE */);
  option("mdwe", 66 /* PR_GET_MDWE */);
  option("io_flusher", 58 /* PR_GET_IO_FLUSHER */);
  option("mce_kill", PR_MCE_KILL_GET);
  option("store_bypass", PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS);
  option("indirect_branch", PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH);
  option("l1d_flush", PR_GET_SPECULATION_CTRL, 2 /* PR_SPEC_L1D_FLUSH */);
  int counter = 0;
  prctl(PR_GET_TSC, &counter);
  json.number("tsc", counter);
  uint64_t cookie = 0;
  prctl(62 /* PR_SCHED_CORE */, 0 /* GET */, 0, 0 /* of a thread */, &cookie);
  json.boolean("core_cookie", cookie != 0);
  int policy = 0;
  unsigned long nodes[16]{};
  syscall(SYS_get_mempolicy, &policy, nodes, 8 * sizeof nodes, nullptr, 0);
  json.number("mempolicy", policy).unsigned_number("memory_nodes", nodes[0]);
  uint32_t clamps[14]{};  // struct sched_attr, of which the last two
  syscall(SYS_sched_getattr, 0, clamps, sizeof clamps, 0);
  json.unsigned_number("util_min", clamps[12]).unsigned_number("util_max", clamps[13]);
  file(json, "coredump_filter", "/proc/self/coredump_filter");
  file(json, "autogroup", "/proc/self/autogroup");
  itimerval timer{};
  getitimer(ITIMER_REAL, &timer);
  json.boolean("timer", timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0);
  json.end_object();
}

std::string report(int argc, char** argv) {
  // First of all: what the asking itself would change.
  uint64_t blocked = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &blocked, sizeof blocked);
  const std::vector<int> fds = open_descriptors();

  Json json;
  json.begin_object();
  arguments(json, argc, argv);
  ids(json);
  capabilities(json);
  namespaces(json);
  descriptors(json, fds);
  signals(json, blocked);
  rlimits(json);
  scheduling(json);
  session(json);
  places(json);
  network(json);
  status(json);
  handed_on(json);
  json.end_object();
  return json.text() + "\n";
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

int main(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word.empty()) return write_all(STDOUT_FILENO, report(argc, argv)) ? 0 : 120;
  if (word == "report" && argc > 2) return write_all(atoi(argv[2]), report(argc, argv)) ? 0 : 120;
  if (word == "report-file" && argc > 2) {
    const std::string text = report(argc, argv);
    const int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd >= 0 && write_all(fd, text) ? 0 : 120;
  }
  int result = act(argc, argv);
  if (result < 0) result = act_on_privileges(argc, argv);
  if (result < 0) {
    write_all(STDERR_FILENO, "probe: no such act\n");
    return 121;
  }
  return result;
}

}  // namespace
}  // namespace cloister::probe

int main(int argc, char** argv) { return cloister::probe::main(argc, argv); }
