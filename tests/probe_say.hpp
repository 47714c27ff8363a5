// What the acts of the probe share: their arguments, their table, and JSON of
// attempts, {"NAME": null} for what worked and {"NAME": "EPERM"} for what not.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "probe_json.hpp"

namespace cloister::probe {

// Those after the word.
using Arguments = std::vector<const char*>;

struct Act {
  std::string_view word;
  int (*act)(const Arguments&);
};

// Ways out of the sandbox (probe_attacks.cpp), and ways to others in sandboxes
// of their own (probe_neighbours.cpp), and a few bytes over a network (probe_network.cpp).
std::span<const Act> attacks();
// What reaches another process with the same ids (probe_levers.cpp).
std::span<const Act> levers();
std::span<const Act> neighbours();
std::span<const Act> networks();
std::span<const Act> filters();
// What is left behind (probe_leftovers.cpp).
std::span<const Act> leftovers();
std::span<const Act> leavings();  // what stays behind (probe_files.cpp)

inline void say(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno != EINTR) _exit(120);
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
  }
}

class Attempts {
 public:
  Attempts() { json.begin_object(); }

  // With the errno of the call when `result` is negative. True if it worked.
  bool operator()(std::string_view name, long result) {
    const char* error = result < 0 ? strerrorname_np(errno) : nullptr;
    if (result >= 0) {
      json.null(name);
    } else {
      json.bytes(name, error ? error : "?");
    }
    return result >= 0;
  }
  // The same for what gives a descriptor, which is closed again.
  void descriptor(std::string_view name, long result) {
    if ((*this)(name, result)) close(static_cast<int>(result));
  }
  int done() {
    json.end_object();
    say(json.text() + "\n");
    return 0;
  }

  Json json;
};

}  // namespace cloister::probe
