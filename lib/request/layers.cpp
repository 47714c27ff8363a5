#include "layers.hpp"

#include <algorithm>
#include <utility>

#include "row.hpp"
#include "words.hpp"

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

std::vector<Mount>& mounts_in(void* member) { return *static_cast<std::vector<Mount>*>(member); }

// Moves the element that `key` names to `into`, or drops it, as below.
bool take_element(const Row& row, void* member, std::string_view key, void* into) {
  if (row.merge == Merge::mounts) {
    std::erase_if(mounts_in(member), [&, at = normal_path(key)](const Mount& each) {
      if (each.at == at && into) mounts_in(into).push_back(each);
      return each.at == at;
    });
    return key.starts_with('/') || key.starts_with('~');
  }
  const Keys* const keys = row.type().keys();
  if (!keys) return false;
  if (into && keys->has(member, key)) keys->assign(into, member, key);
  keys->erase(member, key);
  return row.rule_of_key(key) == nullptr;
}

// Moves what is at `path` to `into`, or drops it if that is null. False if
// `path` names nothing a request could have.
bool take_away(const Table& table, void* out, std::string_view path, void* into) {
  const size_t dot = path.find('.');
  const Row* const row = table.find(path.substr(0, dot));
  if (!row) return false;
  void* const member = row->member(out);
  void* const kept = into ? row->member(into) : nullptr;
  if (dot == std::string_view::npos) {
    if (kept) row->type().assign(kept, member);
    row->type().clear(member);
    return true;
  }
  const std::string_view rest = path.substr(dot + 1);
  const Table* const below = row->type().table();
  return below ? take_away(*below, member, rest, kept) : take_element(*row, member, rest, kept);
}

bool take_away(Request& request, std::string_view path, Request* into = nullptr) {
  return take_away(table<Request>(), &request, path, into);
}

void forget_origins(Origins& origins, const std::string& path) {
  std::erase_if(origins, [&](const auto& entry) {
    return entry.first == path || entry.first.starts_with(path + '.');
  });
}

// --- what is not implemented yet, or lacks here
// ---------------------------------------------------------------

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

const char* later_of(const Mount& mount) {
  const char* reason = nullptr;
  for (const auto& [row] : table<Mount>().rows())
    if (row.later && row.present(&mount)) reason = row.later;
  return reason;
}

void give_up_later(const Table& table, void* out, const std::string& above, GivingUp& doing) {
  for (const auto& [row] : table.rows()) {
    if (!row.present(out)) continue;
    void* const member = row.member(out);
    const std::string path = below(above, row.name);
    if (const Table* const members = row.type().table()) {
      give_up_later(*members, member, path, doing);
    } else if (row.merge == Merge::mounts) {
      std::erase_if(mounts_in(member), [&](const Mount& mount) {
        const char* reason = later_of(mount);
        return reason && doing.give_up(below(path, normal_path(mount.at)), reason);
      });
    } else if (const char* reason = row.later_of(out); reason && doing.give_up(path, reason)) {
      row.type().clear(member);
    }
  }
}

template <class T, class Choice>
void give_up_choice(std::optional<Choice>& choice, const char* path, const std::string& reason,
                    GivingUp& doing) {
  if (!reason.empty() && choice && std::holds_alternative<T>(*choice) &&
      doing.give_up(path, reason))
    choice.reset();
}

template <class T>
void give_up_limit(std::optional<T>& limit, const char* path, const std::string& reason,
                   GivingUp& doing) {
  if (!reason.empty() && limit && doing.give_up(path, reason)) limit.reset();
}

void give_up_lacking(Request& layer, const Lacks& lacks, GivingUp& doing) {
  give_up_limit(layer.limits.memory, "limits.memory", lacks.memory, doing);
  give_up_limit(layer.limits.swap, "limits.swap", lacks.swap, doing);
  give_up_limit(layer.limits.on_oom, "limits.on_oom", lacks.memory, doing);
  give_up_limit(layer.limits.pids, "limits.pids", lacks.pids, doing);
  give_up_limit(layer.limits.cpus, "limits.cpus", lacks.cpus, doing);
  give_up_limit(layer.limits.cpu_time, "limits.cpu_time", lacks.cpu_time, doing);
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

void lay_keys(const Keys& keys, void* lower, const void* higher, const std::string& path,
              const std::string& origin, Origins& origins) {
  for (const std::string_view key : keys.list(higher)) {
    keys.assign(lower, higher, key);
    origins[below(path, key)] = origin;
  }
}

void gather(void* lower, const void* higher) {
  auto& all = *static_cast<std::vector<std::string>*>(lower);
  const auto& more = *static_cast<const std::vector<std::string>*>(higher);
  all.insert(all.end(), more.begin(), more.end());
}

void lay(const Table& table, void* base, const void* over, const std::string& above,
         const std::string& origin, Origins& origins) {
  for (const auto& [row] : table.rows()) {
    if (row.merge == Merge::own || !row.present(over)) continue;
    void* const lower = row.member(base);
    const void* const higher = row.member(over);
    const std::string path = below(above, row.name);
    if (const Table* const members = row.type().table()) {
      lay(*members, lower, higher, path, origin, origins);
    } else if (row.merge == Merge::mounts) {
      lay_mounts(mounts_in(lower), *static_cast<const std::vector<Mount>*>(higher), path, origin,
                 origins);
    } else if (const Keys* const keys = row.type().keys()) {
      lay_keys(*keys, lower, higher, path, origin, origins);
    } else {
      if (row.merge == Merge::gather)
        gather(lower, higher);
      else
        row.type().assign(lower, higher);
      origins[path] = origin;
    }
  }
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
void fill(const Table& table, void* out, const void* constants, const std::string& above,
          Origins& origins) {
  for (const auto& [row] : table.rows()) {
    void* const member = row.member(out);
    const void* const constant = row.member(constants);
    const auto path = [&row = row, &above] { return below(above, row.name); };
    if (const Table* const members = row.type().table()) {
      fill(*members, member, constant, path(), origins);
    } else if (const Keys* const keys = row.type().keys()) {
      for (const std::string_view key : keys->list(constant)) {
        if (keys->has(member, key)) continue;
        keys->assign(member, constant, key);
        origins.emplace(below(path(), key), kFromConstant);
      }
    } else if (row.present(constants) && !row.present(out)) {
      row.type().assign(member, constant);
      origins.emplace(path(), kFromConstant);
    }
  }
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
    give_up_later(table<Request>(), &layer, "", doing);
    give_up_lacking(layer, lacks, doing);
    give_up_sysctls(layer, doing);
    if (doing.problem) return *std::move(doing.problem);
    for (const std::string& path : given_up)
      effective.degraded_from.insert_or_assign(path, layers[i].origin);

    if (auto problem = settle_network(layer, effective.request, effective.origins))
      return *std::move(problem);
    if (auto problem = settle_root(layer, effective.request, effective.origins))
      return *std::move(problem);
    lay(table<Request>(), &effective.request, &layer, "", layers[i].origin, effective.origins);
    note_places(layer, i, effective.ranks);
  }
  for (const auto& [path, origin] : effective.degraded_from) effective.degraded.push_back(path);

  fill(table<Request>(), &effective.request, &constants(), "", effective.origins);
  if (auto problem = broken_combination(effective.request)) return *std::move(problem);
  return effective;
}

}  // namespace cloister::request
