// cloister plan: what run would do, where each value comes from, in which order.
#include "exit_code.hpp"
#include "file.hpp"
#include "job.hpp"
#include "json.hpp"
#include "repository.hpp"
#include "service.hpp"
#include "table.hpp"
#include "values.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

// The option or file that set the field at `path`; the service knows only that the
// request sets it.
std::string source_of(const Job& job, const std::string& path) {
  for (const auto& [said, source] : job.said)
    if (said == path || said.starts_with(path + '.') || path.starts_with(said + '.')) return source;
  return "caller";
}

Json origins_of(const DryRun& dry, const Job& job) {
  Json origins = parsed(dry.origins);
  for (auto& [path, origin] : origins.items())
    if (origin == "request") origin = source_of(job, path);
  return origins;
}

// The notes of the service, and one that only the command can make.
std::vector<std::string> notes_of(const DryRun& dry, const Job& job) {
  std::vector<std::string> notes = dry.notes;
  if (std::string note = repository_note(job.request, dry.effective); !note.empty())
    notes.push_back(std::move(note));
  return notes;
}

// As the payload's /proc/self/mountinfo will show them. A mount in brackets is left out
// where its source or place is missing.
std::string mounts_of(const DryRun& dry) {
  Json mounts = parsed(dry.mounts);
  if (!mounts.is_array() || mounts.empty()) return "";
  Table table({"MOUNT", "KIND", "ACCESS", "SOURCE", "FIELD"});
  for (Json& mount : mounts) {
    const std::string at = brief(mount["at"]);
    table.add({mount["if_there"] == true ? '[' + at + ']' : at, brief(mount["kind"]),
               brief(mount["access"]), mount["source"].is_null() ? "-" : brief(mount["source"]),
               brief(mount["field"])});
  }
  return "\n" + table.text();
}

std::string for_people(const DryRun& dry, const Job& job) {
  Json effective = parsed(dry.effective);
  // The reply has no values of variables, which may be secrets of the caller. Those of
  // this request are known here.
  for (const auto& [name, value] : job.request.env)
    if (effective.contains("env") && effective["env"].contains(name))
      effective["env"][name] = value;
  std::string text =
      values_of(effective, origins_of(dry, job)).text() + mounts_of(dry) + "\nSTEPS\n";
  Table steps({});
  for (size_t i = 0; i < dry.steps.size(); i++) steps.add({std::to_string(i + 1), dry.steps[i]});
  text += steps.text();
  for (const std::string& field : dry.degraded)
    text += "given up, as best_effort allows: " + printable(field) + "\n";
  for (const std::string& note : notes_of(dry, job)) text += "note: " + printable(note) + "\n";
  return text;
}

}  // namespace

int plan(const CommandLine& line) {
  Job job = prepare(line, Verb::plan, own_surroundings());
  auto client = connect(line);
  if (!client) give_up(client.error());
  auto dry = client->plan(job.request, job.descriptors);
  std::string note;
  if (const Error error = dry ? Error() : dry.error(); !dry && drop_workspace(job, error)) {
    note = no_workspace(job, error);
    dry = client->plan(job.request, job.descriptors);
  }
  if (!dry) give_up(dry.error());
  if (!note.empty()) dry->notes.push_back(note);
  if (!line.has(Opt::json)) {
    print(for_people(*dry, job));
    return 0;
  }
  const Json object = {{"effective", parsed(dry->effective)}, {"origins", origins_of(*dry, job)},
                       {"mounts", parsed(dry->mounts)},       {"steps", dry->steps},
                       {"degraded", dry->degraded},           {"policy", dry->policy},
                       {"notes", notes_of(*dry, job)}};
  print(object.dump() + "\n");
  return 0;
}

}  // namespace cloister::command
