// mountinfo, line by line: what is mounted in init's mount namespace, as the
// kernel itself lists it, proc_pid_mountinfo(5):
// "id parent major:minor root point options [tag ...] - type source options".
#pragma once

#include <asm/errno.h>
#include <linux/fcntl.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {

struct MountLine {
  uint32_t id = 0, parent = 0;
  const char* root = "/";   // what of the file system is shown; of nsfs no path: "net:[INODE]"
  const char* point = "/";  // where
  const char* options = "";
  const char* type = "";
};

// False: no line of mountinfo. Writes NULs into `line`, and undoes its escapes.
bool read_mount_line(char* line, MountLine& out);

// What is mounted meanwhile may be listed or not; nothing else is left out.
template <class Each>
void each_mount(Job& job, Step step, Each each) {
  static char text[64 * 1024];
  const int file =
      must_fd(job, step, call(Call::openat, job.proc, "self/mountinfo", O_RDONLY | O_CLOEXEC));
  size_t have = 0;
  for (;;) {
    const long got = must(job, step, call(Call::read, file, text + have, sizeof text - 1 - have));
    have += static_cast<size_t>(got);
    size_t begin = 0;
    for (size_t i = 0; i < have; ++i) {
      if (text[i] != '\n') continue;
      text[i] = 0;
      MountLine line;
      if (!read_mount_line(text + begin, line)) fail(job, step, EPROTO);
      each(line);
      begin = i + 1;
    }
    for (size_t i = begin; i < have; ++i) text[i - begin] = text[i];
    have -= begin;
    if (got == 0) break;
    if (have == sizeof text - 1) fail(job, step, E2BIG);  // one line; paths are shorter
  }
  if (have != 0) fail(job, step, EPROTO);
  close(file);
}

}  // namespace cloister::init
