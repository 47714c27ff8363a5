// Sources of mounts, opened as the client.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "resolve/mounts.hpp"

namespace cloister::front {
namespace {

bool same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Directories of the system as a whole: writing into one of them is no work,
// and hiding one breaks the programs.
constexpr const char* kSystem[] = {
    "/",          "/bin",       "/boot",    "/dev",       "/etc",         "/home",      "/lib",
    "/lib32",     "/lib64",     "/libx32",  "/media",     "/mnt",         "/opt",       "/proc",
    "/root",      "/run",       "/sbin",    "/srv",       "/sys",         "/tmp",       "/usr",
    "/var",       "/usr/bin",   "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/sbin",
    "/usr/share", "/var/cache", "/var/lib", "/var/log",   "/var/spool",   "/var/tmp"};

}  // namespace

std::string path_of(int fd) {
  char path[plan::kMaxPath];
  const ssize_t size =
      ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1);
  if (size <= 0 || path[0] != '/') return "";
  const std::string found(path, static_cast<size_t>(size));
  return found.ends_with(" (deleted)") ? "" : found;
}

int unreadable(int fd, const struct stat& status) {
  const int wanted = S_ISDIR(status.st_mode) ? R_OK | X_OK : R_OK;
  return ::faccessat(fd, "", wanted, AT_EMPTY_PATH | AT_EACCESS) == 0 ? 0 : errno;
}

bool is_system(const struct stat& status) {
  return std::any_of(std::begin(kSystem), std::end(kSystem), [&](const char* path) {
    struct stat other {};
    return ::stat(path, &other) == 0 && same(status, other);
  });
}

request::Result<Source> open_source(Draft& draft, const std::string& field, const PathOrFd& from,
                                    Missing missing, const char* part) {
  const bool optional = missing == Missing::left_out;
  std::string name;
  int fd = -1;
  sys::UniqueFd opened;
  if (const auto* passed = std::get_if<PassedFd>(&from)) {
    fd = draft.descriptors.peek(passed->index);
    name = "passed descriptor " + std::to_string(passed->index);
  } else {
    name = expand_home(draft, std::get<std::string>(from));
    if (name.empty() && optional) return Source{};
    if (name.empty()) return refused(field, "needs a home directory, and this user has none");
    opened.reset(::open(name.c_str(), O_PATH | O_CLOEXEC));
    if (!opened && optional && (errno == ENOENT || errno == ENOTDIR)) return Source{};
    if (!opened) return failed_call(field, "cannot open " + name, errno);
    fd = opened.borrow();
  }
  Source source;
  if (fd >= 0) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return failed_call(field, "cannot look at " + name, errno);
    if (const int error = unreadable(fd, status))
      return failed_call(field, name + " cannot be read by the caller", error);
    source.is_directory = S_ISDIR(status.st_mode);
    source.owner = status.st_uid;
    const std::string path = path_of(fd);
    source.path = draft.plan.text(path.empty() && opened ? name : path);
    source.seen_at = path.empty() ? "/proc/self/fd/" + std::to_string(fd) : path;
    if (source.seen_at == "/") source.seen_at.clear();  // what follows begins with a slash
  }
  if (opened) {
    source.descriptor = draft.descriptors.add(std::move(opened), plan::Use::mount);
    return source;
  }
  const auto descriptor = draft.descriptors.pass(field + part + ".passed_fd",
                                                 std::get<PassedFd>(from).index, plan::Use::mount);
  if (!descriptor) return descriptor.error();
  source.descriptor = *descriptor;
  return source;
}

}  // namespace cloister::front
