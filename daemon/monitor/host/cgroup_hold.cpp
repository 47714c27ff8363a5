#include "host/cgroup_hold.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "host/cgroup_tree.hpp"
#include "sys/hex.hpp"

namespace cloister::monitor {
namespace {

constexpr int kMostLookedAt = 512;
constexpr size_t kDigits = 16;

bool lock(const sys::UniqueFd& directory) {
  return directory && ::flock(directory.borrow(), LOCK_EX | LOCK_NB) == 0;
}

// "cloister-PID-DIGITS" and "cloister-job-PID-DIGITS", nothing that somebody
// else may have called like it.
bool is_made_here(std::string_view name) {
  const auto take = [&](std::string_view what) {
    const bool there = name.starts_with(what);
    if (there) name.remove_prefix(what.size());
    return there;
  };
  if (!take("cloister-")) return false;
  take("job-");
  const size_t pid = name.find_first_not_of("0123456789");
  if (pid == 0 || pid == std::string_view::npos) return false;
  name.remove_prefix(pid);
  return take("-") && name.size() == kDigits &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

namespace {

// By single names in directories that are open, and no link is followed.
constexpr int kDeepest = 16;

bool remove_below(int parent, const char* name, int depth, int& left) {
  if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
  if (errno != EBUSY || depth == kDeepest) return false;
  sys::UniqueFd directory = open_at(parent, name, O_RDONLY | O_DIRECTORY);
  DIR* const entries = directory ? ::fdopendir(directory.borrow()) : nullptr;
  if (!entries) return false;
  const int below = directory.take();  // closedir() closes it
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view each = entry->d_name;
    if (entry->d_type == DT_DIR && each != "." && each != ".." && --left > 0)
      remove_below(below, entry->d_name, depth + 1, left);
  }
  ::closedir(entries);
  return ::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

}  // namespace

bool remove_cgroup(int parent, const std::string& name) {
  int left = kMostLookedAt;
  return remove_below(parent, name.c_str(), 0, left);
}

HeldCgroup make_held_cgroup(const std::string& parent, const char* prefix) {
  HeldCgroup made;
  // Before it is locked another service may take it for abandoned.
  for (int attempt = 0; attempt < 10; ++attempt) {
    std::array<uint8_t, kDigits / 2> digits;
    if (::getrandom(digits.data(), digits.size(), 0) != static_cast<ssize_t>(digits.size())) break;
    made.path = parent + "/" + prefix + "-" + std::to_string(::getpid()) + "-" + sys::hex(digits);
    // Who can open it can lock it, so at first nobody else can.
    if (::mkdir(made.path.c_str(), 0700) < 0) return {};
    made.directory = open_at(AT_FDCWD, made.path, O_RDONLY | O_DIRECTORY);
    if (lock(made.directory) && ::fchmod(made.directory.borrow(), 0755) == 0 &&
        ::faccessat(made.directory.borrow(), "cgroup.procs", F_OK, AT_EACCESS) == 0)
      return made;
    ::rmdir(made.path.c_str());
  }
  errno = EAGAIN;
  return {};
}

void sweep_cgroups(const std::string& parent) {
  std::error_code none;  // a directory that vanishes meanwhile is what we want
  int left = kMostLookedAt;
  for (const auto& top : std::filesystem::directory_iterator(parent, none)) {
    if (--left == 0) return;
    if (!is_made_here(top.path().filename().native())) continue;
    const sys::UniqueFd directory = open_at(AT_FDCWD, top.path(), O_RDONLY | O_DIRECTORY);
    if (!lock(directory)) continue;
    for (const auto& job : std::filesystem::directory_iterator(top.path(), none))
      if (job.is_directory(none)) remove_cgroup(directory.borrow(), job.path().filename());
    ::rmdir(top.path().c_str());  // EBUSY: what lives in it is not yet gone
  }
}

}  // namespace cloister::monitor
