// From the command line to a request: the mapping of run, start and plan.
//
// Options become members of a JSON document, `--request` being its first state,
// and the library's strict reader judges the whole: one vocabulary, one judge.
// Nothing here talks to a service.
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
  std::string directory;              // getcwd(3); empty if it has none
  std::string lost_directory;         // what it was called, then
  bool open[3] = {true, true, true};  // descriptors 0, 1, 2
  unsigned rows = 0, columns = 0;     // of the terminal, 0: unknown
  std::vector<int> blocked;           // signals, before this command blocks those that it hands on
};
Surroundings own_surroundings();

enum class Verb { run, start, plan };

struct Job {
  Request request;
  std::vector<int> descriptors;  // what its passed_fd name; borrowed
  std::vector<UniqueFd> opened;  // those of them that the options opened
  // Of `plan`: which option or file gave the value at a path ("env.CI", "mounts./srv"), or
  // "caller" where the command filled it in from where it runs.
  std::map<std::string, std::string> said;
  bool implied_workspace = false;  // the caller's directory, which the service may refuse
  std::string directory;           // that one
  bool terminal = false;
};

// Throws Trouble.
Job prepare(const CommandLine& line, Verb verb, const Surroundings& around);

// Whether `error` is the service's refusal of the workspace that nobody asked
// for. If so the job has none any more, and can be tried again.
bool drop_workspace(Job& job, const Error& error);
// For a person, when that has happened.
std::string no_workspace(const Job& job, const Error& error);
// Whether that is worth a word before the job: its files were in sight. In / the
// job is where its caller is.
bool is_missed(const Job& job);

}  // namespace cloister::command
