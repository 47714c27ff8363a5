// Profiles: requests with blanks. Root's are read when the service starts and
// looked up in memory. A name that is none of root's is looked for among the
// caller's own, which the front reads as the caller.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "request/layers.hpp"

namespace cloister::front {

class Profiles {
 public:
  struct Directory {
    std::string path;
    bool guarded =
        false;  // its files must belong to root or the service, and no one else may write them
    bool optional = false;
  };
  // Reads every NAME.json; one of a later directory takes the place of its
  // namesake in an earlier. One that cannot be read, breaks a rule, or is based
  // on one that is missing or on itself, fails them all.
  static request::Result<Profiles> load(std::span<const Directory> directories);

  // Where the caller's own are, "" if nowhere. Asked only when it matters.
  using OwnDirectory = std::function<std::string()>;

  // The profile itself, after the ones it is based on (its own `profile`).
  request::Result<std::vector<request::Layer>> layers(const std::string& name,
                                                      const OwnDirectory& own) const;

  // For people: what there is, broken ones of the caller's own with their problem.
  struct Known {
    std::string name, file, base, problem;
  };
  std::vector<Known> list(const OwnDirectory& own) const;

 private:
  struct Profile {
    Request request;
    std::string file;
  };
  std::map<std::string, Profile> profiles_;
};

}  // namespace cloister::front
