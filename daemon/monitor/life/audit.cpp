#include "life/audit.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace cloister::monitor {

std::string escaped(std::string_view value) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    std::string next(1, c);
    if (byte < 0x20 || byte > 0x7e || c == '"' || c == '\\')
      next = {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    if (text.size() + next.size() > kMostOfValue - 3) return text + "...";
    text += next;
  }
  return text;
}

Audit::Audit(std::optional<std::string> journal)
    : on_(journal.has_value()),
      journal_(std::move(journal).value_or("")),
      socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  if (journal_.size() >= sizeof sockaddr_un{}.sun_path) journal_.clear();
}

void Audit::record(std::string_view decision, std::initializer_list<Field> fields) {
  if (!on_) return;
  // systemd.journal-fields(7): NAME=value lines. No value holds a newline.
  std::string line(decision), named = "CLOISTER_DECISION=" + line + "\n";
  const auto add = [&](std::string_view name, std::string_view value) {
    const std::string safe = escaped(value);
    line += " " + std::string(name) + "=";
    line += safe.find(' ') == std::string::npos ? safe : '"' + safe + '"';
    named += "CLOISTER_";
    for (const char c : name) named += c == '_' ? c : static_cast<char>(c - 'a' + 'A');
    named += "=" + safe + "\n";
  };
  for (const Field& field : fields)
    if (!field.value.empty()) add(field.name, field.value);
  if (missing_ != 0) add("missing", std::to_string(missing_));
  const bool good = decision == "accepted" || decision == "ended";
  std::optional<bool> taken;
  if (!journal_.empty())
    taken = to_journal("MESSAGE=" + line +
                       "\nSYSLOG_IDENTIFIER=cloisterd\nPRIORITY=" + (good ? "6\n" : "5\n") + named);
  const bool written = taken ? *taken : to_stderr(line);
  missing_ = written ? 0 : missing_ + 1;
}

std::optional<bool> Audit::to_journal(const std::string& entry) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  journal_.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::sendto(socket_.borrow(), entry.data(), entry.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
               reinterpret_cast<sockaddr*>(&address), sizeof address) >= 0)
    return true;
  // journald runs and its queue is full: the record is lost, and counted. If it went to
  // standard error instead, whoever fills the queue could choose where records go.
  if (errno == EAGAIN || errno == ENOBUFS) return false;
  return {};
}

// The reader of standard error may have stopped reading, so poll(2) comes first. O_NONBLOCK
// is no way out: it would be set for all processes that share the open file description.
// A pipe that is ready has space for PIPE_BUF bytes, pipe(7).
bool Audit::to_stderr(const std::string& line) {
  const std::string text = "cloisterd: " + line.substr(0, PIPE_BUF - 32) + "\n";
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  return ::poll(&ready, 1, 0) > 0 && (ready.revents & POLLOUT) &&
         ::write(STDERR_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace cloister::monitor
