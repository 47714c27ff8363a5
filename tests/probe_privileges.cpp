// Acts of the probe about what it may do: its capabilities thread by thread,
// and what Landlock lets it do.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "probe_json.hpp"
#include "probe_modes.hpp"

namespace cloister::probe {
namespace {

int say_object(const Json& json) {
  const std::string text = json.text() + "\n";
  return write(STDOUT_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0
                                                                                             : 120;
}

// null, or the name of errno.
void outcome(Json& json, std::string_view name, long result) {
  const int error = result < 0 ? errno : 0;
  if (error) {
    json.bytes(name, strerrorname_np(error) ? strerrorname_np(error) : "?");
  } else {
    json.null(name);
  }
}

// The lines of /proc/self/task/TID/status that say what a thread may do.
void thread_status(Json& json, pid_t tid) {
  FILE* file = fopen(("/proc/self/task/" + std::to_string(tid) + "/status").c_str(), "re");
  json.begin_object();
  char line[4096];
  while (file && fgets(line, sizeof line, file)) {
    for (const char* name : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
                             "Seccomp", "Uid", "Gid"}) {
      const size_t length = strlen(name);
      if (strncmp(line, name, length) != 0 || line[length] != ':') continue;
      std::string value = line + length + 2;
      value.pop_back();
      json.bytes(name, value);
    }
  }
  if (file) fclose(file);
  json.end_object();
}

int do_threads() {
  Json json;
  json.begin_array();
  thread_status(json, gettid());
  for (int i = 0; i < 3; ++i) std::thread([&] { thread_status(json, gettid()); }).join();
  json.end_array();
  return say_object(json);
}

// Two directories that the rules tell apart: `inside` is free, `outside` can
// be read only. Descriptors that were open before are 7 (a file in `outside`).
int do_landlock(const std::string& inside, const std::string& outside) {
  Json json;
  json.begin_object();
  const std::string mine = inside + "/mine", theirs = outside + "/theirs";
  const int made = open(mine.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  outcome(json, "create_inside", made);
  outcome(json, "read_outside", open(theirs.c_str(), O_RDONLY | O_CLOEXEC));
  outcome(json, "write_outside", open(theirs.c_str(), O_WRONLY | O_CLOEXEC));
  outcome(json, "create_outside", open((outside + "/new").c_str(), O_WRONLY | O_CREAT, 0644));
  outcome(json, "truncate_inside", truncate(mine.c_str(), 1));
  outcome(json, "truncate_outside", truncate(theirs.c_str(), 0));
  outcome(json, "rename_inside", rename(mine.c_str(), (inside + "/ours").c_str()));
  outcome(json, "rename_out", rename((inside + "/ours").c_str(), (outside + "/ours").c_str()));
  outcome(json, "rename_in", rename(theirs.c_str(), (inside + "/theirs").c_str()));
  outcome(json, "link_in", link(theirs.c_str(), (inside + "/link").c_str()));
  outcome(json, "link_out", link((inside + "/ours").c_str(), (outside + "/link").c_str()));
  outcome(json, "unlink_outside", unlink(theirs.c_str()));
  outcome(json, "mkdir_outside", mkdir((outside + "/d").c_str(), 0755));
  outcome(json, "read_elsewhere", open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  outcome(json, "list_elsewhere", open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // By a device whose driver answers at once: /dev/zero has no such ioctl (ENOTTY).
  const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  outcome(json, "open_device", zero);
  int bytes = 0;
  outcome(json, "ioctl_device", ioctl(zero, TIOCGWINSZ, &bytes));
  // What was open before stays what it was.
  outcome(json, "write_passed", pwrite(7, "x", 1, 0));
  outcome(json, "truncate_passed", ftruncate(7, 1));
  json.end_object();
  return say_object(json);
}

int do_tcp(bool bound, int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* where = reinterpret_cast<const sockaddr*>(&address);
  Json json;
  json.begin_object();
  outcome(json, "error",
          bound ? bind(fd, where, sizeof address) : connect(fd, where, sizeof address));
  json.end_object();
  return say_object(json);
}

}  // namespace

int act_on_privileges(int argc, char** argv) {
  const std::string_view word = argv[1];
  if (word == "threads") return do_threads();
  if (word == "landlock" && argc == 4) return do_landlock(argv[2], argv[3]);
  if (word == "tcp-bind" && argc == 3) return do_tcp(true, atoi(argv[2]));
  if (word == "tcp-connect" && argc == 3) return do_tcp(false, atoi(argv[2]));
  return -1;
}

}  // namespace cloister::probe
