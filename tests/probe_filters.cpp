// Acts about system call filters: calls by number, natively and by the other
// entries of the kernel, and what a payload can do to its own filters.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>

#include "probe_say.hpp"

namespace cloister::probe {
namespace {

// A negative result is an errno.
long by_int80(long number, const unsigned long* a) {
#if defined(__x86_64__)
  long result;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
               : "memory", "r8", "r9", "r10", "r11");
  return static_cast<int>(result);
#else
  (void)number, (void)a;
  return -ENOSYS;
#endif
}

long natively(long number, const unsigned long* a) {
  errno = 0;
  const long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  return result < 0 ? -errno : result;
}

// In a child, since a call may end it: {"1": "EPERM"}, null where it worked,
// "SIGSYS" where it was deadly.
void answer(Json& json, const std::string& word) {
  std::vector<unsigned long> parts;
  const char* at = word.c_str() + word.find(':') + 1;
  for (;;) {
    char* end;
    parts.push_back(strtoul(at, &end, 0));
    if (*end != ':') break;
    at = end + 1;
  }
  const long number = static_cast<long>(parts[0]);
  parts.erase(parts.begin());
  parts.resize(6);
  int ends[2];
  if (pipe(ends) < 0) _exit(120);
  const pid_t child = fork();
  if (child == 0) {
    const long result = word.starts_with("int80:") ? by_int80(number, parts.data())
                                                   : natively(number, parts.data());
    const long told = result < 0 ? result : 0;
    // A call that forks has two ends.
    _exit(write(ends[1], &told, sizeof told) == sizeof told ? 0 : 1);
  }
  close(ends[1]);
  long told = 0;
  const bool said = read(ends[0], &told, sizeof told) == sizeof told;
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  json.key(word);
  if (!said && WIFSIGNALED(status)) {
    json.bytes("SIG" + std::string(sigabbrev_np(WTERMSIG(status))));
  } else if (told < 0) {
    const char* name = strerrorname_np(static_cast<int>(-told));
    json.bytes(name ? name : "?");
  } else {
    json.null();
  }
}

// ABI:NUMBER[:ARGUMENT]...: each is made; ABI is "native" or "int80".
int do_abi_calls(const Arguments& a) {
  Json json;
  json.begin_object();
  for (const char* word : a) answer(json, word);
  json.end_object();
  say(json.text() + "\n");
  return 0;
}

void* rest(void*) {
  pause();
  return nullptr;
}

// {"threads": [{"Seccomp": "2", ...}, ...]}: of every thread, one that began later among them.
int do_filters(const Arguments&) {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, rest, nullptr) != 0) return 120;
  Json json;
  json.begin_object().key("threads").begin_array();
  for (int id = getpid(); id < getpid() + 64; ++id) {
    std::ifstream status("/proc/self/task/" + std::to_string(id) + "/status");
    if (!status) continue;
    json.begin_object();
    std::string line;
    while (std::getline(status, line))
      for (const std::string_view name : {"NoNewPrivs", "Seccomp", "Seccomp_filters"})
        if (line.starts_with(std::string(name) + ":\t"))
          json.bytes(name, line.substr(name.size() + 2));
    json.end_object();
  }
  json.end_array().end_object();
  say(json.text() + "\n");
  return 0;
}

// Loads a filter of its own again and again until the kernel takes no more.
int do_stack_filters(const Arguments&) {
  std::vector<sock_filter> allow(4000, sock_filter{BPF_JMP | BPF_JA, 0, 0, 0});
  allow.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
  const sock_fprog program{static_cast<unsigned short>(allow.size()), allow.data()};
  const int loaded = [&] {
    for (int i = 0; i < 1000; ++i)
      if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return i;
    return 1000;
  }();
  Json json;
  json.begin_object().number("loaded", loaded);
  json.bytes("error", strerrorname_np(errno)).end_object();
  say(json.text() + "\n");
  return 0;
}

// NUMBER: makes the call in a second thread, so that a filter's answer concerns
// one that is not the first.
int do_call_in_thread(const Arguments& a) {
  if (a.empty()) return 121;
  pthread_t thread;
  const auto call = [](void* number) -> void* {
    syscall(static_cast<long>(reinterpret_cast<intptr_t>(number)));
    return nullptr;
  };
  pthread_create(&thread, nullptr, call, reinterpret_cast<void*>(intptr_t{atoi(a[0])}));
  pthread_join(thread, nullptr);
  say("survived\n");
  return 0;
}

// NUMBER: takes care not to die of SIGSYS, and makes the call.
int do_stubborn_call(const Arguments& a) {
  if (a.empty()) return 121;
  signal(SIGSYS, [](int) { say("caught\n"); });
  syscall(atoi(a[0]));
  pause();
  return 0;
}

constexpr Act kFilters[] = {{"abi-calls", do_abi_calls},
                            {"filters", do_filters},
                            {"stack-filters", do_stack_filters},
                            {"call-in-thread", do_call_in_thread},
                            {"stubborn-call", do_stubborn_call}};

}  // namespace

std::span<const Act> filters() { return kFilters; }

}  // namespace cloister::probe
