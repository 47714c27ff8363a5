// cloister start: a job that goes on without this command.
#include "exit_code.hpp"
#include "file.hpp"
#include "job.hpp"
#include "json.hpp"
#include "service.hpp"
#include "verbs.hpp"

namespace cloister::command {

int start(const CommandLine& line) {
  Job job = prepare(line, Verb::start, own_surroundings());
  Client client = connect_to_jobs(line);
  auto started = client.start(job.request, job.descriptors);
  if (const Error error = started ? Error() : started.error();
      !started && drop_workspace(job, error)) {
    if (!line.has(Opt::quiet) && is_missed(job)) complain(no_workspace(job, error));
    started = client.start(job.request, job.descriptors);
  }
  if (!started) {
    complain(started.error().message());
    const auto failure = started.error().failure();
    return failure ? folded_exit_code(*failure) : kFailed;
  }
  if (!line.has(Opt::quiet))
    for (const std::string& warning : started->warnings) complain(warning);
  if (!line.has(Opt::json)) {
    print(started->id + "\n");
    return 0;
  }
  Json answer = {{"id", started->id}, {"pid", nullptr}};
  if (started->pid) answer["pid"] = *started->pid;
  print(answer.dump() + "\n");
  return 0;
}

}  // namespace cloister::command
