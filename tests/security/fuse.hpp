// A file system whose files never answer: what a hostile client can hand to
// anybody who reads, flushes or looks up without thinking.
//
//   slowN  opens; reading, writing and closing it never ends
//   dark   looking it up never ends
//   dim    looking it up ends with answer(), but for a front at once
//   plain  a file that can be read and written
//   tree   a directory with the same in it
#pragma once

#include <sys/types.h>

#include <string>

#include "process.hpp"

namespace cloister::security_test {

class SilentFiles {
 public:
  // Mounts on this directory, in the mount namespace of the caller, for all users.
  explicit SilentFiles(std::string directory);
  // For this user alone: root is refused too, fuse(4) without allow_other.
  SilentFiles(std::string directory, const system_test::Who& owner);
  // Everybody who waits gets ECONNABORTED; the mount is gone.
  ~SilentFiles();
  SilentFiles(const SilentFiles&) = delete;
  SilentFiles& operator=(const SilentFiles&) = delete;

  void abort();
  // Who looks `dim` up learns that it is not there.
  void answer();

  // Another one each time.
  std::string slow() { return directory_ + "/slow" + std::to_string(next_++); }
  std::string plain() const { return directory_ + "/plain"; }
  std::string dark() const { return directory_ + "/dark"; }
  std::string dim() const { return directory_ + "/dim"; }

 private:
  void serve_as(const std::string& options);

  std::string directory_;
  pid_t server_ = -1;
  int next_ = 0;
};

}  // namespace cloister::security_test
