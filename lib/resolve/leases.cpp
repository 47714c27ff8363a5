// Ids that are leased for a job go to another one after it, which must find
// nothing that is theirs. The monitor refuses by the same rule; here it is said
// in the words of the request.
#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

Problem outlasts(std::string field, const char* what, const char* expected, const char* got) {
  return refused(std::move(field),
                 std::string(what) + " would outlast the ids that are leased for this job",
                 expected, got);
}

}  // namespace

MaybeProblem check_leased(Draft& draft) {
  const Request& request = draft.request;
  const bool dynamic = std::holds_alternative<DynamicIdentity>(*request.identity);
  const bool uids = is_subordinate(request.uid_map) && !(draft.caller.ids & plan::kSubuids);
  const bool gids = is_subordinate(request.gid_map) && !(draft.caller.ids & plan::kSubgids);
  if (!dynamic && !uids && !gids) return std::nullopt;
  if (!dynamic && !(is_subordinate(request.uid_map) && is_subordinate(request.gid_map)))
    return refused(uids ? "gid_map" : "uid_map", "ids are leased for uid_map and gid_map together",
                   "\"subordinate\"");
  if (!request::is_new(request.namespaces.mnt))
    return outlasts("namespaces.mnt", "a file written on the host", "\"new\"", "");
  if (!request::is_new(request.namespaces.ipc))
    return outlasts("namespaces.ipc", "a SysV object", "\"new\"", "");
  for (const Mount& mount : request.mounts)
    if (mount.bind && mount.access == Access::rw)
      return outlasts("mounts." + mount.at, "a file written there",
                      "access \"ro\", or a tmpfs or scratch", "rw");
  for (const Mount& mount : request.mounts)
    if (mount.overlay && mount.overlay->upper)
      return outlasts("mounts." + mount.at + ".overlay.upper", "a file written there", "none", "");
  if (request.root && request.root_access == RootAccess::rw &&
      !std::holds_alternative<EmptyRoot>(*request.root))
    return outlasts("root_access", "a file written there", "\"ro\" or \"overlay\"", "rw");
  if (request.workspace && request.workspace->access != Access::ro && !request.workspace->owner)
    return outlasts("workspace.access", "a file written there", "\"ro\", or owner \"caller\"",
                    "rw");
  if (request.file_actions)
    for (size_t i = 0; i < request.file_actions->size(); ++i)
      if (const auto* receive = std::get_if<ReceiveAction>(&(*request.file_actions)[i]);
          receive && receive->directory.value_or(false))
        return outlasts("file_actions[" + std::to_string(i) + "].receive.directory",
                        "a file written there", "no directory", "true");
  return std::nullopt;
}

}  // namespace cloister::front
