// network.outbound: addresses become numbers. Wherever there is a network the job
// has a resolv.conf: the host's, or one that leads to the resolver of its own.
#include <arpa/inet.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "resolve/places.hpp"

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

// The host's own is shown where the job's leads to.
bool is_shown(MountList& mounts) {
  follow_links(mounts.list);
  Box box;
  box.look_at(mounts.list);
  struct stat host {
  }, shown{};
  if (::stat(kFile, &host) != 0) return false;
  for (const std::string& source : box.sources_of(box.place_of(kFile)))
    if (::stat(source.c_str(), &shown) == 0)
      return shown.st_dev == host.st_dev && shown.st_ino == host.st_ino;
  return false;
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
                     "is not an address", "an IPv4 or IPv6 address of the host", address);
    out.udp = port.protocol == Protocol::udp;
    out.port = port.port;
    out.host_port = port.host_port.value_or(port.port);
    list.push_back(out);
  }
  draft.plan->published = draft.plan.span(list);
  return std::nullopt;
}

// On many hosts the file is a link into /run, where a box has a tmpfs: there it
// is made. What the request mounts at its place has that place.
MaybeProblem add_resolver(MountList& mounts) {
  const Request& request = mounts.draft.request;
  const bool outbound = request.network && std::holds_alternative<Outbound>(*request.network);
  const bool of_host = request.network && std::holds_alternative<HostNetwork>(*request.network);
  // In the host's own mount namespace the file is the host's.
  if (!(outbound || of_host) || !std::holds_alternative<NewNamespace>(*request.namespaces.mnt))
    return std::nullopt;
  const auto names_it = [](const Mount& mount) { return mount.at == kFile; };
  if (std::any_of(request.mounts.begin(), request.mounts.end(), names_it)) return std::nullopt;
  std::ifstream host(kFile);
  if (!host) return std::nullopt;  // nor does pasta know whom to ask
  if (of_host && is_shown(mounts)) return std::nullopt;
  Mount mount;
  mount.at = kFile;
  mount.file.emplace().text = outbound ? resolver_lines(host)
                                       : std::string(std::istreambuf_iterator<char>(host),
                                                     std::istreambuf_iterator<char>());
  // A tree with a place for none has had the host's network without it before.
  if (of_host) mount.optional = true;
  return add_mount(mounts, mount);
}

}  // namespace cloister::front
