// devices: nodes of the host's /dev that the caller may open itself.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "resolve/mounts.hpp"

namespace cloister::front {

MaybeProblem add_devices(MountList& mounts) {
  Draft& draft = mounts.draft;
  if (!draft.request.devices) return std::nullopt;
  for (size_t i = 0; i < draft.request.devices->size(); ++i) {
    const Device& device = (*draft.request.devices)[i];
    const std::string field = "devices[" + std::to_string(i) + "].path";
    const std::string path = request::normal_path(device.path);
    const bool below = path.starts_with("/dev/") && path.find("/../") == std::string::npos &&
                       !path.ends_with("/..");
    if (!below) return refused(field, "is not below /dev", "a path below /dev", device.path);
    sys::UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!fd) return failed_call(field, "cannot open " + path, errno);
    struct stat status {};
    if (::fstat(fd.borrow(), &status) != 0)
      return failed_call(field, "cannot look at " + path, errno);
    if (!S_ISCHR(status.st_mode)) return refused(field, "is not a character device", "", path);
    const bool read_only = device.access == Access::ro;
    if (::faccessat(fd.borrow(), "", read_only ? R_OK : R_OK | W_OK, AT_EMPTY_PATH | AT_EACCESS) !=
        0)
      return failed_call(field, path + " cannot be opened by the caller", errno);
    plan::Mount out = mounts.blank(plan::MountKind::device);
    out.flags = plan::kMountIsFile | (read_only ? plan::kMountReadOnly : 0);
    const std::string known = path_of(fd.borrow());
    out.source = draft.plan.text(known.empty() ? path : known);
    out.descriptor = draft.descriptors.add(std::move(fd), plan::Use::device);
    mounts.append(out, path, "devices");
  }
  return std::nullopt;
}

}  // namespace cloister::front
