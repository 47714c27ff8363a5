#include "output.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "exit_code.hpp"
#include "file.hpp"
#include "options.hpp"
#include "sys/names.hpp"

namespace cloister::command {
int descriptor_of(std::string_view stream) {
  if (stream == "stdout") return STDOUT_FILENO;
  if (stream == "stderr") return STDERR_FILENO;
  throw Trouble{"the service sent output of an unknown stream: " + std::string(stream)};
}

std::string not_kept(uint64_t bytes, std::string_view stream) {
  return std::to_string(bytes) + (bytes == 1 ? " byte of " : " bytes of ") + std::string(stream) +
         (bytes == 1 ? " was not kept" : " were not kept");
}

Position::Step Position::advance(uint64_t offset, std::string_view data) {
  Step step;
  if (offset > next_) step.missing = offset - next_;
  const uint64_t known = offset < next_ ? next_ - offset : 0;
  data.remove_prefix(static_cast<size_t>(std::min<uint64_t>(known, data.size())));
  step.offset = std::max(offset, next_);
  step.fresh = data;
  next_ = step.offset + data.size();
  return step;
}

void Tail::add(OutputChunk chunk) {
  end_ = std::max(end_, chunk.offset + chunk.data.size());
  if (chunk.data.empty()) return;
  const auto newlines =
      static_cast<uint64_t>(std::count(chunk.data.begin(), chunk.data.end(), '\n'));
  newlines_ += newlines;
  parts_.push_back({std::move(chunk), newlines});
  // The newline before the last lines has to stay, too.
  while (newlines_ - parts_.front().newlines > lines_) {
    newlines_ -= parts_.front().newlines;
    parts_.pop_front();
  }
}

std::vector<OutputChunk> Tail::take() {
  std::vector<OutputChunk> last;
  uint64_t left = lines_;
  size_t part_of_last = 1;  // the very last byte: a newline there ends the last line
  for (; left > 0 && !parts_.empty(); parts_.pop_back()) {
    OutputChunk chunk = std::move(parts_.back().chunk);
    size_t start = chunk.data.size() - std::exchange(part_of_last, 0);
    while (start > 0 && (chunk.data[start - 1] != '\n' || --left > 0)) start--;
    chunk.data.erase(0, start);
    chunk.offset += start;
    if (!chunk.data.empty()) last.push_back(std::move(chunk));
  }
  std::reverse(last.begin(), last.end());
  return last;
}

OutputCopy::OutputCopy(const bool (&open)[3], bool quiet) : quiet_(quiet) {
  std::copy(std::begin(open), std::end(open), open_);
}

void OutputCopy::add(const Event& event) {
  const int fd = descriptor_of(event.stream);
  const auto [missing, offset, fresh] = positions_[fd].advance(event.offset, event.data);
  // Termination by SIGPIPE would leave no verdict.
  ::signal(SIGPIPE, SIG_IGN);
  if (missing != 0 && !quiet_)
    push(STDERR_FILENO, "cloister: " + not_kept(missing, event.stream) + "\n");
  push(fd, std::string(fresh));
}

void OutputCopy::push(int fd, std::string data) {
  if (!open_[fd] || data.empty()) return;
  waiting_ += data.size();
  parts_.push_back({fd, std::move(data)});
}

int OutputCopy::descriptor() const { return parts_.empty() ? -1 : parts_.front().fd; }

bool OutputCopy::write() {
  Part& part = parts_.front();
  const int fd = part.fd;
  const size_t most = std::min(part.data.size() - part.written, kUnblockedWrite);
  const ssize_t written = ::write(fd, part.data.data() + part.written, most);
  if (written < 0) {
    if (errno == EAGAIN || errno == EINTR) return true;
    if (errno != EPIPE) {
      complain(std::string("cannot write to ") + (fd == STDOUT_FILENO ? "stdout" : "stderr") +
               ": " + std::string(sys::errno_text(errno)));
      failed_ = true;
    }
    forget(fd);
    return false;
  }
  part.written += static_cast<size_t>(written);
  waiting_ -= static_cast<size_t>(written);
  if (part.written == part.data.size()) parts_.pop_front();
  return true;
}

void OutputCopy::forget(int fd) {
  open_[fd] = false;
  std::erase_if(parts_, [&](const Part& part) { return part.fd == fd; });
  waiting_ = 0;
  for (const Part& part : parts_) waiting_ += part.data.size() - part.written;
}

void OutputCopy::drop() {
  forget(STDOUT_FILENO);
  forget(STDERR_FILENO);
}

}  // namespace cloister::command
