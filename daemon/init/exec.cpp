// The last steps: signals as the payload expects them, filters, then execve(2).
#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/limits.h>
#include <linux/mman.h>

#include "kernel.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

using Strings = const char**;

// argv and env, NULL-terminated, in pages of their own: up to 65,536 each.
struct Vectors {
  Strings argv, env;
};

Vectors point_at_strings(Job& job) {
  const plan::Header& h = job.header();
  const size_t bytes = (size_t{h.argv.count} + h.env.count + 2) * sizeof(char*);
  const long at = must(
      job, Step::exec,
      call(Call::mmap, nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto* out = reinterpret_cast<Strings>(at);
  const auto fill = [&](plan::Span<plan::Text> list) {
    for (uint32_t i = 0; i < list.count; ++i) *out++ = job.plan().c_str(job.plan().at(list, i));
    *out++ = nullptr;
  };
  Vectors vectors{};
  vectors.argv = out;
  fill(h.argv);
  vectors.env = out;
  fill(h.env);
  return vectors;
}

long execute_descriptor(int fd, const Vectors& with) {
  const long failed = call(Call::execveat, fd, "", with.argv, with.env, AT_EMPTY_PATH);
  if (failed != -ENOENT) return failed;
  // A script: its interpreter opens /dev/fd/N, which must outlive the exec,
  // execveat(2) BUGS. So a script, and only a script, sees its own file.
  const long cleared = call(Call::fcntl, fd, F_SETFD, 0);
  if (cleared < 0) return cleared;
  return call(Call::execveat, fd, "", with.argv, with.env, AT_EMPTY_PATH);
}

// posix_spawnp(3): an element that forbids is remembered over one that has
// nothing; the shell is not asked to run what is no program (ENOEXEC).
long search_and_execute(const char* search, const char* name, const Vectors& with) {
  static char path[PATH_MAX];
  const size_t name_length = length(name);
  long answer = -ENOENT;
  for (const char* at = search;; ++at) {
    const char* end = at;
    while (*end && *end != ':') ++end;
    const auto prefix = static_cast<size_t>(end - at);
    if (prefix + name_length + 2 <= sizeof path) {
      size_t n = 0;
      for (const char* from = at; from < end; ++from) path[n++] = *from;
      if (prefix > 0) path[n++] = '/';  // an empty element is the working directory
      for (size_t i = 0; i <= name_length; ++i) path[n++] = name[i];
      const long failed = call(Call::execve, path, with.argv, with.env);
      if (failed == -EACCES)
        answer = failed;
      else if (failed != -ENOENT && failed != -ENOTDIR && failed != -ESTALE && failed != -ENODEV &&
               failed != -ETIMEDOUT)
        return failed;
    } else if (answer == -ENOENT && *end == 0) {
      answer = -ENAMETOOLONG;
    }
    if (*end == 0) return answer;
    at = end;
  }
}

}  // namespace

void reset_signals(Job& job) {
  const SignalAction defaults{},
      ignored{.handler = reinterpret_cast<void (*)(int)>(1) /* SIG_IGN */};
  for (int signal = 1; signal <= kSignals; ++signal) {
    if (signal == kSigKill || signal == kSigStop) continue;
    const bool by_default = job.header().signal_default >> (signal - 1) & 1;
    must(job, Step::signals,
         call(Call::rt_sigaction, signal, by_default ? &defaults : &ignored, nullptr, kSigSetBytes),
         static_cast<uint32_t>(signal));
  }
}

void execute(Job& job) {
  const plan::Header& h = job.header();
  const char* name = job.plan().c_str(h.executable);
  const Vectors with = point_at_strings(job);
  // The mask goes late: what waits for the payload reaches the payload.
  must(job, Step::signals,
       call(Call::rt_sigprocmask, 2 /* SIG_SETMASK */, &h.signal_mask, nullptr, kSigSetBytes));
  // Tells "the exec failed" from "something killed us before it".
  job.words->ready = 1;
  load_filters(job);
  long failed;
  if (h.executable_descriptor != kNone)
    failed = execute_descriptor(job.descriptors[h.executable_descriptor], with);
  else if ((h.flags & plan::kSearchPath) && !contains(name, '/') && name[0])
    failed = search_and_execute(job.plan().c_str(h.search), name, with);
  else
    failed = call(Call::execve, name, with.argv, with.env);
  fail(job, Step::exec, -failed);
}

}  // namespace cloister::init
