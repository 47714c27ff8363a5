// openat2(2), and a replacement for when the call fails with ENOSYS. The filter that
// keeps a job from making set-uid files (daemon/baseline/restraint.cpp) makes it fail
// so, and the payload of such a job may be cloister itself.
//
// The replacement opens one component after the other and keeps a descriptor of each
// directory on the way. ".." returns to the descriptor before, wherever that directory
// has been moved meanwhile.
#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "kernel.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace cloister::init {
namespace {

constexpr uint64_t kFile = O_PATH | O_NOFOLLOW | O_CLOEXEC;
constexpr uint64_t kDirectory = O_PATH | O_DIRECTORY | O_CLOEXEC;

class Walk {
 public:
  Walk(int at, const open_how& how) : at_(at), how_(how) {}
  ~Walk() {
    while (depth_ > 0) close(way_[--depth_]);
  }
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  long open(const char* path) {
    long result = put_before(path, "");
    if (result == 0)
      result =
          enter(call(Call::openat, at_, at_ == AT_FDCWD && path[0] == '/' ? "/" : ".", kDirectory));
    while (result == 0) {
      if (!next()) return finish(".");
      if (is_dots(1)) continue;
      if (is_dots(2)) {
        if (how_.resolve & RESOLVE_BENEATH && depth_ == 1) return -EXDEV;
        if (depth_ > 1) close(way_[--depth_]);
        continue;
      }
      const bool last = !*rest_;
      const long found = call(Call::openat, here(), name_, kFile);
      if (found < 0) return last && how_.flags & O_CREAT ? finish(name_) : found;
      struct stat status {};
      call(Call::fstat, found, &status);
      const bool link = S_ISLNK(status.st_mode);
      if (link && !(last && how_.flags & O_NOFOLLOW)) {
        result = follow(static_cast<int>(found));
        close(static_cast<int>(found));
      } else if (last) {
        close(static_cast<int>(found));
        return finish(name_);
      } else {
        result = enter(found);
        if (result == 0 && !S_ISDIR(status.st_mode)) result = -ENOTDIR;
      }
    }
    return result;
  }

 private:
  int here() const { return way_[depth_ - 1]; }
  bool is_dots(size_t count) const {
    return length(name_) == count && name_[0] == '.' && name_[count - 1] == '.';
  }

  // Takes ownership of `directory`. A negative errno is returned as it is.
  long enter(long directory) {
    if (directory < 0) return directory;
    if (depth_ == kDeepest) {
      close(static_cast<int>(directory));
      return -ENAMETOOLONG;
    }
    way_[depth_++] = static_cast<int>(directory);
    return 0;
  }

  // Sets name_ to the next component and rest_ to what follows it and its slashes. False
  // if there is none.
  bool next() {
    while (*rest_ == '/') ++rest_;
    name_ = rest_;
    while (*rest_ && *rest_ != '/') ++rest_;
    if (*rest_) *rest_++ = 0;
    while (*rest_ == '/') ++rest_;
    return *name_ != 0;
  }

  long put_before(const char* target, const char* rest) {
    const size_t first = length(target), second = length(rest);
    if (first + second + 2 > sizeof text_[0]) return -ENAMETOOLONG;
    char* const to = text_[side_ ^= 1];
    for (size_t i = 0; i < first; ++i) to[i] = target[i];
    to[first] = '/';
    for (size_t i = 0; i <= second; ++i) to[first + 1 + i] = rest[i];
    rest_ = to;
    return 0;
  }

  long follow(int link) {
    char target[PATH_MAX];
    struct statfs kind {};
    if (how_.resolve & RESOLVE_NO_SYMLINKS || ++links_ > 40) return -ELOOP;
    // A magic link of /proc, symlink(7), may lead to a file that has no path.
    if (call(Call::fstatfs, link, &kind) < 0 || kind.f_type == kProcMagic) return -ELOOP;
    const long got = call(Call::readlinkat, link, "", target, sizeof target - 1);
    if (got < 0) return got;
    target[got] = 0;
    if (target[0] == '/') {
      if (how_.resolve & RESOLVE_BENEATH) return -EXDEV;
      while (depth_ > 1) close(way_[--depth_]);
    }
    return put_before(target, rest_);
  }

  long finish(const char* name) {
    return call(Call::openat, here(), name, static_cast<uint64_t>(how_.flags | O_NOFOLLOW),
                static_cast<uint64_t>(how_.mode));
  }

  static constexpr int kDeepest = 128;
  int at_;
  const open_how& how_;
  int way_[kDeepest];
  int depth_ = 0, links_ = 0, side_ = 0;
  char text_[2][2 * PATH_MAX];
  char *rest_ = text_[0], *name_ = text_[0];
};

}  // namespace

long open_by_rules(int at, const char* path, const open_how& how) {
  const long opened = call(Call::openat2, at, path, &how, sizeof how);
  return opened == -ENOSYS ? Walk(at, how).open(path) : opened;
}

}  // namespace cloister::init
