// Subordinate ids: which further ids a user has inside user namespaces, subuid(5)
// and subgid(5). What newuidmap(1) would let a user map there, the monitor accepts
// as the user's own.
//
// cloister-config reads the files; here they are numbers, and no request waits
// for a name.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

namespace cloister::monitor {

struct IdSpan {
  uint32_t first, count;
  bool operator==(const IdSpan&) const = default;
};

// One of the two files.
class SubordinateFile {
 public:
  // Of a line of `owner`'s.
  void add(uid_t owner, IdSpan span) { spans_[owner].push_back(span); }

  // In the order of the file.
  const std::vector<IdSpan>& of(uid_t owner) const;
  // Every id from `first` on is the owner's; spans that adjoin count as one.
  bool holds(uid_t owner, uint32_t first, uint32_t count) const;

 private:
  std::map<uid_t, std::vector<IdSpan>> spans_;
};

struct SubordinateIds {
  SubordinateFile uids, gids;
};

}  // namespace cloister::monitor
