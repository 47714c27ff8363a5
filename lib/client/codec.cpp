#include "client/codec.hpp"

#include <array>
#include <stdexcept>
#include <utility>

#include "request/text.hpp"
#include "varlink/members.hpp"
#include "varlink/service.hpp"

namespace cloister {
namespace {

constexpr std::string_view kKinds[] = {"accepted",  "started", "stopped",
                                       "continued", "output",  "ended"};
constexpr std::string_view kScopes[] = {"main", "group", "all"};

}  // namespace

std::string_view to_string(Event::Kind kind) { return kKinds[static_cast<size_t>(kind)]; }

namespace codec {
namespace {

using varlink::Json;

std::string text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Error local(const char* name, std::string message) {
  return {name, text({{"message", std::move(message)}})};
}

// Members of a reply, one after another; the first that is wrong is kept.
class Members {
 public:
  explicit Members(const Json& object) : object_(object) {}

  // Null leaves `out` as it is.
  template <class T>
  Members& optional(const char* name, T& out) {
    if (const Json* const item = varlink::found(object_, name))
      varlink::read(*item, out, name, why_);
    return *this;
  }
  template <class T>
  Members& required(const char* name, T& out) {
    if (!varlink::found(object_, name) && why_.empty()) why_ = std::string(name) + " is missing";
    return optional(name, out);
  }
  Members& base64(const char* name, std::string& out) {
    std::string digits;
    required(name, digits);
    if (!request::from_base64(digits, out) && why_.empty())
      why_ = std::string(name) + " is not Base64";
    return *this;
  }
  // Any JSON, as text.
  Members& json(const char* name, std::string& out) {
    const auto at = object_.find(name);
    out = at == object_.end() ? "null" : text(*at);
    return *this;
  }
  Members& descriptor(const char* name, std::vector<UniqueFd>& descriptors, UniqueFd& out) {
    std::optional<int64_t> index;
    optional(name, index);
    if (!index) return *this;
    if (*index < 0 || static_cast<size_t>(*index) >= descriptors.size() ||
        !descriptors[static_cast<size_t>(*index)]) {
      if (why_.empty()) why_ = std::string(name) + " names no descriptor of the message";
      return *this;
    }
    out = std::move(descriptors[static_cast<size_t>(*index)]);
    return *this;
  }

  template <class T>
  Result<T> result(T value) {
    if (!why_.empty()) return protocol("a reply of the service cannot be read: " + why_);
    return value;
  }

