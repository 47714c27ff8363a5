#include "seal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace cloister::front {

bool seal(Resolved& plan, int memfd) {
  const std::string& block = plan.plan_block;
  for (size_t at = 0; at < block.size();) {
    const ssize_t size = ::write(memfd, block.data() + at, block.size() - at);
    if (size < 0 && errno != EINTR) return false;
    if (size > 0) at += static_cast<size_t>(size);
  }
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  return ::fcntl(memfd, F_ADD_SEALS, kSeals) == 0;
}

}  // namespace cloister::front
