// Layers of a request: every line of the input is a profile, the last one the
// request. What comes out follows from the layers by the rules of
// cloister-request(5).
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"
#include "request/layers.hpp"
#include "request/text.hpp"

namespace cloister::fuzz {
namespace {

using request::json;
using request::Kind;
using request::Layer;

std::vector<Layer> layers_of(std::string_view bytes) {
  std::vector<Layer> layers;
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const std::string_view line = bytes.substr(0, end);
    const bool last = end == std::string_view::npos;
    bytes = last ? std::string_view() : bytes.substr(end + 1);
    const auto read = request::parse_text(line, request::Comments::allowed);
    if (!read) continue;
    auto layer = request::read_layer(*read, last ? Kind::request : Kind::profile);
    if (!layer) continue;
    layers.push_back({*std::move(layer), "layer " + std::to_string(layers.size())});
  }
  return layers;
}

// Each origin is one of the layers, or says that no layer has the value.
void known(const request::Effective& merged, size_t layers) {
  for (const auto& [path, origin] : merged.origins) {
    bool found = origin == request::kFromConstant;
    for (size_t i = 0; i < layers; ++i) found |= origin == "layer " + std::to_string(i);
    require(found && !path.empty(), "a value comes from a layer or is a constant");
  }
}

}  // namespace

void merge(Bytes input) {
  const std::vector<Layer> layers =
      layers_of({reinterpret_cast<const char*>(input.data()), input.size()});
  if (layers.empty()) return;
  const auto merged = request::merge(layers);
  if (!merged) {
    require(!merged.error().reason.empty(), "a refusal has its reason");
    return;
  }
  known(*merged, layers.size());
  require(!request::broken_combination(merged->request), "what was merged breaks no rule");

  // A layer that says nothing changes nothing, wherever it stands.
  for (const size_t at : {size_t{0}, layers.size()}) {
    std::vector<Layer> with = layers;
    with.insert(with.begin() + static_cast<long>(at), {Request{}, "nothing"});
    const auto same = request::merge(with);
    require(same && same->request == merged->request && same->degraded == merged->degraded,
            "an empty layer changes nothing");
  }

  // A scalar of the highest layer is what holds: nothing below may weaken it.
  const Request& highest = layers.back().request;
  if (highest.no_new_privs)
    require(merged->request.no_new_privs == highest.no_new_privs, "the request's own value holds");
  if (highest.umask) require(merged->request.umask == highest.umask, "the request's umask holds");
  for (const auto& [name, value] : highest.env)
    require(merged->request.env.at(name) == value, "the request's variables hold");
  for (const Mount& mount : highest.mounts) {
    const std::string at = request::normal_path(mount.at);
    bool found = false, given_up = false;
    for (const Mount& each : merged->request.mounts) found |= each.at == at;
    for (const std::string& path : merged->degraded) given_up |= path == "mounts." + at;
    require(found || given_up, "a mount of the request is there or was given up by name");
  }

  // What was merged is a request that stands alone.
  const json written = request::to_document(merged->request);
  const auto again = request::read_layer(written, Kind::profile);
  require(again && *again == merged->request, "what was merged reads as the same");
}

}  // namespace cloister::fuzz
