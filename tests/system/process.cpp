#include "process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>

namespace cloister::system_test {

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void fail(const std::string& what) { throw std::system_error(errno, std::system_category(), what); }

int check(int result, const char* what) {
  if (result < 0) fail(what);
  return result;
}

void become(const Who& who) {
  check(setgroups(who.groups.size(), who.groups.data()), "setgroups");
  check(setresgid(who.gid, who.gid, who.gid), "setresgid");
  check(setresuid(who.uid, who.uid, who.uid), "setresuid");
  // A change of ids makes a process undumpable, and its /proc directory root's:
  // no ordinary program is in that state.
  check(prctl(PR_SET_DUMPABLE, 1), "PR_SET_DUMPABLE");
  // And it forgets whose death it wanted to hear of.
  check(prctl(PR_SET_PDEATHSIG, SIGKILL), "PR_SET_PDEATHSIG");
}

pid_t child(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = check(fork(), "fork");
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(70);
  // The test framework reports a crash of the test on these.
  for (int number : {SIGINT, SIGILL, SIGFPE, SIGSEGV, SIGTERM, SIGABRT}) signal(number, SIG_DFL);
  try {
    _exit(body());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "test child: %s\n", error.what());
    _exit(70);
  }
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  return status;
}

Standing::Standing(const std::function<void()>& prepare) {
  auto [ready, ready_write] = pipe();
  pid_ = child([&, &ready_write = ready_write] {
    prepare();
    check(static_cast<int>(write(ready_write.get(), "x", 1)), "write");
    for (;;) pause();
    return 0;
  });
  ready_write.reset();
  if (read_from(ready.get(), 1) != "x") {
    wait_for(pid_);
    throw std::runtime_error("a child could not prepare itself");
  }
}

Standing::~Standing() {
  kill(pid_, SIGKILL);
  int status;
  waitpid(pid_, &status, 0);
}

PrivateMounts::PrivateMounts()
    : before_(check(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), "open")) {
  check(unshare(CLONE_NEWNS), "unshare");
  check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount private");
}

PrivateMounts::~PrivateMounts() { setns(before_.get(), CLONE_NEWNS); }

int command(const std::vector<std::string>& argv) {
  const int status = wait_for(child([&] {
    std::vector<char*> raw;
    for (const auto& word : argv) raw.push_back(const_cast<char*>(word.c_str()));
    raw.push_back(nullptr);
    execvp(raw[0], raw.data());
    return 127;
  }));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::pair<Fd, Fd> pipe() {
  int ends[2];
  check(pipe2(ends, O_CLOEXEC), "pipe2");
  return {Fd(ends[0]), Fd(ends[1])};
}

Fd memory_file(const std::string& content) {
  Fd fd(check(memfd_create("test", MFD_CLOEXEC), "memfd_create"));
  if (write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    fail("write");
  }
  check(static_cast<int>(lseek(fd.get(), 0, SEEK_SET)), "lseek");
  return fd;
}

std::string content_of(int fd) {
  std::string out;
  char buffer[65536];
  ssize_t n;
  while ((n = pread(fd, buffer, sizeof buffer, static_cast<off_t>(out.size()))) > 0) {
    out.append(buffer, static_cast<size_t>(n));
  }
  if (n < 0) fail("pread");
  return out;
}

std::string read_from(int fd, size_t enough, int timeout_ms) {
  std::string out;
  char buffer[4096];
  while (out.size() < enough) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, timeout_ms) <= 0) break;
    const ssize_t n = read(fd, buffer, std::min(sizeof buffer, enough - out.size()));
    if (n <= 0) break;  // a terminal whose other side is gone gives EIO
    out.append(buffer, static_cast<size_t>(n));
  }
  return out;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("open " + path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write_file(const std::string& path, const std::string& content, mode_t mode) {
  const Fd fd(check(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode), "open"));
  if (write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    fail("write " + path);
  }
  check(fchmod(fd.get(), mode), "fchmod");
}

void write_proc(const std::string& path, const std::string& content) {
  const Fd fd(check(open(path.c_str(), O_WRONLY | O_CLOEXEC), "open"));
  if (write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    fail("write " + path);
  }
}

bool eventually(const std::function<bool()>& holds, int timeout_ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= end) return holds();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

bool alive(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(in, line);
  const size_t close = line.rfind(')');
  return close != line.npos && close + 2 < line.size() && line[close + 2] != 'Z' &&
         line[close + 2] != 'X';
}

std::string status_of(pid_t pid, const std::string& name) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(name + ":")) {
      const size_t at = line.find_first_not_of(" \t", name.size() + 1);
      return at == line.npos ? "" : line.substr(at);
    }
  }
  return {};
}

pid_t parent_of(pid_t pid) { return std::stoi(status_of(pid, "PPid")); }

void send_descriptor(int socket, int fd) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  check(static_cast<int>(sendmsg(socket, &message, MSG_NOSIGNAL)), "sendmsg");
}

Fd receive_descriptor(int socket) {
  char byte;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  check(static_cast<int>(recvmsg(socket, &message, MSG_CMSG_CLOEXEC)), "recvmsg");
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) {
    throw std::runtime_error("no descriptor came along");
  }
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd(fd);
}

}  // namespace cloister::system_test
