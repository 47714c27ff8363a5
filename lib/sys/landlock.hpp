// Which Landlock this kernel has, landlock(7).
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace cloister::sys {

// Its ABI from 1 on; -EOPNOTSUPP where it is switched off, another negative
// errno where the kernel was built without it.
inline int landlock_abi() {
  constexpr unsigned kVersion = 1;  // LANDLOCK_CREATE_RULESET_VERSION
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kVersion);
  return abi < 0 ? -errno : static_cast<int>(abi);
}

}  // namespace cloister::sys
