#include "sys/words.hpp"

#include <linux/capability.h>
#include <sys/resource.h>

namespace cloister::sys {

#define WORD(name) \
  { #name, name }

std::span<const Word> rlimits() {
  static constexpr Word kWords[] = {
      WORD(RLIMIT_CPU),      WORD(RLIMIT_FSIZE), WORD(RLIMIT_DATA),   WORD(RLIMIT_STACK),
      WORD(RLIMIT_CORE),     WORD(RLIMIT_RSS),   WORD(RLIMIT_NPROC),  WORD(RLIMIT_NOFILE),
      WORD(RLIMIT_MEMLOCK),  WORD(RLIMIT_AS),    WORD(RLIMIT_LOCKS),  WORD(RLIMIT_SIGPENDING),
      WORD(RLIMIT_MSGQUEUE), WORD(RLIMIT_NICE),  WORD(RLIMIT_RTPRIO), WORD(RLIMIT_RTTIME),
  };
  return kWords;
}

std::span<const Word> capabilities() {
  static constexpr Word kWords[] = {
      WORD(CAP_CHOWN),
      WORD(CAP_DAC_OVERRIDE),
      WORD(CAP_DAC_READ_SEARCH),
      WORD(CAP_FOWNER),
      WORD(CAP_FSETID),
      WORD(CAP_KILL),
      WORD(CAP_SETGID),
      WORD(CAP_SETUID),
      WORD(CAP_SETPCAP),
      WORD(CAP_LINUX_IMMUTABLE),
      WORD(CAP_NET_BIND_SERVICE),
      WORD(CAP_NET_BROADCAST),
      WORD(CAP_NET_ADMIN),
      WORD(CAP_NET_RAW),
      WORD(CAP_IPC_LOCK),
      WORD(CAP_IPC_OWNER),
      WORD(CAP_SYS_MODULE),
      WORD(CAP_SYS_RAWIO),
      WORD(CAP_SYS_CHROOT),
      WORD(CAP_SYS_PTRACE),
      WORD(CAP_SYS_PACCT),
      WORD(CAP_SYS_ADMIN),
      WORD(CAP_SYS_BOOT),
      WORD(CAP_SYS_NICE),
      WORD(CAP_SYS_RESOURCE),
      WORD(CAP_SYS_TIME),
      WORD(CAP_SYS_TTY_CONFIG),
      WORD(CAP_MKNOD),
      WORD(CAP_LEASE),
      WORD(CAP_AUDIT_WRITE),
      WORD(CAP_AUDIT_CONTROL),
      WORD(CAP_SETFCAP),
      WORD(CAP_MAC_OVERRIDE),
      WORD(CAP_MAC_ADMIN),
      WORD(CAP_SYSLOG),
      WORD(CAP_WAKE_ALARM),
      WORD(CAP_BLOCK_SUSPEND),
      WORD(CAP_AUDIT_READ),
      WORD(CAP_PERFMON),
      WORD(CAP_BPF),
      WORD(CAP_CHECKPOINT_RESTORE),
  };
  return kWords;
}

#undef WORD

std::optional<int64_t> value_of(std::span<const Word> words, std::string_view name) {
  for (const Word& word : words)
    if (name == word.name) return word.value;
  return std::nullopt;
}

const char* name_of(std::span<const Word> words, int64_t value) {
  for (const Word& word : words)
    if (value == word.value) return word.name;
  return nullptr;
}

}  // namespace cloister::sys
