// cloister kill: a signal to jobs.
#include "exit_code.hpp"
#include "service.hpp"
#include "sys/names.hpp"
#include "verbs.hpp"

#include <signal.h>

#include <charconv>

namespace cloister::command {
namespace {

int signal_of(std::string_view text) {
  int number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec == std::errc() && read.ptr == end && !sys::signal_name(number).empty()) return number;
  if (const auto named = sys::signal_number(text)) return *named;
  throw Trouble{"-s: unknown signal: " + std::string(text)};
}

}  // namespace

int kill(const CommandLine& line) {
  if (line.operands.empty()) throw Trouble{"no job given: `cloister ps` lists them"};
  const int signal = line.has(Opt::signal) ? signal_of(line.value(Opt::signal)) : SIGTERM;
  if (line.has(Opt::group) && line.has(Opt::all))
    throw Trouble{"--group and --all exclude each other"};
  const SignalScope scope = line.has(Opt::all)     ? SignalScope::all
                            : line.has(Opt::group) ? SignalScope::group
                                                   : SignalScope::main;
  Client client = connect_to_jobs(line);
  int code = 0;
  for (const std::string_view id : line.operands)
    if (const auto sent = client.signal(id, signal, scope); !sent) {
      complain(sent.error().message());
      code = kFailed;
    }
  return code;
}

}  // namespace cloister::command
