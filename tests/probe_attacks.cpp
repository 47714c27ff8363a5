// Acts of a payload that wants out: each tries what must not work and says how
// it went. Nothing here does harm where it works: files are opened and not
// written, and calls that would change the host are made so that the kernel
// refuses them after it has checked the right to them.
#include <dirent.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

#include "probe_say.hpp"

// <sys/mount.h> and <linux/mount.h> of this libc define the same names.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*);
extern "C" int umount2(const char*, int);

namespace cloister::probe {
namespace {

constexpr size_t kListed = 50;

int open_as(std::string_view how, const char* path) {
  constexpr int kAlways = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  if (how == "r") return open(path, O_RDONLY | kAlways);
  if (how == "w") return open(path, O_WRONLY | kAlways);
  if (how == "rw") return open(path, O_RDWR | kAlways);
  return open(path, O_PATH | O_CLOEXEC);
}

// HOW PATH...: r, w, rw or path.
int do_open(const Arguments& a) {
  Attempts attempt;
  for (size_t i = 1; i < a.size(); ++i) attempt.descriptor(a[i], open_as(a[0], a[i]));
  return attempt.done();
}

struct Walk {
  int tried = 0;
  std::vector<std::string> opened;

  void below(const std::string& path, int depth) {
    DIR* directory = opendir(path.c_str());
    if (!directory) return;
    while (const dirent* entry = readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      const std::string next = path + "/" + entry->d_name;
      struct stat status;
      if (lstat(next.c_str(), &status) < 0) continue;
      // A process is its own to write to.
      const bool process = path == "/proc" && (name.find_first_not_of("0123456789") == name.npos ||
                                               name == "self" || name == "thread-self");
      if (S_ISDIR(status.st_mode)) {
        if (depth > 0 && !process) below(next, depth - 1);
      } else if (S_ISREG(status.st_mode)) {
        ++tried;
        const int fd = open_as("w", next.c_str());
        if (fd < 0) continue;
        opened.push_back(next);
        close(fd);
      }
    }
    closedir(directory);
  }
};

void list(Json& json, std::string_view name, const std::vector<std::string>& items) {
  json.key(name).begin_array();
  for (size_t i = 0; i < items.size() && i < kListed; ++i) json.bytes(items[i]);
  json.end_array();
}

// DIRECTORY...: which of the regular files below can be opened for writing.
int do_write_tree(const Arguments& a) {
  Walk walk;
  for (const char* root : a) walk.below(root, 12);
  Attempts out;
  out.json.number("tried", walk.tried);
  list(out.json, "opened", walk.opened);
  return out.done();
}

// Looks for one file of the host's by every directory that can be had.
class Climb {
 public:
  Climb(std::string path, std::string name) : path_(std::move(path)), name_(std::move(name)) {}

  void from(const std::string& directory) {
    const int fd = open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    up(fd, directory);
    close(fd);
  }

  // Links of /proc that lead to files of other processes.
  void links_in(const std::string& directory) {
    DIR* stream = opendir(directory.c_str());
    if (!stream) return;
    while (const dirent* entry = readdir(stream)) {
      if (entry->d_name[0] == '.') continue;
      const std::string link = directory + "/" + entry->d_name;
      char target[4096];
      const ssize_t n = readlink(link.c_str(), target, sizeof target);
      ++tried;
      if (n > 0 &&
          std::string_view(target, static_cast<size_t>(n)).find(name_) != std::string_view::npos) {
        found.push_back(link + " -> " + std::string(target, static_cast<size_t>(n)));
      }
      from(link);
    }
    closedir(stream);
  }

  int tried = 0;
  std::vector<std::string> found;

