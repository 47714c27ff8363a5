// The rules that span fields: what no kernel could do, or what would not mean
// what its reader thinks. The words name the rule and what to change.
#include <tuple>

#include "layers.hpp"
#include "words.hpp"

namespace cloister::request {

bool is_new(const std::optional<NamespaceChoice>& choice) {
  return choice && std::holds_alternative<NewNamespace>(*choice);
}

namespace {

Problem broken(std::string field, std::string rule, std::string expected = "") {
  return {Problem::Kind::invalid, std::move(field), std::move(rule), std::move(expected), ""};
}

bool is_pty(const std::optional<Stream>& stream) {
  return stream && std::holds_alternative<Pty>(*stream);
}

// Init makes a terminal the controlling one before the file actions, so that
// their tcsetpgrp finds it: it has to be a descriptor that the client passed.
bool receives(const Request& request, int32_t fd) {
  const std::optional<Stream>* const streams[] = {&request.standard_input, &request.standard_output,
                                                  &request.standard_error};
  if (fd < 3 && *streams[fd] && std::holds_alternative<PassedFd>(**streams[fd])) return true;
  for (const FileAction& action : request.file_actions.value_or(std::vector<FileAction>{}))
    if (const auto* receive = std::get_if<ReceiveAction>(&action); receive && receive->fd == fd)
      return true;
  return false;
}

std::optional<Problem> broken_map(const char* field, const std::optional<IdMap>& choice,
                                  const Namespaces& namespaces) {
  if (!choice) return std::nullopt;
  if (!is_new(namespaces.user))
    return broken(field, "needs a new user namespace", "namespaces.user \"new\"");
  const auto* const map = std::get_if<std::vector<IdMapping>>(&*choice);
  if (!map) return std::nullopt;
  const auto overlap = [](uint32_t a, uint32_t a_count, uint32_t b, uint32_t b_count) {
    return uint64_t{a} < uint64_t{b} + b_count && uint64_t{b} < uint64_t{a} + a_count;
  };
  for (size_t i = 0; i < map->size(); ++i)
    for (size_t k = 0; k < i; ++k) {
      const IdMapping &one = (*map)[i], &other = (*map)[k];
      if (overlap(one.inside, one.count, other.inside, other.count) ||
          overlap(one.outside, one.count, other.outside, other.count))
        return broken(field + ('[' + std::to_string(i) + ']'),
                      "overlaps line " + std::to_string(k) + ", user_namespaces(7)");
    }
  return std::nullopt;
}

std::optional<Problem> broken_publish(const Outbound& outbound) {
  const auto place = [](const PublishedPort& port) {
    return std::tuple(port.host_port.value_or(port.port), port.address.value_or("127.0.0.1"),
                      port.protocol.value_or(Protocol::tcp));
  };
  const auto& list = outbound.publish;
  for (size_t i = 0; i < list.size(); ++i) {
    // It takes the port and loses what comes; Debian 13 has one that does not.
    if (list[i].protocol == Protocol::udp && list[i].port < list[i].host_port.value_or(0))
      return broken("network.outbound.publish[" + std::to_string(i) + "].port",
                    "is below host_port, for which the pasta of Debian 12 loses UDP packets",
                    "the same port, or a higher one");
    for (size_t k = 0; k < i; ++k)
      if (place(list[i]) == place(list[k]))
        return broken("network.outbound.publish[" + std::to_string(i) + "]",
                      "names the same port of the host as element " + std::to_string(k));
  }
  return std::nullopt;
}

// What is put on top of the mounts.
const char* on_top(const Request& request) {
  if (!request.secrets.empty()) return "secrets";
  if (!request.masked_paths.empty()) return "masked_paths";
  if (!request.readonly_paths.empty()) return "readonly_paths";
  return request.devices && !request.devices->empty() ? "devices" : nullptr;
}

std::optional<Problem> broken_box(const Request& request) {
  const Namespaces& namespaces = request.namespaces;
  if (!is_new(namespaces.mnt)) {
    const char* const rule = "needs a new mount namespace; the profile \"none\" mounts nothing";
    if (request.workspace) return broken("workspace", rule, "namespaces.mnt \"new\"");
    if (!request.mounts.empty()) return broken("mounts", rule, "namespaces.mnt \"new\"");
    if (request.root) return broken("root", rule, "namespaces.mnt \"new\"");
    if (const char* field = on_top(request)) return broken(field, rule, "namespaces.mnt \"new\"");
  } else if (request.cwd && std::holds_alternative<PassedFd>(*request.cwd)) {
    // A directory outside the new root is a way out of it: ".." leads on.
    return broken("cwd", "a passed directory lies outside the new root",
                  "a path, or namespaces.mnt \"host\"");
  }
  if (request.root_access && !request.root)
    return broken("root_access", "applies to the field root, which is absent", "root");
  if (const char* field = on_top(request); field && !request.root && request.mounts.empty())
    return broken(field, "needs a root directory of the job's own", "root, or a mount at /");
  for (const Mount& mount : request.mounts) {
    if (mount.at != "/") continue;
    if (!mount.bind && !mount.overlay)
      return broken("mounts./",
                    "must be a bind or an overlay; without one the root is an empty tmpfs");
    if (request.root) return broken("root", "contradicts the mount at /", "one of the two");
  }
  if (request.network && std::holds_alternative<Outbound>(*request.network)) {
    // Whose members could change it: the network belongs to a user namespace of
    // the service's making.
    const auto& user = namespaces.user;
    if (user &&
        (std::holds_alternative<PassedFd>(*user) || std::holds_alternative<JobNamespace>(*user)))
      return broken("network.outbound", "is not available in a joined user namespace",
                    "namespaces.user \"auto\", \"new\" or \"host\"");
    if (auto problem = broken_publish(std::get<Outbound>(*request.network))) return problem;
  }
  if (!request.sysctls.empty() && !is_new(namespaces.net))
    return broken("sysctls." + request.sysctls.begin()->first, "needs a new network namespace",
                  "namespaces.net \"new\"");
  return std::nullopt;
}

std::optional<Problem> broken_limits(const Request& request) {
  const Limits& limits = request.limits;
  const char* const needs_memory = "needs a limit of memory";
  if (!limits.memory && limits.swap) return broken("limits.swap", needs_memory, "limits.memory");
  if (!limits.memory && limits.on_oom)
    return broken("limits.on_oom", needs_memory, "limits.memory");
  if (request.cgroup != CgroupPlace::caller) return std::nullopt;
  // The owner of that cgroup could remove the limits.
  const char* const ours = "cannot be enforced below the caller's cgroup";
  if (limits.memory) return broken("limits.memory", ours, "cgroup \"service\"");
  if (limits.pids) return broken("limits.pids", ours, "cgroup \"service\"");
  if (limits.cpu_time) return broken("limits.cpu_time", ours, "cgroup \"service\"");
  if (limits.cpus) return broken("limits.cpus", ours, "cgroup \"service\"");
  return std::nullopt;
}

}  // namespace

std::optional<Problem> broken_combination(const Request& request) {
  const Namespaces& namespaces = request.namespaces;
  if (request.argv.empty()) return broken("argv", "is missing", "at least the program's name");

  if (request.hostname && !is_new(namespaces.uts))
    return broken("hostname", "needs a new uts namespace", "namespaces.uts \"new\"");
  if (request.domainname && !is_new(namespaces.uts))
    return broken("domainname", "needs a new uts namespace", "namespaces.uts \"new\"");
  if (request.time_offsets && !is_new(namespaces.time))
    return broken("time_offsets", "needs a new time namespace", "namespaces.time \"new\"");
  if (auto problem = broken_map("uid_map", request.uid_map, namespaces)) return problem;
  if (auto problem = broken_map("gid_map", request.gid_map, namespaces)) return problem;
  if (auto problem = broken_box(request)) return problem;
  if (auto problem = broken_limits(request)) return problem;

  if (request.no_new_privs == false && request.defaults != Defaults::caller)
    return broken("no_new_privs", "can be false only in the profile \"none\"", "true");

  if (request.landlock && request.no_new_privs == false)
    return broken("landlock", "needs no_new_privs, landlock_restrict_self(2)", "no_new_privs true");

  const bool pty = is_pty(request.standard_input) || is_pty(request.standard_output) ||
                   is_pty(request.standard_error);
  if (request.terminal && (request.terminal->rows || request.terminal->columns) && !pty)
    return broken("terminal", "rows and columns are those of a pty",
                  "\"pty\" for stdin, stdout or stderr");
  const bool controlled = request.terminal && request.terminal->controlling_fd;
  if (pty && controlled)
    return broken("terminal.controlling_fd", "names a second controlling terminal, beside the pty");
  if (controlled && !receives(request, *request.terminal->controlling_fd))
    return broken("terminal.controlling_fd",
                  "is not the number of a passed descriptor in the payload",
                  "a receive action, or {\"passed_fd\"} for stdin, stdout or stderr");
  const bool leader = pty || controlled || request.setsid == true;
  if (leader && request.setpgroup.value_or(0) != 0)
    return broken("setpgroup", "a session leader cannot change its group, setpgid(2)",
                  "0, or neither setsid nor a terminal");
  return std::nullopt;
}

}  // namespace cloister::request
