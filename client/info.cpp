// cloister info: which service answers, and what works here.
#include "file.hpp"
#include "json.hpp"
#include "service.hpp"
#include "table.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

const char* meaning(Mode mode) {
  switch (mode) {
    case Mode::system: return "system: the system's service, run by root";
    case Mode::user:
      return "user: your own service, in user namespaces; you could forge its "
             "records";
    case Mode::private_: return "private: started by this command, for this command";
    case Mode::unknown: break;
  }
  return "unknown to this version";
}

void add_members(Table& table, const std::string& above, const Json& object) {
  for (const auto& [name, value] : object.items()) {
    const std::string path = above.empty() ? name : above + "." + name;
    if (value.is_object() && !value.empty())
      add_members(table, path, value);
    else
      table.add({path, brief(value)});
  }
}

}  // namespace

int info(const CommandLine& line) {
  if (!line.operands.empty()) throw Trouble{"info takes no operands"};
  auto client = connect(line);
  if (!client) give_up(client.error());
  const auto description = client->describe();
  if (!description) give_up(description.error());
  if (line.has(Opt::json)) {
    print(description->json + "\n");
    return 0;
  }
  const auto count = [](const std::optional<int64_t>& number) {
    return number ? std::to_string(*number) : std::string("-");
  };
  Table table({});
  table.add({"service", meaning(description->mode)});
  table.add({"version", description->version});
  table.add({"kernel", description->kernel});
  table.add({"cgroups",
             description->cgroup_version == 0 ? "none" : "v" + count(description->cgroup_version)});
  table.add(
      {"jobs running", count(description->jobs_running) + " of " + count(description->jobs_limit)});
  table.add({"verdicts kept", count(description->jobs_kept)});
  print(table.text());

  Json features = parsed(description->features);
  Table works({"FEATURE", "STATE", "DETAIL"});
  const Json host = features.value("host", Json::object());
  for (const auto& [name, feature] : host.items()) {
    const Json detail = feature.value("detail", Json());
    works.add({name, brief(feature.value("state", Json())), detail.is_null() ? "" : brief(detail)});
  }
  print("\nWHAT WORKS HERE\n" + works.text());
  // `profile list` has them with their files.
  std::string profiles;
  for (const Json& profile : features.value("profiles", Json::array()))
    if (profile.value("problem", Json()).is_null())
      profiles += (profiles.empty() ? "" : ", ") + brief(profile.value("name", Json()));
  features.erase("host");
  features["profiles"] = profiles;
  Table others({});
  add_members(others, "", features);
  print("\nMORE\n" + others.text());
  return 0;
}

}  // namespace cloister::command
