#include "mount_table.hpp"

#include "request/text.hpp"

namespace cloister::front {
namespace {

using varlink::Json;

// As requests have it: bytes that JSON cannot carry go as base64.
Json bytes(plan::View plan, plan::Text text) {
  if (text.length == 0) return nullptr;
  const std::string whole(plan.c_str(text), text.length);
  if (request::is_utf8(whole)) return whole;
  return {{"base64", request::to_base64(whole)}};
}

Json options_of(uint32_t restrictions) {
  Json options = Json::array();
  for (const auto& [flag, name] :
       {std::pair(plan::kMountNoSuid, "nosuid"), std::pair(plan::kMountNoDev, "nodev"),
        std::pair(plan::kMountNoExec, "noexec"), std::pair(plan::kMountNoAtime, "noatime")})
    if (restrictions & flag) options.push_back(name);
  return options;
}

}  // namespace

Json mount_table(plan::View plan, const std::vector<std::string>& fields) {
  using plan::MountKind;
  Json table = Json::array();
  for (uint32_t i = 0; i < plan->mounts.count; ++i) {
    const plan::Mount& mount = plan.at(plan->mounts, i);
    const plan::MountTraits& traits = plan::traits_of(mount.kind);
    uint32_t restrictions = plan::restrictions_of(mount.kind, mount.flags);
    // A file on the tmpfs of the secrets, which turns read-only when all are there.
    if (mount.kind == MountKind::secret) restrictions |= plan::kMountReadOnly;
    const bool if_there =
        (mount.flags & plan::kMountOptional) != 0 || traits.origin == plan::Origin::cover;
    Json row;
    row["at"] = bytes(plan, mount.at);
    row["kind"] = traits.word;
    row["source"] = bytes(plan, mount.kind == MountKind::symlink ? mount.data : mount.source);
    row["access"] = restrictions & plan::kMountReadOnly ? "ro" : "rw";
    row["options"] = options_of(restrictions);
    row["if_there"] = if_there;
    row["field"] = i < fields.size() && request::is_utf8(fields[i]) ? fields[i] : "mounts";
    table.push_back(std::move(row));
  }
  return table;
}

}  // namespace cloister::front
