#include "file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "options.hpp"
#include "sys/names.hpp"

namespace cloister::command {
namespace {

constexpr size_t kMost = 4u << 20;  // of one message, which none of these can exceed

}  // namespace

UniqueFd open_file(const std::string& path, int flags, const char* what) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0666));
  if (!fd)
    throw Trouble{std::string(what) + ": cannot open " + path + ": " +
                  std::string(sys::errno_text(errno))};
  return fd;
}

std::string read_file(const std::string& path) {
  UniqueFd opened;
  int fd = STDIN_FILENO;
  if (path != "-") {
    opened = open_file(path, O_RDONLY, "the file");
    fd = opened.borrow();
  }
  std::string text;
  char chunk[16384];
  for (;;) {
    const ssize_t got = ::read(fd, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Trouble{"cannot read " + path + ": " + std::string(sys::errno_text(errno))};
    if (got == 0) return text;
    text.append(chunk, static_cast<size_t>(got));
    if (text.size() > kMost) throw Trouble{path + " is larger than 4 MiB"};
  }
}

int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

void print(std::string_view text) {
  if (const int error = write_all(STDOUT_FILENO, text); error != 0)
    throw Trouble{"cannot write to stdout: " + std::string(sys::errno_text(error))};
}

}  // namespace cloister::command
