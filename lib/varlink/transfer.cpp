#include "varlink/transfer.hpp"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>
#include <utility>

namespace cloister::varlink {
namespace {

boost::system::error_code last_error() { return {errno, boost::system::system_category()}; }

// Room for the descriptors of one message and for the credentials that arrive
// where the listener has SO_PASSCRED. CMSG_SPACE rounds up, so the kernel may
// deliver one descriptor more than kMaxDescriptors: the reader counts.
constexpr size_t kControlBytes =
    CMSG_SPACE(kMaxDescriptors * sizeof(int)) + CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int));

constexpr int kScmPidfd = 4;  // SCM_PIDFD, Linux 6.5; headers before that lack it

// Takes what the kernel has installed, so that every way out closes it.
std::vector<sys::UniqueFd> take_descriptors(const msghdr& header) {
  std::vector<sys::UniqueFd> taken;
  auto* mutable_header = const_cast<msghdr*>(&header);
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
       part = CMSG_NXTHDR(mutable_header, part)) {
    if (part->cmsg_level != SOL_SOCKET) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (part->cmsg_type == SCM_RIGHTS) {
      taken.reserve(taken.size() + count);
      for (size_t i = 0; i < count; i++) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        taken.emplace_back(fd);
      }
    } else if (part->cmsg_type == kScmPidfd && count == 1) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part), sizeof fd);
      sys::UniqueFd unwanted(fd);  // SO_PASSPIDFD is not ours; do not leak what it made
    }
  }
  return taken;
}

}  // namespace

Result<Progress> receive(int socket, FrameReader& reader) {
  const std::span<char> room = reader.room();
  ssize_t peeked;
  do {
    peeked = ::recv(socket, room.data(), room.size(), MSG_PEEK);
  } while (peeked < 0 && errno == EINTR);
  if (peeked < 0) {
    if (errno == EAGAIN) return Progress::blocked;
    return last_error();
  }
  const auto wanted = reader.peeked(static_cast<size_t>(peeked));
  if (!wanted) return wanted.error();

  alignas(cmsghdr) char control[kControlBytes];
  iovec part{room.data(), *wanted};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return last_error();
  auto descriptors = take_descriptors(header);
  if (header.msg_flags & MSG_CTRUNC) return FrameError::lost_descriptors;
  const auto complete = reader.consumed(static_cast<size_t>(got), std::move(descriptors));
  if (!complete) return complete.error();
  return *complete ? Progress::complete : Progress::partial;
}

Result<Progress> send(int socket, FrameWriter& writer) {
  const auto descriptors = writer.descriptors();
  // The kernel says EINVAL (ETOOMANYREFS for too many in flight), which names nothing.
  if (descriptors.size() > kMaxDescriptors) return FrameError::too_many_descriptors;
  const std::string_view rest = writer.rest();
  iovec part{const_cast<char*>(rest.data()), rest.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  if (!descriptors.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t count;
  do {
    count = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno == EAGAIN) return Progress::blocked;
    return last_error();
  }
  writer.sent(static_cast<size_t>(count));
  return writer.done() ? Progress::complete : Progress::partial;
}

Result<Message> read_message(int socket, FrameReader& reader) {
  for (;;) {
    const auto progress = receive(socket, reader);
    if (!progress) return progress.error();
    if (*progress == Progress::complete) return reader.take();
    // A blocking socket says EAGAIN when its SO_RCVTIMEO has passed.
    if (*progress == Progress::blocked)
      return boost::system::errc::make_error_code(boost::system::errc::timed_out);
  }
}

Result<void> write_message(int socket, std::string json, std::span<const int> descriptors) {
  FrameWriter writer(std::move(json), descriptors);
  for (;;) {
    const auto progress = send(socket, writer);
    if (!progress) return progress.error();
    if (*progress == Progress::complete) return {};
    if (*progress == Progress::blocked)
      return boost::system::errc::make_error_code(boost::system::errc::timed_out);
  }
}

}  // namespace cloister::varlink
