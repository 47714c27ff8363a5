#include "host/scratch.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "host/child_watch.hpp"
#include "host/id_map.hpp"
#include "sys/hex.hpp"
#include "sys/root.hpp"

namespace cloister::monitor {
namespace {

using plan::Reason;

// Of the directory, or of the place in which it would be made.
Reason flaw_of(std::string path) {
  if (path.empty()) return Reason::no_scratch_home;
  struct statfs kind {};
  while (::statfs(path.c_str(), &kind) < 0) {
    if (errno != ENOENT || path.size() == 1) return Reason::scratch_unreachable;
    path = std::filesystem::path(path).parent_path();
  }
  if (kind.f_type == TMPFS_MAGIC || kind.f_type == RAMFS_MAGIC) return Reason::scratch_in_memory;
  if (::faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) < 0)
    return Reason::scratch_not_writable;
  return Reason::none;
}

// One run of cloister-sweep.
class Sweep : public std::enable_shared_from_this<Sweep> {
 public:
  Sweep(boost::asio::io_context& io, std::function<void()> done)
      : io_(io), end_(io), done_(std::move(done)) {}

  bool start(int program, int store, const char* name, const IdMaps& maps) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return false;
    const sys::UniqueFd gate(ends[0]);
    gate_.reset(ends[1]);
    constexpr int kStore = 3;  // daemon/sweep/main.cpp
    const FdMove moves[] = {{gate.borrow(), 0}, {store, kStore}};
    const char* argv[] = {"cloister-sweep", name, nullptr};
    Spawn request{.executable = program, .name = argv[0], .moves = moves, .argv = argv};
    const bool of_user = !sys::is_root();
    if (of_user) {
      request.namespaces = CLONE_NEWUSER;
      request.ambient = true;
    }
    Child child = spawn(request);
    if (child.pid < 0) return false;
    const pid_t pid = child.pid;
    end_.of_child(std::move(child), [self = shared_from_this()](const Reaped& end) {
      if (end.code != CLD_EXITED)  // else it has said what is left
        std::fprintf(stderr, "cloisterd: cloister-sweep: %s\n",
                     words_of({end.code, end.status}).c_str());
      self->done_();
    });
    if (of_user)
      write_id_maps(io_, {pid, ::geteuid(), ::getegid(), maps, false},
                    [self = shared_from_this()](const plan::Failure& failure) {
                      if (failure.error)
                        std::fprintf(stderr,
                                     "cloisterd: cannot write the id maps of cloister-sweep: %s\n",
                                     std::strerror(failure.error));
                      self->gate_.reset();
                    });
    else
      gate_.reset();
    return true;
  }

 private:
  boost::asio::io_context& io_;
  ChildWatch end_;
  std::function<void()> done_;
  sys::UniqueFd gate_;
};

}  // namespace

Scratch::Scratch(boost::asio::io_context& io, std::string store, int sweep)
    : io_(io),
      path_(std::move(store)),
      sweep_(sweep),
      why_not_(sweep < 0 ? Reason::no_sweep : flaw_of(path_)) {}

// False with errno; EPERM where it is somebody else's too.
bool Scratch::open_store(bool make) {
  if (store_) return true;
  if (make) {
    std::error_code none;  // what is missing is seen below
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), none);
    ::mkdir(path_.c_str(), 0700);
  }
  sys::UniqueFd store(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!store || ::fstat(store.borrow(), &info) < 0) return false;
  if (info.st_uid != ::geteuid() || (info.st_mode & 077)) {
    std::fprintf(stderr, "cloisterd: %s must belong to the service alone (mode 0700)\n",
                 path_.c_str());
    errno = EPERM;
    return false;
  }
  store_ = std::move(store);
  return true;
}

plan::Failure Scratch::make(const JobId& job, sys::UniqueFd& directory) {
  const auto failed = [] {
    return plan::Failure{plan::Step::scratch_store, plan::kNone, errno, 0};
  };
  if (!open_store(true)) return failed();
  const std::string name = sys::hex(job);
  // Before it is locked, another service of this user may take it for abandoned.
  for (int attempt = 0; attempt < 10; ++attempt) {
    if (::mkdirat(store_.borrow(), name.c_str(), 0700) < 0 && errno != EEXIST) return failed();
    directory.reset(
        ::openat(store_.borrow(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory || ::flock(directory.borrow(), LOCK_EX | LOCK_NB) < 0) continue;
    struct stat info {};
    if (::fstat(directory.borrow(), &info) == 0 && info.st_nlink > 0) return {};
  }
  return failed();
}

sys::UniqueFd Scratch::nameless_file() {
  sys::UniqueFd file;
  if (why_not_ == Reason::none && open_store(true)) {
    file.reset(::openat(store_.borrow(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0400));
    // These are of file systems that have no such files (NFS).
    if (!file && errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
      return {};
  }
  if (!file) file.reset(::memfd_create("cloister-output", MFD_CLOEXEC));
  // Whatever the umask: inotify(7) asks for the right to read.
  if (!file || ::fchmod(file.borrow(), 0444) < 0) return {};
  return file;
}

void Scratch::remove(const JobId& job, const IdMaps& maps, std::function<void()> done) {
  start_sweep(sys::hex(job).c_str(), maps, std::move(done));
}

void Scratch::remove_abandoned(const IdMaps& maps) {
  if (sweep_ < 0 || !open_store(false)) return;  // nothing was ever there
  std::error_code none;                          // what cannot be read cannot be swept
  if (!std::filesystem::is_empty("/proc/self/fd/" + std::to_string(store_.borrow()), none) && !none)
    start_sweep(nullptr, maps, [] {});
}

void Scratch::start_sweep(const char* name, const IdMaps& maps, std::function<void()> done) {
  if (std::make_shared<Sweep>(io_, done)->start(sweep_, store_.borrow(), name, maps)) return;
  std::fprintf(stderr, "cloisterd: cannot start cloister-sweep: %s\n", std::strerror(errno));
  boost::asio::post(io_, std::move(done));
}

}  // namespace cloister::monitor
