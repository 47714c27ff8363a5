// The powers of a peer, by what the kernel says of its process: they count only
// of one that is root in every way.
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>

#include "admit/peer.hpp"
#include "outcome.hpp"

using namespace cloister;
using namespace cloister::monitor;

namespace {

// A process that makes a connection, then becomes another and stays.
class Connected {
 public:
  explicit Connected(const std::function<bool()>& become) {
    int ends[2], ready[2];
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    // Credentials are those of who makes the pair, socket(7).
    int channel[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      char word = 'n';
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 && become()) word = 'y';
      char control[CMSG_SPACE(sizeof(int))]{};
      iovec bytes{&word, 1};
      msghdr message{};
      message.msg_iov = &bytes;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* part = CMSG_FIRSTHDR(&message);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(part), &ends[0], sizeof(int));
      ::sendmsg(channel[1], &message, 0);
      for (;;) ::pause();
    }
    char word = 'n';
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
    iovec bytes{&word, 1};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    REQUIRE(::recvmsg(channel[0], &message, MSG_CMSG_CLOEXEC) == 1);
    REQUIRE(word == 'y');
    int socket = -1;
    std::memcpy(&socket, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof socket);
    socket_.reset(socket);
    for (int fd : {ready[0], ready[1], channel[0], channel[1]}) ::close(fd);
  }
  ~Connected() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;

  Peer peer() const {
    std::optional<Peer> peer = peer_of(socket_.borrow());
    REQUIRE(peer.has_value());
    REQUIRE(peer->pid == pid_);
    REQUIRE(complete(*peer, socket_.borrow()));
    return std::move(*peer);
  }

 private:
  pid_t pid_ = -1;
  sys::UniqueFd socket_;
};

// The raw call: the library would change all threads.
bool set_uids(long real, long effective, long saved) {
  return ::syscall(SYS_setresuid, real, effective, saved) == 0;
}

}  // namespace

TEST_CASE("a peer that is wholly root has the capabilities that its process holds") {
  if (::geteuid() != 0) SKIP("needs root");
  const Connected root([] { return true; });
  const Peer peer = root.peer();
  CHECK(peer.uid == 0);
  CHECK(peer.permitted != 0);
  CHECK(peer.bounding != 0);
  CHECK_FALSE(peer.no_new_privs);
}

TEST_CASE("a peer that is not wholly root has no powers: real, saved or file-system uid differ") {
  if (::geteuid() != 0) SKIP("needs root");
  struct Row {
    const char* what;
    std::function<bool()> become;
  };
  for (const Row& row : {Row{"the real uid", [] { return set_uids(1000, -1, -1); }},
                         Row{"the saved uid", [] { return set_uids(-1, -1, 1000); }},
                         Row{"the file-system uid", [] { return ::setfsuid(1000) == 0; }},
                         Row{"the real and saved uid", [] { return set_uids(1000, 0, 1000); }},
                         // It has dropped them for now, and holds them still.
                         Row{"the effective uid", [] { return set_uids(0, 1000, 0); }}}) {
    CAPTURE(std::string(row.what));
    const Connected caller(row.become);
    const Peer peer = caller.peer();
    CHECK(peer.uid == 0);  // when it connected
    CHECK(peer.permitted == 0);
    CHECK(peer.bounding == 0);
  }
}

TEST_CASE("a peer that was another when it connected has no powers, whoever it is now") {
  if (::geteuid() != 0) SKIP("needs root");
  // Of the effective uid of the time; a set-uid program may be root again.
  int ends[2];
  REQUIRE(::seteuid(1000) == 0);
  const bool made = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
  REQUIRE(::seteuid(0) == 0);
  REQUIRE(made);
  const sys::UniqueFd one(ends[0]), other(ends[1]);
  std::optional<Peer> peer = peer_of(one.borrow());
  REQUIRE(peer.has_value());
  REQUIRE(complete(*peer, one.borrow()));
  CHECK(peer->uid == 1000);
  CHECK(peer->permitted == 0);
}

TEST_CASE("a peer's no_new_privs is seen") {
  const Connected held([] { return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0; });
  CHECK(held.peer().no_new_privs);
}
