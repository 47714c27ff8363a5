// network.outbound: addresses become numbers, and the job gets a resolv.conf
// that leads to its resolver.
#include <arpa/inet.h>

#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

static_assert(AF_INET == plan::kInet && AF_INET6 == plan::kInet6);

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

}  // namespace cloister::front
