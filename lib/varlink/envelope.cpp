#include "varlink/envelope.hpp"

#include <optional>
#include <utility>

#include "request/text.hpp"

namespace cloister::varlink {
namespace {

std::optional<Malformed> parse_object(std::string_view text, Json& object) {
  auto parsed = request::parse_text(text);
  if (!parsed)
    return Malformed{parsed.error().field, parsed.error().reason, parsed.error().expected,
                     parsed.error().got};
  object = std::move(*parsed);
  if (!object.is_object()) return Malformed{"", "a message is a JSON object"};
  return {};
}

std::optional<Malformed> take_flag(const std::string& name, const Json& value, bool& flag) {
  if (!value.is_boolean()) return Malformed{name, "must be true or false"};
  flag = value == true;
  return {};
}

std::optional<Malformed> take_string(const std::string& name, Json& value, std::string& text) {
  if (!value.is_string()) return Malformed{name, "must be a string"};
  text = std::move(value.get_ref<std::string&>());
  return {};
}

std::optional<Malformed> take_object(const std::string& name, Json& value, Json& object) {
  if (!value.is_object()) return Malformed{name, "must be an object"};
  object = std::move(value);
  return {};
}

std::string dump(const Json& value) {
  // Bytes outside UTF-8 never get into a document by way of parse_text(); a
  // message must go out also where one was put into it by mistake.
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

boost::system::result<Call, Malformed> parse_call(std::string_view text) {
  Json object;
  if (auto wrong = parse_object(text, object)) return *wrong;
  Call call;
  for (auto& [name, value] : object.items()) {
    if (value.is_null()) continue;
    std::optional<Malformed> wrong;
    if (name == "method") {
      wrong = take_string(name, value, call.method);
    } else if (name == "parameters") {
      wrong = take_object(name, value, call.parameters);
    } else if (name == "more") {
      wrong = take_flag(name, value, call.more);
    } else if (name == "oneway") {
      wrong = take_flag(name, value, call.oneway);
    } else if (name == "upgrade") {
      wrong = take_flag(name, value, call.upgrade);
    } else {
      wrong = Malformed{name, "a call has no such member"};
    }
    if (wrong) return *wrong;
  }
  if (call.method.empty()) return Malformed{"method", "is missing"};
  if (call.more && call.oneway) return Malformed{"oneway", "a call without reply cannot have more"};
  return call;
}

boost::system::result<Reply, Malformed> parse_reply(std::string_view text) {
  Json object;
  if (auto wrong = parse_object(text, object)) return *wrong;
  Reply reply;
  for (auto& [name, value] : object.items()) {
    if (value.is_null()) continue;
    std::optional<Malformed> wrong;
    if (name == "parameters") {
      wrong = take_object(name, value, reply.parameters);
    } else if (name == "continues") {
      wrong = take_flag(name, value, reply.continues);
    } else if (name == "error") {
      wrong = take_string(name, value, reply.error);
    } else {
      wrong = Malformed{name, "a reply has no such member"};
    }
    if (wrong) return *wrong;
  }
  if (reply.continues && !reply.error.empty())
    return Malformed{"continues", "an error is the last reply"};
  return reply;
}

std::string to_text(const Call& call) {
  return call_text(call.method, dump(call.parameters), call.more, call.oneway);
}

std::string call_text(std::string_view method, std::string_view parameters, bool more,
                      bool oneway) {
  std::string text = "{\"method\":" + dump(Json(method)) + ",\"parameters\":";
  text += parameters;
  if (more) text += ",\"more\":true";
  if (oneway) text += ",\"oneway\":true";
  text += '}';
  return text;
}

std::string to_text(const Reply& reply) {
  std::string text = "{";
  if (!reply.error.empty()) text += "\"error\":" + dump(Json(reply.error)) + ",";
  text += "\"parameters\":" + dump(reply.parameters);
  if (reply.continues) text += ",\"continues\":true";
  text += '}';
  return text;
}

}  // namespace cloister::varlink
