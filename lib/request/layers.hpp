// Layers: constants <- profile <- request, merged into one effective request
// that knows where each value came from.
//
// Runs in the front, as the client. Nothing here touches the system.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/request.hpp"
#include "text.hpp"

namespace cloister::request {

// `env_pass` and `defaults` belong in profiles, `implied` in requests.
enum class Kind { request, profile };

// The request member of a Varlink call, parsed already.
Result<Request> read_layer(const json& document, Kind kind);
// The text of a profile file; comments are allowed.
Result<Request> parse_profile(std::string_view text);

json to_document(const Request& request);

// Of a field that is a number or a boolean, with its sign in all 64 bits; none where it is
// absent. Throws std::logic_error where there is no such field.
std::optional<uint64_t> number_of(const Request& request, std::string_view field);

// The constants of the field table, the lowest layer of every merge.
const Request& constants();

struct Layer {
  Request request;
  std::string origin;  // "profile default", "request"
};

struct Effective {
  Request request;
  // Field path ("umask", "env.PATH", "mounts./tmp", "namespaces.net") to the
  // origin of its value. A field without a value has none.
  std::map<std::string, std::string> origins;
  // What has a place in the box ("mounts./tmp", "masked_paths./x", "workspace",
  // "root", "devices", "secrets") to the layer it is from; a higher one is
  // nearer to the request.
  std::map<std::string, size_t, std::less<>> ranks;
  // Paths that a layer's `unset` names, whether or not a higher one gives them a value.
  std::vector<std::string> taken_away;
  // Paths of fields that are unsupported and were given up, as `best_effort` allows.
  std::vector<std::string> degraded;
  // The same to the origin of what was given up.
  std::map<std::string, std::string> degraded_from;
};

// Why this host has not for this caller what no field table can know; "" where it has.
struct Lacks {
  std::string subordinate_uids, subordinate_gids;  // for "subordinate" maps
  std::string leased_ids;                          // for the identity "dynamic"
  std::string memory, swap, pids, cpus, cpu_time;  // for limits
};

inline constexpr const char* kFromConstant = "constant";
inline constexpr const char* kFromCaller = "caller";
inline constexpr const char* kFromRequest = "request";

// Moves what the request calls implied into one of its own, a layer for below
// the profiles. Unknown paths are refused.
Result<Request> take_implied(Request& request);

// Lowest layer first; the constants are below them all. A field without a room, or that the host
// lacks, is refused as unsupported, or given up where `best_effort` of its own or a higher layer
// names it; unknown paths in `unset` and `best_effort` are refused. The result satisfies
// broken_combination().
Result<Effective> merge(std::span<const Layer> layers, const Lacks& lacks = {});

// True where the job has a namespace of its own; false of none, a joined one, and "auto".
bool is_new(const std::optional<NamespaceChoice>& choice);

// The rules that span fields, by the words of the rule. Of effective requests.
std::optional<Problem> broken_combination(const Request& effective);

// Without doubled and trailing slashes and without "." components.
std::string normal_path(std::string_view path);

}  // namespace cloister::request
