#include "host/image.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace cloister::monitor {

Image::Image(const sys::UniqueFd& file, const char* name) : name_(name) {
  struct stat info {};
  if (::fstat(file.borrow(), &info) < 0) return;
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  if (::pread(file.borrow(), bytes.data(), bytes.size(), 0) == info.st_size) bytes_ = bytes;
}

Child Image::run(Spawn request) const {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING, kExec = 16;  // MFD_EXEC, Linux 6.3
  sys::UniqueFd copy(::memfd_create(name_, kFlags | kExec));
  if (!copy && errno == EINVAL) copy.reset(::memfd_create(name_, kFlags));
  if (!copy ||
      ::write(copy.borrow(), bytes_.data(), bytes_.size()) != static_cast<ssize_t>(bytes_.size()) ||
      ::fchmod(copy.borrow(), 0500) < 0 ||
      ::fcntl(copy.borrow(), F_ADD_SEALS,
              F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return {};
  // Executed through a read-only descriptor: a writable one is ETXTBSY.
  const sys::UniqueFd readable(
      ::open(("/proc/self/fd/" + std::to_string(copy.borrow())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!readable) return {};
  copy.reset();
  request.executable = readable.borrow();
  Child child = spawn(request);
  const int error = errno;
  // The exec is over. Nobody was told of the process yet, and it waits for us.
  ::fchmod(readable.borrow(), 0);
  errno = error;
  return child;
}

}  // namespace cloister::monitor
