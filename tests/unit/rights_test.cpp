// Descriptors in one message: as many as the longest Order has, and no more.
#include "sys/rights.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "outcome.hpp"
#include "plan/order.hpp"

using namespace cloister::sys;

namespace {

struct Pair {
  Pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    left.reset(ends[0]);
    right.reset(ends[1]);
  }
  UniqueFd left, right;
};

// One memfd each, so that the order can be seen.
std::vector<UniqueFd> files(size_t count) {
  std::vector<UniqueFd> all;
  for (size_t i = 0; i < count; ++i) all.emplace_back(::memfd_create("rights", MFD_CLOEXEC));
  return all;
}

Rights rights_of(const std::vector<UniqueFd>& all) {
  Rights rights;
  for (const UniqueFd& fd : all) rights.add(fd.borrow());
  return rights;
}

ino_t inode(const UniqueFd& fd) {
  struct stat status {};
  REQUIRE(::fstat(fd.borrow(), &status) == 0);
  return status.st_ino;
}

}  // namespace

TEST_CASE("S16: as many descriptors as an Order may have pass in one message, in order") {
  CHECK(cloister::plan::kMaxOrderFds == 28);
  CHECK(kMaxRights >= cloister::plan::kMaxOrderFds);
  Pair pair;
  const auto sent = files(kMaxRights);
  const char byte = 'x';
  REQUIRE(send_rights(pair.left.borrow(), &byte, 1, rights_of(sent)));
  std::vector<UniqueFd> received;
  char got = 0;
  REQUIRE(receive_rights(pair.right.borrow(), &got, 1, received) == 1);
  REQUIRE(received.size() == kMaxRights);
  for (size_t i = 0; i < kMaxRights; ++i) {
    CHECK(inode(received[i]) == inode(sent[i]));
    CHECK((::fcntl(received[i].borrow(), F_GETFD) & FD_CLOEXEC) != 0);
  }
}

TEST_CASE("S16: one descriptor more is refused, and nothing of the message is sent") {
  Pair pair;
  const auto many = files(kMaxRights + 1);
  const Rights rights = rights_of(many);
  CHECK(rights.too_many());
  CHECK(rights.list().size() == kMaxRights);
  const char byte = 'x';
  errno = 0;
  CHECK_FALSE(send_rights(pair.left.borrow(), &byte, 1, rights));
  CHECK(errno == E2BIG);
  char got = 0;
  CHECK(::recv(pair.right.borrow(), &got, 1, 0) < 0);
  CHECK(errno == EAGAIN);
}

TEST_CASE(
    "S16: what another sends beyond the bound is cut off by the kernel, not written behind it") {
  Pair pair;
  const auto many = files(kMaxRights + 1);
  std::vector<int> numbers;
  for (const UniqueFd& fd : many) numbers.push_back(fd.borrow());
  char byte = 'x';
  iovec whole{&byte, 1};
  std::vector<char> control(CMSG_SPACE(numbers.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &whole;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(numbers.size() * sizeof(int));
  std::copy_n(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(int),
              reinterpret_cast<char*>(CMSG_DATA(part)));
  REQUIRE(::sendmsg(pair.left.borrow(), &message, 0) == 1);
  std::vector<UniqueFd> received;
  char got = 0;
  CHECK(receive_rights(pair.right.borrow(), &got, 1, received) == 1);
  CHECK(received.size() == kMaxRights);
}
