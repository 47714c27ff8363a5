// What both clients say and hear: arguments and answers of the calls, and how a
// service is found.
#pragma once

#include <sys/wait.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cloister/error.hpp"
#include "cloister/job.hpp"
#include "cloister/request.hpp"
#include "cloister/unique_fd.hpp"
#include "cloister/verdict.hpp"

namespace cloister {

// Which service. `automatic`: the socket that CLOISTER_SOCKET names if it is
// set, else the first that is there of system, user, private. One that is there
// (its socket exists, or its socket unit is enabled) and does not answer is an
// error, never a reason to take the next; but a user to whom the socket of the
// system service is closed (EACCES) may have a service of their own.
enum class Service { automatic, system, user, private_ };

struct ConnectOptions {
  Service service = Service::automatic;
  std::string socket;  // a path; overrides `service` and CLOISTER_SOCKET
  std::string
      cloisterd;  // the program private mode starts; default: where it was installed, then PATH
};

// One reply of Run, or what Wait reports.
struct Event {
  enum class Kind { accepted, started, stopped, continued, output, ended };
  Kind kind = Kind::accepted;
  std::string id;
  std::optional<int64_t> pid;         // started: in the caller's pid namespace
  std::optional<std::string> signal;  // stopped: which
  UniqueFd pty;                       // started, with a terminal: its master
  std::optional<Verdict> verdict;     // ended
  std::vector<std::string> warnings;  // accepted: promises that are not kept here, in words
  // output: captured bytes of "stdout" or "stderr", and how many the job wrote to it before
  // them. The offset is larger than expected where output was not kept.
  std::string stream;
  uint64_t offset = 0;
  std::string data;
};

std::string_view to_string(Event::Kind kind);

struct Started {
  std::string id;
  std::optional<int64_t> pid;         // in the caller's pid namespace
  UniqueFd pidfd;                     // of the payload; absent if the kernel could not give one
  UniqueFd pty;                       // master of its terminal, if it was given one
  std::vector<std::string> warnings;  // promises that are not kept here, in words
};

// Which jobs Wait waits for: exactly one of them set.
struct WaitTarget {
  std::string id;
  std::optional<std::pair<std::string, std::string>> tag;
  std::optional<int> pgid;
  bool all = false;
};

enum class SignalScope { main, group, all };

// Both conditions hold; absent = any.
struct ListFilter {
  std::optional<std::pair<std::string, std::string>> tag;
  std::optional<JobPhase> state;
};

struct Inspection {
  JobInfo job;
  std::string request;  // JSON; without the values of env
  std::optional<Verdict> verdict;
};

struct DryRun {
  std::string effective;  // JSON: the request after profile and constants
  std::string origins;    // JSON: field path -> where its value came from
  // JSON: an array of the mounts as the payload's mountinfo will have them, each
  // {"at", "kind", "source", "access", "options", "if_there", "field"}; null from an
  // older service
  std::string mounts;
  std::vector<std::string> steps;
  std::vector<std::string> degraded;
  std::string policy;  // the rule of the service's configuration that spoke of the caller
  std::vector<std::string> notes;  // what else is to be known, in words
};

struct Description {
  std::string version;
  Mode mode = Mode::unknown;
  std::string kernel;
  std::optional<int64_t> cgroup_version;
  std::optional<int64_t> jobs_running, jobs_kept, jobs_kept_limit, jobs_limit, connections_limit,
      waits_limit, request_bytes, request_bytes_limit, connection_bytes_limit;
  std::string features;  // JSON object
  std::string json;      // the whole answer
};

// Which captured output of a job.
struct OutputQuery {
  std::string stream;   // "stdout" or "stderr"; empty: both
  uint64_t offset = 0;  // bytes from the beginning of `stream`, which it needs
  bool follow = false;  // until the job has ended
};

// A part of it. Where output was not kept, the offset is larger than expected.
struct OutputChunk {
  std::string stream;
  uint64_t offset = 0;
  std::string data;  // any bytes; empty: nothing more
  bool end = false;  // the job has ended, and this is all it wrote to the stream
};

// An answer to a call by name.
struct Answer {
  std::string parameters;  // JSON
  std::vector<UniqueFd> descriptors;
  bool continues = false;
};

// Fills what the request leaves open with the caller's own: cwd, umask, nice,
// affinity and rlimits; as implied, so that a profile's own values hold.
void fill_from_caller(Request& request);

}  // namespace cloister
