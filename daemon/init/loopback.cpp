// The loopback interface of a network namespace.
#include <linux/sockios.h>

#include "kernel.hpp"
#include "verbs.hpp"

namespace cloister::init {

// In a network namespace that was just made.
void raise_loopback(Job& job) {
  const int fd =
      must_fd(job, Step::loopback, call(Call::socket, kAfInet, kSockDgram | kSockCloexec, 0));
  const InterfaceFlags request{"lo", kInterfaceUp, {}};
  must(job, Step::loopback, call(Call::ioctl, fd, SIOCSIFFLAGS, &request));
  close(fd);
}

}  // namespace cloister::init
