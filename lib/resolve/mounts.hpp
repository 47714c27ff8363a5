// MountList: the mounts of a Plan. One file for each noun of the request that
// ends up in it; places.cpp brings them into the one order in which they hold.
// Internal to resolve.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "resolve/draft.hpp"

namespace cloister::front {

// One mount on its way into the Plan, whatever part of the request it is from.
struct Placed {
  plan::Mount mount;
  std::string asked;  // absolute, and it may lead through links
  std::string at;     // where that is: a place of plan/places.hpp, once it is settled
  std::string field;  // "mounts./data", "workspace", "masked_paths./x"
  size_t rank;        // of its layer; a higher one has the place
  // Where what it shows of the host lies, as paths of ours; of several the first has it.
  std::vector<std::string> shows{};
  std::string target{};  // of a symlink
};

// Above every layer: what is covered for the host's sake.
inline constexpr size_t kAboveAll = SIZE_MAX;

struct MountList {
  Draft& draft;
  std::vector<Placed> list{};

  plan::Mount blank(plan::MountKind kind) const;
  // `field` names its rank too, request::Effective::ranks.
  Placed& append(const plan::Mount& mount, const std::string& at, const std::string& field);
};

// One source, opened as the client or passed by it.
struct Source {
  uint32_t descriptor = plan::kNone;  // none: it is not there, and need not be
  plan::Text path{};
  bool is_directory = false;
  std::string seen_at{};         // a path of ours
  uint32_t owner = plan::kNone;  // none: not known yet
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
// Says what of a lower directory of this owner's cannot be changed.
void note_owner(Draft& draft, const std::string& field, uint32_t owner);
MaybeProblem add_file(MountList& mounts, const Mount& mount, const std::string& at,
                      plan::Mount out);
MaybeProblem add_workspace(MountList& mounts);
MaybeProblem add_secrets(MountList& mounts);
MaybeProblem place_home(MountList& mounts);  // once all is there that is not below "~"
MaybeProblem add_devices(MountList& mounts);
MaybeProblem add_resolver(MountList& mounts);
MaybeProblem add_covers(MountList& mounts);  // masked_paths and readonly_paths
// The last: each mount gets its place, each place one mount, and all their order.
MaybeProblem settle(MountList& mounts);
MaybeProblem tell_of_home(MountList& mounts);  // of the mounts that are settled

}  // namespace cloister::front
