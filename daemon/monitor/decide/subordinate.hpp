// Subordinate ids: root's word on which further ids a user has inside user
// namespaces, subuid(5) and subgid(5). What newuidmap(1) would let a user map
// there, the monitor accepts as the user's own.
//
// Read at start and at reload, never while a request waits: names of owners
// become numbers then.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admit/misconfiguration.hpp"

namespace cloister::monitor {

struct IdSpan {
  uint32_t first, count;
  bool operator==(const IdSpan&) const = default;
};

// One of the two files.
class SubordinateFile {
 public:
  using FindUser = std::function<std::optional<uid_t>(const std::string& name)>;

  // Lines of OWNER:FIRST:COUNT; `find` knows owners that are no number. A line
  // that says nothing sensible is left out, and `complaints` gets a sentence:
  // numbers that are none, an empty span, one past the last id, one that holds
  // id 0 or overlaps another of the same owner. Owners that do not exist, blank
  // lines and comments are passed over.
  void read(std::string_view text, const FindUser& find, std::vector<std::string>& complaints);

  // In the order of the file; none of them overlaps another.
  const std::vector<IdSpan>& of(uid_t owner) const;
  // Every id from `first` on is the owner's; spans that adjoin count as one.
  bool holds(uid_t owner, uint32_t first, uint32_t count) const;
  // The owner of a span that has an id in common with this one.
  std::optional<uid_t> owner_within(uint32_t first, uint32_t count) const;

 private:
  std::map<uid_t, std::vector<IdSpan>> spans_;
};

struct SubordinateIds {
  SubordinateFile uids, gids;

  // Reads /etc/subuid and /etc/subgid; a file that is not there says nothing.
  // With `root_only` a file that somebody else could have written is an error.
  Misconfiguration read_files(bool root_only, const SubordinateFile::FindUser& find,
                              std::vector<std::string>& complaints);
};

}  // namespace cloister::monitor
