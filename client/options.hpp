// Options of the command line: tables of rows that the parser and --help read.
//
// Used by the verbs of the `cloister` command, in the caller's own process.
// Own code and not CLI11: that costs 0.1 ms at each start and 2 MB, measured,
// where a whole job takes 1 ms.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cloister::command {

enum class Opt {
  // Which service, of every verb.
  system,
  user,
  private_,
  socket,
  cloisterd,
  help,
  version,
  // What to launch: run, start and plan.
  request,
  profile,
  name,
  shell_line,
  as,
  env,
  env_file,
  env_all,
  cwd,
  workspace,
  ro,
  rw,
  tmpfs,
  scratch,
  device,
  root,
  root_access,
  secret,
  net,
  publish,
  seccomp,
  hostname,
  stdin_,
  stdout_,
  stderr_,
  log,
  pass_fd,
  wall_time,
  cpu_time,
  memory,
  swap,
  pids,
  cpus,
  max_output,
  rlimit,
  nice,
  cpus_list,
  umask,
  setsid,
  unset,
  best_effort,
  tag,
  stop_signal,
  stop_timeout,
  on_disconnect,
  idempotency_key,
  // Of single verbs.
  tty,
  quiet,
  verdict_file,
  verdict_fd,
  propagate_signal,
  json,
  signal,
  group,
  all,
  pgid,
  stopped,
  continued,
  no_hang,
  keep,
  state,
  follow,
  tail,
  timeout,
  of_user,
};

struct Option {
  Opt id;
  char letter;        // 0: none
  const char* name;   // without the dashes
  const char* value;  // what --help calls its argument; null: it takes none
  const char* help;
};

struct Group {
  const char* title;
  std::span<const Option> options;
};

struct Given {
  Opt id;
  std::string_view value;
};

struct CommandLine {
  std::vector<Given> options;  // in order
  std::vector<std::string_view> operands;

  bool has(Opt id) const;
  // The last one given, or `otherwise`.
  std::string_view value(Opt id, std::string_view otherwise = {}) const;
};

// What keeps the command from its work: thrown where it is found, printed by
// main(), which then exits with kFailed.
struct Trouble {
  std::string text;
};

enum class Operands {
  anywhere,  // options may follow them
  end,       // the first one ends the options: the rest is the payload's
};

// Throws Trouble. `arguments` must outlive the result.
CommandLine parse(std::span<char* const> arguments, std::span<const Group> groups,
                  Operands operands);

// KEY=VALUE, the value of `option`. Throws Trouble.
std::pair<std::string, std::string> key_and_value(std::string_view text, const char* option);

// The groups as --help prints them.
std::string describe(std::span<const Group> groups);

}  // namespace cloister::command
