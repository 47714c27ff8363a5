// mounts: converts each mount of the request to one of the Plan, which init makes.
#include "resolve/mounts.hpp"

#include <algorithm>

namespace cloister::front {
namespace {

bool joins_user_namespace(const Request& request) {
  const auto& user = request.namespaces.user;
  return user &&
         (std::holds_alternative<PassedFd>(*user) || std::holds_alternative<JobNamespace>(*user));
}

plan::Span<plan::IdMap> lines(Draft& draft, const std::vector<IdMapping>& map) {
  std::vector<plan::IdMap> list;
  for (const IdMapping& line : map) list.push_back({line.inside, line.outside, line.count});
  return draft.plan.span(list);
}

MaybeProblem add_bind(MountList& mounts, const Mount& mount, const std::string& field,
                      const std::string& at, plan::Mount out) {
  out.kind = plan::MountKind::bind;
  if (!mount.access) out.flags |= plan::kMountReadOnly;
  if (mount.nosuid.value_or(true)) out.flags |= plan::kMountNoSuid;
  if (mount.nodev.value_or(true)) out.flags |= plan::kMountNoDev;
  if (mount.recursive.value_or(true)) out.flags |= plan::kMountRecursive;
  const Missing missing = mount.optional.value_or(false) ? Missing::left_out : Missing::refused;
  const auto source = open_source(mounts.draft, field, *mount.bind, missing, ".bind");
  if (!source) return source.error();
  if (source->descriptor == plan::kNone) return std::nullopt;
  if (!source->is_directory) out.flags |= plan::kMountIsFile;
  out.descriptor = source->descriptor;
  out.source = source->path;
  if (mount.idmap) {
    out.uid_map = lines(mounts.draft, mount.idmap->uid);
    out.gid_map = lines(mounts.draft, mount.idmap->gid);
  }
  mounts.append(out, at, field).shows = {source->seen_at};
  return std::nullopt;
}

// Whether a mount at `at` would hide a directory of the system. A tmpfs of the request at
// that place hides it already, on purpose.
bool hides_the_system(const MountList& mounts, const std::string& at) {
  struct stat status {};
  if (::stat(at.c_str(), &status) != 0 || !is_system(status)) return false;
  return std::none_of(mounts.list.begin(), mounts.list.end(), [&](const Placed& placed) {
    return placed.mount.kind == plan::MountKind::tmpfs && placed.asked == at;
  });
}

}  // namespace

plan::Mount MountList::blank(plan::MountKind kind) const {
  plan::Mount mount{};
  mount.kind = kind;
  mount.descriptor = plan::kNone;
  mount.at = mount.source = mount.data = draft.plan.text("");
  return mount;
}

Placed& MountList::append(const plan::Mount& mount, const std::string& at,
                          const std::string& field) {
  const auto rank = draft.effective.ranks.find(field);
  list.push_back({mount, at, at, field, rank == draft.effective.ranks.end() ? 0 : rank->second});
  return list.back();
}

MaybeProblem add_mount(MountList& mounts, const Mount& mount) {
  Draft& draft = mounts.draft;
  const std::string field = "mounts." + mount.at;
  const bool optional = mount.optional.value_or(false);
  const std::string at = expand_inside(draft, mount.at);
  if (at.empty()) {
    if (optional) return std::nullopt;
    return refused(field, "needs a home directory, and this user has none");
  }
  if (mount.at == "~" && (mount.scratch || mount.tmpfs) && !draft.home_is_mounted) {
    if (optional) return std::nullopt;
    return refused(field, "would hide a directory of the system, or cannot be made", "another HOME",
                   at);
  }
  plan::Mount out = mounts.blank(plan::MountKind::bind);
  if (optional) out.flags |= plan::kMountOptional;
  if (mount.access == Access::ro) out.flags |= plan::kMountReadOnly;
  if (mount.noexec.value_or(false)) out.flags |= plan::kMountNoExec;
  if (mount.noatime.value_or(false)) out.flags |= plan::kMountNoAtime;
  if (mount.bind) return add_bind(mounts, mount, field, at, out);
  if (mount.overlay) return add_overlay(mounts, mount, at, out);
  if (mount.file) return add_file(mounts, mount, at, out);

  if (mount.tmpfs) {
    out.kind = plan::MountKind::tmpfs;
    out.size = mount.tmpfs->size.value_or(0);
    out.inodes = mount.tmpfs->inodes.value_or(0);
    out.mode = mount.tmpfs->mode.value_or(01777);
  } else if (mount.proc) {
    out.kind = plan::MountKind::proc;
    if (mount.proc->subset) out.flags |= plan::kMountSubsetPid;
  } else if (mount.cgroup_view) {
    out.kind = plan::MountKind::cgroup_view;
    out.flags |= plan::kMountReadOnly;
  } else if (mount.dev) {
    out.kind = plan::MountKind::dev;
  } else if (mount.devpts) {
    out.kind = plan::MountKind::devpts;
  } else if (mount.mqueue) {
    out.kind = plan::MountKind::mqueue;
  } else if (mount.symlink) {
    out.kind = plan::MountKind::symlink;
    out.data = draft.plan.text(*mount.symlink);
  } else if (mount.dir) {
    out.kind = plan::MountKind::dir;
    out.mode = mount.dir->mode.value_or(0755);
  } else if (mount.scratch) {
    if (mount.at != "~" && hides_the_system(mounts, at)) {
      if (optional) return std::nullopt;
      return refused(field, "would hide a system directory");
    }
    out.kind = plan::MountKind::scratch;
    if (mount.scratch->on == ScratchPlace::disk) {
      if (joins_user_namespace(draft.request))
        return refused(field + ".scratch.on",
                       "a job that joins a user namespace has no scratch directory on disk",
                       "\"memory\"", "\"disk\"");
      out.flags |= plan::kMountOnDisk;
    }
    out.size = mount.scratch->size.value_or(0);
  } else {
    return refused(field, "has no kind");
  }
  mounts.append(out, at, field).target = mount.symlink.value_or("");
  return std::nullopt;
}

MaybeProblem resolve_mounts(Draft& draft) {
  MountList mounts{draft};
  if (auto problem = add_root(mounts)) return problem;
  const auto add_those = [&](bool below_home) -> MaybeProblem {
    for (const Mount& mount : draft.request.mounts)
      if (mount.at.starts_with('~') == below_home)
        if (auto problem = add_mount(mounts, mount)) return problem;
    return std::nullopt;
  };
  // Which directory "~" is depends on all mounts that are not below it.
  if (auto problem = add_those(false)) return problem;
  for (const auto part : {add_devices, add_workspace, add_secrets, place_home})
    if (auto problem = part(mounts)) return problem;
  if (auto problem = add_those(true)) return problem;
  for (const auto part : {add_resolver, add_covers, settle, tell_of_home})
    if (auto problem = part(mounts)) return problem;
  if (mounts.list.size() > plan::kMaxMounts)
    return refused("mounts", "has too many elements", "at most " + std::to_string(plan::kMaxMounts),
                   std::to_string(mounts.list.size()));
  std::vector<plan::Mount> list;
  for (Placed& placed : mounts.list) {
    placed.mount.at = draft.plan.text(placed.at);
    list.push_back(placed.mount);
    draft.mount_fields.push_back(std::move(placed.field));
  }
  draft.plan->mounts = draft.plan.span(list);
  return std::nullopt;
}

}  // namespace cloister::front
