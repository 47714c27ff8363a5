// cloister profile: the profiles that may be named, what each sets, and whether
// a file would be one.
#include "exit_code.hpp"
#include "file.hpp"
#include "json.hpp"
#include "request/layers.hpp"
#include "service.hpp"
#include "table.hpp"
#include "values.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

Client open_client(const CommandLine& line) {
  auto client = connect(line);
  if (!client) give_up(client.error());
  return *std::move(client);
}

int list(const CommandLine& line) {
  if (line.operands.size() != 1) throw Trouble{"profile list takes no operands"};
  const auto description = open_client(line).describe();
  if (!description) give_up(description.error());
  const Json profiles = parsed(description->features).value("profiles", Json::array());
  if (line.has(Opt::json)) return print(profiles.dump() + "\n"), 0;
  Table table({"NAME", "BASE", "FILE"});
  std::string problems;
  for (const Json& profile : profiles) {
    const auto text = [&](const char* member) {
      const Json& value = profile.value(member, Json());
      return value.is_string() ? value.get<std::string>() : std::string();
    };
    table.add({text("name"), text("base").empty() ? "-" : text("base"), text("file")});
    if (!text("problem").empty())
      problems += "cloister: " + printable(text("file")) + ": " + printable(text("problem")) + "\n";
  }
  print(table.text());
  if (!problems.empty()) complain(problems);
  return 0;
}

// A dry run of nothing in particular shows what a profile sets.
DryRun dry_run(const CommandLine& line, Request request) {
  if (request.argv.empty()) request.argv = {"true"};
  auto client = open_client(line);
  auto dry = client.plan(request, {});
  if (!dry) give_up(dry.error());
  return *std::move(dry);
}

int show(const CommandLine& line) {
  if (line.operands.size() != 2)
    throw Trouble{"no profile given: `cloister profile list` lists them"};
  Request request;
  request.profile = std::string(line.operands[1]);
  const DryRun dry = dry_run(line, request);
  const Json effective = parsed(dry.effective);
  Json origins = Json::object();  // without what no profile set
  const Json all = parsed(dry.origins);
  for (const auto& [path, origin] : all.items())
    if (brief(origin).starts_with("profile ")) origins[path] = origin;
  if (line.has(Opt::json)) {
    print(Json{{"effective", effective}, {"origins", origins}, {"degraded", dry.degraded}}.dump() +
          "\n");
    return 0;
  }
  print(values_of(effective, origins).text());
  for (const std::string& field : dry.degraded)
    print("given up here, as best_effort allows: " + printable(field) + "\n");
  return 0;
}

int check(const CommandLine& line) {
  if (line.operands.size() < 2) throw Trouble{"no file given: profile check FILE..."};
  int bad = 0;
  for (const std::string_view operand : std::span(line.operands).subspan(1)) {
    const std::string path(operand);
    const auto refuse = [&](const std::string& why) {
      complain(path + ": " + why);
      bad = kFailed;
    };
    auto profile = request::parse_profile(read_file(path));
    if (!profile) {
      const Problem& problem = profile.error();
      refuse(problem.field + ' ' + problem.reason +
             (problem.expected.empty() ? "" : "; expected " + problem.expected) +
             (problem.got.empty() ? "" : ", got " + problem.got));
      continue;
    }
    if (profile->argv.empty()) profile->argv = {"true"};
    const request::Layer alone[] = {{*profile, path}};
    if (const auto merged = request::merge(alone); !profile->profile && !merged) {
      refuse(merged.error().field + ' ' + merged.error().reason);
      continue;
    }
    // As a request it is tried against this host, on its base; what only a
    // profile may say has been read. Without a base it stands on nothing.
    profile->env_pass.clear();
    profile->defaults.reset();
    if (!profile->profile) profile->profile = "none";
    const auto dry = open_client(line).plan(*profile, {});
    if (!dry) {
      refuse(dry.error().message());
      continue;
    }
    for (const std::string& field : dry->degraded)
      print(printable(path) + ": given up here, as best_effort allows: " + printable(field) + "\n");
    print(printable(path) + ": good\n");
  }
  return bad;
}

}  // namespace

int profile(const CommandLine& line) {
  const std::string_view verb = line.operands.empty() ? "" : line.operands[0];
  if (verb == "list") return list(line);
  if (verb == "show") return show(line);
  if (verb == "check") return check(line);
  throw Trouble{"usage: cloister profile list, profile show NAME or profile check FILE..."};
}

}  // namespace cloister::command
