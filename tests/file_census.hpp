// File census: what lies below some directories, with owners, modes, devices and
// extended attributes, so that a test can say that nothing has come into being
// which those who were at work there could not have made by themselves.
//
// By name, not followed, on one file system each. A caller of root's sees all.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cloister::census {

struct File {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  dev_t device = 0;                   // of a node
  uint64_t size = 0, attributes = 0;  // STATX_ATTR_IMMUTABLE and the like
  int64_t modified_ns = 0;
  std::map<std::string, std::string> xattrs;  // POSIX ACLs and file capabilities as well
  bool operator==(const File&) const = default;
};

using Files = std::map<std::string, File>;  // by path

Files take_files(const std::vector<std::string>& directories);

// Who was at work: all that they may be.
struct Span {
  uint32_t first = 0, count = 1;
};
struct People {
  std::vector<Span> uids, gids;
  // False: a set-uid or set-gid file is one too many, whosever it is.
  bool set_ids = true;
};

// One line for each that is new or otherwise than before and that these people
// could not have made: somebody else's, a device, a file capability, attributes
// that only root sets. Somebody else's that is gone or changed counts as well.
// Empty when there is none.
std::string beyond(const People& people, const Files& before, const Files& after);

}  // namespace cloister::census
