#include "fuse.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "process.hpp"

namespace cloister::security_test {
namespace {

using system_test::check;
using system_test::Fd;

// Nodes: FUSE_ROOT_ID is 1, the file slowN is 2 + N. One for each use, as an
// open(2) waits for the pages that another reader of the same file waits for.
constexpr uint64_t kFirstSlow = 2;
constexpr uint64_t kPlain = uint64_t{1} << 40, kTree = kPlain + 1;
constexpr const char kContent[] = "of the user";

fuse_attr attributes(uint64_t node) {
  fuse_attr out{};
  out.ino = node;
  out.nlink = 1;
  const bool directory = node < kFirstSlow || node == kTree;
  out.size = directory ? 0 : node == kPlain ? sizeof kContent - 1 : 4096;
  out.mode = directory ? S_IFDIR | 0755 : S_IFREG | 0755;
  return out;
}

void answer(int device, uint64_t unique, int error, const void* body = nullptr, size_t size = 0) {
  fuse_out_header header{};
  header.unique = unique;
  header.error = -error;
  header.len = static_cast<uint32_t>(sizeof header + size);
  const iovec parts[] = {{&header, sizeof header}, {const_cast<void*>(body), size}};
  // ENOENT: who asked was killed meanwhile.
  if (writev(device, parts, size ? 2 : 1) < 0 && errno != ENOENT) system_test::fail("writev");
}

bool is_front(uint32_t pid) {
  return system_test::read_file("/proc/" + std::to_string(pid) + "/comm") == "cloister-front\n";
}

volatile sig_atomic_t to_answer = 0;

int serve(int device) {
  std::vector<char> request(1 << 20);
  std::vector<uint64_t> held;
  struct sigaction act {};
  act.sa_handler = [](int) { to_answer = 1; };
  sigaction(SIGUSR1, &act, nullptr);  // read(2) is interrupted
  for (;;) {
    if (std::exchange(to_answer, 0))
      for (const uint64_t unique : std::exchange(held, {})) answer(device, unique, ENOENT);
    const ssize_t size = read(device, request.data(), request.size());
    if (size < 0 && (errno == EINTR || errno == ENOENT)) continue;
    if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) return 0;  // unmounted
    fuse_in_header in;
    std::memcpy(&in, request.data(), sizeof in);
    const char* body = request.data() + sizeof in;
    switch (in.opcode) {
      case FUSE_INIT: {
        fuse_init_out out{};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = FUSE_KERNEL_MINOR_VERSION;
        out.max_write = 4096;
        // Or the one lookup that is never answered would stop all others.
        out.flags = FUSE_PARALLEL_DIROPS;
        answer(device, in.unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_LOOKUP: {
        if (std::strcmp(body, "dark") == 0) break;
        if (std::strcmp(body, "dim") == 0 && !is_front(in.pid)) {
          held.push_back(in.unique);
          break;
        }
        const bool slow = std::strncmp(body, "slow", 4) == 0;
        const bool plain = std::strcmp(body, "plain") == 0, tree = std::strcmp(body, "tree") == 0;
        if (!slow && !plain && !tree) {
          answer(device, in.unique, ENOENT);
          break;
        }
        fuse_entry_out out{};
        out.nodeid = plain  ? kPlain
                     : tree ? kTree
                            : kFirstSlow + std::strtoul(body + 4, nullptr, 10);
        out.attr_valid = out.entry_valid = 3600;
        out.attr = attributes(out.nodeid);
        answer(device, in.unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr_valid = 3600;
        out.attr = attributes(in.nodeid);
        answer(device, in.unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_SETATTR: {
        fuse_attr_out out{};
        out.attr = attributes(in.nodeid);
        answer(device, in.unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_STATFS: {
        const fuse_statfs_out out{};
        answer(device, in.unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_OPEN:
      case FUSE_OPENDIR: {
        fuse_open_out out{};
        answer(device, in.unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_READ:
      case FUSE_WRITE:
      case FUSE_FLUSH:
      case FUSE_FSYNC:
      case FUSE_RELEASE: {
        if (in.nodeid != kPlain) break;
        fuse_write_out written{};
        if (in.opcode == FUSE_WRITE) {
          fuse_write_in asked;
          std::memcpy(&asked, body, sizeof asked);
          written.size = asked.size;
        }
        if (in.opcode == FUSE_READ)
          answer(device, in.unique, 0, kContent, sizeof kContent - 1);
        else if (in.opcode == FUSE_WRITE)
          answer(device, in.unique, 0, &written, sizeof written);
        else
          answer(device, in.unique, 0);
        break;
      }
      case FUSE_FORGET:  // has no answer
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT: break;
      default: answer(device, in.unique, ENOSYS);
    }
  }
}

}  // namespace

SilentFiles::SilentFiles(std::string directory) : directory_(std::move(directory)) {
  serve_as("user_id=0,group_id=0,allow_other");
}

SilentFiles::SilentFiles(std::string directory, const system_test::Who& owner)
    : directory_(std::move(directory)) {
  serve_as("user_id=" + std::to_string(owner.uid) + ",group_id=" + std::to_string(owner.gid));
}

void SilentFiles::serve_as(const std::string& owner) {
  const Fd device(check(open("/dev/fuse", O_RDWR | O_CLOEXEC), "open /dev/fuse"));
  const std::string options = "fd=" + std::to_string(device.get()) + ",rootmode=40000," + owner;
  check(mount("silent", directory_.c_str(), "fuse.silent", MS_NOSUID | MS_NODEV, options.c_str()),
        "mount fuse");
  server_ = system_test::child([&] { return serve(device.get()); });
}

void SilentFiles::answer() { kill(server_, SIGUSR1); }

void SilentFiles::abort() {
  if (server_ < 0) return;
  // The last descriptor of the device closes with its process, and that ends
  // every request that waits.
  kill(server_, SIGKILL);
  system_test::wait_for(std::exchange(server_, -1));
}

SilentFiles::~SilentFiles() {
  abort();
  umount2(directory_.c_str(), MNT_DETACH);
}

}  // namespace cloister::security_test
