#include "cloister/request.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "layers.hpp"
#include "schema.hpp"
#include "table.hpp"

namespace cloister {
namespace request {
namespace {

Problem invalid(std::string field, std::string reason, std::string expected, std::string got) {
  return {Problem::Kind::invalid, std::move(field), std::move(reason), std::move(expected),
          std::move(got)};
}

// Rules whose paths lie below the member that a table row could name.
std::optional<Problem> broken_element(const Request& request) {
  if (!request.argv.empty() && request.argv[0].empty())
    return invalid("argv[0]", "is empty", "a name", "\"\"");
  for (const auto& [name, value] : request.env)
    if (name.size() + 1 + value.size() >= plan::kMaxArgumentBytes)
      return invalid(
          "env." + name.substr(0, 64), "is too long",
          "at most " + std::to_string(plan::kMaxArgumentBytes - 1) + " bytes with its name",
          std::to_string(name.size() + 1 + value.size()));
  std::set<std::string> places;
  for (size_t i = 0; i < request.mounts.size(); ++i)
    if (!places.insert(normal_path(request.mounts[i].at)).second)
      return invalid("mounts[" + std::to_string(i) + "].at", "is a duplicate",
                     "one mount for each place", shown(request.mounts[i].at));
  return std::nullopt;
}

std::optional<Problem> read_constants(const Table& table, void* out) {
  for (const auto& [row] : table.rows()) {
    if (const Table* const below = row.type().table()) {
      if (auto problem = read_constants(*below, row.member(out))) return problem;
    } else if (row.constant) {
      const auto value = parse_text(row.constant);
      if (!value) return value.error();
      Reading in;
      if (!row.read(in, Place(Place(), row.name), *value, out)) return in.problem;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<Request> read_layer(const json& document, Kind kind) {
  Reading in;
  Request request;
  if (!table<Request>().read(in, Place(), document, &request)) return *std::move(in.problem);
  if (kind == Kind::request && !request.env_pass.empty())
    return invalid("env_pass", "belongs in a profile", "no env_pass", "");
  if (kind == Kind::request && request.defaults)
    return invalid("defaults", "belongs in a profile", "no defaults", "");
  if (kind == Kind::profile && !request.implied.empty())
    return invalid("implied", "belongs in a request", "no implied", "");
  if (auto problem = broken_element(request)) return *std::move(problem);
  return request;
}

Result<Request> parse_profile(std::string_view text) {
  const auto document = parse_text(text, Comments::allowed);
  if (!document) return document.error();
  return read_layer(*document, Kind::profile);
}

const Request& constants() {
  static const Request kConstants = [] {
    Request request;
    if (const auto problem = read_constants(table<Request>(), &request))
      throw std::logic_error("constant of " + problem->field + ' ' + problem->reason);
    return request;
  }();
  return kConstants;
}

json to_document(const Request& request) {
  json document;
  table<Request>().write(Place(), &request, document);
  return document;
}

std::optional<uint64_t> number_of(const Request& request, std::string_view field) {
  const Row* const row = table<Request>().find(field);
  const WholeNumber* const number = row ? row->type().number() : nullptr;
  if (!number) throw std::logic_error("not a number of a request: " + std::string(field));
  return number->value(row->member(&request));
}

std::string schema() {
  json schema;
  table<Request>().schema(schema);
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "A request of io.cloister.Launcher";
  return schema.dump(2) + '\n';
}

}  // namespace request

std::string to_json(const Request& request) { return request::to_document(request).dump(); }

boost::system::result<Request, Problem> parse(std::string_view json) {
  const auto document = request::parse_text(json);
  if (!document) return document.error();
  return request::read_layer(*document, request::Kind::request);
}

}  // namespace cloister
