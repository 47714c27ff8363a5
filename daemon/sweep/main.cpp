// cloister-sweep: removes the scratch directories of jobs that have ended.
//
//   cloister-sweep NAME    the one of that name
//   cloister-sweep         each whose service is gone: nobody holds its lock
//
// Descriptor 3 is the directory in which they lie, 0 a pipe: the work begins
// when it ends. Exit status: 0 when all is gone, 1 when something is left, and
// standard error says what.
//
// What a payload has left is hostile: depth, number, modes, names; and somebody
// outside may still hold a directory of it open and move things about while we
// are at work. So only single names are looked up, in directories that are
// open, and no link is followed. Each directory is made ours before its content
// is looked at. A tree is taken apart from its top: directories are moved up
// and emptied there, so that depth costs neither memory nor descriptors, and no
// way back has to be found.
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "sys/powers.hpp"
#include "sys/unique_fd.hpp"

// Under AddressSanitizer: the leak check reads /proc, from which this program keeps itself.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace cloister::sweep {
namespace {

constexpr int kGate = 0, kBase = 3;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "cloister-sweep: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

// Of root's powers those over files. In a user namespace, where a user's
// service starts us, they reach no further than the ids that it maps.
void drop_capabilities() {
  constexpr uint64_t kNeeded = uint64_t{1} << CAP_CHOWN | uint64_t{1} << CAP_DAC_OVERRIDE |
                               uint64_t{1} << CAP_DAC_READ_SEARCH | uint64_t{1} << CAP_FOWNER;
  if (!sys::keep_only(kNeeded)) fail("capset");
}

// The kernel too keeps us in our directory, where it has Landlock: a fault of
// ours could remove nothing elsewhere.
void confine() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail("no_new_privs");
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  constexpr int kMovesBetweenDirectories = 2;
  if (abi < kMovesBetweenDirectories) return;
  landlock_ruleset_attr governed{};
  governed.handled_access_fs = (LANDLOCK_ACCESS_FS_REFER << 1) - 1;  // all of that ABI
  const sys::UniqueFd rules(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &governed, sizeof governed, 0)));
  if (!rules) fail("landlock_create_ruleset");
  landlock_path_beneath_attr ours{};
  ours.parent_fd = kBase;
  // Not the content of files. What is moved is made anew, whatever it is by then.
  ours.allowed_access = governed.handled_access_fs &
                        ~uint64_t{LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                                  LANDLOCK_ACCESS_FS_WRITE_FILE};
  if (::syscall(SYS_landlock_add_rule, rules.borrow(), LANDLOCK_RULE_PATH_BENEATH, &ours, 0) < 0 ||
      ::syscall(SYS_landlock_restrict_self, rules.borrow(), 0) < 0)
    fail("landlock");
}

// Takes `name` away: what is no directory, and a directory that is empty. One
// that is full is `full`'s to take. What is not there any more is away.
template <class Full>
bool take(int parent, const char* name, Full full) {
  if (::unlinkat(parent, name, 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR) return false;
  if (::unlinkat(parent, name, AT_REMOVEDIR) == 0) return true;
  return errno == ENOTEMPTY && full(name);
}

// What can come of somebody moving things about between two calls of ours.
bool is_of_a_race(int error) {
  return error == ENOTDIR || error == EISDIR || error == ENOTEMPTY || error == ENOENT;
}

class Directory {
 public:
  // Not open, with errno, when `name` is anything else than a directory.
  Directory(int parent, const char* name) {
    const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) stream_ = ::fdopendir(fd);
  }
  Directory(const Directory&) = delete;
  ~Directory() {
    if (stream_) ::closedir(stream_);
  }

  explicit operator bool() const { return stream_ != nullptr; }
  int fd() const { return ::dirfd(stream_); }

  // Who holds it open from before can change nothing in it any more, unless it
  // has our power over files: as a user's own processes have, outside of boxes.
  bool make_ours() const {
    return ::fchown(fd(), ::geteuid(), ::getegid()) == 0 && ::fchmod(fd(), 0700) == 0;
  }

  // Takes all names away, in rounds, for a directory that changes is not read
  // in one. False, with errno, when a round takes nothing away. In one that
  // somebody may be changing at the same time that is tried again, and there is
  // an end to it.
  template <class Full>
  bool empty(bool contested, Full full) {
    constexpr unsigned kRounds = 100;
    for (unsigned round = 0; !contested || round < kRounds; ++round) {
      int error = 0;
      bool any = false;
      ::rewinddir(stream_);
      while (const dirent* entry = ::readdir(stream_)) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        if (take(fd(), entry->d_name, full))
          any = true;
        else
          error = errno;
      }
      if (any || (contested && is_of_a_race(error))) continue;
      errno = error;
      return error == 0;
    }
    errno = EBUSY;
    return false;
  }

 private:
  DIR* stream_ = nullptr;
};

// What lies below `top`, which payloads never see: only what is in it.
bool empty_tree(Directory& top) {
  unsigned long moved = 0;
  return top.empty(false, [&](const char* name) {
    Directory directory(top.fd(), name);
    if (!directory || !directory.make_ours()) return false;
    const bool emptied = directory.empty(true, [&](const char* full) {
      // Init has named what is in the top by numbers.
      const std::string above = "full-" + std::to_string(++moved);
      return ::renameat(directory.fd(), full, top.fd(), above.c_str()) == 0;
    });
    return emptied && ::unlinkat(top.fd(), name, AT_REMOVEDIR) == 0;
  });
}

bool remove(const char* name, bool only_if_abandoned) {
  Directory top(kBase, name);
  if (!top) return errno == ENOENT;
  if (only_if_abandoned && ::flock(top.fd(), LOCK_EX | LOCK_NB) < 0) return errno == EWOULDBLOCK;
  return top.make_ours() && empty_tree(top) && ::unlinkat(kBase, name, AT_REMOVEDIR) == 0;
}

bool is_of_a_job(std::string_view name) {
  return name.size() == 32 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool remove_and_tell(const std::string& name, bool only_if_abandoned) {
  if (remove(name.c_str(), only_if_abandoned)) return true;
  std::fprintf(stderr, "cloister-sweep: %s is not removed: %s\n", name.c_str(),
               std::strerror(errno));
  return false;
}

bool remove_abandoned() {
  std::vector<std::string> names;
  {
    DIR* base = ::fdopendir(::openat(kBase, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!base) fail("the scratch directory");
    while (const dirent* entry = ::readdir(base))
      if (is_of_a_job(entry->d_name)) names.push_back(entry->d_name);
    ::closedir(base);
  }
  bool all = true;
  for (const std::string& name : names) all &= remove_and_tell(name, true);
  return all;
}

void await_gate() {
  char byte;
  ssize_t got;
  do {
    got = ::read(kGate, &byte, 1);
  } while (got > 0 || (got < 0 && errno == EINTR));
}

}  // namespace
}  // namespace cloister::sweep

int main(int argc, char** argv) {
  using namespace cloister::sweep;
  if (argc > 2 || (argc == 2 && !is_of_a_job(argv[1]))) {
    std::fputs("cloister-sweep is started by cloisterd(8) only.\n", stderr);
    return 64;
  }
  await_gate();
  drop_capabilities();
  confine();
  return (argc == 2 ? remove_and_tell(argv[1], false) : remove_abandoned()) ? 0 : 1;
}
