// root: another root directory, bound or under an overlay that is thrown away;
// or an empty one, which the mounts fill.
#include "resolve/mounts.hpp"

namespace cloister::front {

MaybeProblem add_root(MountList& mounts) {
  Draft& draft = mounts.draft;
  if (!draft.request.root) return std::nullopt;
  const Root& root = *draft.request.root;
  const RootAccess access = draft.request.root_access.value_or(RootAccess::ro);
  plan::Mount out = mounts.blank(plan::MountKind::bind);
  // As with every tree of others: no set-uid program or device node counts.
  out.flags = plan::kMountNoSuid | plan::kMountNoDev;
  if (access == RootAccess::ro) out.flags |= plan::kMountReadOnly;
  if (std::holds_alternative<EmptyRoot>(root)) {
    out.kind = plan::MountKind::tmpfs;
    out.mode = 0755;
    mounts.append(out, "/", "root");
    return std::nullopt;
  }
  const auto* passed = std::get_if<PassedFd>(&root);
  const PathOrFd from = passed ? PathOrFd(*passed) : PathOrFd(std::get<std::string>(root));
  const auto source = open_source(draft, "root", from);
  if (!source) return source.error();
  if (!source->is_directory && (!passed || draft.descriptors.peek(passed->index) >= 0))
    return refused("root", "is not a directory");
  if (access == RootAccess::overlay) {
    out.kind = plan::MountKind::overlay;
    const std::vector<plan::Layer> layers = {
        {plan::LayerRole::lower, source->descriptor, source->path}};
    out.layers = draft.plan.span(layers);
    note_owner(draft, "root", source->owner);
  } else {
    out.flags |= plan::kMountRecursive;
    out.descriptor = source->descriptor;
    out.source = source->path;
  }
  mounts.append(out, "/", "root").shows = {source->seen_at};
  return std::nullopt;
}

}  // namespace cloister::front
