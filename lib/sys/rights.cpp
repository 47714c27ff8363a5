#include "sys/rights.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace cloister::sys {

namespace {

// No cmsghdr fits in twice, so CMSG_SPACE leaves no room for one descriptor more.
constexpr size_t kControl = CMSG_SPACE(kMaxRights * sizeof(int));
static_assert(kControl == CMSG_LEN(kMaxRights * sizeof(int)));

}  // namespace

bool send_rights(int socket, const void* bytes, size_t size, const Rights& rights, int flags) {
  if (rights.too_many()) {
    errno = E2BIG;
    return false;
  }
  const std::span<const int> list = rights.list();
  iovec whole{const_cast<void*>(bytes), size};
  alignas(cmsghdr) char control[kControl];
  msghdr message{};
  message.msg_iov = &whole;
  message.msg_iovlen = 1;
  if (!list.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(list.size_bytes());
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(list.size_bytes());
    std::memcpy(CMSG_DATA(part), list.data(), list.size_bytes());
  }
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, flags | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(size);
}

ssize_t receive_rights(int socket, void* bytes, size_t size, std::vector<UniqueFd>& descriptors) {
  iovec whole{bytes, size};
  alignas(cmsghdr) char control[kControl];
  msghdr message{};
  message.msg_iov = &whole;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return got;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof descriptor);
      descriptors.emplace_back(descriptor);
    }
  }
  return got;
}

}  // namespace cloister::sys
