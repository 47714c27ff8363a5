// The strict JSON reader, the request and profile layers, the envelope.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fuzz.hpp"
#include "request/layers.hpp"
#include "request/text.hpp"
#include "varlink/envelope.hpp"

namespace cloister::fuzz {
namespace {

using request::Comments;
using request::json;
using request::Kind;
using request::parse_text;

void document(const json& read) {
  const std::string written = read.dump();  // throws where a string is not UTF-8
  const auto again = parse_text(written);
  require(again && *again == read, "a document that is written reads as the same");
  require(request::is_utf8(request::shown(read)), "what an error shows of a value is UTF-8");
}

void layer(const json& read, Kind kind) {
  const auto request = request::read_layer(read, kind);
  if (!request) {
    require(!request.error().reason.empty(), "a refusal has its reason");
    return;
  }
  const json written = request::to_document(*request);
  const auto again = request::read_layer(written, kind);
  require(again && *again == *request, "a request that is written reads as the same");
  const request::Layer layers[] = {{*request, request::kFromRequest}};
  if (const auto merged = request::merge(layers))
    require(!request::broken_combination(merged->request), "what was merged breaks no rule");
}

void envelope(std::string_view bytes) {
  if (const auto call = varlink::parse_call(bytes)) {
    require(!call->method.empty() && !(call->more && call->oneway), "a call names its method");
    const auto again = varlink::parse_call(varlink::to_text(*call));
    // Whether the envelope asks for an upgrade is nothing that we ever write.
    require(again && again->method == call->method && again->parameters == call->parameters &&
                again->more == call->more && again->oneway == call->oneway,
            "a call that is written reads as the same");
    const auto request = call->parameters.find("request");
    if (request != call->parameters.end()) layer(*request, Kind::request);
  }
  if (const auto reply = varlink::parse_reply(bytes)) {
    const auto again = varlink::parse_reply(varlink::to_text(*reply));
    require(again && again->parameters == reply->parameters && again->error == reply->error &&
                again->continues == reply->continues,
            "a reply that is written reads as the same");
  }
}

}  // namespace

void text(Bytes input) {
  const std::string_view bytes(reinterpret_cast<const char*>(input.data()), input.size());
  const auto strict = parse_text(bytes);
  const auto lenient = parse_text(bytes, Comments::allowed);
  if (strict) require(lenient && *lenient == *strict, "comments that are not there change nothing");
  if (lenient) {
    document(*lenient);
    layer(*lenient, Kind::request);
    layer(*lenient, Kind::profile);
  }
  envelope(bytes);
  (void)request::parse_profile(bytes);
  std::string decoded;
  if (request::from_base64(bytes, decoded))
    require(request::to_base64(decoded) == bytes, "bytes have one spelling in base64");
  const std::string path = request::normal_path(bytes);
  require(request::normal_path(path) == path, "a normal path is its own normal path");
}

}  // namespace cloister::fuzz
