#include "resolve/landlock.hpp"

#include <linux/landlock.h>

#include <cerrno>

#include "request/words.hpp"
#include "sys/landlock.hpp"

namespace cloister::front {
namespace {

// The newest of the file accesses that each ABI has. What an ABI lacks it does
// not govern, so on an older kernel a domain lets more through, as
// docs/security.md says; but a rule that names it is refused there.
struct Access {
  uint32_t bit;
  int since;
  const char* kernel;
};
constexpr Access kNewer[] = {{LANDLOCK_ACCESS_FS_REFER, 2, "5.19"},
                             {1 << 14, 3, "6.2"},    // LANDLOCK_ACCESS_FS_TRUNCATE
                             {1 << 15, 5, "6.10"}};  // LANDLOCK_ACCESS_FS_IOCTL_DEV
constexpr uint32_t kFirst = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
constexpr int kTcpSince = 4, kScopesSince = 6;
constexpr uint32_t kBindTcp = 1, kConnectTcp = 2;  // LANDLOCK_ACCESS_NET_*

uint32_t governed(int abi) {
  uint32_t accesses = kFirst;
  for (const Access& access : kNewer)
    if (abi >= access.since) accesses |= access.bit;
  return accesses;
}

Problem too_old(std::string field, const std::string& what, int since, const char* kernel,
                int abi) {
  return {Problem::Kind::unsupported, std::move(field),
          what + " needs Landlock ABI " + std::to_string(since) + " (Linux " + kernel +
              "), this kernel has ABI " + std::to_string(abi),
          "", ""};
}

MaybeProblem resolve_paths(Draft& draft, int abi) {
  const Landlock& wanted = *draft.request.landlock;
  if (!wanted.paths) return std::nullopt;
  std::vector<plan::LandlockPath> paths;
  for (size_t i = 0; i < wanted.paths->size(); ++i) {
    const LandlockPath& path = (*wanted.paths)[i];
    const std::string field = "landlock.paths[" + std::to_string(i) + ']';
    for (const Access& access : kNewer)
      if ((path.access & access.bit) && abi < access.since)
        return too_old(field + ".access",
                       request::name_of(request::landlock_accesses(), access.bit), access.since,
                       access.kernel, abi);
    const std::string inside = expand_inside(draft, path.path);
    if (inside.empty()) return refused(field + ".path", "needs a home directory");
    paths.push_back({draft.plan.text(inside), path.access, 0});
  }
  draft.plan->landlock.handled_fs = governed(abi);
  draft.plan->landlock.paths = draft.plan.span(paths);
  return std::nullopt;
}

}  // namespace

MaybeProblem resolve_landlock(Draft& draft, int abi) {
  const Landlock& wanted = *draft.request.landlock;
  if (abi < 1)
    return Problem{Problem::Kind::unsupported, "landlock",
                   abi == -EOPNOTSUPP ? "Landlock is switched off on this host (lsm= at boot)"
                                      : "this kernel has no Landlock",
                   "", ""};
  if (auto problem = resolve_paths(draft, abi)) return problem;
  plan::Landlock& out = draft.plan->landlock;
  if (wanted.bind_tcp) {
    if (abi < kTcpSince) return too_old("landlock.bind_tcp", "bind_tcp", kTcpSince, "6.7", abi);
    out.handled_net |= kBindTcp;
    out.bind_tcp = draft.plan.span(*wanted.bind_tcp);
  }
  if (wanted.connect_tcp) {
    if (abi < kTcpSince)
      return too_old("landlock.connect_tcp", "connect_tcp", kTcpSince, "6.7", abi);
    out.handled_net |= kConnectTcp;
    out.connect_tcp = draft.plan.span(*wanted.connect_tcp);
  }
  if (wanted.scopes && *wanted.scopes) {
    if (abi < kScopesSince) return too_old("landlock.scopes", "scopes", kScopesSince, "6.12", abi);
    out.scoped = *wanted.scopes;
  }
  return std::nullopt;
}

// What the domain of a box closes, and this kernel cannot.
void note_open_ways(Draft& draft, int abi) {
  if (abi >= kScopesSince) return;
  bool box = false;
  for (const plan::NamespaceChoice& choice : draft.plan->namespaces)
    box |= choice.join != plan::Join::host;
  const auto shares = [&](plan::Namespace which) {
    return box && draft.plan->namespaces[static_cast<uint32_t>(which)].join == plan::Join::host;
  };
  const std::string why = ": scopes need Landlock ABI 6 (Linux 6.12)";
  if (shares(plan::Namespace::net))
    draft.notes.push_back("network: abstract Unix sockets of the host can be reached" + why);
  if (shares(plan::Namespace::pid))
    draft.notes.push_back("namespaces.pid: processes of the host can be signalled" + why);
}

MaybeProblem resolve_landlock(Draft& draft) {
  note_open_ways(draft, sys::landlock_abi());
  return draft.request.landlock ? resolve_landlock(draft, sys::landlock_abi()) : std::nullopt;
}

}  // namespace cloister::front
