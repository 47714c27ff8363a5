// The filter of the profiles "default", "build", "fetch" and "untrusted".
//
// It is made for real work: compilers, test suites, debuggers of one's own
// processes, language runtimes and their sanitizers see no difference. What it
// refuses are ways into the kernel that such work has no use for, and ways to
// undo the sandbox. ENOSYS where a library then takes its older path, as it does
// on an older kernel; EPERM where the caller is to know that it may not.
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "resolve/filter.hpp"

namespace cloister::front {
namespace {

using request::SeccompAction;
using request::SeccompComparison;
using request::SeccompOperator;
using request::SeccompRule;

constexpr uint64_t kInt = UINT32_MAX;  // the kernel reads the low half of an int, whatever is above

SeccompComparison is(uint32_t index, uint64_t value, uint64_t mask = kInt) {
  return {index, SeccompOperator::masked_eq, mask, value};
}

class Rules {
 public:
  void refuse(std::string name, uint32_t error, std::vector<SeccompComparison> arguments = {}) {
    list.push_back(
        {{std::move(name)}, {SeccompAction::error, error}, std::move(arguments), {}, {}});
  }
  void refuse_group(const char* group, uint32_t error) {
    for (const std::string& name : *request::seccomp_group(group)) refuse(name, error);
  }
  std::vector<SeccompRule> list;
};

// A namespace of one's own gives all capabilities in it, and so the kernel's
// largest interfaces. clone3(2) keeps its flags where no filter can look.
void refuse_namespaces(Rules& rules) {
  for (const uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                              CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET}) {
    rules.refuse("clone", EPERM, {is(0, flag, flag)});
    rules.refuse("unshare", EPERM, {is(0, flag, flag)});
  }
  // Of unshare(2) alone: in clone(2) the bit belongs to the signal at the end.
  rules.refuse("unshare", EPERM, {is(0, CLONE_NEWTIME, CLONE_NEWTIME)});
  rules.refuse("setns", EPERM);
  rules.refuse("clone3", ENOSYS);
}

// Left are local and internet sockets, and the netlink protocol that tells of
// addresses and routes. EAFNOSUPPORT is how a kernel without the family answers,
// and programs that can do without it do then.
void refuse_sockets(Rules& rules) {
  for (const char* call : {"socket", "socketpair"}) {
    for (uint64_t family = 0; family <= AF_NETLINK; ++family)
      if (family != AF_UNSPEC && family != AF_UNIX && family != AF_INET && family != AF_INET6 &&
          family != AF_NETLINK)
        rules.refuse(call, EAFNOSUPPORT, {is(0, family)});
    rules.refuse(call, EAFNOSUPPORT, {{0, SeccompOperator::gt, AF_NETLINK, 0}});
    for (const uint64_t family : {AF_INET, AF_INET6})
      rules.refuse(call, EPERM, {is(0, family), is(1, SOCK_RAW, 0xf)});
    rules.refuse(call, EPROTONOSUPPORT, {is(0, AF_NETLINK), {2, SeccompOperator::gt, 0, 0}});
  }
  // i386 only: the same calls, with their arguments where no filter can look.
  rules.refuse("socketcall", ENOSYS);
}

// Whoever sits at a terminal that was passed along believes what it shows and
// what is typed at it; and no line discipline is loaded for the asking.
void refuse_terminals(Rules& rules) {
  for (const uint64_t request : {TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD})
    rules.refuse("ioctl", EPERM, {is(1, request)});
}

std::vector<SeccompRule> everything() {
  Rules rules;
  refuse_namespaces(rules);
  refuse_sockets(rules);
  refuse_terminals(rules);
  for (const char* group : {"@mount", "@module", "@raw-io", "@reboot", "@swap", "@obsolete"})
    rules.refuse_group(group, EPERM);
  for (const char* group : {"@io-uring", "@keyring"}) rules.refuse_group(group, ENOSYS);
  for (const char* name : {"acct",
                           "bpf",
                           "clock_settime",
                           "clock_settime64",
                           "fanotify_init",
                           "fanotify_mark",
                           "lookup_dcookie",
                           "name_to_handle_at",
                           "open_by_handle_at",
                           "perf_event_open",
                           "pidfd_getfd",
                           "process_madvise",
                           "quotactl",
                           "quotactl_fd",
                           "settimeofday",
                           "syslog",
                           "userfaultfd",
                           "vhangup",
                           "vm86",
                           "vm86old"})
    rules.refuse(name, EPERM);
  return rules.list;
}

}  // namespace

std::vector<SeccompRule> standard_rules(const request::SeccompProfile& changes) {
  std::vector<SeccompRule> rules = everything();
  const auto listed = [](const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  // With clone3(2) there is nothing left that the rules for clone(2) could keep back.
  const bool clones = listed(changes.permit, "clone3");
  std::erase_if(rules, [&](const SeccompRule& rule) {
    const std::string& name = rule.names.front();
    return listed(changes.permit, name) || listed(changes.deny, name) ||
           (clones && name == "clone");
  });
  for (const std::string& name : changes.deny)
    rules.push_back({{name}, changes.denial, {}, {}, {}});
  return rules;
}

}  // namespace cloister::front
