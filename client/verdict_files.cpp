#include "verdict_files.hpp"

#include <fcntl.h>

#include <charconv>

#include "file.hpp"
#include "sys/names.hpp"

namespace cloister::command {

VerdictFiles::VerdictFiles(const CommandLine& line) {
  for (const auto& [id, value] : line.options) {
    const std::string text(value);
    if (id == Opt::verdict_file) {
      opened_.push_back(open_file(text, O_WRONLY | O_CREAT | O_TRUNC, "--verdict-file"));
      places_.push_back({text, opened_.back().borrow()});
    } else if (id == Opt::verdict_fd) {
      int fd = -1;
      const char* const end = text.data() + text.size();
      const auto read = std::from_chars(text.data(), end, fd);
      if (read.ec != std::errc() || read.ptr != end || fd < 0 || ::fcntl(fd, F_GETFD) < 0)
        throw Trouble{"--verdict-fd: " + text + " is not an open descriptor"};
      places_.push_back({"descriptor " + text, fd});
    }
  }
}

void VerdictFiles::write(const Verdict& verdict) const {
  if (places_.empty()) return;
  const std::string text = to_json(verdict) + "\n";
  for (const auto& [name, fd] : places_)
    if (const int error = write_all(fd, text); error != 0)
      throw Trouble{"the verdict cannot be written to " + name + ": " +
                    std::string(sys::errno_text(error))};
}

}  // namespace cloister::command
