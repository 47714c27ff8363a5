#include "life/mapped_plan.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <utility>

namespace cloister::monitor {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

MappedPlan::MappedPlan(sys::UniqueFd memfd, uint32_t bytes, plan::Flaw& flaw) {
  flaw = plan::Flaw::size;
  struct stat info {};
  if (bytes > plan::kMaxBytes || ::fstat(memfd.borrow(), &info) < 0 || info.st_size != bytes ||
      (::fcntl(memfd.borrow(), F_GET_SEALS) & kSeals) != kSeals)
    return;
  void* block = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, memfd.borrow(), 0);
  if (block == MAP_FAILED) return;
  block_ = block;
  bytes_ = bytes;
  memfd_ = std::move(memfd);
  flaw = plan::check(block_, bytes_);
}

MappedPlan::MappedPlan(MappedPlan&& other) noexcept
    : memfd_(std::move(other.memfd_)),
      block_(std::exchange(other.block_, nullptr)),
      bytes_(other.bytes_) {}

MappedPlan::~MappedPlan() { take(); }

void MappedPlan::rest() { ::madvise(block_, bytes_, MADV_DONTNEED); }

sys::UniqueFd MappedPlan::take() {
  if (block_) ::munmap(std::exchange(block_, nullptr), bytes_);
  return std::move(memfd_);
}

}  // namespace cloister::monitor
