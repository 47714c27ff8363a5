#include "outside.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace cloister::system_test {
namespace {

void ip(const std::string& words) {
  std::vector<std::string> argv = {"ip"};
  std::istringstream in(words);
  for (std::string word; in >> word;) argv.push_back(word);
  if (command(argv) != 0) throw std::runtime_error("ip " + words);
}

int listen_at(int type, uint16_t port) {
  const int fd = check(socket(AF_INET6, type | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  check(bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any), "bind");
  if (type == SOCK_STREAM) check(listen(fd, 64), "listen");
  return fd;
}

// RFC 1035: the question again, and one A record for its name.
size_t dns_answer(unsigned char* message, size_t size, size_t room) {
  constexpr unsigned char kRecord[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 198, 51, 100, 80};
  size_t end = 12;
  while (end < size && message[end]) end += message[end] + 1u;
  end += 5;  // the root's label, type, class
  if (end > size || end + sizeof kRecord > room) return 0;
  const bool address = message[end - 3] == 1;
  message[2] = 0x81, message[3] = 0x80;
  std::memset(message + 6, 0, 6);
  if (!address) return end;
  message[7] = 1;
  std::memcpy(message + end, kRecord, sizeof kRecord);
  return end + sizeof kRecord;
}

bool answers(const char* host) {
  const Fd fd(check(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const timeval limit{5, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(7000);
  inet_pton(AF_INET6, host, &address.sin6_addr);
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

[[noreturn]] void serve() {
  const int streams[] = {listen_at(SOCK_STREAM, 7000), listen_at(SOCK_STREAM, 80)};
  const int echo = listen_at(SOCK_DGRAM, 7000), dns = listen_at(SOCK_DGRAM, 53);
  const int late = listen_at(SOCK_DGRAM, 7001);
  for (;;) {
    pollfd set[] = {{streams[0], POLLIN, 0},
                    {streams[1], POLLIN, 0},
                    {echo, POLLIN, 0},
                    {dns, POLLIN, 0},
                    {late, POLLIN, 0}};
    poll(set, 5, -1);
    for (int i = 0; i < 2; ++i) {
      if (!set[i].revents) continue;
      const Fd peer(accept4(streams[i], nullptr, nullptr, SOCK_CLOEXEC));
      // What is unread when it is closed would take the answer along.
      char text[64];
      const timeval limit{5, 0};
      setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      (void)recv(peer.get(), text, sizeof text, 0);
      (void)send(peer.get(), "outside", 7, MSG_NOSIGNAL);
    }
    for (int i = 2; i < 5; ++i) {
      if (!set[i].revents) continue;
      unsigned char text[512];
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      const ssize_t got =
          recvfrom(set[i].fd, text, sizeof text, 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (got <= 0) continue;
      size_t size = static_cast<size_t>(got);
      if (set[i].fd == late) sleep(2);
      if (set[i].fd == dns) size = dns_answer(text, size, sizeof text);
      (void)sendto(set[i].fd, text, size, 0, reinterpret_cast<sockaddr*>(&from), length);
    }
  }
}

}  // namespace

Outside::Outside()
    : network_(check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "open")),
      mounts_(check(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), "open")),
      directory_(check(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), "open")) {
  check(unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare");
  check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount");
  check(mkdir("/dev/net", 0755) < 0 && errno != EEXIST ? -1 : 0, "mkdir");
  check(mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755"), "mount");
  const mode_t mask = umask(0);
  check(mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)), "mknod");
  umask(mask);
  const Fd resolver = memory_file("nameserver 198.51.100.1\noptions timeout:2\n");
  const std::string file = "/proc/self/fd/" + std::to_string(resolver.get());
  write_file("/dev/net/resolv.conf", read_file(file));
  check(mount("/dev/net/resolv.conf", "/etc/resolv.conf", nullptr, MS_BIND, nullptr), "mount");

  everybody_ = std::make_unique<Standing>([] { check(unshare(CLONE_NEWNET), "unshare"); });
  const std::string pid = std::to_string(everybody_->pid());
  // pasta leaves IPv6 out while the link-local address is still being probed.
  write_proc("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
  ip("link set lo up");
  ip("link add up0 type veth peer name down0 netns " + pid);
  ip("address add 198.51.100.2/24 dev up0");
  ip("address add 2001:db8::2/64 dev up0 nodad");
  ip("link set up0 up");
  servers_ = child([&]() -> int {
    const Fd theirs(
        check(open(("/proc/" + pid + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC), "open"));
    check(setns(theirs.get(), CLONE_NEWNET), "setns");
    ip("link set lo up");
    for (const char* address : {"198.51.100.1/24", "169.254.169.254/32", "2001:db8::1/64 nodad",
                                "fd00:ec2::254/128 nodad"})
      ip(std::string("address add dev down0 ") + address);
    ip("link set down0 up");
    serve();
  });
  ip("route add default via 198.51.100.1");
  ip("-6 route add default via 2001:db8::1");
  for (const char* address : {"::ffff:198.51.100.1", "2001:db8::1"})
    if (!eventually([&] { return answers(address); }))
      throw std::runtime_error(std::string(address) + " does not answer");
}

Outside::~Outside() {
  kill(servers_, SIGKILL);
  wait_for(servers_);
  everybody_.reset();
  if (setns(network_.get(), CLONE_NEWNET) < 0 || setns(mounts_.get(), CLONE_NEWNS) < 0 ||
      fchdir(directory_.get()) < 0) {
    std::perror("the test cannot go back to its namespaces");
    std::abort();
  }
}

std::string no_outside() {
  if (access("/usr/bin/pasta", X_OK) != 0) return "pasta (package passt) is not installed";
  if (access("/sbin/ip", X_OK) != 0) return "ip (package iproute2) is not installed";
  if (access("/sys/class/misc/tun", F_OK) != 0) return "this kernel has no tun devices";
  return {};
}

}  // namespace cloister::system_test
