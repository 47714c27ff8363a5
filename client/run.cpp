// cloister run: one job, from here to its verdict.
#include <signal.h>

#include <utility>

#include "exit_code.hpp"
#include "job.hpp"
#include "repository.hpp"
#include "service.hpp"
#include "session.hpp"
#include "sys/names.hpp"
#include "verbs.hpp"
#include "verdict_files.hpp"

namespace cloister::command {
namespace {

struct Ending {
  Verdict verdict;
  std::string line;  // for a person
  std::string note;  // what else may explain it
  bool lost_output = false;
};

// The current directory becomes the workspace unless the service, which knows
// what is whose, refuses it: then the job gets none.
Ending carry_through(const CommandLine& line, Job& job) {
  const bool quiet = line.has(Opt::quiet);
  auto client = connect(line);
  if (!client) return {verdict_of(client.error(), Mode::unknown), client.error().message(), ""};
  std::string note;
  bool lost = false;
  const auto carry = [&] {
    Session session(*client, job, quiet);
    auto ended = session.run();
    lost = session.lost_output();
    return ended;
  };
  auto verdict = carry();
  if (const Error error = verdict ? Error() : verdict.error();
      !verdict && drop_workspace(job, error)) {
    note = no_workspace(job, error);
    if (!quiet && is_missed(job)) complain(std::exchange(note, ""));
    verdict = carry();
  }
  if (verdict && !verdict->ok && job.request.workspace && !repository_note(job.request).empty())
    if (const auto dry = client->plan(job.request, job.descriptors))
      note = repository_note(job.request, dry->effective);
  if (verdict) return {*verdict, line_of(*verdict), note, lost};
  const auto mode = client->mode();
  return {verdict_of(verdict.error(), mode ? *mode : Mode::unknown), verdict.error().message(),
          note};
}

}  // namespace

int run(const CommandLine& line) {
  Job job = prepare(line, Verb::run, own_surroundings());
  const VerdictFiles files(line);
  const bool quiet = line.has(Opt::quiet);
  try {
    const Ending ending = carry_through(line, job);
    files.write(ending.verdict);
    if (!ending.verdict.ok && !quiet) {
      complain(ending.line);
      if (!ending.note.empty()) complain(ending.note);
    }
    if (ending.lost_output) return kFailed;
    const auto signal = sys::signal_number(ending.verdict.term_signal.value_or(""));
    if (line.has(Opt::propagate_signal) && signal) die_of(*signal);
    return ending.verdict.folded_exit_code();
  } catch (const Session::Interrupted& interrupted) {
    const std::string why =
        "interrupted by " + sys::signal_name(interrupted.signal) + " before the job had started";
    files.write(not_started(why, Cause::canceled, Fault::operator_));
    if (!quiet) complain(why);
    die_of(interrupted.signal);
    return kFailed;
  }
}

}  // namespace cloister::command
