// cloister ps: one's jobs.
#include <time.h>

#include "file.hpp"
#include "json.hpp"
#include "service.hpp"
#include "table.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

constexpr size_t kCommandColumns = 60;

std::optional<JobPhase> phase_of(const CommandLine& line) {
  if (!line.has(Opt::state)) return std::nullopt;
  for (const JobPhase phase :
       {JobPhase::preparing, JobPhase::running, JobPhase::stopped, JobPhase::ended})
    if (to_string(phase) == line.value(Opt::state)) return phase;
  throw Trouble{"--state: must be preparing, running, stopped or ended"};
}

std::string since(const JobInfo& job, long long now) {
  for (const auto& time : {job.ended_at, job.started_at, job.accepted_at})
    if (time) return age(*time, now);
  return "-";
}

}  // namespace

int ps(const CommandLine& line) {
  if (!line.operands.empty()) throw Trouble{"ps takes no operands; --tag and --state choose jobs"};
  ListFilter filter;
  filter.state = phase_of(line);
  if (line.has(Opt::tag)) filter.tag = key_and_value(line.value(Opt::tag), "--tag");
  Client client = connect_to_jobs(line);
  auto jobs = client.list(filter);
  if (!jobs) give_up(jobs.error());
  if (!line.has(Opt::all) && !filter.state)
    std::erase_if(*jobs, [](const JobInfo& job) { return job.state == JobPhase::ended; });

  if (line.has(Opt::json)) {
    std::string text = "[";
    for (const JobInfo& job : *jobs) text += (text.size() > 1 ? "," : "") + to_json(job);
    print(text + "]\n");
    return 0;
  }
  if (line.has(Opt::quiet)) {
    for (const JobInfo& job : *jobs) print(job.id + "\n");
    return 0;
  }
  const long long now = ::time(nullptr);
  Table table({"ID", "NAME", "STATE", "SINCE", "PID", "COMMAND"});
  for (const JobInfo& job : *jobs)
    table.add({job.id, job.name.value_or("-"), std::string(to_string(job.state)), since(job, now),
               job.pid ? std::to_string(*job.pid) : "-", command_line(job.argv, kCommandColumns)});
  print(table.text());
  return 0;
}

}  // namespace cloister::command
