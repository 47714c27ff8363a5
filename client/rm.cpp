// cloister rm: forgets ended jobs.
#include "exit_code.hpp"
#include "service.hpp"
#include "verbs.hpp"

namespace cloister::command {

int rm(const CommandLine& line) {
  if (line.operands.empty() && !line.has(Opt::all))
    throw Trouble{"no job given: `cloister ps --all` lists the ended ones; --all removes them"};
  Client client = connect_to_jobs(line);
  std::vector<std::string> ids(line.operands.begin(), line.operands.end());
  if (line.has(Opt::all)) {
    const auto ended = client.list({{}, JobPhase::ended});
    if (!ended) give_up(ended.error());
    for (const JobInfo& job : *ended) ids.push_back(job.id);
  }
  int code = 0;
  for (const std::string& id : ids)
    if (const auto removed = client.remove(id); !removed) {
      complain(removed.error().message());
      code = kFailed;
    }
  return code;
}

}  // namespace cloister::command