 private:
  void up(int directory, const std::string& how) {
    std::string prefix = ".";
    for (int level = 0; level < 40; ++level) {
      ++tried;
      struct stat status;
      if (fstatat(directory, (prefix + path_).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
        found.push_back(how + " " + prefix);
      prefix += "/..";
    }
  }

  std::string path_, name_;
};

// PATH NAME: the file by its path on the host, and a word of that path that is
// nowhere else.
int do_climb(const Arguments& a) {
  if (a.size() < 2) return 121;
  Climb climb(a[0], a[1]);
  for (const char* directory : {"/", ".", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/tmp",
                                "/run", "/usr", "/etc", "/home", "/var"}) {
    climb.from(directory);
  }
  climb.links_in("/proc/self/fd");
  if (DIR* processes = opendir("/proc")) {
    while (const dirent* entry = readdir(processes)) {
      if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
      const std::string process = std::string("/proc/") + entry->d_name;
      climb.from(process + "/root");
      climb.from(process + "/cwd");
      for (const char* links : {"/fd", "/map_files", "/task/1/fd", "/ns"}) {
        climb.links_in(process + links);
      }
    }
    closedir(processes);
  }
  // chroot(2) down, and ".." out again: the classic, where it is allowed.
  const int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (chroot("/usr") == 0 && fchdir(outside) == 0) climb.from(".");
  Attempts out;
  out.json.number("tried", climb.tried);
  list(out.json, "found", climb.found);
  return out.done();
}

// DIRECTORY: device nodes made in it, and those that lie in it, opened.
int do_devices(const Arguments& a) {
  if (a.empty()) return 121;
  Attempts attempt;
  const std::string directory = a[0];
  const auto make = [&](const char* name, mode_t type, dev_t device) {
    const std::string path = directory + "/made-" + name;
    if (!attempt(name, mknod(path.c_str(), type | 0666, device))) return;
    attempt.descriptor(std::string("open ") + name, open_as("r", path.c_str()));
  };
  make("memory", S_IFCHR, makedev(1, 1));
  make("kmsg", S_IFCHR, makedev(1, 11));
  make("null", S_IFCHR, makedev(1, 3));
  make("disk", S_IFBLK, makedev(254, 0));
  make("loop", S_IFBLK, makedev(7, 0));
  make("tun", S_IFCHR, makedev(10, 200));
  if (DIR* stream = opendir(a[0])) {
    while (const dirent* entry = readdir(stream)) {
      const std::string path = directory + "/" + entry->d_name;
      struct stat status;
      if (lstat(path.c_str(), &status) < 0) continue;
      if (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) continue;
      attempt.descriptor(std::string("shipped ") + entry->d_name, open_as("r", path.c_str()));
    }
    closedir(stream);
  }
  return attempt.done();
}

void try_mounts(Attempts& attempt) {
  // First what is there already, before anything of ours covers it.
  for (const char* place : {"/", "/usr", "/proc", "/proc/sys", "/sys", "/dev"}) {
    attempt("remount rw " + std::string(place),
            mount(nullptr, place, nullptr, MS_REMOUNT | MS_BIND, nullptr));
  }
  attempt("share", mount(nullptr, "/", nullptr, MS_SHARED | MS_REC, nullptr));
  for (const char* place : {"/", "/proc", "/run", "/tmp", "/dev", "/sys/fs/cgroup", "/home"}) {
    attempt("umount " + std::string(place), umount2(place, 2 /* MNT_DETACH */));
  }
  attempt("mount tmpfs", mount("x", "/tmp", "tmpfs", 0, nullptr));
  attempt("mount proc", mount("x", "/tmp", "proc", 0, nullptr));
  attempt("mount sysfs", mount("x", "/tmp", "sysfs", 0, nullptr));
  attempt("mount cgroup2", mount("x", "/tmp", "cgroup2", 0, nullptr));
  attempt("bind", mount("/usr", "/tmp", nullptr, MS_BIND, nullptr));
  attempt("bind recursive", mount("/", "/tmp", nullptr, MS_BIND | MS_REC, nullptr));
  attempt.descriptor("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE));
  attempt.descriptor("open_tree recursive",
                     syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | AT_RECURSIVE));
  attempt.descriptor("fsopen tmpfs", syscall(SYS_fsopen, "tmpfs", 0));
  attempt.descriptor("fsopen proc", syscall(SYS_fsopen, "proc", 0));
  attempt.descriptor("fspick", syscall(SYS_fspick, AT_FDCWD, "/", 0));
  attempt("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/proc", AT_FDCWD, "/tmp", 0));
  mount_attr attributes{};
  attributes.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  attempt("mount_setattr",
          syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attributes, sizeof attributes));
  attempt("pivot_root", syscall(SYS_pivot_root, "/", "/"));
  attempt("chroot", chroot("/usr"));
}

int do_mount_calls(const Arguments&) {
  Attempts attempt;
  try_mounts(attempt);
  return attempt.done();
}

// The same with all powers of a user namespace of one's own.
int do_nested_mount_calls(const Arguments&) {
  Attempts attempt;
  if (attempt("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS))) try_mounts(attempt);
  return attempt.done();
}

// What a kernel offers and no job needs.
int do_calls(const Arguments&) {
  Attempts attempt;
  bpf_attr program{};
  program.map_type = BPF_MAP_TYPE_ARRAY;
  program.key_size = program.value_size = 4;
  program.max_entries = 1;
  attempt.descriptor("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &program, sizeof program));
  perf_event_attr event{};
  event.type = PERF_TYPE_SOFTWARE;
  event.size = sizeof event;
  attempt.descriptor("perf_event_open", syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
  attempt.descriptor("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC));
  io_uring_params ring{};
  attempt.descriptor("io_uring_setup", syscall(SYS_io_uring_setup, 1, &ring));
  attempt("add_key",
          syscall(SYS_add_key, "user", "cloister-probe", "x", 1, KEY_SPEC_PROCESS_KEYRING));
  attempt("request_key", syscall(SYS_request_key, "user", "cloister-probe", nullptr, 0));
  attempt("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0));
  attempt("kexec_load", syscall(SYS_kexec_load, 0, 0, nullptr, 0));
  attempt("kexec_file_load", syscall(SYS_kexec_file_load, -1, -1, 0, nullptr, 0));
  attempt("init_module", syscall(SYS_init_module, nullptr, 0, ""));
  attempt("finit_module", syscall(SYS_finit_module, -1, "", 0));
  attempt("delete_module", syscall(SYS_delete_module, "no-such-module", 0));
  alignas(file_handle) char handle[128] = {8, 0, 0, 0, 1};  // eight bytes, of type 1
  attempt("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY));
  attempt("ptrace init", ptrace(PTRACE_ATTACH, 1, nullptr, nullptr));
  iovec nothing{handle, 1};
  attempt("process_vm_readv init", process_vm_readv(1, &nothing, 1, &nothing, 1, 0));
  const int init = static_cast<int>(syscall(SYS_pidfd_open, 1, 0));
  attempt("pidfd_getfd init", syscall(SYS_pidfd_getfd, init, 0, 0));
  // Magic numbers that are wrong: EINVAL would say that the right was there.
  attempt("reboot", syscall(SYS_reboot, 0, 0, 0, nullptr));
  attempt("swapon", syscall(SYS_swapon, "/no/such/file", 0));
  attempt("swapoff", syscall(SYS_swapoff, "/no/such/file"));
  attempt("acct", syscall(SYS_acct, "/no/such/file"));
  attempt("quotactl", syscall(SYS_quotactl, 0x800002 << 8, "/no/such/file", 0, nullptr));
  attempt("syslog read", syscall(SYS_syslog, 3, handle, sizeof handle));
  attempt("syslog clear", syscall(SYS_syslog, 5, nullptr, 0));
  attempt("setns", syscall(SYS_setns, -1, 0));
  attempt("unshare user", unshare(CLONE_NEWUSER));
  attempt("unshare mnt", unshare(CLONE_NEWNS));
#if defined(__x86_64__)
  attempt("iopl", syscall(SYS_iopl, 3));
  attempt("ioperm", syscall(SYS_ioperm, 0x80, 1, 1));
#endif
  return attempt.done();
}

// FD: what a terminal can be made to do to who sits at it.
int do_terminal(const Arguments& a) {
  if (a.empty()) return 121;
  const int fd = atoi(a[0]);
  Attempts attempt;
  attempt("isatty", isatty(fd) ? 0 : -1);
  for (const char* c = "echo forged\n"; *c; ++c) {
    const int result = ioctl(fd, TIOCSTI, c);
    if (c[1] == '\0' || result < 0) {
      attempt("TIOCSTI", result);
      break;
    }
  }
  char paste[] = {3};  // paste the selection
  attempt("TIOCLINUX", ioctl(fd, TIOCLINUX, paste));
  const int discipline = 27;  // N_NULL, which every kernel has: nothing is read any more
  attempt("TIOCSETD", ioctl(fd, TIOCSETD, &discipline));
  attempt("TIOCCONS", ioctl(fd, TIOCCONS));
  attempt("TIOCSCTTY", ioctl(fd, TIOCSCTTY, 1));
  attempt("TIOCNOTTY", ioctl(fd, TIOCNOTTY));
  // Not the leader of a group can lead a session, and a session a terminal.
  int ends[2];
  if (pipe(ends) < 0) return 120;
  const pid_t child = fork();
  if (child == 0) {
    int errors[2] = {};
    setsid();
    if (ioctl(fd, TIOCSCTTY, 0) < 0) errors[0] = errno;
    if (ioctl(fd, TIOCSTI, "x") < 0) errors[1] = errno;
    _exit(write(ends[1], errors, sizeof errors) == sizeof errors ? 0 : 1);
  }
  int errors[2] = {};
  waitpid(child, nullptr, 0);
  if (read(ends[0], errors, sizeof errors) != sizeof errors) return 120;
  errno = errors[0];
  attempt("TIOCSCTTY of a new session", errors[0] ? -1 : 0);
  errno = errors[1];
  attempt("TIOCSTI of a new session", errors[1] ? -1 : 0);
  return attempt.done();
}

// What is one number for the whole host where nothing separates it.
int do_host_state(const Arguments&) {
  Attempts attempt;
  attempt("sethostname", sethostname("cloister-evil", 13));
  attempt("setdomainname", setdomainname("cloister-evil", 13));
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  attempt("clock_settime", clock_settime(CLOCK_REALTIME, &now));
  timeval day{now.tv_sec, 0};
  attempt("settimeofday", settimeofday(&day, nullptr));
  timex clock{};
  clock.modes = ADJ_TICK;
  clock.tick = 10000;
  attempt("adjtimex", adjtimex(&clock));
  for (const char* file :
       {"/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname", "/proc/sys/kernel/shmmax",
        "/proc/sys/kernel/msgmax", "/proc/sys/kernel/sem", "/proc/sys/fs/mqueue/msg_max",
        "/proc/self/timens_offsets", "/proc/self/uid_map", "/proc/self/gid_map"}) {
    attempt.descriptor(file, open_as("w", file));
  }
  return attempt.done();
}

// PLACE DEPTH TARGET: all that makes a tree hard to remove, and links to TARGET.
int do_litter(const Arguments& a) {
  Attempts attempt;
  const std::string target = a[2], longest(255, 'n');
  const int top = open(a[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  attempt("open", top);
  for (const char* name : {"-rf", "two\nlines", "\xff\xfe", " ", "*", "...", longest.c_str()}) {
    attempt("file", mknodat(top, name, S_IFREG | 0000, 0));
    attempt("link",
            symlinkat(target.c_str(), top, (std::string("l") + name).substr(0, 255).c_str()));
  }
  attempt("fifo", mknodat(top, "fifo", S_IFIFO | 0666, 0));
  attempt("socket", mknodat(top, "socket", S_IFSOCK | 0666, 0));
  attempt("set-uid", mknodat(top, "set-uid", S_IFREG | 0666, 0));
  attempt("chmod", fchmodat(top, "set-uid", 06755, 0));
  attempt("upwards", symlinkat("../../../../..", top, "upwards"));
  int at = dup(top);
  for (int i = 0, deepest = atoi(a[1]); i < deepest; ++i) {
    if (mkdirat(at, "d", 0700) < 0) break;
    symlinkat(target.c_str(), at, "link");
    const int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(at);
    at = next;
  }
  attempt("depth", at);
  close(at);
  attempt("closed", mkdirat(top, "closed", 0700));
  attempt("inside", mknodat(top, "closed/file", S_IFREG | 0600, 0));
  attempt("sticky", fchmodat(top, "closed", 01000, 0));
  return attempt.done();
}

// DIRECTORY FD: sends it, open, over that socket, and ends when the socket does.
int do_hand_over(const Arguments& a) {
  Attempts attempt;
  const int directory = open(a[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC), to = atoi(a[1]);
  char byte = 0;
  iovec bytes{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof directory)] = {};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof directory);
  memcpy(CMSG_DATA(part), &directory, sizeof directory);
  attempt("sendmsg", sendmsg(to, &message, 0));
  while (read(to, &byte, 1) > 0) {
  }
  return attempt.done();
}

constexpr Act kAttacks[] = {{"open", do_open},
                            {"litter", do_litter},
                            {"hand-over", do_hand_over},
                            {"write-tree", do_write_tree},
                            {"climb", do_climb},
                            {"devices", do_devices},
                            {"mount-calls", do_mount_calls},
                            {"nested-mount-calls", do_nested_mount_calls},
                            {"calls", do_calls},
                            {"terminal", do_terminal},
                            {"host-state", do_host_state}};

}  // namespace

std::span<const Act> attacks() { return kAttacks; }

}  // namespace cloister::probe
