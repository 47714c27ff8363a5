#include "host/lease.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "plan/order.hpp"

namespace cloister::monitor {
namespace {

constexpr uint32_t kMagic = 0x534c4c43;  // "CLLS" in memory

// Calls `visit` with each uid and gid that a process has: real, effective, saved
// and of the file system, in two lines of /proc/PID/status.
template <class Visit>
void for_each_living_id(Visit visit) {
  DIR* const all = ::opendir("/proc");
  if (!all) return;
  while (const dirent* process = ::readdir(all)) {
    if (process->d_name[0] < '1' || process->d_name[0] > '9') continue;
    const std::string file = std::string(process->d_name) + "/status";
    const sys::UniqueFd fd(::openat(::dirfd(all), file.c_str(), O_RDONLY | O_CLOEXEC));
    char bytes[4096];
    const ssize_t size = fd ? ::read(fd.borrow(), bytes, sizeof bytes) : -1;
    if (size <= 0) continue;
    const std::string_view text(bytes, static_cast<size_t>(size));
    for (const std::string_view label : {"\nUid:", "\nGid:"}) {
      size_t at = text.find(label);
      if (at == std::string_view::npos) continue;
      const size_t end = text.find('\n', at + 1);
      for (at += label.size(); at < end && at < text.size();) {
        uint32_t id{};
        const auto [past, error] = std::from_chars(text.data() + at, text.data() + text.size(), id);
        if (error == std::errc{}) visit(id);
        at = static_cast<size_t>(past - text.data()) + (error == std::errc{} ? 0 : 1);
      }
    }
  }
  ::closedir(all);
}

}  // namespace

bool Leases::keep_in(int directory) {
  file_.reset(::openat(directory, kFile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  return static_cast<bool>(file_);
}

// One write within a page: a service that is killed meanwhile leaves the old
// bytes or the new ones.
bool Leases::write_down() {
  if (!file_) return true;
  const Position now{kMagic, blocks_.next, ids_.next, 0};
  return ::pwrite(file_.borrow(), &now, sizeof now, 0) == sizeof now;
}

void Leases::configure(const Pool& pool) {
  if (pool == pool_) return;
  pool_ = pool;
  const uint32_t last_block = pool.count ? pool.first + pool.count - pool.block : 0;
  blocks_ = {pool.first, last_block, pool.block, pool.first};
  ids_ = {last_block, pool.first + pool.count, 1, last_block};
  Position kept{};
  if (file_ && ::pread(file_.borrow(), &kept, sizeof kept, 0) == sizeof kept &&
      kept.magic == kMagic) {
    blocks_.go_on_at(kept.next_block);
    ids_.go_on_at(kept.next_id);
  }
  find_living();
}

void Leases::find_living() {
  living_.clear();
  if (!has_ids()) return;
  const auto lives = [&](uint32_t id) {
    if (id >= pool_.first && id - pool_.first < pool_.count) living_[id] = 1;
  };
  for_each_living_id(lives);
  lives(plan::kNobodysUid);  // in inits that are still to come
}

Leases::Held Leases::take_block() { return take(blocks_); }
Leases::Held Leases::take_id() { return take(ids_); }

Leases::Held Leases::take(Shelf& shelf) {
  Held lease = search(shelf);
  // Those of a former service may be gone by now.
  if (!lease && !living_.empty()) {
    find_living();
    lease = search(shelf);
  }
  return lease && write_down() ? lease : nullptr;
}

// Round robin, so that an id that was given back is not the next to be leased.
Leases::Held Leases::search(Shelf& shelf) {
  if (shelf.first >= shelf.end) return {};
  // The end of what is out and meets [first, first + step), or 0.
  const auto taken_up_to = [&](const Out& out, uint32_t first) -> uint64_t {
    auto above = out.upper_bound(first + (shelf.step - 1));
    if (above == out.begin()) return 0;
    --above;
    const uint64_t end = uint64_t{above->first} + above->second;
    return end > first ? end : 0;
  };
  uint64_t at = shelf.next < shelf.end ? shelf.next : shelf.first;
  // Each turn passes something that is out, or ends.
  for (size_t turns = out_->size() + living_.size() + 2; turns > 0; --turns) {
    const auto first = static_cast<uint32_t>(at);
    const uint64_t taken = std::max(taken_up_to(*out_, first), taken_up_to(living_, first));
    if (taken == 0) {
      out_->emplace(first, shelf.step);
      shelf.next = first + shelf.step;
      return Held(new Lease{first, shelf.step}, [out = out_](const Lease* lease) {
        out->erase(lease->first);
        delete lease;
      });
    }
    // The next place on the shelf behind it.
    const uint64_t steps = (taken - shelf.first + shelf.step - 1) / shelf.step;
    at = shelf.first + steps * shelf.step;
    if (at >= shelf.end) at = shelf.first;
  }
  return {};
}

}  // namespace cloister::monitor
