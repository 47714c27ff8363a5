#include "places.hpp"

#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {

long Places::open(const char* path, uint64_t flags) const {
  open_how how{O_PATH | O_CLOEXEC | flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  const long found = open_by_rules(root_, path, how);
  if (found != -EACCES) return found;
  const long as_caller = open_as_caller(job_, root_, path, how);
  return as_caller < 0 ? found : as_caller;
}

bool Places::is_ours(int fd) const {
  struct statx status {};
  if (mount_of(fd, status) < 0) return false;
  for (uint32_t i = 0; i < job_.own_mount_count; ++i)
    if (job_.own_mounts[i] == status.stx_mnt_id) return true;
  return false;
}

long Places::open_parent(const char* path, const char*& name) const {
  static char prefix[plan::kMaxPath];
  const size_t whole = length(path);
  size_t end = whole;
  while (end > 0 && path[end - 1] == '/') --end;
  size_t begin = end;
  while (begin > 0 && path[begin - 1] != '/') --begin;
  if (begin == end) return -EEXIST;  // "/" itself
  name = path + begin;
  long parent = open("/");
  for (size_t at = 1; parent >= 0 && at < begin; ++at) {
    prefix[at - 1] = path[at - 1];
    if (path[at] != '/' || path[at - 1] == '/') continue;
    prefix[at] = 0;
    long next = open(prefix, O_DIRECTORY);
    if (next == -ENOENT) {
      size_t last = at;
      while (last > 0 && prefix[last - 1] != '/') --last;
      next = make(static_cast<int>(parent), prefix + last, 0755, false);
      if (next == 0) next = open(prefix, O_DIRECTORY);
    }
    close(static_cast<int>(parent));
    parent = next;
  }
  return parent;
}

long Places::make(int parent, const char* name, uint32_t mode, bool file) const {
  return is_ours(parent) ? make_here(parent, name, mode, file) : -ENOENT;
}

long Places::make_here(int parent, const char* name, uint32_t mode, bool file) const {
  return made([&] {
    return file ? call(Call::mknodat, parent, name, S_IFREG | mode, 0)
                : call(Call::mkdirat, parent, name, mode);
  });
}

// Many mounts in one directory are made one after the other: the way there is
// walked once, as long as nothing but what is made here comes in between.
struct Places::Last {
  char directory[plan::kMaxPath];
  size_t size;
  int fd;  // or 0
};
Places::Last Places::last_;

void Places::forget() const {
  if (last_.fd > 0) close(last_.fd);
  last_.fd = 0;
}

void Places::keep(int parent, const char* path, const char* name) const {
  last_.fd = parent;
  last_.size = static_cast<size_t>(name - path);
  for (size_t i = 0; i < last_.size; ++i) last_.directory[i] = path[i];
}

// -EEXIST where the long way has to be gone.
long Places::make_beside(const char* path, bool file, uint32_t mode) const {
  if (last_.fd == 0) return -EEXIST;
  const char* name = path + last_.size;
  for (size_t i = 0; i < last_.size; ++i)
    if (path[i] != last_.directory[i]) return -EEXIST;
  if (!*name || contains(name, '/')) return -EEXIST;
  // "..", or anything that is there already, may lead out of the directory.
  if (make_here(last_.fd, name, mode, file) < 0) return -EEXIST;
  return call(Call::openat, last_.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

long Places::open_or_make(const char* path, bool file, uint32_t mode) const {
  const long beside = make_beside(path, file, mode);
  if (beside != -EEXIST) return beside;
  forget();
  const long found = open(path);
  if (found != -ENOENT) return found;
  const char* name = nullptr;
  const long parent = open_parent(path, name);
  if (parent < 0) return parent;
  const long result = make(static_cast<int>(parent), name, mode, file);
  if (result < 0) {
    close(static_cast<int>(parent));
    return result;
  }
  keep(static_cast<int>(parent), path, name);
  return open(path);
}

}  // namespace cloister::init
