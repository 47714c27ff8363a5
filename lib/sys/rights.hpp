// Descriptors in a message of an AF_UNIX socket: SCM_RIGHTS, unix(7).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <vector>

#include "sys/unique_fd.hpp"

namespace cloister::sys {

inline constexpr size_t kMaxRights = 16;

// The whole of `bytes` and at most kMaxRights `descriptors`, which stay the
// caller's; MSG_NOSIGNAL is added to `flags`. False with errno of sendmsg(2).
bool send_rights(int socket, const void* bytes, size_t size, std::span<const int> descriptors,
                 int flags = 0);

// One message; what came along is put behind `descriptors`, close-on-exec. As
// recvmsg(2): the size, 0 at the end, -1 with errno.
ssize_t receive_rights(int socket, void* bytes, size_t size, std::vector<UniqueFd>& descriptors);

}  // namespace cloister::sys
