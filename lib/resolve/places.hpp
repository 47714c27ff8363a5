// Box: the tree that a list of mounts makes, looked at before it is there.
//
// A place is named as the payload would name it, and links lead elsewhere: in
// the trees of the host that are bound, and those that the request makes. They
// are followed here, as the client, so that where a mount ends up is known while
// there is still a choice. Init compares (verify_mounts.cpp): who changes a link
// in between has no job.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "resolve/mounts.hpp"

namespace cloister::front {

class Box {
 public:
  // Of a list that is not settled yet, as the mounts are placed so far.
  void look_at(const std::vector<Placed>& list);

  // Where `path` leads to. A link that is its last name is followed too, unless
  // something is to be made under that very name.
  std::string place_of(const std::string& path, bool follow_last = true) const;
  // Paths of ours at which the file at this place may be, the topmost first.
  std::vector<std::string> sources_of(const std::string& place) const;
  // The mount in which the place lies, or that is there; none: the root is an empty tmpfs.
  const Placed* mount_of(const std::string& place) const;
  // Whether others may be found elsewhere when a mount turns out to be at
  // `place` and not at `old`.
  bool holds(const std::vector<Placed>& list, const std::string& old,
             const std::string& place) const;

 private:
  std::optional<std::string> link_at(const std::string& place, bool is_last) const;
  std::optional<std::string> link_of_host(const std::string& place) const;
  const Placed* mount_above(const std::string& place) const;

  std::unordered_map<std::string, const Placed*> mounts_, links_;
  // Each link is read once; none where there is something else, or nothing.
  struct Read {
    bool is_there;
    std::optional<std::string> target;
  };
  mutable std::unordered_map<std::string, Read> read_;
};

// Gives each its place, as far as the other places of the list are known.
void follow_links(std::vector<Placed>& list);

}  // namespace cloister::front
