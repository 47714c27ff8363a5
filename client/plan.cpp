// cloister plan: what run would do, where each value comes from, in which order.
#include "exit_code.hpp"
#include "file.hpp"
#include "job.hpp"
#include "json.hpp"
#include "service.hpp"
#include "table.hpp"
#include "verbs.hpp"

namespace cloister::command {
namespace {

constexpr size_t kValueColumns = 72;

// The value at a path of `origins`: "umask", "env.PATH", "namespaces.net", "mounts./tmp".
const Json* value_at(const Json& request, std::string_view path) {
  const size_t dot = path.find('.');
  const auto field = request.find(path.substr(0, dot));
  if (field == request.end()) return nullptr;
  if (dot == std::string_view::npos) return &*field;
  const std::string_view rest = path.substr(dot + 1);
  if (field->is_array()) {
    for (const Json& element : *field)
      if (element.is_object() && element.value("at", Json()) == rest) return &element;
    return nullptr;
  }
  if (!field->is_object()) return nullptr;
  // A key may hold dots itself, as those of env and sysctls do.
  if (const auto member = field->find(rest); member != field->end()) return &*member;
  return value_at(*field, rest);
}

std::string cut(std::string text) {
  if (text.size() <= kValueColumns) return text;
  text.resize(kValueColumns);
  while (!text.empty() && (text.back() & 0x80) != 0) text.pop_back();
  return text + "…";
}

std::string for_people(const DryRun& dry, const Job& job) {
  const Json asked = parsed(job.asked);
  Json effective = parsed(dry.effective);
  // The service does not repeat the values of variables, which may be secrets
  // of the caller; ours are known here.
  for (const auto& [name, value] : job.request.env)
    if (effective.contains("env") && effective["env"].contains(name))
      effective["env"][name] = value;
  Table values({"FIELD", "VALUE", "FROM"});
  const Json origins = parsed(dry.origins);
  for (const auto& [path, origin] : origins.items()) {
    const Json* value = value_at(effective, path);
    std::string from = origin.is_string() ? origin.get_ref<const std::string&>() : origin.dump();
    // What the command line did not say and the request has all the same was
    // filled in from here: the environment, the attributes, the directory.
    if (from == "request" && value_at(asked, path) == nullptr) from = "caller";
    values.add({path, value == nullptr ? "-" : cut(brief(*value)), from});
  }
  std::string text = values.text() + "\nSTEPS\n";
  Table steps({});
  for (size_t i = 0; i < dry.steps.size(); i++) steps.add({std::to_string(i + 1), dry.steps[i]});
  text += steps.text();
  for (const std::string& field : dry.degraded)
    text += "given up, as best_effort allows: " + printable(field) + "\n";
  return text;
}

}  // namespace

int plan(const CommandLine& line) {
  Job job = prepare(line, Verb::plan, own_surroundings());
  auto client = connect(line);
  if (!client) give_up(client.error());
  auto dry = client->plan(job.request, job.descriptors);
  if (!dry && drop_workspace(job, dry.error())) dry = client->plan(job.request, job.descriptors);
  if (!dry) give_up(dry.error());
  if (!line.has(Opt::json)) {
    print(for_people(*dry, job));
    return 0;
  }
  const Json object = {{"effective", parsed(dry->effective)},
                       {"origins", parsed(dry->origins)},
                       {"steps", dry->steps},
                       {"degraded", dry->degraded}};
  print(object.dump() + "\n");
  return 0;
}

}  // namespace cloister::command
