// Init's program, or cloister-network's, in memory, and the processes that run it.
//
// A payload's process runs it until its own exec, so at that exec /proc/self/exe
// is init's program, also as the interpreter of a script; later /proc/PID/exe is,
// for whom the kernel lets look into init. So each process has a copy of its own,
// sealed (CVE-2019-5736), which loses all bits of its mode once it runs: without
// one no capability helps to execute a file, path_resolution(7).
#pragma once

#include <string>

#include "host/spawn.hpp"

namespace cloister::monitor {

class Image {
 public:
  // The bytes of this file. Empty, with errno, when it cannot be read. `name`: what
  // the copies are called in /proc, a literal.
  Image(const sys::UniqueFd& file, const char* name);
  explicit operator bool() const { return !bytes_.empty(); }

  // As spawn(); which program `request` runs is said here.
  Child run(Spawn request) const;

 private:
  std::string bytes_;
  const char* name_;
};

}  // namespace cloister::monitor
