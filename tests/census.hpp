// Census: counts what a launcher may leave behind, so that a test can say that
// everything is as before: processes and zombies, descriptors, mounts,
// namespaces, cgroups, temporary files, System V IPC, keys.
//
// A machine is never quiet, so a census looks at a Scope: the processes below
// one ancestor, those of some users, some named ones. Make the ancestor a
// child subreaper (prctl(2)), or what is orphaned drops out of it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace cloister::census {

struct Scope {
  pid_t ancestor = 0;              // it and all that descend from it; 0: none
  std::vector<uid_t> users;        // processes, keys, IPC and temporary files of these
  std::vector<pid_t> processes;    // further ones; their descriptors are counted
  std::vector<std::string> paths;  // directories that are counted with all below them
  std::string word = "cloister";   // cgroups and temporary files with this in their name
};

// One thing that is counted: how many, and which, for people.
struct Count {
  int number = 0;
  std::vector<std::string> which;  // the first few
};

// By what is counted: "process cloister-front uid 1000", "mount /tmp/x", ...
using Census = std::map<std::string, Count>;

Census take(const Scope& scope);

// One line for each thing whose number differs; empty when nothing does.
std::string difference(const Census& before, const Census& after);

// Takes a census until nothing differs from `before` or the time is over, and
// gives the last difference. What the kernel frees behind its own back (namespaces,
// keys, cgroups) needs a moment.
std::string settle(const Census& before, const Scope& scope,
                   std::chrono::milliseconds patience = std::chrono::seconds(5));

// "NUMBER NAME" a line, and back.
std::string to_text(const Census& census);
Census from_text(const std::string& text);

}  // namespace cloister::census
