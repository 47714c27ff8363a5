// Finding a service: the sockets, and a private cloisterd of our own.
#pragma once

#include <sys/types.h>

#include "cloister/calls.hpp"

namespace cloister {

// A cloisterd that serves this process alone. It ends when the last copy of our
// end of its socket is closed; the destructor waits for that, so close the
// socket first.
class PrivateService {
 public:
  PrivateService() = default;
  PrivateService(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  PrivateService(PrivateService&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), pidfd_(std::move(other.pidfd_)) {}
  PrivateService& operator=(PrivateService&&) = delete;
  ~PrivateService();

 private:
  pid_t pid_ = 0;
  UniqueFd pidfd_;
};

struct Found {
  PrivateService service;
  UniqueFd socket;            // blocking
  Mode mode = Mode::unknown;  // unknown: the socket was named by path
  std::string path;           // of the socket; empty when private
};

Result<Found> find_service(const ConnectOptions& options);

// Another connection to a service that was found by path.
Result<UniqueFd> connect_socket(const std::string& path);

}  // namespace cloister
