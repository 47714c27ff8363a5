#include "file_census.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace cloister::census {
namespace {

std::map<std::string, std::string> xattrs_of(const std::string& path) {
  std::map<std::string, std::string> out;
  std::vector<char> names(64 * 1024), value(64 * 1024);
  const ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::strlen(names.data() + at)) + 1) {
    const char* const name = names.data() + at;
    const ssize_t bytes = lgetxattr(path.c_str(), name, value.data(), value.size());
    if (bytes >= 0) out[name] = std::string(value.data(), static_cast<size_t>(bytes));
  }
  return out;
}

void take(Files& files, const std::string& path, dev_t device) {
  struct statx status {};
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &status) < 0) return;
  const dev_t here = makedev(status.stx_dev_major, status.stx_dev_minor);
  if (device != 0 && here != device) return;
  const bool regular = S_ISREG(status.stx_mode);
  files[path] = {
      .mode = status.stx_mode,
      .uid = status.stx_uid,
      .gid = status.stx_gid,
      .device = makedev(status.stx_rdev_major, status.stx_rdev_minor),
      .size = regular ? status.stx_size : 0,
      .attributes = status.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND),
      .modified_ns =
          regular ? status.stx_mtime.tv_sec * 1'000'000'000 + status.stx_mtime.tv_nsec : 0,
      .xattrs = xattrs_of(path)};
  if (!S_ISDIR(status.stx_mode)) return;
  DIR* const directory = opendir(path.c_str());
  if (!directory) return;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") take(files, path + "/" + name, here);
  }
  closedir(directory);
}

bool is_in(const std::vector<Span>& spans, uint32_t id) {
  return std::any_of(spans.begin(), spans.end(),
                     [id](const Span& span) { return id - span.first < span.count; });
}

// The root of the user namespace that a file capability counts in; 0 is the host's.
uint32_t root_of(const std::string& capability) {
  vfs_ns_cap_data data{};
  std::memcpy(&data, capability.data(), std::min(capability.size(), sizeof data));
  const bool has_root = (data.magic_etc & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3;
  return has_root ? data.rootid : 0;
}

std::string why(const People& people, const Files& after, const std::string& path,
                const File& file) {
  if (!is_in(people.uids, file.uid)) return "is uid " + std::to_string(file.uid) + "'s";
  const auto parent = after.find(path.substr(0, path.rfind('/')));
  const bool inherited =
      parent != after.end() && (parent->second.mode & S_ISGID) && parent->second.gid == file.gid;
  if (!is_in(people.gids, file.gid) && !inherited) return "is of group " + std::to_string(file.gid);
  // overlayfs marks what is removed with one that nobody can open, as anybody may.
  const bool whiteout = S_ISCHR(file.mode) && file.device == 0;
  if ((S_ISCHR(file.mode) && !whiteout) || S_ISBLK(file.mode)) return "is a device";
  if (!people.set_ids && S_ISREG(file.mode) && (file.mode & (S_ISUID | S_ISGID)))
    return "is set-uid or set-gid";
  if (file.attributes) return "is immutable or append-only";
  for (const auto& [name, value] : file.xattrs) {
    if (name.starts_with("trusted.")) return "has " + name;
    if (name == "security.capability" && !is_in(people.uids, root_of(value)))
      return "has capabilities of uid " + std::to_string(root_of(value));
  }
  return {};
}

std::string shown(const File& file) {
  char text[64];
  std::snprintf(text, sizeof text, " %o %u:%u %u:%u", file.mode, file.uid, file.gid,
                major(file.device), minor(file.device));
  std::string out = text;
  for (const auto& [name, value] : file.xattrs) out += " " + name;
  return out;
}

}  // namespace

Files take_files(const std::vector<std::string>& directories) {
  Files files;
  for (const std::string& directory : directories) take(files, directory, 0);
  return files;
}

std::string beyond(const People& people, const Files& before, const Files& after) {
  std::string out;
  for (const auto& [path, file] : after) {
    const auto was = before.find(path);
    if (was != before.end() && was->second == file) continue;
    const bool others = was != before.end() && !is_in(people.uids, was->second.uid);
    const std::string reason = others ? "was not theirs" : why(people, after, path, file);
    if (!reason.empty()) out += path + " " + reason + ":" + shown(file) + "\n";
  }
  for (const auto& [path, file] : before)
    if (!after.contains(path) && !is_in(people.uids, file.uid))
      out += path + " is gone:" + shown(file) + "\n";
  return out;
}

}  // namespace cloister::census
