#include "varlink/service.hpp"

#include <utility>

namespace cloister::varlink {
namespace {

constexpr std::string_view kService = "org.varlink.service";

constexpr std::pair<std::string_view, Method> kMethods[] = {
#define X(name, id) {#name, Method::id},
    CLOISTER_METHODS(X)
#undef X
};

// "a.b.C" is the method C of the interface a.b.
std::pair<std::string_view, std::string_view> split(std::string_view qualified) {
  const auto dot = qualified.rfind('.');
  if (dot == std::string_view::npos) return {"", qualified};
  return {qualified.substr(0, dot), qualified.substr(dot + 1)};
}

Reply error(std::string_view interface, std::string_view name, Json parameters) {
  Reply reply;
  reply.error = std::string(interface) + "." + std::string(name);
  reply.parameters = std::move(parameters);
  return reply;
}

// What a client wrote, given back to it: a megabyte of it explains no more.
std::string echoed(std::string_view text) {
  constexpr size_t kMost = 256;
  if (text.size() <= kMost) return std::string(text);
  size_t cut = kMost;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return std::string(text.substr(0, cut)) + "...";
}

Json text_or_null(std::string_view text) { return text.empty() ? Json() : Json(text); }

template <class T>
Json number_or_null(const std::optional<T>& number) {
  return number ? Json(*number) : Json();
}

Reply get_info() {
  Reply reply;
  reply.parameters = {{"vendor", "cloister"},
                      {"product", "cloister"},
                      {"version", kVersion},
                      {"url", ""},
                      {"interfaces", Json::array({kLauncher, kService})}};
  return reply;
}

Reply get_interface_description(const Json& parameters) {
  for (const auto& [name, value] : parameters.items())
    if (name != "interface" && !value.is_null()) return invalid_parameter(name);
  const auto interface = parameters.find("interface");
  if (interface == parameters.end() || !interface->is_string())
    return invalid_parameter("interface");
  Reply reply;
  if (*interface == kLauncher) {
    reply.parameters = {{"description", launcher_description()}};
  } else if (*interface == kService) {
    reply.parameters = {{"description", kServiceDescription}};
  } else {
    return error(kService, "InterfaceNotFound",
                 {{"interface", echoed(interface->get_ref<const std::string&>())}});
  }
  return reply;
}

}  // namespace

std::optional<Method> method_of(std::string_view qualified_name) {
  const auto [interface, name] = split(qualified_name);
  if (interface != kLauncher) return {};
  for (const auto& [known, method] : kMethods)
    if (known == name) return method;
  return {};
}

Reply answer(const Call& call) {
  const auto [interface, name] = split(call.method);
  if (interface == kService) {
    if (name == "GetInfo") {
      for (const auto& [member, value] : call.parameters.items())
        if (!value.is_null()) return invalid_parameter(member);
      return get_info();
    }
    if (name == "GetInterfaceDescription") return get_interface_description(call.parameters);
  } else if (interface != kLauncher) {
    return error(kService, "InterfaceNotFound", {{"interface", echoed(interface)}});
  }
  return error(kService, "MethodNotFound", {{"method", echoed(call.method)}});
}

Reply invalid_parameter(std::string_view parameter) {
  return error(kService, "InvalidParameter", {{"parameter", echoed(parameter)}});
}

Reply expected_more() { return error(kService, "ExpectedMore", Json::object()); }

Reply permission_denied() { return error(kService, "PermissionDenied", Json::object()); }

Reply method_not_implemented(std::string_view method) {
  return error(kService, "MethodNotImplemented", {{"method", method}});
}

Reply invalid_request(std::string_view field, std::string_view reason, std::string_view expected,
                      std::string_view got) {
  return error(kLauncher, "InvalidRequest",
               {{"field", field},
                {"reason", reason},
                {"expected", text_or_null(expected)},
                {"got", text_or_null(got)}});
}

Reply denied(std::string_view field, std::string_view rule, std::optional<int64_t> limit,
             std::optional<int64_t> requested, std::string_view hint, std::string_view policy) {
  return error(kLauncher, "Denied",
               {{"field", field},
                {"rule", rule},
                {"policy", text_or_null(policy)},
                {"limit", number_or_null(limit)},
                {"requested", number_or_null(requested)},
                {"hint", text_or_null(hint)}});
}

Reply busy(std::optional<int64_t> retry_after_ms, std::optional<int64_t> running,
           std::optional<int64_t> queued, std::optional<int64_t> limit, std::string_view rule,
           std::string_view hint) {
  return error(kLauncher, "Busy",
               {{"rule", text_or_null(rule)},
                {"retry_after_ms", number_or_null(retry_after_ms)},
                {"running", number_or_null(running)},
                {"queued", number_or_null(queued)},
                {"limit", number_or_null(limit)},
                {"hint", text_or_null(hint)}});
}

Reply misconfigured(std::string_view file, std::string_view place, std::string_view reason) {
  return error(kLauncher, "Misconfigured",
               {{"file", text_or_null(file)}, {"place", text_or_null(place)}, {"reason", reason}});
}

Reply no_such_job(std::string_view id) { return error(kLauncher, "NoSuchJob", {{"id", id}}); }

Reply unsupported(std::string_view feature, std::string_view reason) {
  return error(kLauncher, "Unsupported", {{"feature", feature}, {"reason", reason}});
}

}  // namespace cloister::varlink
