// mounts and the workspace: every source is opened here, as the client.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

// The path by which the kernel knows an open file; "" if it has none.
std::string path_of(int fd) {
  char path[plan::kMaxPath];
  const ssize_t size =
      ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1);
  if (size <= 0 || path[0] != '/') return "";
  const std::string found(path, static_cast<size_t>(size));
  return found.ends_with(" (deleted)") ? "" : found;
}

// Opening with O_PATH needs no right to the file itself, only to the way
// there; a bind would hand the file to a payload that may have other ids. So
// the client must be able to read it, and to search a directory, already
// (faccessat2(2), Linux 5.8).
int unreadable(int fd, const struct stat& status) {
  const int wanted = S_ISDIR(status.st_mode) ? R_OK | X_OK : R_OK;
  return ::faccessat(fd, "", wanted, AT_EMPTY_PATH | AT_EACCESS) == 0 ? 0 : errno;
}

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

bool is_system(const struct stat& status) {
  return std::any_of(std::begin(kSystem), std::end(kSystem), [&](const char* path) {
    struct stat other {};
    return ::stat(path, &other) == 0 && same(status, other);
  });
}

// A home, or a directory that a home lies in.
bool holds_home(const struct stat& status, std::string home) {
  while (home.size() > 1 && home[0] == '/') {
    struct stat other {};
    if (::stat(home.c_str(), &other) == 0 && same(status, other)) return true;
    home.resize(std::max<size_t>(home.find_last_of('/'), 1));
    if (home == "/") break;
  }
  return false;
}

class Mounts {
 public:
  explicit Mounts(Draft& draft) : draft_(draft) {}

  MaybeProblem add(const Mount& mount) {
    field_ = "mounts." + mount.at;
    const bool optional = mount.optional.value_or(false);
    const std::string at = expand_home(draft_, mount.at);
    if (at.empty()) {
      if (optional) return std::nullopt;
      return refused(field_, "needs a home directory, and this user has none");
    }
    plan::Mount out{};
    out.descriptor = plan::kNone;
    out.flags = optional ? plan::kMountOptional : 0;
    if (mount.access == Access::ro) out.flags |= plan::kMountReadOnly;
    if (mount.noexec.value_or(false)) out.flags |= plan::kMountNoExec;
    out.at = out.source = out.data = draft_.plan.text("");
    if (mount.bind) return bind(mount, at, out);

    if (mount.tmpfs) {
      if (optional && hides_earlier(at)) return std::nullopt;
      out.kind = plan::MountKind::tmpfs;
      out.size = mount.tmpfs->size.value_or(0);
      out.inodes = mount.tmpfs->inodes.value_or(0);
      out.mode = mount.tmpfs->mode.value_or(01777);
    } else if (mount.proc) {
      if (mount.proc->subset) return refused(field_, "has a subset, which is not built yet");
      out.kind = plan::MountKind::proc;
    } else if (mount.cgroup_view) {
      out.kind = plan::MountKind::cgroup_view;
      out.flags |= plan::kMountReadOnly;
    } else if (mount.dev) {
      out.kind = plan::MountKind::dev;
    } else if (mount.symlink) {
      out.kind = plan::MountKind::symlink;
      out.data = draft_.plan.text(*mount.symlink);
    } else if (mount.dir) {
      out.kind = plan::MountKind::dir;
      out.mode = mount.dir->mode.value_or(0755);
    } else if (mount.scratch) {
      struct stat status {};
      // A daemon's home may be /usr/sbin or /dev.
      if (::stat(at.c_str(), &status) == 0 && is_system(status) && !is_private(at)) {
        if (optional) return std::nullopt;
        return refused(field_, "would hide a system directory");
      }
      if (mount.scratch->on == ScratchPlace::disk)
        return refused(field_, "lies on disk, which is not built yet");
      out.kind = plan::MountKind::scratch;
      out.size = mount.scratch->size.value_or(0);
    } else {
      // merge() gives the kinds without a room up or refuses them.
      return refused(field_, "has no kind");
    }
    append(out, at);
    return std::nullopt;
  }

