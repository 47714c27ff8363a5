// cloister wait: how a job ended, or stopped, or went on. waitid(2).
#include <charconv>

#include "exit_code.hpp"
#include "file.hpp"
#include "json.hpp"
#include "service.hpp"
#include "verbs.hpp"
#include "verdict_files.hpp"

namespace cloister::command {
namespace {

WaitTarget target_of(const CommandLine& line) {
  WaitTarget target;
  size_t named = line.operands.size();
  if (!line.operands.empty()) target.id = line.operands[0];
  if (line.has(Opt::tag)) {
    target.tag = key_and_value(line.value(Opt::tag), "--tag");
    named++;
  }
  if (line.has(Opt::pgid)) {
    const std::string_view text = line.value(Opt::pgid);
    int pgid = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, pgid);
    if (read.ec != std::errc() || read.ptr != end || pgid <= 0)
      throw Trouble{"--pgid: " + std::string(text) + " is not a process group"};
    target.pgid = pgid;
    named++;
  }
  if (line.has(Opt::all)) {
    target.all = true;
    named++;
  }
  if (named != 1) throw Trouble{"wait for one of: ID, --tag KEY=VALUE, --pgid N, --all"};
  return target;
}

int options_of(const CommandLine& line) {
  int options = WEXITED;
  if (line.has(Opt::stopped)) options |= WSTOPPED;
  if (line.has(Opt::continued)) options |= WCONTINUED;
  if (line.has(Opt::no_hang)) options |= WNOHANG;
  if (line.has(Opt::keep)) options |= WNOWAIT;
  return options;
}

Json to_object(const Event& event) {
  Json object = {{"event", to_string(event.kind)}, {"id", event.id}};
  object["signal"] = event.signal ? Json(*event.signal) : Json();
  object["verdict"] = event.verdict ? parsed(to_json(*event.verdict)) : Json();
  return object;
}

}  // namespace

int wait(const CommandLine& line) {
  const WaitTarget target = target_of(line);
  const VerdictFiles files(line);
  Client client = connect_to_jobs(line);
  auto event = client.wait(target, options_of(line));
  if (!event) give_up(event.error());
  const bool as_json = line.has(Opt::json);
  if (!*event) {
    if (as_json) print("null\n");
    return kNothingYet;
  }
  const Event& seen = **event;
  if (seen.verdict) files.write(*seen.verdict);
  if (as_json) print(to_object(seen).dump() + "\n");
  if (!seen.verdict) {
    if (!as_json) {
      std::string text = seen.id + " " + std::string(to_string(seen.kind));
      if (seen.signal) text += " by " + *seen.signal;
      print(text + "\n");
    }
    return 0;
  }
  if (!seen.verdict->ok && !line.has(Opt::quiet)) complain(seen.id + " " + line_of(*seen.verdict));
  return seen.verdict->folded_exit_code();
}

}  // namespace cloister::command
