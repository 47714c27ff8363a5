#include "sys/root.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "sys/unique_fd.hpp"

namespace cloister::sys {
namespace {

bool has_powers() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (::syscall(SYS_capget, &head, sets) < 0) return false;
  constexpr uint32_t kNeeded = 1u << CAP_SYS_ADMIN | 1u << CAP_SETUID | 1u << CAP_SETGID;
  return (sets[0].effective & kNeeded) == kNeeded;
}

// EPERM: it belongs to a namespace above ours, ioctl_nsfs(2).
bool owns_its_mounts() {
  const UniqueFd mounts(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  const UniqueFd owner(mounts ? ::ioctl(mounts.borrow(), NS_GET_USERNS) : -1);
  struct stat of_mounts {
  }, own{};
  return owner && ::fstat(owner.borrow(), &of_mounts) == 0 &&
         ::stat("/proc/self/ns/user", &own) == 0 && of_mounts.st_dev == own.st_dev &&
         of_mounts.st_ino == own.st_ino;
}

bool may_set_groups() {
  const UniqueFd file(::open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC));
  char word[8]{};
  return file && ::read(file.borrow(), word, sizeof word) > 0 &&
         std::strncmp(word, "allow", 5) == 0;
}

}  // namespace

bool is_root() {
  static const bool is = ::geteuid() == 0 && has_powers() && owns_its_mounts() && may_set_groups();
  return is;
}

bool is_roots(unsigned owner) {
  constexpr unsigned kOverflow = 65534;  // /proc/sys/kernel/overflowuid
  return owner == 0 || (owner == kOverflow && ::geteuid() == 0 && !is_root());
}

}  // namespace cloister::sys
