#include "layers.hpp"

#include <algorithm>
#include <utility>

#include "request_table.hpp"

namespace cloister::request {
namespace {

std::string below(const std::string& path, std::string_view name) {
  return (path.empty() ? path : path + '.') + std::string(name);
}

Problem unknown_path(const char* list, const std::string& path) {
  return {Problem::Kind::invalid, list, "names no field", "a field path such as \"env.LD_PRELOAD\"",
          shown(path)};
}

using Origins = std::map<std::string, std::string>;

// --- taking away ----------------------------------------------------------------

// Moves what is at `path` to `into`, or drops it. False if `path` names nothing
// a request could have.
template <class S>
bool take_away(S& out, std::string_view path, S* into = nullptr) {
  bool known = false;
  const size_t dot = path.find('.');
  const std::string_view first = path.substr(0, dot);
  each_field<S>([&](const auto& field) {
    if (first != field.name) return;
    auto& member = out.*field.member;
    using M = std::remove_reference_t<decltype(member)>;
    M* const kept = into ? &(into->*field.member) : nullptr;
    if (dot == std::string_view::npos) {
      M taken = std::exchange(member, M{});
      if (kept) *kept = std::move(taken);
      known = true;
      return;
    }
    const std::string_view rest = path.substr(dot + 1);
    if constexpr (std::is_same_v<M, std::vector<Mount>>) {
      std::erase_if(member, [&, at = normal_path(rest)](const Mount& each) {
        if (each.at == at && kept) kept->push_back(each);
        return each.at == at;
      });
      known = rest.starts_with('/') || rest.starts_with('~');
    } else if constexpr (requires { typename M::mapped_type; }) {
      auto taken = member.extract(std::string(rest));
      if (taken && kept) kept->insert(std::move(taken));
      known = field.codec.rule(rest) == nullptr;
    } else if constexpr (Tabled<M>) {
      known = take_away(member, rest, kept);
    }
  });
  return known;
}

void forget_origins(Origins& origins, const std::string& path) {
  std::erase_if(origins, [&](const auto& entry) {
    return entry.first == path || entry.first.starts_with(path + '.');
  });
}

// --- what has no room ---------------------------------------------------------------

struct GivingUp {
  const std::vector<std::string>& allowed;
  std::vector<std::string>& degraded;
  std::optional<Problem> problem;

