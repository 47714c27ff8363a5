// cloister inspect: all that the service knows of a job.
#include "exit_code.hpp"
#include "file.hpp"
#include "json.hpp"
#include "service.hpp"
#include "table.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

std::string for_people(const Inspection& inspection) {
  const JobInfo& job = inspection.job;
  Table table({});
  const auto add = [&](const char* name, const std::optional<std::string>& value) {
    if (value) table.add({name, *value});
  };
  add("id", job.id);
  add("name", job.name);
  add("state", std::string(to_string(job.state)));
  if (job.pid) table.add({"pid", std::to_string(*job.pid)});
  table.add({"owner", "uid " + std::to_string(job.owner)});
  add("service", std::string(to_string(job.mode)));
  add("profile", job.profile);
  for (const auto& [key, value] : job.tags) table.add({"tag", key + "=" + value});
  table.add({"command", command_line(job.argv, 4096)});
  add("accepted", job.accepted_at);
  add("started", job.started_at);
  add("ended", job.ended_at);
  if (inspection.verdict) add("verdict", line_of(*inspection.verdict));
  table.add({"request", inspection.request == "null" ? "no longer kept" : ""});
  const Json request = parsed(inspection.request);
  for (const auto& [field, value] : request.items()) table.add({"  " + field, brief(value)});
  return table.text();
}

}  // namespace

int inspect(const CommandLine& line) {
  if (line.operands.empty()) throw Trouble{"no job given: `cloister ps --all` lists them"};
  Client client = connect_to_jobs(line);
  int code = 0;
  for (const std::string_view id : line.operands) {
    const auto inspection = client.inspect(id);
    if (!inspection) {
      complain(inspection.error().message());
      code = kFailed;
    } else if (line.has(Opt::json)) {
      Json object = {{"job", parsed(to_json(inspection->job))},
                     {"request", parsed(inspection->request)},
                     {"verdict", nullptr}};
      if (inspection->verdict) object["verdict"] = parsed(to_json(*inspection->verdict));
      print(object.dump() + "\n");
    } else {
      print(for_people(*inspection));
    }
  }
  return code;
}

}  // namespace cloister::command