  MaybeProblem add(const Workspace& workspace) {
    const std::string field = "workspace.path";
    const std::string at = request::normal_path(expand_home(draft_, workspace.path));
    if (at.empty()) return refused(field, "needs a home directory, and this user has none");
    sys::UniqueFd fd(::open(at.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return failed_call(field, "cannot open " + at, errno);
    struct stat status {};
    if (::fstat(fd.borrow(), &status) != 0)
      return failed_call(field, "cannot look at " + at, errno);
    if (is_system(status))
      return refused(field, "is a directory of the system", "a directory of one's own work", at);
    if (holds_home(status, draft_.caller.home()) || holds_home(status, home_of(draft_)))
      return refused(field, "is a home directory, or holds one", "a directory in it", at);
    const std::string path = path_of(fd.borrow());
    for (const char* tree : {"/proc/", "/sys/", "/dev/"})
      if (path.starts_with(tree))
        return refused(field, "lies in a directory of the system", "a directory of one's own work",
                       at);
    if (const int error = unreadable(fd.borrow(), status))
      return failed_call(field, "cannot be read by the caller", error);

    plan::Mount out{};
    out.kind = plan::MountKind::bind;
    out.flags = plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive;
    if (workspace.access == Access::ro) out.flags |= plan::kMountReadOnly;
    out.data = draft_.plan.text("");
    out.source = draft_.plan.text(path.empty() ? at : path);
    out.descriptor = draft_.descriptors.add(std::move(fd), plan::Use::mount);
    append(out, at);
    draft_.cwd_of_workspace = at;
    return std::nullopt;
  }

  plan::Span<plan::Mount> finish() { return draft_.plan.span(list_); }

 private:
  MaybeProblem bind(const Mount& mount, const std::string& at, plan::Mount out) {
    out.kind = plan::MountKind::bind;
    if (!mount.access) out.flags |= plan::kMountReadOnly;
    if (mount.nosuid.value_or(true)) out.flags |= plan::kMountNoSuid;
    if (mount.nodev.value_or(true)) out.flags |= plan::kMountNoDev;
    if (mount.noatime.value_or(false)) out.flags |= plan::kMountNoAtime;
    if (mount.recursive.value_or(true)) out.flags |= plan::kMountRecursive;

    std::string source;
    int fd = -1;
    sys::UniqueFd opened;
    if (const auto* passed = std::get_if<PassedFd>(&*mount.bind)) {
      fd = draft_.descriptors.peek(passed->index);
      source = "passed descriptor " + std::to_string(passed->index);
    } else {
      source = expand_home(draft_, std::get<std::string>(*mount.bind));
      const bool optional = (out.flags & plan::kMountOptional) != 0;
      if (source.empty() && optional) return std::nullopt;
      if (source.empty()) return refused(field_, "needs a home directory, and this user has none");
      opened.reset(::open(source.c_str(), O_PATH | O_CLOEXEC));
      if (!opened && optional && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
      if (!opened) return failed_call(field_, "cannot open " + source, errno);
      fd = opened.borrow();
    }
    if (fd >= 0) {
      struct stat status {};
      if (::fstat(fd, &status) != 0) return failed_call(field_, "cannot look at " + source, errno);
      if (const int error = unreadable(fd, status))
        return failed_call(field_, source + " cannot be read by the caller", error);
      if (!S_ISDIR(status.st_mode)) out.flags |= plan::kMountIsFile;
      const std::string path = path_of(fd);
      out.source = draft_.plan.text(path.empty() && opened ? source : path);
    }
    if (opened) {
      out.descriptor = draft_.descriptors.add(std::move(opened), plan::Use::mount);
    } else {
      const auto descriptor = draft_.descriptors.pass(
          field_ + ".bind.passed_fd", std::get<PassedFd>(*mount.bind).index, plan::Use::mount);
      if (!descriptor) return descriptor.error();
      out.descriptor = *descriptor;
    }
    append(out, at);
    return std::nullopt;
  }

  void append(plan::Mount& mount, const std::string& at) {
    mount.at = draft_.plan.text(at);
    list_.push_back(mount);
    if (mount.kind == plan::MountKind::tmpfs) tmpfs_.push_back(at);
  }

  bool is_private(const std::string& at) const {
    return std::find(tmpfs_.begin(), tmpfs_.end(), at) != tmpfs_.end();
  }

  // /var/run is a link to /run on most hosts: a second tmpfs at the same place
  // would hide the first and what is mounted in it.
  bool hides_earlier(const std::string& at) const {
    char real[PATH_MAX];
    return ::realpath(at.c_str(), real) && at != real && is_private(real);
  }

  Draft& draft_;
  std::string field_;
  std::vector<plan::Mount> list_;
  std::vector<std::string> tmpfs_;
};

}  // namespace

std::string expand_home(const Draft& draft, const std::string& path) {
  if (!path.starts_with('~')) return path;
  const std::string& home = home_of(draft);
  if (home.size() < 2 || home[0] != '/') return "";
  return request::normal_path(home + path.substr(1));
}

MaybeProblem resolve_mounts(Draft& draft) {
  Mounts mounts(draft);
  for (const Mount& mount : draft.request.mounts)
    if (auto problem = mounts.add(mount)) return problem;
  if (draft.request.workspace)
    if (auto problem = mounts.add(*draft.request.workspace)) return problem;
  draft.plan->mounts = mounts.finish();
  return std::nullopt;
}

}  // namespace cloister::front
