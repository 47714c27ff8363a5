// The caller's own attributes, for the fields that a request leaves open.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "cloister/calls.hpp"
#include "request/words.hpp"

namespace cloister {
namespace {

// umask(2) can only be read by setting it, which other threads would see;
// Linux 4.7 shows it in /proc.
std::optional<uint32_t> own_umask() {
  const UniqueFd status(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  if (!status) return {};
  char text[512];  // Name and Umask are the first two lines
  const ssize_t size = ::read(status.borrow(), text, sizeof text - 1);
  if (size <= 0) return {};
  text[size] = '\0';
  const char* line = std::strstr(text, "\nUmask:");
  if (line == nullptr) return {};
  uint32_t mask = 0;
  for (line += 7; *line == '\t' || (*line >= '0' && *line <= '7'); line++)
    if (*line != '\t') mask = mask * 8 + static_cast<uint32_t>(*line - '0');
  return mask;
}

std::optional<int32_t> own_nice() {
  errno = 0;
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  if (nice == -1 && errno != 0) return {};
  return nice;
}

std::optional<std::vector<uint32_t>> own_affinity() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return {};  // more than 1024 processors
  std::vector<uint32_t> processors;
  for (uint32_t i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  return processors;
}

bool lies_in(const std::string& path, const std::string& directory) {
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

void fill_from_caller(Request& request) {
  // It takes the caller's own from the kernel's view of it.
  if (request.profile == "none") return;
  const auto fill = [&](auto& field, auto value, const char* name) {
    if (field || !value) return;
    field = std::move(value);
    request.implied.emplace_back(name);
  };
  fill(request.umask, own_umask(), "umask");
  fill(request.nice, own_nice(), "nice");
  fill(request.affinity, own_affinity(), "affinity");
  const bool every = request.rlimits.empty();
  if (every) request.implied.emplace_back("rlimits");
  for (const auto& [name, resource] : request::rlimits()) {
    rlimit64 limit{};
    if (request.rlimits.contains(name) ||
        ::prlimit64(0, static_cast<__rlimit_resource>(resource), nullptr, &limit) != 0)
      continue;
    request.rlimits[name] = {limit.rlim_cur, limit.rlim_max};
    if (!every) request.implied.push_back("rlimits." + std::string(name));
  }
  // Outside the workspace the caller's directory need not exist in the sandbox.
  if (!request.cwd && request.workspace) {
    char path[PATH_MAX];
    if (::getcwd(path, sizeof path) != nullptr && lies_in(path, request.workspace->path)) {
      request.cwd = std::string(path);
      request.implied.emplace_back("cwd");
    }
  }
}

}  // namespace cloister
