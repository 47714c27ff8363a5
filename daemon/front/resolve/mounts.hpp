// MountList: the mounts of a Plan in the order in which init makes them. One
// file for each noun of the request that ends up in it. Internal to resolve.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "resolve/draft.hpp"

namespace cloister::front {

struct MountList {
  Draft& draft;
  std::vector<plan::Mount> list;
  std::vector<std::string> tmpfs;  // where: what is hidden by them is not the host's

  plan::Mount blank(plan::MountKind kind) const;
  void append(plan::Mount& mount, const std::string& at);
};

// One source, opened as the client or passed by it.
struct Source {
  uint32_t descriptor = plan::kNone;  // none: it is not there, and need not be
  plan::Text path{};
  bool is_directory = false;
};
enum class Missing { refused, left_out };
// `part` is what follows in the name of the field where a descriptor is passed.
request::Result<Source> open_source(Draft& draft, const std::string& field, const PathOrFd& from,
                                    Missing missing = Missing::refused, const char* part = "");

// 0, or the errno with which the caller is refused. Opening with O_PATH needs
// no right to the file itself, only to the way there; a bind would hand the file
// to a payload that may have other ids. So the client must be able to read it,
// and to search a directory, already (faccessat2(2), Linux 5.8).
int unreadable(int fd, const struct stat& status);
// The path by which the kernel knows an open file; "" if it has none.
std::string path_of(int fd);
// A directory of the system as a whole: no work is done in it, and none hidden.
bool is_system(const struct stat& status);

MaybeProblem add_root(MountList& mounts);
MaybeProblem add_mount(MountList& mounts, const Mount& mount);
MaybeProblem add_overlay(MountList& mounts, const Mount& mount, const std::string& at,
                         plan::Mount out);
MaybeProblem add_file(MountList& mounts, const Mount& mount, const std::string& at,
                      plan::Mount out);
MaybeProblem add_workspace(MountList& mounts);
MaybeProblem add_secrets(MountList& mounts);
MaybeProblem add_devices(MountList& mounts);
MaybeProblem add_covers(MountList& mounts);  // masked_paths and readonly_paths, last of all

}  // namespace cloister::front
