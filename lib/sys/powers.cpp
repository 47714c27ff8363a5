#include "sys/powers.hpp"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::sys {

bool keep_only(uint64_t powers) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (::syscall(SYS_capget, &head, sets) < 0) return false;
  for (int i = 0; i < 2; ++i) {
    const uint32_t held = sets[i].permitted & static_cast<uint32_t>(powers >> (32 * i));
    sets[i] = {held, held, 0};
  }
  return ::syscall(SYS_capset, &head, sets) == 0;
}

}  // namespace cloister::sys
