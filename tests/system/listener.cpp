#include "listener.hpp"

#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>

namespace cloister::system_test {

Fd listen_at(const sockaddr* address, socklen_t size) {
  Fd fd(check(socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  check(bind(fd.get(), address, size), "bind");
  check(listen(fd.get(), 64), "listen");
  return fd;
}

Fd listen_abstract(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  return listen_at(reinterpret_cast<const sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size()));
}

uint16_t port_of(const Fd& socket) {
  sockaddr_in6 address{};
  socklen_t size = sizeof address;
  check(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  return ntohs(address.sin6_port);  // at the same place in sockaddr_in
}

}  // namespace cloister::system_test
