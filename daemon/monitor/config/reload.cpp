#include "config/reload.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

namespace cloister::monitor {
namespace {

constexpr char kName[] = "reload";
constexpr size_t kMostOfText = 4096;
constexpr char kDone = '0', kNot = '1';  // the first byte of the answer

// By the descriptor of its directory: no path is too long.
sockaddr_un address_in(int directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, kName);
  return address;
}

sys::UniqueFd listen_in(int directory) {
  const sockaddr_un address = address_in(directory);
  sys::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ::unlinkat(directory, kName, 0);  // of a service that was killed
  const mode_t before = ::umask(0177);
  const bool bound = socket && ::bind(socket.borrow(), reinterpret_cast<const sockaddr*>(&address),
                                      sizeof address) == 0;
  ::umask(before);
  if (bound && ::listen(socket.borrow(), 8) == 0) return socket;
  std::fprintf(stderr, "cloisterd: --reload does not work, SIGHUP does: %s\n",
               std::strerror(errno));
  return {};
}

}  // namespace

void Reloads::ask(Told told) {
  waiting_.push_back(std::move(told));
  if (!reading_) read();
}

void Reloads::read() {
  reading_ = true;
  source_.again(now_, [this, asked = std::exchange(waiting_, {})](Config fresh) {
    const Outcome outcome = settle(std::move(fresh));
    for (const Told& told : asked) told(outcome);
    reading_ = false;
    if (!waiting_.empty()) read();
  });
}

Reloads::Outcome Reloads::settle(Config fresh) {
  Outcome outcome{!fresh.wrong, "not reloaded: " + fresh.wrong.text()};
  if (outcome.done) {
    const std::string path = source_.path();
    outcome.text = "reloaded" + (path.empty() ? ": no configuration file" : " " + path);
    adopt_(std::move(fresh));
  }
  std::fprintf(stderr, "cloisterd: %s\n", outcome.text.c_str());
  return outcome;
}

ReloadSocket::ReloadSocket(boost::asio::io_context& io, int records, Reloads& reloads)
    : listener_(io), reloads_(reloads) {
  sys::UniqueFd socket = listen_in(records);
  if (!socket) return;
  listener_.assign(socket.take());
  wait();
}

void ReloadSocket::wait() {
  listener_.async_wait(
      boost::asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code error) {
        if (error) return;
        sys::UniqueFd asking(::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC));
        if (asking) answer(std::move(asking));
        wait();
      });
}

void ReloadSocket::answer(sys::UniqueFd asking) {
  ::shutdown(asking.borrow(), SHUT_RD);  // nothing is read from it, nothing can wait there
  const auto socket = std::make_shared<sys::UniqueFd>(std::move(asking));
  reloads_.ask([socket](const Reloads::Outcome& outcome) {
    const std::string message = (outcome.done ? kDone : kNot) + outcome.text.substr(0, kMostOfText);
    (void)::send(socket->borrow(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  });
}

int ask_to_reload(const std::string& runtime) {
  const std::string path = runtime + "/records";
  const sys::UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const sys::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_in(directory.borrow());
  if (!directory || !socket ||
      ::connect(socket.borrow(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    std::fprintf(stderr, "cloisterd: no service answers in %s: %s\n", runtime.c_str(),
                 std::strerror(errno));
    return EX_UNAVAILABLE;
  }
  char message[1 + kMostOfText];
  ssize_t size;
  do {
    size = ::recv(socket.borrow(), message, sizeof message, 0);
  } while (size < 0 && errno == EINTR);
  if (size < 1) {
    std::fputs("cloisterd: the service ended before it answered\n", stderr);
    return EX_UNAVAILABLE;
  }
  const bool done = message[0] == kDone;
  std::fprintf(done ? stdout : stderr, "cloisterd: %.*s\n", static_cast<int>(size - 1),
               message + 1);
  return done ? EX_OK : EX_CONFIG;
}

}  // namespace cloister::monitor
