// A medium as a stranger hands it over: its inodes are crafted, and root mounted
// it, read-only, nosuid and nodev, where everybody can read it.
#pragma once

#include <string>
#include <vector>

#include "boxes.hpp"
#include "file_census.hpp"

namespace cloister::security_test {

class Medium {
 public:
  enum class Kind {
    memory,  // a tmpfs: crafted by hand, and there on every host
    image    // ext4 in a file, by a loop device, as a stick is mounted
  };
  // Why a medium of this kind cannot be had here; empty when it can.
  static std::string why_not(Kind kind);

  explicit Medium(Kind kind);
  ~Medium();
  Medium(const Medium&) = delete;
  Medium& operator=(const Medium&) = delete;

  const std::string& path() const { return path_; }
  // What is on it: set-uid and set-gid programs of root's, bob's and alice's,
  // device nodes, file capabilities, ACLs, directories with such inside.
  const std::vector<std::string>& names() const { return names_; }

 private:
  void craft();
  std::string path_, image_;
  std::vector<std::string> names_;
};

// Alice, and the ids that newuidmap(1) lets her be.
census::People alice_may_be();

// The ways in which a job of alice's may have its ids: as `request` says, uid 0 in a
// user namespace where that is she, and a namespace where all of her ranges are.
std::vector<Json> with_and_without_user_namespace(const Json& request);

// {"upper", "work"}: new directories of alice's in this one.
Json kept_in(const std::string& directory);

}  // namespace cloister::security_test