  // True if the value at `path` goes: that is allowed, or the request fails.
  bool give_up(const std::string& path, const std::string& reason) {
    const auto covers = [&](const std::string& name) {
      return path == name || path.starts_with(name + '.');
    };
    if (std::any_of(allowed.begin(), allowed.end(), covers))
      degraded.push_back(path);
    else if (!problem)
      problem = {Problem::Kind::unsupported, path, reason, "", ""};
    return true;
  }
};

const char* no_room(const Mount& mount) {
  const char* reason = nullptr;
  each_field<Mount>([&](const auto& field) {
    if (field.later && present(mount.*field.member)) reason = field.later;
  });
  return reason;
}

template <class S>
void give_up_roomless(S& out, const std::string& above, GivingUp& doing) {
  each_field<S>([&](const auto& field) {
    auto& member = out.*field.member;
    using M = std::remove_reference_t<decltype(member)>;
    if (!present(member)) return;
    const auto path = [&] { return below(above, field.name); };
    if constexpr (Tabled<M>) {
      give_up_roomless(member, path(), doing);
    } else if constexpr (std::is_same_v<M, std::vector<Mount>>) {
      std::erase_if(member, [&](const Mount& mount) {
        const char* reason = no_room(mount);
        return reason && doing.give_up(below(path(), normal_path(mount.at)), reason);
      });
    } else {
      const char* reason = field.later;
      if constexpr (kIsOptional<M>)
        if (!reason) reason = later_of(field.codec, *member);
      if (reason && doing.give_up(path(), reason)) member = M{};
    }
  });
}

template <class T, class Choice>
void give_up_choice(std::optional<Choice>& choice, const char* path, const std::string& reason,
                    GivingUp& doing) {
  if (!reason.empty() && choice && std::holds_alternative<T>(*choice) &&
      doing.give_up(path, reason))
    choice.reset();
}

void give_up_lacking(Request& layer, const Lacks& lacks, GivingUp& doing) {
  give_up_choice<SubordinateIds>(layer.uid_map, "uid_map", lacks.subordinate_uids, doing);
  give_up_choice<SubordinateIds>(layer.gid_map, "gid_map", lacks.subordinate_gids, doing);
  give_up_choice<DynamicIdentity>(layer.identity, "identity", lacks.leased_ids, doing);
}

void give_up_sysctls(Request& request, GivingUp& doing) {
  std::erase_if(request.sysctls, [&](const auto& entry) {
    return !is_net_sysctl(entry.first) &&
           doing.give_up("sysctls." + entry.first,
                         "is not known to be confined to a namespace of the job");
  });
}

// --- one layer onto those below ---------------------------------------------------------

// Each layer's places are distinct, which reading has made sure of.
void lay_mounts(std::vector<Mount>& lower, const std::vector<Mount>& higher,
                const std::string& path, const std::string& origin, Origins& origins) {
  std::map<std::string, size_t, std::less<>> index;
  for (size_t i = 0; i < lower.size(); ++i) index[lower[i].at] = i;
  for (const Mount& mount : higher) {
    const std::string at = normal_path(mount.at);
    const auto found = index.find(at);
    Mount& placed = found != index.end() ? lower[found->second] : lower.emplace_back();
    placed = mount;
    placed.at = at;
    origins[below(path, at)] = origin;
  }
}

template <class S>
void lay(S& base, const S& over, const std::string& above, const std::string& origin,
         Origins& origins) {
  each_field<S>([&](const auto& field) {
    auto& lower = base.*field.member;
    const auto& higher = over.*field.member;
    using M = std::remove_reference_t<decltype(lower)>;
    if (field.merge == Merge::own || !present(higher)) return;
    const std::string path = below(above, field.name);
    if constexpr (Tabled<M>) {
      lay(lower, higher, path, origin, origins);
    } else if constexpr (std::is_same_v<M, std::vector<Mount>>) {
      lay_mounts(lower, higher, path, origin, origins);
    } else if constexpr (requires { typename M::mapped_type; }) {
      for (const auto& [key, value] : higher) {
        lower.insert_or_assign(key, value);
        origins[below(path, key)] = origin;
      }
    } else {
      if constexpr (std::is_same_v<M, std::vector<std::string>>) {
        if (field.merge == Merge::gather) {
          lower.insert(lower.end(), higher.begin(), higher.end());
          origins[path] = origin;
          return;
        }
      }
      lower = higher;
      origins[path] = origin;
    }
  });
}

void note_places(const Request& layer, size_t rank,
                 std::map<std::string, size_t, std::less<>>& ranks) {
  for (const Mount& mount : layer.mounts) ranks["mounts." + normal_path(mount.at)] = rank;
  for (const std::string& path : layer.masked_paths) ranks["masked_paths." + path] = rank;
  for (const std::string& path : layer.readonly_paths) ranks["readonly_paths." + path] = rank;
  if (layer.root) ranks["root"] = rank;
  if (layer.workspace) ranks["workspace"] = rank;
  if (layer.devices) ranks["devices"] = rank;
  if (!layer.secrets.empty()) ranks["secrets"] = rank;
}

// The layer below all others: it fills what they left absent.
template <class S>
void fill(S& out, const S& constant, const std::string& above, Origins& origins) {
  each_field<S>([&](const auto& field) {
    auto& member = out.*field.member;
    const auto& value = constant.*field.member;
    using M = std::remove_reference_t<decltype(member)>;
    if constexpr (Tabled<M>) {
      fill(member, value, below(above, field.name), origins);
    } else if constexpr (requires { typename M::mapped_type; }) {
      for (const auto& [key, each] : value)
        if (member.try_emplace(key, each).second)
          origins.emplace(below(below(above, field.name), key), kFromConstant);
    } else if (present(value) && !present(member)) {
      member = value;
      origins.emplace(below(above, field.name), kFromConstant);
    }
  });
}

bool is_new(const std::optional<NamespaceChoice>& choice) {
  return choice && std::holds_alternative<NewNamespace>(*choice);
}

// `network` is a word about the network namespace: where a layer gives one of
// the two, the other follows, and what a lower layer set inside a namespace
// that this layer does not want goes with it.
std::optional<Problem> settle_network(Request& layer, Request& base, Origins& origins) {
  auto& choice = layer.namespaces.net;
  if (!layer.network && !choice) return std::nullopt;
  if (layer.network) {
    // An outbound network is the job's own too.
    const bool own = !std::holds_alternative<HostNetwork>(*layer.network);
    if (!choice)
      choice = own ? NamespaceChoice(NewNamespace{}) : NamespaceChoice(HostNamespace{});
    else if (own ? !is_new(choice) : !std::holds_alternative<HostNamespace>(*choice))
      return Problem{Problem::Kind::invalid, "network", "contradicts namespaces.net",
                     own ? "namespaces.net \"new\"" : "namespaces.net \"host\"", ""};
  }
  if (is_new(choice)) {
    // A host network of a lower layer has ended; its loopback is not ours to bring up.
    if (!layer.network && base.network && std::holds_alternative<HostNetwork>(*base.network)) {
      base.network.reset();
      forget_origins(origins, "network");
    }
    return std::nullopt;
  }
  if (!layer.network) {
    base.network.reset();
    forget_origins(origins, "network");
  }
  std::erase_if(base.sysctls, [&](const auto& entry) {
    forget_origins(origins, "sysctls." + entry.first);
    return true;
  });
  return std::nullopt;
}

bool mounts_root(const Mount& mount) { return normal_path(mount.at) == "/"; }

// `root` and a mount at "/" are two words for the same place: of two layers the
// higher one has it, in one layer they contradict each other.
std::optional<Problem> settle_root(const Request& layer, Request& base, Origins& origins) {
  const bool mounted = std::any_of(layer.mounts.begin(), layer.mounts.end(), mounts_root);
  if (layer.root && mounted)
    return Problem{Problem::Kind::invalid, "root", "contradicts the mount at /", "one of the two",
                   ""};
  if (layer.root && std::erase_if(base.mounts, mounts_root) != 0)
    forget_origins(origins, "mounts./");
  if (mounted && base.root) {
    base.root.reset();
    base.root_access.reset();
    forget_origins(origins, "root");
    forget_origins(origins, "root_access");
  }
  return std::nullopt;
}

}  // namespace

std::string normal_path(std::string_view path) {
  std::string normal;
  size_t at = 0;
  while (at < path.size()) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    if (!part.empty() && part != ".") {
      if (!normal.empty() || path[0] == '/') normal += '/';
      normal += part;
    }
    at = slash + 1;
  }
  return normal.empty() && path.starts_with('/') ? "/" : normal;
}

