#include "cloister/error.hpp"

#include <utility>

#include "request/text.hpp"
#include "varlink/members.hpp"

namespace cloister {
namespace {

using varlink::Json;

// The fields of an error; what cannot be read is an error without fields.
Json fields_of(const Error& error) {
  auto parsed = request::parse_text(error.parameters);
  if (!parsed || !parsed->is_object()) return Json::object();
  return std::move(*parsed);
}

std::string string_of(const Json& fields, const char* name) {
  const auto at = fields.find(name);
  if (at == fields.end() || at->is_null()) return {};
  return at->is_string() ? at->get_ref<const std::string&>() : at->dump();
}

std::string invalid_request(const Json& fields) {
  std::string text = "the request is refused";
  if (const auto field = string_of(fields, "field"); !field.empty()) text += " at " + field;
  text += ": " + string_of(fields, "reason");
  const auto expected = string_of(fields, "expected");
  const auto got = string_of(fields, "got");
  if (!expected.empty()) text += "; expected " + expected;
  if (!got.empty()) text += (expected.empty() ? "; got " : ", got ") + got;
  return text;
}

std::string denied(const Json& fields) {
  std::string text = "policy forbids";
  if (const auto field = string_of(fields, "field"); !field.empty()) text += " " + field;
  const auto rule = string_of(fields, "rule"), policy = string_of(fields, "policy");
  text += " (rule " + rule;
  // A rule of the configuration's own names it already.
  if (!policy.empty() && policy != "default" && !rule.starts_with(policy + "/"))
    text += ", policy " + policy;
  if (const auto limit = string_of(fields, "limit"); !limit.empty()) text += ", limit " + limit;
  if (const auto requested = string_of(fields, "requested"); !requested.empty())
    text += ", requested " + requested;
  text += ")";
  if (const auto hint = string_of(fields, "hint"); !hint.empty()) text += ": " + hint;
  return text;
}

std::string launch_failed(const Json& fields) {
  std::string text = "the job did not start";
  if (const auto field = string_of(fields, "field"); !field.empty()) text += ", at " + field;
  text += ": " + string_of(fields, "message");
  if (const auto hint = string_of(fields, "hint"); !hint.empty()) text += ". " + hint;
  return text;
}

std::string busy(const Json& fields) {
  std::string text = "the service is busy", numbers;
  const auto add = [&](const std::string& before, const std::string& value,
                       const std::string& after) {
    if (!value.empty()) numbers += (numbers.empty() ? "" : ", ") + before + value + after;
  };
  add("rule ", string_of(fields, "rule"), "");
  add("", string_of(fields, "running"), " under way");
  add("limit ", string_of(fields, "limit"), "");
  add("try again in ", string_of(fields, "retry_after_ms"), " ms");
  if (!numbers.empty()) text += " (" + numbers + ")";
  if (const auto hint = string_of(fields, "hint"); !hint.empty()) text += ": " + hint;
  return text;
}

std::string misconfigured(const Json& fields) {
  std::string text = "the service is misconfigured and serves nobody: ";
  for (const char* where : {"file", "place"})
    if (const auto part = string_of(fields, where); !part.empty()) text += part + ": ";
  return text + string_of(fields, "reason") +
         " (for its administrator: cloisterd --check, then --reload)";
}

}  // namespace

bool Error::is(std::string_view short_name) const {
  const std::string_view full = name;
  return full.ends_with(short_name) &&
         (full.size() == short_name.size() || full[full.size() - short_name.size() - 1] == '.');
}

std::string Error::field(const char* field_name) const {
  return string_of(fields_of(*this), field_name);
}

std::optional<Failure> Error::failure() const {
  if (!is("LaunchFailed")) return {};
  Failure failure;
  std::string why;
  if (!varlink::read(fields_of(*this), failure, "", why)) return {};
  return failure;
}

std::string Error::message() const {
  const Json fields = fields_of(*this);
  if (is("InvalidRequest")) return invalid_request(fields);
  if (is("Denied")) return denied(fields);
  if (is("LaunchFailed")) return launch_failed(fields);
  if (is("Busy")) return busy(fields);
  if (is("Misconfigured")) return misconfigured(fields);
  if (is("NoSuchJob"))
    return "no such job: " + string_of(fields, "id") + " (`cloister ps --all` lists the caller's)";
  if (is("Unsupported"))
    return string_of(fields, "feature") + " is not supported: " + string_of(fields, "reason");
  if (is("InvalidParameter"))
    return "the service does not accept the parameter " + string_of(fields, "parameter");
  if (is("MethodNotFound") || is("MethodNotImplemented"))
    return "the service has no method " + string_of(fields, "method");
  if (is("PermissionDenied")) return "the service does not serve this process";
  if (const auto message = string_of(fields, "message"); !message.empty()) return message;
  return parameters == "{}" ? name : name + " " + parameters;
}

Exception::Exception(Error error) : std::runtime_error(error.message()), error_(std::move(error)) {}

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw Exception(error);
}

}  // namespace cloister
