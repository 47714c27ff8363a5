// Descriptors in a message of an AF_UNIX socket: SCM_RIGHTS, unix(7).
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <vector>

#include "sys/unique_fd.hpp"

namespace cloister::sys {

// With one message. The longest list is an Order's (lib/plan/order.hpp); the
// kernel takes 253, SCM_MAX_FD.
inline constexpr size_t kMaxRights = 28;

// What goes with one message; the descriptors stay the caller's. The list has
// room for kMaxRights. One more is not written anywhere, and makes the list one
// that send_rights() refuses.
class Rights {
 public:
  Rights() = default;
  Rights(std::initializer_list<int> descriptors) {
    for (int descriptor : descriptors) add(descriptor);
  }

  void add(int descriptor) {
    if (count_ < kMaxRights)
      list_[count_++] = descriptor;
    else
      too_many_ = true;
  }
  bool too_many() const { return too_many_; }
  std::span<const int> list() const { return {list_.data(), count_}; }

 private:
  std::array<int, kMaxRights> list_{};
  size_t count_ = 0;
  bool too_many_ = false;
};

// The whole of `bytes` and all of `rights`; MSG_NOSIGNAL is added to `flags`.
// False with E2BIG when `rights` were too many, else with errno of sendmsg(2).
bool send_rights(int socket, const void* bytes, size_t size, const Rights& rights, int flags = 0);

// One message; what came along, at most kMaxRights, is put behind `descriptors`,
// close-on-exec. As recvmsg(2): the size, 0 at the end, -1 with errno.
ssize_t receive_rights(int socket, void* bytes, size_t size, std::vector<UniqueFd>& descriptors);

}  // namespace cloister::sys
