#include "repository.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "json.hpp"

namespace cloister::command {
namespace {

namespace fs = std::filesystem;

bool lies_in(const std::string& path, const std::string& directory) {
  return path == directory || directory == "/" || path.starts_with(directory + "/");
}

// A mount of the request's own that makes the path writable.
bool is_bound(const Request& request, const std::string& path) {
  for (const Mount& mount : request.mounts)
    if (mount.bind && mount.access == Access::rw && lies_in(path, mount.at)) return true;
  return false;
}

// Where a worktree or a submodule keeps what belongs to it: its .git is a file
// that names the place, gitrepository-layout(5).
std::string elsewhere(const fs::path& file) {
  std::string line;
  std::getline(std::ifstream(file), line);
  constexpr std::string_view kKey = "gitdir: ";
  if (!line.starts_with(kKey)) return {};
  return (file.parent_path() / line.substr(kKey.size())).lexically_normal().string();
}

}  // namespace

std::string repository_note(const Request& request) {
  if (!request.workspace || !request.workspace->path.starts_with('/')) return {};
  const std::string& workspace = request.workspace->path;
  const auto is_out = [&](const std::string& path) {
    return !path.empty() && !lies_in(path, workspace) && !is_bound(request, path);
  };
  fs::path root = workspace;
  struct stat status {};
  while (::stat((root / ".git").c_str(), &status) != 0) {
    if (root == root.root_path()) return {};
    root = root.parent_path();
  }
  if (is_out(root))
    return "the repository's root, " + root.string() +
           ", is outside the workspace: git does not find it inside, or cannot write it; "
           "--workspace " +
           root.string() + " gives the job all of it";
  if (const std::string place = S_ISREG(status.st_mode) ? elsewhere(root / ".git") : "";
      is_out(place))
    return "the repository keeps its objects in " + place +
           ", outside the workspace: git does not find them inside, or cannot write them; --rw "
           "binds what it needs";
  return {};
}

std::string repository_note(const Request& request, const std::string& effective) {
  return parsed(effective).contains("workspace") ? repository_note(request) : "";
}

}  // namespace cloister::command
