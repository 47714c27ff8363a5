// Filesystem: one new instance on its way from options to a detached mount:
// fsopen(2), fsconfig(2), fsmount(2), in the kernel since Linux 5.2.
//
// The first error sticks and is the result of mount(). Owned by the verb that
// makes the mount; nothing stays open but what mount() returns.
#pragma once

#include <linux/fcntl.h>
#include <linux/mount.h>

#include "syscall.hpp"
#include "text.hpp"

namespace cloister::init {

inline constexpr uint64_t kQuiet = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

class Filesystem {
 public:
  explicit Filesystem(const char* type) : fd_(call(Call::fsopen, type, FSOPEN_CLOEXEC)) {
    if (fd_ < 0) error_ = fd_;
  }

  Filesystem& flag(const char* key) { return configure(FSCONFIG_SET_FLAG, key, nullptr); }
  Filesystem& option(const char* key, const char* value) {
    return configure(FSCONFIG_SET_STRING, key, value);
  }
  Filesystem& option(const char* key, uint64_t value) {
    Line<24> text;
    text << value;
    return option(key, text.c_str());
  }
  Filesystem& octal(const char* key, uint32_t mode) {
    const char text[] = {
        static_cast<char>('0' + (mode >> 9 & 7)), static_cast<char>('0' + (mode >> 6 & 7)),
        static_cast<char>('0' + (mode >> 3 & 7)), static_cast<char>('0' + (mode & 7)), 0};
    return option(key, text);
  }

  long mount(uint64_t attributes) {
    configure(FSCONFIG_CMD_CREATE, nullptr, nullptr);
    long result = error_;
    if (result == 0) result = call(Call::fsmount, fd_, FSMOUNT_CLOEXEC, attributes);
    if (fd_ >= 0) close(static_cast<int>(fd_));
    return result;
  }

 private:
  Filesystem& configure(unsigned command, const char* key, const char* value) {
    if (error_ == 0) error_ = call(Call::fsconfig, fd_, command, key, value, 0);
    return *this;
  }

  long fd_;
  long error_ = 0;
};

}  // namespace cloister::init
