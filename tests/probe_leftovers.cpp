// Acts of a payload that wants to leave something behind: programs with the
// set-uid bit, by every call and every entry of the kernel, and files wherever a
// descriptor of a directory leads.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "probe_say.hpp"

namespace cloister::probe {
namespace {

// Where 32-bit calls find them too: the program is static, and below 4 GiB.
char target_path[4096], target_directory[4096];
open_how how;
io_uring_params target_ring;

using Word = unsigned long;
Word at(const void* pointer) { return reinterpret_cast<Word>(pointer); }
constexpr Word kCwd = static_cast<Word>(AT_FDCWD);

struct Creation {
  const char* name;
  long native, ia32;  // numbers; -1: there is none
  bool makes;         // the file is not to be there before
  Word (*argument)(int index, Word mode, int fd);
};

#if defined(__x86_64__)
#define OLD(name, ia32) __NR_##name, ia32
#else
#define OLD(name, ia32) -1, -1
#endif

// The i386 numbers are those of asm/unistd_32.h.
constexpr Creation kCreations[] = {
    {"chmod", OLD(chmod, 15), false,
     [](int i, Word mode, int) { return i == 0   ? at(target_path)
                                        : i == 1 ? mode
                                                 : 0; }},
    {"fchmod", __NR_fchmod, 94, false,
     [](int i, Word mode, int fd) { return i == 0   ? static_cast<Word>(fd)
                                           : i == 1 ? mode
                                                    : 0; }},
    {"fchmodat", __NR_fchmodat, 306, false,
     [](int i, Word mode, int) {
       return i == 0 ? kCwd : i == 1 ? at(target_path) : i == 2 ? mode : 0;
     }},
    {"fchmodat2", 452, 452, false,
     [](int i, Word mode, int) {
       return i == 0 ? kCwd : i == 1 ? at(target_path) : i == 2 ? mode : 0;
     }},
    {"mknod", OLD(mknod, 14), true,
     [](int i, Word mode, int) { return i == 0   ? at(target_path)
                                        : i == 1 ? S_IFREG | mode
                                                 : 0; }},
    {"mknodat", __NR_mknodat, 297, true,
     [](int i, Word mode, int) {
       return i == 0 ? kCwd : i == 1 ? at(target_path) : i == 2 ? S_IFREG | mode : 0;
     }},
    {"creat", OLD(creat, 8), true,
     [](int i, Word mode, int) { return i == 0   ? at(target_path)
                                        : i == 1 ? mode
                                                 : 0; }},
    {"open", OLD(open, 5), true,
     [](int i, Word mode, int) {
       return i == 0 ? at(target_path) : i == 1 ? Word{O_CREAT | O_WRONLY} : i == 2 ? mode : 0;
     }},
    {"openat", __NR_openat, 295, true,
     [](int i, Word mode, int) {
       return i == 0 ? kCwd : i == 1 ? at(target_path) : i == 2 ? Word{O_CREAT | O_WRONLY} : mode;
     }},
    {"openat O_TMPFILE", __NR_openat, 295, true,
     [](int i, Word mode, int) {
       return i == 0   ? kCwd
              : i == 1 ? at(target_directory)
              : i == 2 ? Word{O_TMPFILE | O_WRONLY}
                       : mode;
     }},
    {"openat2", __NR_openat2, 437, true,
     [](int i, Word mode, int) {
       how.flags = O_CREAT | O_WRONLY;
       how.mode = mode;
       return i == 0 ? kCwd : i == 1 ? at(target_path) : i == 2 ? at(&how) : sizeof how;
     }},
    {"io_uring_setup", __NR_io_uring_setup, 425, true, [](int i, Word, int) {
       return i == 0 ? Word{1} : i == 1 ? at(&target_ring) : 0;
     }}};

long by_number(const char* abi, const Creation& call, Word mode, int fd) {
  Word a[4];
  for (int i = 0; i < 4; ++i) a[i] = call.argument(i, mode, fd);
#if defined(__x86_64__)
  if (strcmp(abi, "i386") == 0) {
    long result;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "a"(call.ia32), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3])
                 : "memory", "r8", "r9", "r10", "r11");
    return static_cast<int>(result);
  }
  const long number = strcmp(abi, "x32") == 0 ? call.native | 0x40000000 : call.native;
#else
  const long number = call.native;
#endif
  const long result = syscall(number, a[0], a[1], a[2], a[3]);
  return result < 0 ? -errno : result;
}

