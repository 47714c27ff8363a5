// What an outbound network never leads to: the metadata services that clouds
// keep at fixed addresses, which hand the machine's credentials to whoever asks.
//
// A rule, not a route: rules are looked at before every route, whatever pasta
// copies from the host or the payload's own interfaces bring. Nobody in the
// namespace has the power to take it away.
#include <asm/errno.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "rules.hpp"

#include "kernel.hpp"

namespace cloister::init {
namespace {

constexpr Step kStep = Step::network_rules;
constexpr uint32_t kPriority = 10;  // after the table of local addresses, before all others

struct Closed {
  uint8_t family;
  uint8_t prefix;
  uint8_t address[16];
};
constexpr Closed kClosed[] = {
    // Link-local, with 169.254.169.254: no router forwards it, RFC 3927.
    {plan::kInet, 16, {169, 254}},
    // fd00:ec2::254 and fd20:ce::254, the same service over IPv6.
    {plan::kInet6, 128, {0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}},
    {plan::kInet6, 128, {0xfd, 0x20, 0, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}},
};

struct NewRule {
  nlmsghdr head;
  fib_rule_hdr rule;
  rtattr priority_head;
  uint32_t priority;
  rtattr address_head;
  uint8_t address[16];
};
static_assert(sizeof(NewRule) == 16 + 12 + 8 + 20);

struct Answer {
  nlmsghdr head;
  int error;
  nlmsghdr asked;
};

long close_one(int socket, const Closed& closed) {
  const uint32_t bytes = closed.family == plan::kInet ? 4 : 16;
  NewRule ask{};
  ask.head.nlmsg_len = static_cast<uint32_t>(sizeof ask - sizeof ask.address + bytes);
  ask.head.nlmsg_type = RTM_NEWRULE;
  ask.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  ask.rule.family = closed.family;
  ask.rule.dst_len = closed.prefix;
  ask.rule.action = FR_ACT_UNREACHABLE;
  ask.priority_head = {sizeof(rtattr) + sizeof ask.priority, FRA_PRIORITY};
  ask.priority = kPriority;
  ask.address_head = {static_cast<uint16_t>(sizeof(rtattr) + bytes), FRA_DST};
  for (uint32_t i = 0; i < bytes; ++i) ask.address[i] = closed.address[i];
  const long sent = call(Call::sendto, socket, &ask, ask.head.nlmsg_len, 0);
  if (sent < 0) return sent;
  Answer answer{};
  const long got = call(Call::recvfrom, socket, &answer, sizeof answer, 0);
  if (got < 0) return got;
  const bool told = got >= long{sizeof answer.head + sizeof answer.error} &&
                    answer.head.nlmsg_type == NLMSG_ERROR;
  return told ? answer.error : -EPROTO;
}

// Where the kernel has no IPv6 there is nothing to close.
bool has_family(Job& job, uint32_t family) {
  const long socket = call(Call::socket, family, kSockDgram | kSockCloexec, 0);
  if (socket == -EAFNOSUPPORT) return false;
  close(must_fd(job, kStep, socket));
  return true;
}

}  // namespace

void close_metadata_services(Job& job) {
  job.step = kStep;
  const int socket =
      must_fd(job, kStep, call(Call::socket, kAfNetlink, kSockRaw | kSockCloexec, NETLINK_ROUTE));
  for (uint32_t i = 0; i < sizeof kClosed / sizeof kClosed[0]; ++i)
    if (kClosed[i].family == plan::kInet || has_family(job, kClosed[i].family))
      must(job, kStep, close_one(socket, kClosed[i]), i);
  close(socket);
}

}  // namespace cloister::init
