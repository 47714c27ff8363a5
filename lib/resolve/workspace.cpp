// The workspace: a directory of the caller's work, bound at its own path.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "resolve/mounts.hpp"

namespace cloister::front {
namespace {

bool is_home(const struct stat& status, const std::string& home) {
  struct stat other {};
  return ::stat(home.c_str(), &other) == 0 && status.st_dev == other.st_dev &&
         status.st_ino == other.st_ino;
}

// A home, or a directory that a home lies in.
bool holds_home(const struct stat& status, std::string home) {
  while (home.size() > 1 && home[0] == '/') {
    if (is_home(status, home)) return true;
    home.resize(std::max<size_t>(home.find_last_of('/'), 1));
    if (home == "/") break;
  }
  return false;
}

}  // namespace

MaybeProblem add_workspace(MountList& mounts) {
  Draft& draft = mounts.draft;
  if (!draft.request.workspace) return std::nullopt;
  const Workspace& workspace = *draft.request.workspace;
  const std::string field = "workspace.path";
  const std::string at = request::normal_path(expand_home(draft, workspace.path));
  if (at.empty()) return refused(field, "needs a home directory, and this user has none");
  sys::UniqueFd fd(::open(at.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return failed_call(field, "cannot open " + at, errno);
  struct stat status {};
  if (::fstat(fd.borrow(), &status) != 0) return failed_call(field, "cannot look at " + at, errno);
  if (is_system(status))
    return refused(field, "is a directory of the system",
                   "a directory of your own, such as a project", at);
  // A HOME of somebody's choice may lie in the workspace, as in CI; it is no
  // directory of its own there.
  for (const std::string& home : homes_of(draft))
    if (is_home(status, home))
      return refused(field, "is a home directory, or holds one", "a directory in it", at);
  if (holds_home(status, draft.caller.home()) || holds_home(status, draft.named_home.value_or("")))
    return refused(field, "is a home directory, or holds one", "a directory in it", at);
  const std::string path = path_of(fd.borrow());
  for (const char* tree : {"/proc/", "/sys/", "/dev/"})
    if (path.starts_with(tree))
      return refused(field, "lies in a directory of the system",
                     "a directory of your own, such as a project", at);
  if (const int error = unreadable(fd.borrow(), status))
    return failed_call(field, "cannot be read by the caller", error);

  plan::Mount out = mounts.blank(plan::MountKind::bind);
  out.flags = plan::kMountNoSuid | plan::kMountNoDev | plan::kMountRecursive;
  if (workspace.access == Access::ro) out.flags |= plan::kMountReadOnly;
  if (workspace.owner) out.flags |= plan::kMountOwnerCaller;
  out.source = draft.plan.text(path.empty() ? at : path);
  out.descriptor = draft.descriptors.add(std::move(fd), plan::Use::mount);
  mounts.append(out, at, "workspace").shows = {path.empty() ? at : path};
  draft.cwd_of_workspace = at;
  return std::nullopt;
}

}  // namespace cloister::front
