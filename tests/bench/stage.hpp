// Stage: what the benchmark measures against. A directory of its own with the
// no-op in it, a root service started from a build folder, and the ways to run
// the no-op: as a child, by bwrap, by the command, over a kept connection.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cloister/unique_fd.hpp"

namespace cloister::bench {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

// Throws std::system_error with errno.
[[noreturn]] void fail(const std::string& what);

int64_t now_ns();

// posix_spawn(3) and waitpid(2); throws unless it exits 0.
void spawn_and_wait(const Words& argv);

// A client that speaks Varlink by itself: one sendmsg(2), one read up to the NUL.
class Connection {
 public:
  explicit Connection(const std::string& socket);

  // The text of the one reply.
  std::string call(const std::string& message);

 private:
  UniqueFd socket_;
};

class Stage {
 public:
  // `programs` holds cloisterd and its parts; `noop` is the static program.
  Stage(const std::string& programs, const std::string& noop);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  const std::string& socket() const { return socket_; }
  pid_t monitor() const { return monitor_; }
  // Of the monitor: its fronts, spare ones included.
  std::vector<pid_t> children() const;

  Words plain() const { return {directory_ + "/noop"}; }
  Words bwrap() const;
  // Empty: the build folder has no cloister.
  Words command() const;
  // One Run without `more`, as the library's own run() sends it.
  std::string run_call(const std::string& profile) const;

 private:
  void finish();

  UniqueFd journal_;  // nobody reads it: what the service records must not cost a terminal's time
  std::string programs_, directory_, runtime_, socket_;
  pid_t monitor_ = -1;
};

}  // namespace cloister::bench
