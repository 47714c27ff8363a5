// Maps the command line of run, start and plan to a request.
//
// Options become members of a JSON document, which starts as that of --request. The
// library's strict reader then checks all of it, so the same rules hold for options
// and for JSON. Nothing here talks to a service.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "cloister/error.hpp"
#include "cloister/request.hpp"
#include "cloister/unique_fd.hpp"
#include "options.hpp"

namespace cloister::command {

std::span<const Group> job_options();  // what to launch

// What the mapping takes from the process it runs in.
struct Surroundings {
  std::span<const char* const> environment;
  std::string directory;              // getcwd(3); empty if it is gone or unreachable
  std::string lost_directory;         // its last known name, if `directory` is empty
  bool open[3] = {true, true, true};  // whether descriptors 0, 1 and 2 are open
  unsigned rows = 0, columns = 0;     // of the terminal; 0: unknown
  std::vector<int> blocked;           // signals, before this command blocks those it forwards
};
Surroundings own_surroundings();

enum class Verb { run, start, plan };

struct Job {
  Request request;
  std::vector<int> descriptors;  // which the passed_fd members of the request index; borrowed
  std::vector<UniqueFd> opened;  // those among them that options opened; owned
  // For `plan`: which option or file gave the value at each path ("env.CI", "mounts./srv"),
  // or "caller" for a value that the command took from its own process.
  std::map<std::string, std::string> said;
  bool implied_workspace = false;  // the workspace is the current directory by default
  std::string directory;           // the current directory, or its last known name
  bool terminal = false;
  bool open[3] = {true, true, true};  // the command's own descriptors 0, 1 and 2, at its start
};

// Throws Trouble.
Job prepare(const CommandLine& line, Verb verb, const Surroundings& around);

// Returns true if `error` is the service's refusal of an implied workspace. The job
// then has no workspace any more and can be launched again.
bool drop_workspace(Job& job, const Error& error);
// The message for the user that this has happened.
std::string no_workspace(const Job& job, const Error& error);
// Whether to print that message before the job runs, because the user may expect the
// files of the current directory. Not if that is /, where the job starts anyway.
bool is_missed(const Job& job);

}  // namespace cloister::command
