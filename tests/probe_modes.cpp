#include "probe_modes.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "probe_say.hpp"

namespace cloister::probe {
namespace {

int number(const Arguments& arguments, size_t index, int otherwise) {
  return index < arguments.size() ? atoi(arguments[index]) : otherwise;
}

int signal_number(const char* name) {
  if (name[0] >= '0' && name[0] <= '9') return atoi(name);
  for (int candidate = 1; candidate < 32; ++candidate) {
    const char* abbreviation = sigabbrev_np(candidate);
    if (abbreviation && std::string("SIG") + abbreviation == name) return candidate;
  }
  return 0;
}

void sleep_ms(int milliseconds) {
  timespec left{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  while (nanosleep(&left, &left) < 0 && errno == EINTR) {
  }
}

// {"error": "ENOENT"} or {"error": null}, and what else `more` adds.
template <class More>
int outcome(long result, const More& more) {
  const int error = result < 0 ? errno : 0;
  Json json;
  json.begin_object();
  if (error) {
    const char* name = strerrorname_np(error);
    json.bytes("error", name ? name : "?");
  } else {
    json.null("error");
  }
  more(json);
  json.end_object();
  say(json.text() + "\n");
  return error ? 1 : 0;
}

int outcome(long result) {
  return outcome(result, [](Json&) {});
}

// react MS END [SIGNAL=ANSWER]...: says "ready" and ends by itself after MS
// milliseconds. Each SIGNAL is answered with `ignore`, `again` (20 ms of cleaning
// up, then the signal's default action) or an exit code; END is an exit code or a
// signal, by its name.
void end_by(const char* how) {
  const int signal = signal_number(how);
  if (how[0] >= '0' && how[0] <= '9') _exit(atoi(how));
  ::signal(signal, SIG_DFL);
  sigset_t unblocked;
  sigemptyset(&unblocked);
  sigaddset(&unblocked, signal);
  sigprocmask(SIG_UNBLOCK, &unblocked, nullptr);
  raise(signal);
}

int do_react(const Arguments& a) {
  std::vector<std::string> answers(65);
  sigset_t heard;
  sigemptyset(&heard);
  for (size_t i = 2; i < a.size(); ++i) {
    const std::string text = a[i];
    const size_t equals = text.find('=');
    const int signal = signal_number(text.substr(0, equals).c_str());
    answers[static_cast<size_t>(signal)] = text.substr(equals + 1);
    sigaddset(&heard, signal);
  }
  sigprocmask(SIG_BLOCK, &heard, nullptr);
  timespec end{};
  clock_gettime(CLOCK_MONOTONIC, &end);
  const int64_t end_ns =
      int64_t{end.tv_sec} * 1'000'000'000 + end.tv_nsec + int64_t{number(a, 0, 0)} * 1'000'000;
  say("ready\n");
  for (;;) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t left = end_ns - now.tv_sec * 1'000'000'000 - now.tv_nsec;
    if (left <= 0) break;
    const timespec patience{left / 1'000'000'000, left % 1'000'000'000};
    const int signal = sigtimedwait(&heard, nullptr, &patience);
    if (signal <= 0) continue;
    const std::string& answer = answers[static_cast<size_t>(signal)];
    if (answer == "ignore") continue;
    if (answer != "again") _exit(atoi(answer.c_str()));
    sleep_ms(20);
    end_by(("SIG" + std::string(sigabbrev_np(signal))).c_str());
  }
  end_by(a[1]);
  return 99;
}

int do_exit(const Arguments& a) { _exit(number(a, 0, 0)); }

// Ends by that signal, as if its default action had been there all along.
int do_signal(const Arguments& a) {
  const int wanted = a.empty() ? 0 : signal_number(a[0]);
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(wanted, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, wanted);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  // glibc's raise() refuses 32 and 33, which are signals like all others.
  return outcome(syscall(SYS_tgkill, getpid(), gettid(), wanted));
}

int do_write(const Arguments& a) {
  if (a.size() < 2) return 121;
  return write(atoi(a[0]), a[1], strlen(a[1])) == static_cast<ssize_t>(strlen(a[1])) ? 0 : 1;
}

int do_sleep(const Arguments& a) {
  sleep_ms(number(a, 0, 1000));
  return 0;
}

// "ready", then wait for a signal with whatever disposition was given.
int do_hold(const Arguments&) {
  say("ready\n");
  for (;;) pause();
}

// A grandchild in the background, in a session of its own, and the end.
int do_orphan(const Arguments& a) {
  const int milliseconds = number(a, 0, 60'000);
  const pid_t child = fork();
  if (child == 0) {
    if (fork() == 0) {
      setsid();
      sleep_ms(milliseconds);
    }
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  return 0;
}

// N children in the same group that ignore every signal that can be ignored.
int do_brood(const Arguments& a) {
  for (int left = number(a, 0, 1); left > 0; --left) {
    if (fork() == 0) {
      for (int signal = 1; signal < 65; ++signal) ::signal(signal, SIG_IGN);
      for (;;) pause();
    }
  }
  say("ready\n");
  return number(a, 1, 0);
}

// Stops, and once continued stays for a moment: the kernel forgets to report a
// continue when the process has ended before anybody asked.
int do_stop(const Arguments& a) {
  raise(SIGSTOP);
  sleep_ms(number(a, 0, 200));
  return 0;
}

int do_connect(const Arguments& a) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = a.empty() ? "" : a[0];
  if (path.size() >= sizeof address.sun_path) return 121;
  memcpy(address.sun_path, path.data(), path.size());
  socklen_t size = sizeof address;
  if (!path.empty() && path[0] == '@') {
    address.sun_path[0] = '\0';
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return outcome(connect(fd, reinterpret_cast<sockaddr*>(&address), size));
}

// PATH [FD]: from this descriptor on, where the path is relative.
int do_read(const Arguments& a) {
  if (a.empty()) return 121;
  const int fd = openat(number(a, 1, AT_FDCWD), a[0], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return outcome(-1);
  std::string text(65536, '\0');
  const ssize_t n = read(fd, text.data(), text.size());
  return outcome(n, [&](Json& json) {
    if (n >= 0) json.bytes("text", std::string_view(text).substr(0, static_cast<size_t>(n)));
  });
}

// PATH TEXT [FD]: the same.
int do_file_write(const Arguments& a) {
  if (a.size() < 2) return 121;
  const int fd =
      openat(number(a, 2, AT_FDCWD), a[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  return outcome(fd < 0 ? -1 : write(fd, a[1], strlen(a[1])));
}

int do_stat(const Arguments& a) {
  if (a.empty()) return 121;
  struct stat status {};
  return outcome(stat(a[0], &status), [&](Json& json) {
    json.number("mode", status.st_mode).number("uid", status.st_uid).number("gid", status.st_gid);
    json.unsigned_number("dev", status.st_dev).unsigned_number("ino", status.st_ino);
    json.unsigned_number("rdev", status.st_rdev);
  });
}

// Every way back to uid 0 and to capabilities: each must fail for a payload
// that has given them up. Exit status 1 if one worked.
int do_regain(const Arguments&) {
  Json json;
  bool regained = false;
  json.begin_object();
  const auto attempt = [&](std::string_view name, long result) {
    const char* error = result < 0 ? strerrorname_np(errno) : nullptr;
    if (error) {
      json.bytes(name, error);
    } else {
      json.null(name);
      regained = true;
    }
  };
  attempt("setuid", setuid(0));
  attempt("seteuid", seteuid(0));
  attempt("setreuid", setreuid(0, 0));
  attempt("setresuid", setresuid(static_cast<uid_t>(-1), 0, static_cast<uid_t>(-1)));
  attempt("setresuid_saved", setresuid(static_cast<uid_t>(-1), static_cast<uid_t>(-1), 0));
  attempt("setgid", setgid(0));
  attempt("setresgid", setresgid(0, 0, 0));
  const gid_t group = 0;
  attempt("setgroups", setgroups(1, &group));
  setfsuid(0);
  const bool filesystem = setfsuid(static_cast<uid_t>(-1)) == 0;
  json.boolean("setfsuid_worked", filesystem);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (auto& word : data) word = {~0u, ~0u, ~0u};
  attempt("capset", syscall(SYS_capset, &header, data));
  attempt("capset_ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
  json.boolean("regained", regained || filesystem).end_object();
  say(json.text() + "\n");
  return regained || filesystem ? 1 : 0;
}

int do_ignore_term(const Arguments&) {
  for (int signal = 1; signal < 65; ++signal) ::signal(signal, SIG_IGN);
  say("ready\n");
  for (;;) pause();
}

int do_cat(const Arguments&) {
  char buffer[65536];
  ssize_t n;
  while ((n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0) {
    say({buffer, static_cast<size_t>(n)});
  }
  return n < 0 ? 1 : 0;
}

// Names each signal it gets, until SIGTERM.
int do_name_signals(const Arguments&) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  say("ready\n");
  for (;;) {
    siginfo_t info{};
    const int got = sigwaitinfo(&all, &info);
    if (got < 0) continue;
    const char* name = sigabbrev_np(got);
    say("SIG" + (name ? std::string(name) : std::to_string(got)) + "\n");
    if (got == SIGTERM) return 0;
  }
}

// The size of the terminal on standard input, at once and at each change.
int do_window(const Arguments& a) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  for (int left = number(a, 0, 1);; --left) {
    winsize size{};
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0) return 1;
    say(std::to_string(size.ws_row) + " " + std::to_string(size.ws_col) + "\n");
    if (left <= 0) return 0;
    int got;
    sigwait(&set, &got);
  }
}

// Uses processor time and memory, so that rusage has something to show.
int do_burn(const Arguments& a) {
  const long microseconds = 1000L * number(a, 0, 100);
  std::string memory(static_cast<size_t>(number(a, 1, 0)) * 1024, 'x');
  for (;;) {
    timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    if (used.tv_sec * 1'000'000L + used.tv_nsec / 1000 >= microseconds) break;
    for (volatile int i = 0; i < 10'000;) i = i + 1;
  }
  return memory.empty() || memory.back() == 'x' ? 0 : 1;
}

// Junk into every descriptor that could be a way to the launcher, and into
// its parent's, by /proc: no report may be forged that way.
int do_junk(const Arguments& a) {
  const std::string junk(4096, '\xee');
  for (int fd = 0; fd < 1024; ++fd) {
    if (write(fd, junk.data(), junk.size()) < 0) continue;
    (void)send(fd, junk.data(), junk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  for (const char* process : {"1", "self"}) {
    for (int fd = 0; fd < 256; ++fd) {
      const std::string path = std::string("/proc/") + process + "/fd/" + std::to_string(fd);
      const int out = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
      if (out < 0) continue;
      (void)!write(out, junk.data(), junk.size());
      close(out);
    }
  }
  return number(a, 0, 0);
}

// Two shots at a file: created with this umask, and where a relative path goes.
int do_create(const Arguments& a) {
  if (a.empty()) return 121;
  return outcome(open(a[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0777));
}

// The line of /proc/self/mountinfo for what is mounted last at that path.
int do_mount(const Arguments& a) {
  if (a.empty()) return 121;
  FILE* table = fopen("/proc/self/mountinfo", "re");
  if (!table) return outcome(-1);
  std::string found;
  char* line = nullptr;
  size_t size = 0;
  const std::string wanted = " " + std::string(a[0]) + " ";
  while (getline(&line, &size, table) >= 0) {
    if (std::string_view(line).find(wanted) != std::string_view::npos) found = line;
  }
  free(line);
  fclose(table);
  say(found);
  return found.empty() ? 1 : 0;
}

// kill(2) of a number, or of everything that it may signal.
int do_kill(const Arguments& a) {
  if (a.size() < 2) return 121;
  return outcome(kill(atoi(a[0]), signal_number(a[1])));
}

// A message queue of this name, looked for where its file system is mounted.
int do_mqueue(const Arguments& a) {
  if (a.size() < 2 || a[0][0] != '/') return 121;
  const long queue = syscall(SYS_mq_open, a[0] + 1, O_RDWR | O_CREAT, 0600, nullptr);
  if (queue < 0) return outcome(queue);
  struct stat status {};
  return outcome(stat(a[1], &status));
}

int do_noop(const Arguments&) { return 0; }

constexpr Act kModes[] = {
    {"noop", do_noop},       {"exit", do_exit},     {"signal", do_signal},
    {"write", do_write},     {"sleep", do_sleep},   {"hold", do_hold},
    {"orphan", do_orphan},   {"brood", do_brood},   {"stop", do_stop},
    {"connect", do_connect}, {"read", do_read},     {"file-write", do_file_write},
    {"create", do_create},   {"stat", do_stat},     {"mount", do_mount},
    {"mqueue", do_mqueue},   {"regain", do_regain}, {"ignore-term", do_ignore_term},
    {"react", do_react},     {"cat", do_cat},       {"name-signals", do_name_signals},
    {"window", do_window},   {"burn", do_burn},     {"junk", do_junk},
    {"kill", do_kill}};

}  // namespace

int act(int argc, char** argv) {
  for (const std::span<const Act> acts :
       {std::span<const Act>(kModes), attacks(), levers(), neighbours(), networks(), filters(),
        leftovers(), leavings()}) {
    for (const Act& entry : acts) {
      if (entry.word == argv[1]) return entry.act(Arguments(argv + 2, argv + argc));
    }
  }
  return -1;
}

}  // namespace cloister::probe
