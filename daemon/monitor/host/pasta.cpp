#include "host/pasta.hpp"
#include "sys/root.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister::monitor {

Pasta open_pasta(const std::string& path, uid_t owner) {
  // Not O_PATH: a program that may be executed but not read is no use to exec
  // by descriptor after the ids have changed.
  sys::UniqueFd program(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!program) return {{}, plan::Reason::no_pasta};
  struct stat info {};
  if (::fstat(program.borrow(), &info) < 0 || !S_ISREG(info.st_mode) || !(info.st_mode & S_IXOTH))
    return {{}, plan::Reason::pasta_is_for_all};
  if ((!sys::is_roots(info.st_uid) && info.st_uid != owner) || (info.st_mode & (S_IWGRP | S_IWOTH)))
    return {{}, plan::Reason::pasta_is_roots};
  return {std::move(program), plan::Reason::none};
}

}  // namespace cloister::monitor
