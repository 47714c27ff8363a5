#include "host/orphans.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <vector>

#include "host/process_stat.hpp"
#include "host/spawn.hpp"

namespace cloister::monitor {
namespace {

// Zombies too, proc(5). We have one thread.
std::vector<pid_t> children() {
  const std::string path = "/proc/self/task/" + std::to_string(::getpid()) + "/children";
  const sys::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char part[4096];
  for (ssize_t got; file && (got = ::read(file.borrow(), part, sizeof part)) > 0;)
    text.append(part, static_cast<size_t>(got));
  std::vector<pid_t> all;
  for (size_t at = 0; at < text.size(); at = text.find_first_not_of(' ', text.find(' ', at))) {
    pid_t pid = 0;
    std::from_chars(text.data() + at, text.data() + text.size(), pid);
    if (pid > 0) all.push_back(pid);
  }
  return all;
}

bool is_zombie(pid_t pid) {
  const sys::UniqueFd process = open_process(pid);
  const auto stat = process ? stat_of(process.borrow()) : std::nullopt;
  return stat && stat->state == 'Z';
}

}  // namespace

bool adopt_orphans() {
  // Of who became us by an exec.
  for (const pid_t pid : children()) count_as_ours(pid);
  return ::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

bool end_orphans() {
  bool none = true;
  for (const pid_t pid : children()) {
    if (is_ours(pid)) continue;
    ::kill(pid, SIGKILL);  // not reaped yet: the number is its own
    const bool reaped = ::waitpid(pid, nullptr, WNOHANG) == pid;
    // What it had comes to us next. A dead one that is traced is its tracer's.
    none &= !reaped && is_zombie(pid);
  }
  return none;
}

}  // namespace cloister::monitor
