// overlayfs: every layer is a directory that the caller opened or could open;
// changes go into directories of the caller's own, or are gone with the job. It
// acts as the caller, so what is neither the caller's nor of an id that the job
// maps is there to be read.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "resolve/mounts.hpp"

namespace cloister::front {
namespace {

request::Result<plan::Layer> writable(Draft& draft, const std::string& field,
                                      const std::string& named, plan::LayerRole role) {
  const std::string path = expand_home(draft, named);
  if (path.empty()) return refused(field, "needs a home directory, and this user has none");
  sys::UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return failed_call(field, "cannot open " + path, errno);
  struct stat status {};
  if (::fstat(fd.borrow(), &status) != 0)
    return failed_call(field, "cannot look at " + path, errno);
  if (status.st_uid != draft.caller.uid)
    return refused(field, "belongs to somebody else", "a directory of the caller's own", path);
  if (::faccessat(fd.borrow(), "", R_OK | W_OK | X_OK, AT_EMPTY_PATH | AT_EACCESS) != 0)
    return failed_call(field, path + " cannot be written by the caller", errno);
  const std::string known = path_of(fd.borrow());
  return plan::Layer{role, draft.descriptors.add(std::move(fd), plan::Use::writable_layer),
                     draft.plan.text(known.empty() ? path : known)};
}

}  // namespace

void note_owner(Draft& draft, const std::string& field, uint32_t owner) {
  if (draft.caller.uid == 0 || owner == plan::kNone || owner == draft.caller.uid) return;
  draft.notes.push_back(
      field + ": belongs to uid " + std::to_string(owner) +
      "; in an overlay, files and directories of users that neither the caller nor "
      "the job can be are read-only (EOVERFLOW)");
}

MaybeProblem add_overlay(MountList& mounts, const Mount& mount, const std::string& at,
                         plan::Mount out) {
  Draft& draft = mounts.draft;
  const Overlay& overlay = *mount.overlay;
  const std::string field = "mounts." + mount.at + ".overlay.";
  out.kind = plan::MountKind::overlay;
  std::vector<plan::Layer> layers;
  std::vector<std::string> shows;
  for (size_t i = 0; i < overlay.lower.size(); ++i) {
    const std::string lower = field + "lower[" + std::to_string(i) + ']';
    const bool optional = mount.optional.value_or(false);
    const auto source = open_source(draft, lower, overlay.lower[i],
                                    optional ? Missing::left_out : Missing::refused);
    if (!source) return source.error();
    if (source->descriptor == plan::kNone) return std::nullopt;  // and with it the whole
    if (!source->is_directory) return refused(lower, "is not a directory");
    layers.push_back({plan::LayerRole::lower, source->descriptor, source->path});
    shows.push_back(source->seen_at);
    note_owner(draft, lower, source->owner);
  }
  if (overlay.upper) {
    const auto upper = writable(draft, field + "upper", *overlay.upper, plan::LayerRole::upper);
    if (!upper) return upper.error();
    const auto work = writable(draft, field + "work", *overlay.work, plan::LayerRole::work);
    if (!work) return work.error();
    shows.insert(shows.begin(), expand_home(draft, *overlay.upper));
    layers.push_back(*upper);
    layers.push_back(*work);
  }
  out.layers = draft.plan.span(layers);
  mounts.append(out, at, "mounts." + mount.at).shows = std::move(shows);
  return std::nullopt;
}

}  // namespace cloister::front
