// Streams and descriptors of a Plan: what is opened, passed and placed where.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "resolving.hpp"

using namespace cloister;
using namespace cloister::front;
using namespace cloister::front::test;

TEST_CASE("streams become actions before the file actions") {
  const TempDir at;
  const Made nothing = make(kPlain);
  CHECK(nothing->actions.count == 0);
  const Made made = make(plain(R"(
      "stdin": {"path": "in"}, "stdout": {"passed_fd": 1}, "stderr": "stdout",
      "file_actions": [
        {"open": {"fd": 4, "path": "log", "flags": ["O_WRONLY", "O_CREAT"], "mode": "0640"}},
        {"dup2": {"fd": 4, "new_fd": 5, "inheritable": false}}, {"close": {"fd": 0}},
        {"closerange": {"fd_low": 6, "fd_high": 9}},
        {"receive": {"passed_fd": 0, "fd": 7, "directory": true}}, {"chdir": {"path": "sub"}},
        {"fchdir": {"fd": 7}}, {"tcsetpgrp": {"fd": 3}}])"),
                         fds(open_fd(at.path()), open_fd("/dev/null", O_WRONLY)));
  const auto actions = made.list(made->actions);
  REQUIRE(actions.size() == 11);
  using plan::Op;
  const Op order[] = {Op::open,        Op::receive, Op::dup2,  Op::open,   Op::dup2,     Op::close,
                      Op::close_range, Op::receive, Op::chdir, Op::fchdir, Op::tcsetpgrp};
  for (size_t i = 0; i < actions.size(); ++i) {
    CHECK(actions[i].op == order[i]);
    CHECK(actions[i].index == (i < 3 ? plan::kNone : i - 3));
  }
  CHECK(actions[0].flags == O_RDONLY);
  CHECK(made.text(actions[0].path) == "in");
  CHECK(actions[1].fd == 1);
  CHECK(inode(made.fd(actions[1].descriptor)) == inode("/dev/null"));
  CHECK((actions[2].fd == 1 && actions[2].new_fd == 2 && actions[2].flags == 0));
  CHECK((actions[3].flags == (O_WRONLY | O_CREAT) && actions[3].mode == 0640));
  CHECK((actions[4].fd == 4 && actions[4].new_fd == 5 && actions[4].flags == 1));
  CHECK((actions[6].fd == 6 && actions[6].new_fd == 9));
  CHECK(made.list(made->descriptors)[actions[7].descriptor].directory_granted == 1);
  CHECK(made.list(made->descriptors)[actions[1].descriptor].directory_granted == 0);
  CHECK(inode(made.fd(actions[7].descriptor)) == inode(at.path()));
  const Made output = make(plain(R"("stdout": {"path": "/out"})"));
  CHECK(output.list(output->actions)[0].flags == (O_WRONLY | O_CREAT | O_TRUNC));
  CHECK(output.list(output->actions)[0].mode == 0666);
}

TEST_CASE("inline stdin is a sealed file that can only be read") {
  const Made made = make(plain(R"("stdin": {"base64": "YQBiCg=="})"));
  const auto actions = made.list(made->actions);
  REQUIRE(actions.size() == 1);
  const int fd = made.fd(actions[0].descriptor);
  char bytes[16];
  REQUIRE(::read(fd, bytes, sizeof bytes) == 4);
  CHECK(std::memcmp(bytes, "a\0b\n", 4) == 0);
  CHECK(::write(fd, "x", 1) == -1);
  CHECK((::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK(::fcntl(fd, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
}

TEST_CASE("a terminal brings a session with it") {
  const Made pty =
      make(R"("stdin": "pty", "stdout": "pty", "terminal": {"rows": 24, "columns": 80})");
  CHECK((pty->flags & (plan::kPty | plan::kSetsid)) == (plan::kPty | plan::kSetsid));
  CHECK((pty->rows == 24 && pty->columns == 80));
  CHECK(pty.list(pty->actions)[1].op == plan::Op::pty);
  const Made passed = make(plain(R"("stdin": {"passed_fd": 0}, "terminal": {"controlling_fd": 0})"),
                           fds(open_fd("/dev/null")));
  CHECK((passed->flags & (plan::kPty | plan::kSetsid)) == plan::kSetsid);
  CHECK(passed->controlling_fd == 0);
}

TEST_CASE("what a file holds travels in a sealed memfd, and no answer shows it") {
  const Made made = make(R"("mounts": [{"at": "/etc/motd", "file": {"text": "hush"}}])");
  const plan::Mount* const file = made.mount("/etc/motd");
  REQUIRE(file);
  CHECK(file->kind == plan::MountKind::file);
  CHECK(file->flags == (plan::kMountReadOnly | plan::kMountIsFile));
  const int fd = made.fd(file->descriptor);
  char bytes[8] = {};
  CHECK(::pread(fd, bytes, sizeof bytes, 0) == 4);
  CHECK(std::string(bytes) == "hush");
  CHECK((::fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE) != 0);
  CHECK(made.text(made->request_json).find("hush") == std::string::npos);
}

TEST_CASE("every passed descriptor is used exactly once") {
  const auto null = [] { return open_fd("/dev/null", O_RDWR); };
  CHECK(refused_as(plain(R"("name": "x")"), "", fds(null())).got == "0");
  CHECK(refused_as(plain(R"("stdin": {"passed_fd": 0})"), "", fds(null(), null())).got == "1");
  refused_as(plain(R"("stdin": {"passed_fd": 0})"), "stdin.passed_fd");
  refused_as(plain(R"("stdin": {"passed_fd": 0}, "stdout": {"passed_fd": 0})"), "stdout.passed_fd",
             fds(null()));
  refused_as(plain(R"("file_actions": [{"receive": {"passed_fd": 0, "fd": 5}},
                                       {"receive": {"passed_fd": 0, "fd": 6}}])"),
             "file_actions[1].receive.passed_fd", fds(null()));
  refused_as(plain(R"("executable": {"passed_fd": 1})"), "executable.passed_fd", fds(null()));
  refused_as(R"("profile": "none", "cwd": {"passed_fd": 7})", "cwd.passed_fd");
  refused_as(R"("mounts": [{"at": "/d", "bind": {"passed_fd": 3}}])", "mounts./d.bind.passed_fd");
  refused_as(plain(R"("namespaces": {"uts": {"passed_fd": 0}}, "stdin": {"passed_fd": 0})"),
             "stdin.passed_fd", fds(open_fd("/proc/self/ns/uts")));
  const Made made =
      make(R"("profile": "none", "cwd": {"passed_fd": 1}, "executable": {"passed_fd": 0})",
           fds(open_fd("/bin/true"), open_fd("/tmp")));
  CHECK(inode(made.fd(made->cwd_descriptor)) == inode("/tmp"));
  CHECK(inode(made.fd(made->executable_descriptor)) == inode("/bin/true"));
  CHECK((made->flags & plan::kSearchPath) == 0);
}
