#include "host/process_stat.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace cloister::monitor {

sys::UniqueFd open_process(pid_t pid) {
  return sys::UniqueFd(
      ::open(("/proc/" + std::to_string(pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

// "pid (name) state ppid pgrp session tty tpgid flags ... exit_code"; the name may
// hold anything.
std::optional<ProcessStat> stat_of(int process) {
  const sys::UniqueFd file(::openat(process, "stat", O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t size = file ? ::read(file.borrow(), text, sizeof text) : -1;
  if (size <= 0) return {};
  const std::string line(text, static_cast<size_t>(size));
  const size_t name = line.rfind(')'), last = line.rfind(' ');
  ProcessStat stat{};
  if (name == line.npos || std::sscanf(line.c_str() + name, ") %c %d %*d %*d %*d %*d %u",
                                       &stat.state, &stat.parent, &stat.flags) != 3)
    return {};
  stat.wait_status = std::atoi(line.c_str() + last);
  return stat;
}

}  // namespace cloister::monitor
