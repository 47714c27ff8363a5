#include "words.hpp"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/personality.h>

namespace cloister::request {

#define WORD(name) \
  { #name, name }

std::span<const Word> policies() {
  static constexpr Word kWords[] = {
      WORD(SCHED_OTHER), WORD(SCHED_BATCH), WORD(SCHED_IDLE),
      WORD(SCHED_FIFO),  WORD(SCHED_RR),    WORD(SCHED_DEADLINE),
  };
  return kWords;
}

std::span<const Word> open_flags() {
  static constexpr Word kWords[] = {
      // These hold the bits of O_DIRECTORY and O_DSYNC, so they are taken out first.
      WORD(O_TMPFILE),  WORD(O_SYNC),    WORD(O_RDONLY),  WORD(O_WRONLY), WORD(O_RDWR),
      WORD(O_CREAT),    WORD(O_EXCL),    WORD(O_NOCTTY),  WORD(O_TRUNC),  WORD(O_APPEND),
      WORD(O_NONBLOCK), WORD(O_DSYNC),   WORD(O_ASYNC),   WORD(O_DIRECT), WORD(O_DIRECTORY),
      WORD(O_NOFOLLOW), WORD(O_NOATIME), WORD(O_CLOEXEC), WORD(O_PATH),
  };
  return kWords;
}

std::span<const Word> unshare_flags() {
  static constexpr Word kWords[] = {
      WORD(CLONE_FS),      WORD(CLONE_FILES),  WORD(CLONE_SYSVSEM),
      WORD(CLONE_SIGHAND), WORD(CLONE_THREAD), WORD(CLONE_VM),
  };
  return kWords;
}

std::span<const Word> personality_flags() {
  static constexpr Word kWords[] = {
      WORD(ADDR_NO_RANDOMIZE), WORD(MMAP_PAGE_ZERO),   WORD(ADDR_COMPAT_LAYOUT),
      WORD(READ_IMPLIES_EXEC), WORD(ADDR_LIMIT_32BIT), WORD(SHORT_INODE),
      WORD(WHOLE_SECONDS),     WORD(STICKY_TIMEOUTS),  WORD(ADDR_LIMIT_3GB),
      WORD(UNAME26),           WORD(FDPIC_FUNCPTRS),   WORD(PER_LINUX32),
  };
  return kWords;
}

std::span<const Word> securebits() {
  static constexpr Word kWords[] = {
      WORD(SECBIT_NOROOT),
      WORD(SECBIT_NOROOT_LOCKED),
      WORD(SECBIT_NO_SETUID_FIXUP),
      WORD(SECBIT_NO_SETUID_FIXUP_LOCKED),
      WORD(SECBIT_KEEP_CAPS),
      WORD(SECBIT_KEEP_CAPS_LOCKED),
      WORD(SECBIT_NO_CAP_AMBIENT_RAISE),
      WORD(SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED),
  };
  return kWords;
}

std::span<const Word> landlock_accesses() {
  // Since ABI 3 and 5: the headers of Debian 12 end before them, later ones have
  // macros of these names.
  static constexpr int64_t kTruncate = 1 << 14, kIoctlDev = 1 << 15;
  static constexpr int64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  static constexpr int64_t kWrite = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                                    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
                                    LANDLOCK_ACCESS_FS_REFER | kTruncate;
  static constexpr Word kWords[] = {
      {"read", kRead},
      {"write", kWrite},
      {"execute", LANDLOCK_ACCESS_FS_EXECUTE},
      WORD(LANDLOCK_ACCESS_FS_EXECUTE),
      WORD(LANDLOCK_ACCESS_FS_WRITE_FILE),
      WORD(LANDLOCK_ACCESS_FS_READ_FILE),
      WORD(LANDLOCK_ACCESS_FS_READ_DIR),
      WORD(LANDLOCK_ACCESS_FS_REMOVE_DIR),
      WORD(LANDLOCK_ACCESS_FS_REMOVE_FILE),
      WORD(LANDLOCK_ACCESS_FS_MAKE_CHAR),
      WORD(LANDLOCK_ACCESS_FS_MAKE_DIR),
      WORD(LANDLOCK_ACCESS_FS_MAKE_REG),
      WORD(LANDLOCK_ACCESS_FS_MAKE_SOCK),
      WORD(LANDLOCK_ACCESS_FS_MAKE_FIFO),
      WORD(LANDLOCK_ACCESS_FS_MAKE_BLOCK),
      WORD(LANDLOCK_ACCESS_FS_MAKE_SYM),
      WORD(LANDLOCK_ACCESS_FS_REFER),
      {"LANDLOCK_ACCESS_FS_TRUNCATE", kTruncate},
      {"LANDLOCK_ACCESS_FS_IOCTL_DEV", kIoctlDev},
  };
  return kWords;
}

std::span<const Word> landlock_scopes() {
  // Since ABI 6, Linux 6.12.
  static constexpr Word kWords[] = {
      {"LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET", 1},
      {"LANDLOCK_SCOPE_SIGNAL", 2},
  };
  return kWords;
}

#undef WORD

std::string list_of(std::span<const Word> words) {
  std::string list;
  for (const Word& word : words) list += (list.empty() ? "" : ", ") + std::string(word.name);
  return list;
}

bool is_net_sysctl(std::string_view name) {
  // Registered for each network namespace, net/ipv4/sysctl_net_ipv4.c.
  static constexpr std::string_view kKnown[] = {
      "net.ipv4.ip_unprivileged_port_start",
      "net.ipv4.ip_local_port_range",
      "net.ipv4.ip_default_ttl",
      "net.ipv4.ping_group_range",
      "net.ipv4.tcp_keepalive_time",
      "net.ipv4.tcp_fin_timeout",
  };
  for (std::string_view known : kKnown)
    if (name == known) return true;
  return false;
}

}  // namespace cloister::request