Result<Request> take_implied(Request& request) {
  Request implied;
  for (const std::string& path : std::exchange(request.implied, {}))
    if (!take_away(request, path, &implied)) return unknown_path("implied", path);
  return implied;
}

Result<Effective> merge(std::span<const Layer> layers, const Lacks& lacks) {
  Effective effective;
  // What may be given up in a layer is said there or above it, never below: a
  // profile must not weaken what a request asks for by name.
  std::vector<std::vector<std::string>> allowed(layers.size());
  for (size_t i = layers.size(); i-- > 0;) {
    if (i + 1 < layers.size()) allowed[i] = allowed[i + 1];
    const auto& own = layers[i].request.best_effort;
    allowed[i].insert(allowed[i].end(), own.begin(), own.end());
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    Request layer = layers[i].request;
    Request blank;
    for (const std::string& path : layer.best_effort)
      if (!take_away(blank, path)) return unknown_path("best_effort", path);

    for (const std::string& path : layer.unset) {
      if (!take_away(effective.request, path)) return unknown_path("unset", path);
      forget_origins(effective.origins, path);
      effective.taken_away.push_back(path);
    }
    std::vector<std::string> given_up;
    GivingUp doing{allowed[i], given_up, std::nullopt};
    give_up_roomless(layer, "", doing);
    give_up_lacking(layer, lacks, doing);
    give_up_sysctls(layer, doing);
    if (doing.problem) return *std::move(doing.problem);
    for (const std::string& path : given_up)
      effective.degraded_from.insert_or_assign(path, layers[i].origin);

    if (auto problem = settle_network(layer, effective.request, effective.origins))
      return *std::move(problem);
    if (auto problem = settle_root(layer, effective.request, effective.origins))
      return *std::move(problem);
    lay(effective.request, layer, "", layers[i].origin, effective.origins);
    note_places(layer, i, effective.ranks);
  }
  for (const auto& [path, origin] : effective.degraded_from) effective.degraded.push_back(path);

  fill(effective.request, constants(), "", effective.origins);
  if (auto problem = broken_combination(effective.request)) return *std::move(problem);
  return effective;
}

}  // namespace cloister::request
