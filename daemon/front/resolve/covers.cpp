// masked_paths and readonly_paths, and what is covered without being named:
// the parts of /proc and /sys that a payload could rule the host by.
//
// A plain uid may write none of them, so its /proc stays whole: where part of
// it is covered, the kernel gives no fresh procfs to a user namespace in there,
// and a sandbox in the sandbox has none. The host's uid 0 may write them
// without any capability.
#include <algorithm>

#include "resolve/mounts.hpp"
#include "sys/root.hpp"

namespace cloister::front {
namespace {

// Below a procfs.
constexpr const char* kMaskedInProc[] = {"acpi",        "asound",     "kcore",     "keys",
                                         "kmsg",        "latency_stats", "mem",    "sched_debug",
                                         "scsi",        "timer_list", "timer_stats", "kpagecount",
                                         "kpageflags",  "vmallocinfo"};
constexpr const char* kLockedInProc[] = {"bus", "fs", "irq", "sys", "sysrq-trigger", "mtrr"};
constexpr const char* kMaskedInSys[] = {"/sys/firmware", "/sys/kernel/debug", "/sys/kernel/tracing",
                                        "/sys/kernel/security", "/sys/devices/virtual/powercap"};

// Root of the host, as the file system counts, or somebody with its powers.
bool rules_host(Draft& draft) {
  const plan::Identity& id = draft.plan->identity;
  const bool fresh = std::holds_alternative<NewNamespace>(*draft.request.namespaces.user);
  if (draft.request.capabilities && !fresh) return true;
  if (draft.caller.mode != plan::Mode::system && !sys::is_root()) return false;
  if (std::holds_alternative<DynamicIdentity>(*draft.request.identity)) return false;
  const auto outside = [&](uint32_t uid) {
    if (!fresh) return uid;
    if (!draft.request.uid_map) return draft.caller.uid;
    const auto map = lines_of(draft.request.uid_map);
    if (!map) return uint32_t{1};  // subordinate ids are never the host's root
    for (const IdMapping& line : *map)
      if (uid >= line.inside && uid - line.inside < line.count)
        return line.outside + (uid - line.inside);
    return uid;
  };
  return outside(id.ruid) == 0 || outside(id.euid) == 0 || outside(id.suid) == 0;
}

void cover(MountList& mounts, plan::MountKind kind, const std::string& at) {
  plan::Mount out = mounts.blank(kind);
  out.flags = plan::kMountReadOnly;
  mounts.append(out, at);
}

}  // namespace

MaybeProblem add_covers(MountList& mounts) {
  using plan::MountKind;
  Draft& draft = mounts.draft;
  std::vector<std::string> masked, locked;
  for (const std::string& path : draft.request.masked_paths)
    masked.push_back(expand_home(draft, path));
  for (const std::string& path : draft.request.readonly_paths)
    locked.push_back(expand_home(draft, path));
  if (rules_host(draft)) {
    for (const Mount& mount : draft.request.mounts) {
      if (!mount.proc) continue;
      for (const char* name : kLockedInProc) locked.push_back(mount.at + '/' + name);
      for (const char* name : kMaskedInProc) masked.push_back(mount.at + '/' + name);
    }
    if (!draft.request.mounts.empty() || draft.request.root)
      masked.insert(masked.end(), std::begin(kMaskedInSys), std::end(kMaskedInSys));
  }
  // Masks last: nothing that is hidden is shown again by a bind of its directory.
  for (const std::string& at : locked)
    if (!at.empty()) cover(mounts, MountKind::lock, at);
  for (const std::string& at : masked)
    if (!at.empty()) cover(mounts, MountKind::mask, at);
  return std::nullopt;
}

}  // namespace cloister::front
