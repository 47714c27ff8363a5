// The verbs of the command. Each returns the exit code and throws Trouble.
#pragma once

#include <span>
#include <vector>

#include "options.hpp"

namespace cloister::command {

int run(const CommandLine& line);
int start(const CommandLine& line);
int logs(const CommandLine& line);
int wait(const CommandLine& line);
int kill(const CommandLine& line);
int stop(const CommandLine& line);
int rm(const CommandLine& line);
int ps(const CommandLine& line);
int inspect(const CommandLine& line);
int plan(const CommandLine& line);
int profile(const CommandLine& line);
int policy(const CommandLine& line);
int info(const CommandLine& line);

struct VerbInfo {
  const char* name;
  const char* synopsis;  // after "cloister NAME"
  const char* summary;
  Group own;
  Operands operands;
  bool launches;  // takes job_options() too
  int (*carry_out)(const CommandLine& line);
  const Group* service = nullptr;  // its options about the service, if not kServiceOptions
};

extern const Group kServiceOptions;
std::span<const VerbInfo> verbs();
std::vector<Group> groups_of(const VerbInfo& verb);

}  // namespace cloister::command
