// masked_paths and readonly_paths, and what is covered without being named:
// the parts of /proc and /sys that a payload could rule the host by.
//
// A plain uid may write none of them, so its /proc stays whole: where part of
// it is covered, the kernel gives no fresh procfs to a user namespace in there,
// and a sandbox in the sandbox has none. The host's uid 0 may write them
// without any capability.
#include "resolve/mounts.hpp"
#include "sys/root.hpp"

namespace cloister::front {
namespace {

// Below a procfs.
constexpr const char* kMaskedInProc[] = {
    "acpi",          "asound",     "kcore",       "keys",       "kmsg",
    "latency_stats", "mem",        "sched_debug", "scsi",       "timer_list",
    "timer_stats",   "kpagecount", "kpageflags",  "vmallocinfo"};
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

void cover(MountList& mounts, plan::MountKind kind, const std::string& at, const std::string& field,
           bool above_all = false) {
  if (at.empty()) return;  // below a home that there is none of
  plan::Mount out = mounts.blank(kind);
  out.flags = plan::kMountReadOnly;
  Placed& placed = mounts.append(out, at, field);
  if (above_all) placed.rank = kAboveAll;
}

}  // namespace

MaybeProblem add_covers(MountList& mounts) {
  using plan::MountKind;
  Draft& draft = mounts.draft;
  for (const std::string& path : draft.request.readonly_paths)
    cover(mounts, MountKind::lock, expand_inside(draft, path), "readonly_paths." + path);
  for (const std::string& path : draft.request.masked_paths)
    cover(mounts, MountKind::mask, expand_inside(draft, path), "masked_paths." + path);
  if (!rules_host(draft)) return std::nullopt;
  for (const Mount& mount : draft.request.mounts) {
    if (!mount.proc) continue;
    for (const char* name : kLockedInProc)
      cover(mounts, MountKind::lock, mount.at + '/' + name, "readonly_paths", true);
    for (const char* name : kMaskedInProc)
      cover(mounts, MountKind::mask, mount.at + '/' + name, "masked_paths", true);
  }
  if (!draft.request.mounts.empty() || draft.request.root)
    for (const char* path : kMaskedInSys)
      cover(mounts, MountKind::mask, path, "masked_paths", true);
  return std::nullopt;
}

}  // namespace cloister::front
