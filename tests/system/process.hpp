// Small words for the system tests: descriptors and child processes of the
// test itself. Independent of the project's library, so that a fault there
// cannot hide one in the service.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace cloister::system_test {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

struct Who {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

// Throws std::system_error with the errno of the call that `what` names.
[[noreturn]] void fail(const std::string& what);
int check(int result, const char* what);

// Takes on these ids for good. For children only.
void become(const Who& who);

// A forked child that runs `body` and exits with what it returns; 70 and a line
// on standard error when it throws. Dies with the test.
pid_t child(const std::function<int()>& body);

// The raw wait status.
int wait_for(pid_t pid);

// A child that stands still until it is no longer needed, and then is killed.
// It holds copies of the test's descriptors, so it must not outlive its case.
class Standing {
 public:
  // `prepare` has run when the constructor returns.
  explicit Standing(const std::function<void()>& prepare);
  ~Standing();
  Standing(const Standing&) = delete;
  Standing& operator=(const Standing&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// A mount namespace of the test's own; the one of before when it goes, whatever happens.
class PrivateMounts {
 public:
  PrivateMounts();
  ~PrivateMounts();
  PrivateMounts(const PrivateMounts&) = delete;
  PrivateMounts& operator=(const PrivateMounts&) = delete;

 private:
  Fd before_;
};

// Exit status of a command, run without a shell.
int command(const std::vector<std::string>& argv);

// A pipe, both ends close-on-exec: read end, write end.
std::pair<Fd, Fd> pipe();
Fd memory_file(const std::string& content = {});
// All of a file, from its start.
std::string content_of(int fd);
// What comes out of a pipe or socket until its end, or until `enough` bytes.
std::string read_from(int fd, size_t enough = SIZE_MAX, int timeout_ms = 20'000);
std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& content, mode_t mode = 0644);
// One write(2), as files of /proc want it.
void write_proc(const std::string& path, const std::string& content);

// Until the predicate holds; false when the time is over.
bool eventually(const std::function<bool()>& holds, int timeout_ms = 10'000);

bool alive(pid_t pid);  // exists and is no zombie
// A line of /proc/PID/status, without its name; "" when there is none.
std::string status_of(pid_t pid, const std::string& name);
pid_t parent_of(pid_t pid);  // throws when it is gone

// One SCM_RIGHTS message with one byte.
void send_descriptor(int socket, int fd);
Fd receive_descriptor(int socket);

}  // namespace cloister::system_test
