#include "places.hpp"

#include <asm/errno.h>
#include <asm/stat.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr uint64_t kAnyFile = uint64_t{1} << CAP_DAC_OVERRIDE | uint64_t{1} << CAP_DAC_READ_SEARCH;

open_how in_root(uint64_t flags) {
  return {O_PATH | O_CLOEXEC | flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
}

bool shows(Job::Lines map, uint32_t outside) {
  for (uint32_t i = 0; i < map.count; ++i)
    if (outside - map.begin[i].outside < map.begin[i].count) return true;
  return false;
}

}  // namespace

long Places::open_as_init(const char* path) const { return open_by_rules(root_, path, in_root(0)); }

// Its groups are init's by then, take_payloads_groups().
long Places::open_as_payload(int at, const char* path, const open_how& how) const {
  const bool all = job_.is_inside() || job_.has(plan::kSearchesAll);
  if (all) return open_by_rules(at, path, how);
  const FilesOfPayload as(job_, kAnyFile);
  return open_by_rules(at, path, how);
}

long Places::open(const char* path, uint64_t flags) const {
  const open_how how = in_root(flags);
  long found = open_as_payload(root_, path, how);
  if (found == -EACCES) found = open_as_caller(job_, root_, path, how);
  return found == -EACCES ? walk(path, flags, Want::place) : found;
}

long Places::open_closed(const char* path) const { return walk(path, 0, Want::closed_directory); }

// A directory of the payload's own may be opened by it at any time, so what is to
// be hidden in there has to be; so may those of all ids of its user namespace, with
// powers there. One that was made for this job tells nothing.
bool Places::lets_in(int directory) const {
  if (is_ours(directory)) return true;
  struct stat status {};
  if (call(Call::fstat, directory, &status) < 0) return false;
  if (status.st_uid == payload_outside(job_).uid) return true;
  return job_.fresh(Namespace::user) && (job_.order.capabilities.effective & kAnyFile) != 0 &&
         shows(job_.uid_map(), status.st_uid) && shows(job_.gid_map(), status.st_gid);
}

// Name by name. Links are not followed: where they lead is another question.
long Places::walk(const char* path, uint64_t flags, Want want) const {
  static char name[plan::kMaxPath];
  long at = call(Call::openat, root_, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (bool first = true; at >= 0; first = false) {
    while (*path == '/') ++path;
    if (!*path) return at;
    size_t size = 0;
    while (*path && *path != '/') name[size++] = *path++;
    name[size] = 0;
    const open_how how{O_PATH | O_CLOEXEC | (*path ? 0 : flags), 0,
                       RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    const auto here = static_cast<int>(at);
    at = open_as_payload(here, name, how);
    if (at == -EACCES) at = open_as_caller(job_, here, name, how);
    if (at == -EACCES && lets_in(here)) at = open_by_rules(here, name, how);
    // The root is covered by nothing; nobody whom it is closed to starts there.
    if (at == -EACCES && want == Want::closed_directory && !first) return here;
    close(here);
  }
  return at;
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
