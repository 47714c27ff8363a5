// Opens the namespaces that a request names by the pidfd of a process that the front
// cannot trace. The kernel opens /proc/PID/ns only for a process that could trace PID,
// ptrace(2); init of the system service can, and the front has no capabilities.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/time_types.h>

#include "kernel.hpp"
#include "plan/namespaces.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::join;

// The pid of a pidfd's process in our /proc; 0: it is no pidfd, or the process has ended.
// "pos:\t0\n...Pid:\t123\nNSpid:...", proc_pid_fdinfo(5).
uint32_t process_of(const Job& job, int fd) {
  Line<32> path;
  path << "self/fdinfo/" << fd;
  const long info = call(Call::openat, job.proc, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (info < 0) return 0;
  char text[1024];
  const long got = call(Call::read, info, text, sizeof text - 1);
  close(static_cast<int>(info));
  text[got > 0 ? got : 0] = 0;
  for (const char* at = text; *at; ++at) {
    if (!starts_with(at, "\nPid:\t")) continue;
    uint32_t pid = 0;
    for (at += 6; *at >= '0' && *at <= '9'; ++at) pid = pid * 10 + static_cast<uint32_t>(*at - '0');
    return pid;
  }
  return 0;
}

// Opens ns/NAME of a process for a caller with uid 0, or for the owner of /proc/PID. That
// is the user of the process only while the process is dumpable, proc(5): while its user
// could trace it.
long open_of(const Job& job, uint32_t pid, const char* name) {
  Line<32> directory;
  directory << pid;
  const long process =
      call(Call::openat, job.proc, directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (process < 0) return process;
  struct stat owner {};
  long result = call(Call::fstat, process, &owner);
  if (result == 0 && job.order.caller_uid != 0 && owner.st_uid != job.order.caller_uid)
    result = -EACCES;
  Line<16> file;
  file << "ns/" << name;
  if (result == 0) result = call(Call::openat, process, file.c_str(), O_RDONLY | O_CLOEXEC);
  close(static_cast<int>(process));
  return result;
}

bool has_ended(int pidfd) {
  PollFd ended{pidfd, kPollIn, 0};
  const __kernel_timespec at_once{};
  return call(Call::ppoll, &ended, 1, &at_once, nullptr) != 0;
}

}  // namespace

void open_namespaces_of_processes(Job& job) {
  for (uint32_t i = 0; i < plan::kNamespaces; ++i) {
    const plan::NamespaceChoice& choice = job.header().namespaces[i];
    if (choice.join != plan::Join::descriptor) continue;
    const int fd = job.descriptors[choice.descriptor];
    struct statfs kind {};
    must(job, kStep, call(Call::fstatfs, fd, &kind), i);
    if (kind.f_type == kNsfsMagic) continue;
    const uint32_t pid = process_of(job, fd);
    if (pid == 0) continue;  // neither a namespace nor a process: its facts say so
    const int made = must_fd(job, kStep, open_of(job, pid, plan::kNamespaceWords[i]), i);
    // While the process lives its pid is not used again, so it was the right one. Signal 0
    // would not tell: PID 1 of a job cannot signal processes outside of its pid namespace.
    if (has_ended(fd)) fail(job, kStep, ESRCH, i);
    must(job, kStep, call(Call::dup3, made, fd, O_CLOEXEC), i);
    close(made);
  }
}

}  // namespace cloister::init
