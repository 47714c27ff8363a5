// mounts: each kind as init is to make it.
#include "resolve/mounts.hpp"

#include <algorithm>
#include <climits>
#include <cstdlib>

namespace cloister::front {
namespace {

bool is_private(const MountList& mounts, const std::string& at) {
  return std::find(mounts.tmpfs.begin(), mounts.tmpfs.end(), at) != mounts.tmpfs.end();
}

// /var/run is a link to /run on most hosts: a second tmpfs at the same place
// would hide the first and what is mounted in it.
bool hides_earlier(const MountList& mounts, const std::string& at) {
  char real[PATH_MAX];
  return ::realpath(at.c_str(), real) && at != real && is_private(mounts, real);
}

bool joins_user_namespace(const Request& request) {
  const auto& user = request.namespaces.user;
  return user && (std::holds_alternative<PassedFd>(*user) || std::holds_alternative<JobNamespace>(*user));
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
  const Missing missing =
      mount.optional.value_or(false) ? Missing::left_out : Missing::refused;
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
  mounts.append(out, at);
  return std::nullopt;
}

}  // namespace

plan::Mount MountList::blank(plan::MountKind kind) const {
  plan::Mount mount{};
  mount.kind = kind;
  mount.descriptor = plan::kNone;
  mount.at = mount.source = mount.data = draft.plan.text("");
  return mount;
}

void MountList::append(plan::Mount& mount, const std::string& at) {
  mount.at = draft.plan.text(at);
  list.push_back(mount);
  if (mount.kind == plan::MountKind::tmpfs) tmpfs.push_back(at);
}

MaybeProblem add_mount(MountList& mounts, const Mount& mount) {
  Draft& draft = mounts.draft;
  const std::string field = "mounts." + mount.at;
  const bool optional = mount.optional.value_or(false);
  const std::string at = expand_home(draft, mount.at);
  if (at.empty()) {
    if (optional) return std::nullopt;
    return refused(field, "needs a home directory, and this user has none");
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
    if (optional && hides_earlier(mounts, at)) return std::nullopt;
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
    struct stat status {};
    // A daemon's home may be /usr/sbin or /dev.
    if (::stat(at.c_str(), &status) == 0 && is_system(status) && !is_private(mounts, at)) {
      if (optional) return std::nullopt;
      return refused(field, "would hide a system directory");
    }
    out.kind = plan::MountKind::scratch;
    if (mount.scratch->on == ScratchPlace::disk) {
      if (joins_user_namespace(draft.request))
        return refused(field + ".scratch.on",
                       "who comes from a user namespace that is joined has nothing on the host's disk",
                       "\"memory\"", "\"disk\"");
      out.flags |= plan::kMountOnDisk;
    }
    out.size = mount.scratch->size.value_or(0);
  } else {
    return refused(field, "has no kind");
  }
  mounts.append(out, at);
  return std::nullopt;
}

MaybeProblem resolve_mounts(Draft& draft) {
  MountList mounts{draft, {}, {}};
  if (auto problem = add_root(mounts)) return problem;
  for (const Mount& mount : draft.request.mounts)
    if (auto problem = add_mount(mounts, mount)) return problem;
  if (const auto resolver = resolver_mount(draft))
    if (auto problem = add_mount(mounts, *resolver)) return problem;
  for (const auto part : {add_devices, add_workspace, add_secrets, add_covers})
    if (auto problem = part(mounts)) return problem;
  if (mounts.list.size() > plan::kMaxMounts)
    return refused("mounts", "are too many", "at most " + std::to_string(plan::kMaxMounts),
                   std::to_string(mounts.list.size()));
  draft.plan->mounts = draft.plan.span(mounts.list);
  return std::nullopt;
}

}  // namespace cloister::front