// In a child: where there is no such entry, the call ends it.
std::string tried(const char* abi, const Creation& call, Word mode, const std::string& file) {
  strncpy(target_path, file.c_str(), sizeof target_path - 1);
  const int fd = call.makes ? -1 : open(target_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  const pid_t child = fork();
  if (child == 0) {
    const long result = by_number(abi, call, mode, fd);
    _exit(result < 0 ? static_cast<int>(-result) : 0);
  }
  if (fd >= 0) close(fd);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return "SIG" + std::string(sigabbrev_np(WTERMSIG(status)));
  const char* name = strerrorname_np(WEXITSTATUS(status));
  return WEXITSTATUS(status) == 0 ? "" : name ? name : "?";
}

// DIRECTORY MODE: files of that mode in it, by each call, as {"ABI CALL": error}.
int do_set_ids(const Arguments& a) {
  if (a.size() < 2) return 121;
  strncpy(target_directory, a[0], sizeof target_directory - 1);
  const Word mode = strtoul(a[1], nullptr, 8);
  umask(0);
  Json json;
  json.begin_object();
  for (const char* abi : {"native", "x32", "i386"})
    for (const Creation& call : kCreations) {
      const bool old = strcmp(abi, "i386") == 0;
#if !defined(__x86_64__)
      if (strcmp(abi, "native") != 0) continue;
#endif
      if ((old ? call.ia32 : call.native) < 0) continue;
      const std::string name = std::string(abi) + ' ' + call.name;
      const std::string error =
          tried(abi, call, mode, std::string(target_directory) + '/' + name + ' ' + a[1]);
      json.key(name);
      error.empty() ? json.null() : json.bytes(error);
    }
  json.end_object();
  say(json.text() + "\n");
  return 0;
}

int received(int socket) {
  char byte;
  iovec bytes{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  int fd = -1;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) >= 0)
    if (const cmsghdr* part = CMSG_FIRSTHDR(&message)) memcpy(&fd, CMSG_DATA(part), sizeof fd);
  return fd;
}

// All that a directory can be changed by.
void change(Attempts& attempt, int at) {
  umask(0);
  const std::string here = "/proc/self/fd/" + std::to_string(at) + '/';
  attempt.descriptor("create", openat(at, "create", O_CREAT | O_WRONLY | O_CLOEXEC, 0755));
  attempt.descriptor("tmpfile", openat(at, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0755));
  attempt("mkdir", mkdirat(at, "directory", 0777));
  attempt("mknod", mknodat(at, "node", S_IFREG | 0755, 0));
  attempt("fifo", mknodat(at, "fifo", S_IFIFO | 0666, 0));
  attempt("symlink", symlinkat("/", at, "symlink"));
  attempt("link", linkat(at, "given", at, "link", 0));
  attempt.descriptor("write", openat(at, "given", O_WRONLY | O_CLOEXEC));
  attempt("truncate", truncate((here + "given").c_str(), 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, (here + "socket").c_str(), sizeof address.sun_path - 1);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  attempt("bind", bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address));
  attempt("rename", renameat(at, "given", at, "renamed"));
}

// FD: a directory comes over that socket, and is changed in every way.
int do_receive_and_change(const Arguments& a) {
  if (a.empty()) return 121;
  Attempts attempt;
  const int at = received(atoi(a[0]));
  if (attempt("receive", at)) change(attempt, at);
  return attempt.done();
}

// PATH: the same for one that whoever listens there sends.
int do_connect_and_change(const Arguments& a) {
  if (a.empty()) return 121;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, a[0], sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Attempts attempt;
  if (!attempt("connect", connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address)))
    return attempt.done();
  const int at = received(fd);
  if (attempt("receive", at)) change(attempt, at);
  return attempt.done();
}

// FD NAME: that socket, which came from outside, connects to an abstract name.
int do_connect_passed(const Arguments& a) {
  if (a.size() < 2) return 121;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path + 1, a[1], sizeof address.sun_path - 2);
  Attempts attempt;
  attempt("connect",
          connect(atoi(a[0]), reinterpret_cast<sockaddr*>(&address),
                  static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + strlen(a[1]))));
  return attempt.done();
}

constexpr Act kLeftovers[] = {{"set-ids", do_set_ids},
                              {"receive-and-change", do_receive_and_change},
                              {"connect-and-change", do_connect_and_change},
                              {"connect-passed", do_connect_passed}};

}  // namespace

std::span<const Act> leftovers() { return kLeftovers; }

}  // namespace cloister::probe
