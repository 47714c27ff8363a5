// Listeners of the host's own, in the test's process: what a job is to reach, or not.
#pragma once

#include <sys/socket.h>

#include <string>

#include "process.hpp"

namespace cloister::system_test {

// A stream socket that listens there.
Fd listen_at(const sockaddr* address, socklen_t size);
// At an abstract name, which is given without its NUL: unix(7).
Fd listen_abstract(const std::string& name);
// That the kernel chose for an internet socket.
uint16_t port_of(const Fd& socket);

}  // namespace cloister::system_test
