// A network of the test's own, for what leads out of the host: the test's
// process moves into a network namespace that plays the host, connected to one
// that plays everybody else. And into a mount namespace, because a machine
// without udev lets nobody but root open /dev/net/tun, and for a resolv.conf.
//
//   198.51.100.2, 2001:db8::2  host ---- everybody  198.51.100.1, 2001:db8::1
//                                                   169.254.169.254
//
// At 198.51.100.1 and 2001:db8::1 port 7000 answers over TCP and UDP, port 7001
// over UDP two seconds later, port 53 with 198.51.100.80 to whatever is asked; at
// 169.254.169.254 port 80 would.
#pragma once

#include <memory>

#include "service.hpp"

namespace cloister::system_test {

class Outside {
 public:
  Outside();
  ~Outside();  // back to where the test came from
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;

 private:
  Fd network_, mounts_, directory_;
  std::unique_ptr<Standing> everybody_;
  pid_t servers_ = -1;
};

// Why there cannot be one here; empty when there can.
std::string no_outside();

}  // namespace cloister::system_test
