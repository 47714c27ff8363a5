// Profiles: requests with blanks, read from a directory of root's when a front
// starts. A client names one; its name is looked up in memory and never
// becomes a path.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "request/layers.hpp"

namespace cloister::front {

class Profiles {
 public:
  // Reads every NAME.json of `directory`. One that cannot be read, breaks a
  // rule, or is based on one that is missing or on itself, fails them all.
  static request::Result<Profiles> load(const std::string& directory);

  // The profile itself, after the ones it is based on (its own `profile`).
  request::Result<std::vector<request::Layer>> layers(const std::string& name) const;

  std::vector<std::string> names() const;

 private:
  std::map<std::string, Request> profiles_;
};

}  // namespace cloister::front