 private:
  const Json& object_;
  std::string why_;
};

std::optional<Event::Kind> kind_of(std::string_view name) {
  for (size_t i = 0; i < std::size(kKinds); i++)
    if (kKinds[i] == name) return static_cast<Event::Kind>(i);
  return {};
}

Json tag_of(const std::optional<std::pair<std::string, std::string>>& tag) {
  if (!tag) return nullptr;
  return {{"key", tag->first}, {"value", tag->second}};
}

}  // namespace

std::string method(std::string_view name) {
  return std::string(varlink::kLauncher) + "." + std::string(name);
}

Result<std::string> request_parameters(const Request& request) {
  Request complete = request;
  fill_from_caller(complete);
  try {
    return "{\"request\":" + to_json(complete) + "}";
  } catch (const std::invalid_argument& wrong) {
    return Error{method("InvalidRequest"), text({{"field", ""}, {"reason", wrong.what()}})};
  }
}

std::string wait_parameters(const WaitTarget& target, int options) {
  constexpr std::pair<int, const char*> kOptions[] = {{WEXITED, "WEXITED"},
                                                      {WSTOPPED, "WSTOPPED"},
                                                      {WCONTINUED, "WCONTINUED"},
                                                      {WNOHANG, "WNOHANG"},
                                                      {WNOWAIT, "WNOWAIT"}};
  Json parameters = {{"options", Json::array()}};
  for (const auto& [bit, name] : kOptions)
    if (options & bit) parameters["options"].push_back(name);
  if (!target.id.empty()) parameters["id"] = target.id;
  if (target.tag) parameters["tag"] = tag_of(target.tag);
  if (target.pgid) parameters["pgid"] = *target.pgid;
  if (target.all) parameters["all"] = true;
  return text(parameters);
}

std::string signal_parameters(std::string_view id, int signal, SignalScope scope) {
  return text({{"id", id}, {"signal", signal}, {"scope", kScopes[static_cast<size_t>(scope)]}});
}

std::string stop_parameters(std::string_view id, std::optional<std::chrono::milliseconds> timeout) {
  Json parameters = {{"id", id}};
  if (timeout) parameters["timeout"] = std::to_string(timeout->count()) + "ms";
  return text(parameters);
}

std::string list_parameters(const ListFilter& filter) {
  Json parameters = Json::object();
  if (filter.tag) parameters["tag"] = tag_of(filter.tag);
  if (filter.state) parameters["state"] = to_string(*filter.state);
  return text(parameters);
}

std::string id_parameters(std::string_view id) { return text({{"id", id}}); }

Result<std::string> output_parameters(std::string_view id, const OutputQuery& query) {
  if (query.offset != 0 && query.stream.empty())
    return Error{method("InvalidRequest"),
                 text({{"field", "offset"}, {"reason", "needs the stream that it is of"}})};
  Json parameters = {{"id", id}};
  if (!query.stream.empty()) parameters["stream"] = query.stream;
  if (query.offset != 0) parameters["offset"] = query.offset;
  if (query.follow) parameters["follow"] = true;
  return text(parameters);
}

Error unreachable(std::string message) { return local("local.Unreachable", std::move(message)); }

Error transport(const boost::system::error_code& code) {
  return local("local.Transport", code.message());
}

bool has_hung_up(const boost::system::error_code& code) {
  return code == boost::system::errc::broken_pipe;
}

Error protocol(std::string message) { return local("local.Protocol", std::move(message)); }

Result<Received> receive(varlink::Message message) {
  auto reply = varlink::parse_reply(message.json);
  if (!reply) {
    const varlink::Malformed& wrong = reply.error();
    return protocol("a reply of the service cannot be read: " + wrong.field +
                    (wrong.field.empty() ? "" : " ") + wrong.reason);
  }
  if (!reply->error.empty()) return Error{std::move(reply->error), text(reply->parameters)};
  return Received{std::move(reply->parameters), std::move(message.descriptors), reply->continues};
}

Result<void> decode(Received&&, std::type_identity<void>) { return {}; }

Result<std::optional<Event>> decode(Received&& reply, std::type_identity<std::optional<Event>>) {
  Members members(reply.parameters);
  std::optional<std::string> kind;
  std::optional<Event> event;
  members.optional("event", kind);
  if (!kind) return members.result(std::move(event));
  const auto known = kind_of(*kind);
  if (!known) return protocol("the service reports an unknown event: " + *kind);
  event.emplace().kind = *known;
  members.required("id", event->id)
      .optional("pid", event->pid)
      .optional("signal", event->signal)
      .optional("verdict", event->verdict)
      .optional("warnings", event->warnings)
      .descriptor("pty_passed_fd", reply.descriptors, event->pty);
  if (*known == Event::Kind::output)
    members.required("stream", event->stream)
        .required("offset", event->offset)
        .base64("data", event->data);
  if (*known == Event::Kind::ended && !event->verdict)
    return protocol("the service reports an end without a verdict");
  return members.result(std::move(event));
}

Result<Event> decode(Received&& reply, std::type_identity<Event>) {
  auto event = decode(std::move(reply), std::type_identity<std::optional<Event>>{});
  if (!event) return event.error();
  if (!*event) return protocol("a reply of the service cannot be read: event is missing");
  return std::move(**event);
}

Result<Started> decode(Received&& reply, std::type_identity<Started>) {
  Started started;
  Members members(reply.parameters);
  members.required("id", started.id)
      .optional("pid", started.pid)
      .descriptor("pidfd_passed_fd", reply.descriptors, started.pidfd)
      .descriptor("pty_passed_fd", reply.descriptors, started.pty)
      .optional("warnings", started.warnings);
  return members.result(std::move(started));
}

Result<Verdict> decode(Received&& reply, std::type_identity<Verdict>) {
  Verdict verdict;
  Members members(reply.parameters);
  members.required("verdict", verdict);
  return members.result(std::move(verdict));
}

Result<std::vector<JobInfo>> decode(Received&& reply, std::type_identity<std::vector<JobInfo>>) {
  std::vector<JobInfo> jobs;
  Members members(reply.parameters);
  members.required("jobs", jobs);
  return members.result(std::move(jobs));
}

Result<Inspection> decode(Received&& reply, std::type_identity<Inspection>) {
  Inspection inspection;
  Members members(reply.parameters);
  members.required("job", inspection.job)
      .json("request", inspection.request)
      .optional("verdict", inspection.verdict);
  return members.result(std::move(inspection));
}

Result<DryRun> decode(Received&& reply, std::type_identity<DryRun>) {
  DryRun plan;
  Members members(reply.parameters);
  members.json("effective", plan.effective)
      .json("origins", plan.origins)
      .json("mounts", plan.mounts)
      .required("steps", plan.steps)
      .required("degraded", plan.degraded)
      .required("policy", plan.policy)
      .optional("notes", plan.notes);
  return members.result(std::move(plan));
}

Result<Description> decode(Received&& reply, std::type_identity<Description>) {
  Description description;
  description.json = text(reply.parameters);
  Members members(reply.parameters);
  members.required("version", description.version)
      .required("mode", description.mode)
      .optional("kernel", description.kernel)
      .optional("cgroup_version", description.cgroup_version)
      .optional("jobs_running", description.jobs_running)
      .optional("jobs_kept", description.jobs_kept)
      .optional("jobs_limit", description.jobs_limit)
      .optional("jobs_kept_limit", description.jobs_kept_limit)
      .optional("connections_limit", description.connections_limit)
      .optional("waits_limit", description.waits_limit)
      .optional("request_bytes", description.request_bytes)
      .optional("request_bytes_limit", description.request_bytes_limit)
      .optional("connection_bytes_limit", description.connection_bytes_limit)
      .json("features", description.features);
  return members.result(std::move(description));
}

Result<OutputChunk> decode(Received&& reply, std::type_identity<OutputChunk>) {
  OutputChunk chunk;
  Members members(reply.parameters);
  members.required("stream", chunk.stream)
      .required("offset", chunk.offset)
      .base64("data", chunk.data)
      .required("end", chunk.end);
  return members.result(std::move(chunk));
}

Result<Answer> decode(Received&& reply, std::type_identity<Answer>) {
  return Answer{text(reply.parameters), std::move(reply.descriptors), reply.continues};
}

}  // namespace codec
}  // namespace cloister
