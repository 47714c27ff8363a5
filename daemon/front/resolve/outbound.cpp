// network.outbound: addresses become numbers, and the job gets a resolv.conf
// that leads to its resolver.
#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

static_assert(AF_INET == plan::kInet && AF_INET6 == plan::kInet6);

constexpr const char* kFile = "/etc/resolv.conf";

// What the host's says, but for its servers: in their place the addresses
// behind which pasta asks them. One of each family that they have.
std::string resolver_lines(std::istream& host) {
  std::string servers, others;
  for (std::string line; std::getline(host, line);) {
    std::istringstream words(line);
    std::string keyword, server;
    words >> keyword >> server;
    if (keyword == "nameserver") {
      const bool six = server.find(':') != std::string::npos;
      const std::string own =
          std::string("nameserver ") + (six ? plan::kDnsAddress6 : plan::kDnsAddress) + "\n";
      if (servers.find(own) == std::string::npos) servers += own;
    } else if (keyword == "search" || keyword == "domain" || keyword == "options") {
      others += line + "\n";
    }
  }
  return servers + others;
}

// What is at `path` of the job, as a path of ours; "" where no bind leads there.
std::string source_of(const Draft& draft, const std::string& path) {
  const auto path_of = [&](const PathOrFd& source) {
    if (const auto* named = std::get_if<std::string>(&source)) return expand_home(draft, *named);
    const int fd = draft.descriptors.peek(std::get<PassedFd>(source).index);
    return "/proc/self/fd/" + std::to_string(fd);
  };
  std::string found;
  if (const auto& root = draft.request.root) {
    if (const auto* named = std::get_if<std::string>(&*root)) found = path_of(*named) + path;
    if (const auto* passed = std::get_if<PassedFd>(&*root)) found = path_of(*passed) + path;
  }
  for (const Mount& mount : draft.request.mounts) {
    const std::string above = mount.at == "/" ? "" : mount.at;
    if (!path.starts_with(above + '/') && path != above) continue;
    found = mount.bind ? path_of(*mount.bind) + path.substr(above.size()) : "";
  }
  return found;
}

// Where the job's /etc/resolv.conf leads: on many hosts it is a link into /run,
// where a box has a tmpfs and nothing at the end of that link.
std::string place_of(const Draft& draft) {
  std::string at = kFile;
  for (int links = 0; links < 8; ++links) {
    char target[plan::kMaxPath];
    const ssize_t size = ::readlink(source_of(draft, at).c_str(), target, sizeof target);
    if (size <= 0 || size == sizeof target) break;
    const std::string told(target, static_cast<size_t>(size));
    std::string path = told[0] == '/' ? "" : at.substr(0, at.rfind('/'));
    std::istringstream parts(told);
    for (std::string part; std::getline(parts, part, '/');) {
      if (part.empty() || part == ".") continue;
      if (part == "..")
        path.resize(path.empty() ? 0 : path.rfind('/'));
      else
        path += '/' + part;
    }
    if (path.empty()) break;
    at = path;
  }
  return at;
}

}  // namespace

MaybeProblem resolve_outbound(Draft& draft, const Outbound& outbound) {
  draft.plan.header().flags |= plan::kOutbound;
  std::vector<plan::Published> list;
  for (const PublishedPort& port : outbound.publish) {
    plan::Published out{};
    const std::string address = port.address.value_or("127.0.0.1");
    if (::inet_pton(AF_INET, address.c_str(), out.address) == 1)
      out.family = plan::kInet;
    else if (::inet_pton(AF_INET6, address.c_str(), out.address) == 1)
      out.family = plan::kInet6;
    else
      return refused("network.outbound.publish[" + std::to_string(list.size()) + "].address",
                     "is no address", "an IPv4 or IPv6 address of the host", address);
    out.udp = port.protocol == Protocol::udp;
    out.port = port.port;
    out.host_port = port.host_port.value_or(port.port);
    list.push_back(out);
  }
  draft.plan->published = draft.plan.span(list);
  return std::nullopt;
}

std::optional<Mount> resolver_mount(const Draft& draft) {
  const Request& request = draft.request;
  const bool outbound = request.network && std::holds_alternative<Outbound>(*request.network);
  // In the host's own mount namespace the file is the host's.
  if (!outbound || !std::holds_alternative<NewNamespace>(*request.namespaces.mnt))
    return std::nullopt;
  const auto names_it = [](const Mount& mount) { return mount.at == kFile; };
  if (std::any_of(request.mounts.begin(), request.mounts.end(), names_it)) return std::nullopt;
  std::ifstream host(kFile);
  if (!host) return std::nullopt;  // nor does pasta know whom to ask
  Mount mount;
  mount.at = place_of(draft);
  mount.file.emplace().text = resolver_lines(host);
  return mount;
}

}  // namespace cloister::front
