// Acts of a payload that leaves things behind: what changes owners, modes, nodes
// and attributes, on every file that it finds.
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <random>

#include "probe_say.hpp"

namespace cloister::probe {
namespace {

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> out;
  DIR* const directory = opendir(path.c_str());
  if (!directory) return out;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") out.push_back(name);
  }
  closedir(directory);
  return out;
}

// cap_setuid+ep, as setcap(8) writes it.
std::string capability(bool of_a_namespace) {
  vfs_ns_cap_data data{};
  data.magic_etc =
      (of_a_namespace ? VFS_CAP_REVISION_3 : VFS_CAP_REVISION_2) | VFS_CAP_FLAGS_EFFECTIVE;
  data.data[0].permitted = 1u << CAP_SETUID;
  return std::string(reinterpret_cast<const char*>(&data),
                     of_a_namespace ? XATTR_CAPS_SZ_3 : XATTR_CAPS_SZ_2);
}

// DIRECTORY: everything that makes an overlay copy a file up, on each in it.
int do_copy_up(const Arguments& a) {
  Attempts attempt;
  const std::string directory = std::string(a[0]) + "/";
  for (const std::string& name : names_in(a[0])) {
    const std::string path = directory + name;
    struct stat status {};
    if (!attempt(name + " stat", lstat(path.c_str(), &status))) continue;
    attempt(name + " touch", utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW));
    if (S_ISREG(status.st_mode)) attempt.descriptor(name + " open", open(path.c_str(), O_WRONLY));
    attempt(name + " user.x", lsetxattr(path.c_str(), "user.x", "x", 1, 0));
    attempt(name + " chmod", chmod(path.c_str(), status.st_mode & 07777));
    attempt(name + " link", link(path.c_str(), (path + ".linked").c_str()));
    attempt(name + " make", mknod((path + "/made").c_str(), S_IFREG | 0644, 0));
    attempt(name + " rename", rename(path.c_str(), (path + ".moved").c_str()));
  }
  return attempt.done();
}

// What somebody does in a tree who wants to leave something behind.
class Random {
 public:
  Random(uint32_t seed, std::vector<std::string> places)
      : engine_(seed), places_(std::move(places)) {}

  bool act() {
    const std::string path = some_path(), other = some_path();
    switch (below(20)) {
      case 0: return chmod(path.c_str(), some_mode()) == 0;
      case 1: return chmod(path.c_str(), 06755) == 0;
      case 2: return mknod(path.c_str(), S_IFCHR | 0666, below(2) ? makedev(1, 3) : 0) == 0;
      case 3: return mknod(path.c_str(), S_IFBLK | 0666, makedev(7, below(4))) == 0;
      case 4: return mknod(path.c_str(), S_IFREG | some_mode(), 0) == 0;
      case 5: return mkdir(path.c_str(), some_mode() | 0700) == 0;
      case 6: return set(path, "security.capability", capability(below(2)));
      case 7: return set(path, "trusted.overlay.redirect", "/root");
      case 8: return set(path, "user.overlay.redirect", "/root");
      case 9: return set(path, "user.overlay.opaque", "y");
      case 10: return set(path, "system.posix_acl_access", acl());
      case 11: return set(path, "system.posix_acl_default", acl());
      case 12: return lchown(path.c_str(), some_id(), some_id()) == 0;
      case 13: return link(path.c_str(), other.c_str()) == 0;
      case 14: return symlink("/root", path.c_str()) == 0;
      case 15:
        return syscall(SYS_renameat2, AT_FDCWD, path.c_str(), AT_FDCWD, other.c_str(), below(8)) ==
               0;
      case 16: return utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0;
      case 17:
        return with_file(path, O_WRONLY | O_CREAT, [&](int fd) {
          return write(fd, "x", 1) == 1 && fchmod(fd, some_mode()) == 0;
        });
      case 18:
        return with_file(path, O_RDONLY, [&](int fd) {
          int flags = below(2) ? FS_IMMUTABLE_FL : FS_APPEND_FL;
          return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
        });
      default:
        return with_file(parent_of(path), O_TMPFILE | O_RDWR, [&](int fd) {
          const std::string self = "/proc/self/fd/" + std::to_string(fd);
          return fchmod(fd, 06777) == 0 &&
                 linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0;
        });
    }
  }

 private:
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(engine_()) % end; }
  mode_t some_mode() { return below(010000); }
  uint32_t some_id() {
    const uint32_t ids[] = {0, getuid(), getgid(), 1, 5, 1000, 100000, UINT32_MAX, below(1 << 20)};
    return ids[below(std::size(ids))];
  }
  static std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

  // A file that is there, or a new name, up to two directories below a place.
  std::string some_path() {
    std::string at = places_[below(static_cast<uint32_t>(places_.size()))];
    for (int depth = 0; depth < 3; ++depth) {
      const auto names = names_in(at);
      if (names.empty() || below(4) == 0) break;
      at += "/" + names[below(static_cast<uint32_t>(names.size()))];
      struct stat status {};
      if (lstat(at.c_str(), &status) < 0 || !S_ISDIR(status.st_mode) || below(3) == 0) return at;
    }
    return at + "/n" + std::to_string(below(12));
  }

  bool set(const std::string& path, const char* name, const std::string& value) {
    return lsetxattr(path.c_str(), name, value.data(), value.size(), 0) == 0;
  }

  template <class Act>
  bool with_file(const std::string& path, int flags, Act act) {
    const int fd = open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 06755);
    if (fd < 0) return false;
    const bool done = act(fd);
    close(fd);
    return done;
  }

  // struct posix_acl_xattr_header and its entries: u::rwx u:ID:rwx g::rwx m::rwx o::rwx
  std::string acl() {
    struct Entry {
      uint16_t tag, perm;
      uint32_t id;
    };
    const Entry entries[] = {{1, 7, UINT32_MAX},
                             {2, 7, some_id()},
                             {4, 7, UINT32_MAX},
                             {16, 7, UINT32_MAX},
                             {32, 7, UINT32_MAX}};
    const uint32_t version = 2;
    return std::string(reinterpret_cast<const char*>(&version), 4) +
           std::string(reinterpret_cast<const char*>(entries), sizeof entries);
  }

  std::mt19937 engine_;
  const std::vector<std::string> places_;
};

// SEED COUNT DIRECTORY...: that many acts; how many of them worked.
int do_random_acts(const Arguments& a) {
  umask(0);
  Random random(static_cast<uint32_t>(std::atoll(a[0])), {a.begin() + 2, a.end()});
  int worked = 0;
  for (int i = std::atoi(a[1]); i > 0; --i) worked += random.act();
  Json json;
  json.begin_object().number("worked", worked).end_object();
  say(json.text() + "\n");
  return 0;
}

constexpr Act kLeavings[] = {{"copy-up", do_copy_up}, {"random-acts", do_random_acts}};

}  // namespace

std::span<const Act> leavings() { return kLeavings; }

}  // namespace cloister::probe
