// ConfigSource: where the configuration of this service is, and what is made of
// it at its start and at a reload. For no request.
#pragma once

#include <string>

#include "config/config.hpp"

namespace cloister::monitor {

class ConfigSource {
 public:
  // `told`: by --config, or empty. `of_root`: the service of root, for everybody.
  // `standard`: whether the file in /etc counts.
  ConfigSource(const std::string& told, bool of_root, bool standard)
      : told_(told), of_root_(of_root), standard_(standard) {}

  // Where the file is; empty: there is none, and that is no fault.
  std::string path() const;
  // What the service starts with: as it is read, or a Config that has a `wrong`.
  Config first();
  // At a reload: what holds instead of `now`. All or nothing: with a `wrong`,
  // `now` goes on to hold. A file that is not there any more takes no rule away.
  Config again(const Config& now);

 private:
  Config read() const;

  std::string told_;
  bool of_root_, standard_;
  bool found_ = false;  // there was a file
};

}  // namespace cloister::monitor
