// A few bytes over TCP and UDP: out to a server, and in through a port.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdlib>

#include "probe_say.hpp"

namespace cloister::probe {
namespace {

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&bytes); }
};

Address address_of(const char* host, const char* port) {
  Address out;
  const auto number = htons(static_cast<uint16_t>(atoi(port)));
  if (strchr(host, ':')) {
    auto* const v6 = reinterpret_cast<sockaddr_in6*>(&out.bytes);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = number;
    inet_pton(AF_INET6, host, &v6->sin6_addr);
    out.size = sizeof *v6;
  } else {
    auto* const v4 = reinterpret_cast<sockaddr_in*>(&out.bytes);
    v4->sin_family = AF_INET;
    v4->sin_port = number;
    inet_pton(AF_INET, host, &v4->sin_addr);
    out.size = sizeof *v4;
  }
  return out;
}

int new_socket(const char* protocol, const Address& address) {
  const int type = strcmp(protocol, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
  return socket(address.bytes.ss_family, type | SOCK_CLOEXEC, 0);
}

// Until the other side is silent for that long, or has ended.
std::string hear(int fd, int timeout_ms) {
  char text[256];
  pollfd ready{fd, POLLIN, 0};
  if (poll(&ready, 1, timeout_ms) <= 0) return {};
  const ssize_t got = recv(fd, text, sizeof text, 0);
  return {text, got > 0 ? static_cast<size_t>(got) : 0};
}

// tcp|udp ADDRESS PORT TEXT: sends the text; what comes back within five seconds.
int do_exchange(const Arguments& a) {
  if (a.size() < 4) return 121;
  Address address = address_of(a[1], a[2]);
  const int fd = new_socket(a[0], address);
  const timeval limit{2, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  Attempts attempt;
  const bool connected = attempt("error", connect(fd, address.get(), address.size));
  if (connected) (void)send(fd, a[3], strlen(a[3]), MSG_NOSIGNAL);
  attempt.json.bytes("answer", connected ? hear(fd, 5000) : "");
  return attempt.done();
}

// ADDRESS PORT TEXT: answers with the text, over TCP and UDP, until it is ended.
int do_answer(const Arguments& a) {
  if (a.size() < 3) return 121;
  Address address = address_of(a[0], a[1]);
  const int tcp = new_socket("tcp", address), udp = new_socket("udp", address);
  const int on = 1;
  setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  Attempts attempt;
  attempt("tcp", bind(tcp, address.get(), address.size));
  attempt("listen", listen(tcp, 16));
  attempt("udp", bind(udp, address.get(), address.size));
  attempt.done();
  for (;;) {
    pollfd ready[] = {{tcp, POLLIN, 0}, {udp, POLLIN, 0}};
    poll(ready, 2, -1);
    if (ready[0].revents) {
      const int peer = accept4(tcp, nullptr, nullptr, SOCK_CLOEXEC);
      (void)send(peer, a[2], strlen(a[2]), MSG_NOSIGNAL);
      close(peer);
    }
    if (ready[1].revents) {
      Address from;
      from.size = sizeof from.bytes;
      char text[256];
      if (recvfrom(udp, text, sizeof text, 0, from.get(), &from.size) >= 0)
        (void)sendto(udp, a[2], strlen(a[2]), 0, from.get(), from.size);
    }
  }
}

constexpr Act kNetworks[] = {{"exchange", do_exchange}, {"answer", do_answer}};

}  // namespace

std::span<const Act> networks() { return kNetworks; }

}  // namespace cloister::probe
