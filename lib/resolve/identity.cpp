// identity: names to numbers. The user database is asked here, with the
// client's rights, and never again.
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>

#include "resolve/draft.hpp"

namespace cloister::front {
namespace {

request::Result<passwd> find_user(const std::string& field, const std::string& name) {
  errno = 0;
  const passwd* const entry = ::getpwnam(name.c_str());
  if (entry) return *entry;
  // getpwnam(3) lists what "not found" looks like; the rest is a failure.
  if (errno == 0 || errno == ENOENT || errno == ESRCH || errno == EBADF || errno == EPERM)
    return refused(field, "is an unknown user", "a name of the user database", name);
  return failed_call(field, "the user database cannot be read", errno);
}

request::Result<uint32_t> find_group(const std::string& field, const std::string& name) {
  errno = 0;
  const group* const entry = ::getgrnam(name.c_str());
  if (entry) return entry->gr_gid;
  if (errno == 0 || errno == ENOENT || errno == ESRCH || errno == EBADF || errno == EPERM)
    return refused(field, "is an unknown group", "a name of the group database", name);
  return failed_call(field, "the group database cannot be read", errno);
}

// All groups of a user as login(1) would set them, `primary` among them.
std::vector<uint32_t> groups_of(const std::string& name, uint32_t primary) {
  std::vector<gid_t> groups(64);
  for (;;) {
    int count = static_cast<int>(groups.size());
    if (::getgrouplist(name.c_str(), primary, groups.data(), &count) >= 0) {
      groups.resize(static_cast<size_t>(count));
      return {groups.begin(), groups.end()};
    }
    groups.resize(std::max(groups.size() * 2, static_cast<size_t>(count)));
  }
}

// What an id of the caller's is inside a user namespace of the job's own; an id
// without a number there becomes the map's first.
class Inside {
 public:
  Inside(const Request& request, std::optional<std::vector<IdMapping>> map)
      : fresh_(std::holds_alternative<NewNamespace>(*request.namespaces.user)),
        map_(std::move(map)) {}

  std::optional<uint32_t> find(uint32_t id) const {
    if (!fresh_ || !map_) return id;
    for (const IdMapping& line : *map_)
      if (id >= line.outside && id - line.outside < line.count)
        return line.inside + (id - line.outside);
    return std::nullopt;
  }
  uint32_t operator()(uint32_t id) const {
    return find(id).value_or(map_ && !map_->empty() ? map_->front().inside : id);
  }

 private:
  bool fresh_;
  const std::optional<std::vector<IdMapping>> map_;
};

struct Numbers {
  plan::Identity ids{};
  std::vector<uint32_t> groups;
};

class IdResolver {
 public:
  explicit IdResolver(Draft& draft)
      : draft_(draft),
        uid_(own(draft.request, draft.request.uid_map, draft.caller.uid)),
        gid_(own(draft.request, draft.request.gid_map, draft.caller.gid)) {}

  MaybeProblem operator()(const CallerIdentity&) {
    set(uid_, gid_);
    use_callers_groups();
    return std::nullopt;
  }

  // The monitor puts the leased id in their place, and no groups.
  MaybeProblem operator()(const DynamicIdentity&) {
    if (!std::holds_alternative<HostNamespace>(*draft_.request.namespaces.user) &&
        !std::holds_alternative<AutoNamespace>(*draft_.request.namespaces.user))
      return refused("identity", "takes a leased id, which is an id of the host",
                     "namespaces.user \"host\"", "dynamic");
    set(uid_, gid_);
    draft_.plan->id_choices |= plan::kDynamicIds;
    return std::nullopt;
  }

  MaybeProblem operator()(const User& user) {
    const auto entry = find_user("identity.user", user.name);
    if (!entry) return entry.error();
    set(entry->pw_uid, entry->pw_gid);
    draft_.named_home = entry->pw_dir;
    numbers_.groups = groups_of(user.name, entry->pw_gid);
    return std::nullopt;
  }

  MaybeProblem operator()(const Ids& wanted) {
    plan::Identity& ids = numbers_.ids;
    struct Part {
      const char* field;
      const std::optional<Id>& wanted;
      uint32_t absent;
      uint32_t& out;
      bool is_user;
    };
    for (const Part& part : {Part{"identity.ruid", wanted.ruid, uid_, ids.ruid, true},
                             Part{"identity.euid", wanted.euid, plan::kNone, ids.euid, true},
                             Part{"identity.suid", wanted.suid, plan::kNone, ids.suid, true},
                             Part{"identity.rgid", wanted.rgid, gid_, ids.rgid, false},
                             Part{"identity.egid", wanted.egid, plan::kNone, ids.egid, false},
                             Part{"identity.sgid", wanted.sgid, plan::kNone, ids.sgid, false}}) {
      part.out = part.absent;
      if (!part.wanted) continue;
      const auto number = number_of(part.field, *part.wanted, part.is_user);
      if (!number) return number.error();
      part.out = *number;
    }
    if (ids.euid == plan::kNone) ids.euid = ids.ruid;
    if (ids.suid == plan::kNone) ids.suid = ids.euid;
    if (ids.egid == plan::kNone) ids.egid = ids.rgid;
    if (ids.sgid == plan::kNone) ids.sgid = ids.egid;
    return set_groups(wanted);
  }

  void finish() {
    numbers_.ids.groups = draft_.plan.span(numbers_.groups);
    draft_.plan->identity = numbers_.ids;
  }

 private:
  // Of subordinate ids none is the caller's own, and 0 is the first.
  static uint32_t own(const Request& request, const std::optional<IdMap>& map, uint32_t id) {
    return is_subordinate(map) ? 0 : Inside(request, lines_of(map))(id);
  }

  static request::Result<uint32_t> number_of(const std::string& field, const Id& id, bool is_user) {
    if (const auto* number = std::get_if<uint32_t>(&id)) return *number;
    const std::string& name = std::get<std::string>(id);
    if (!is_user) return find_group(field, name);
    const auto entry = find_user(field, name);
    if (!entry) return entry.error();
    return entry->pw_uid;
  }

  MaybeProblem set_groups(const Ids& wanted) {
    const plan::Identity& ids = numbers_.ids;
    if (wanted.initgroups) {
      const auto entry = find_user("identity.initgroups", *wanted.initgroups);
      if (!entry) return entry.error();
      numbers_.groups = groups_of(*wanted.initgroups, ids.egid);
      return std::nullopt;
    }
    if (!wanted.groups) {
      const bool own = ids.ruid == uid_ && ids.euid == uid_ && ids.suid == uid_ &&
                       ids.rgid == gid_ && ids.egid == gid_ && ids.sgid == gid_;
      if (own) use_callers_groups();
      return std::nullopt;
    }
    for (size_t i = 0; i < wanted.groups->size(); ++i) {
      const auto number =
          number_of("identity.groups[" + std::to_string(i) + ']', (*wanted.groups)[i], false);
      if (!number) return number.error();
      numbers_.groups.push_back(*number);
    }
    return std::nullopt;
  }

  void set(uint32_t uid, uint32_t gid) {
    plan::Identity& ids = numbers_.ids;
    ids.ruid = ids.euid = ids.suid = uid;
    ids.rgid = ids.egid = ids.sgid = gid;
  }

  // Those without a number in a user namespace of its own cannot be named there.
  void use_callers_groups() {
    if (is_subordinate(draft_.request.gid_map)) return;
    const bool fresh = std::holds_alternative<NewNamespace>(*draft_.request.namespaces.user);
    const std::vector<IdMapping> own = {{gid_, draft_.caller.gid, 1}};
    const std::optional<std::vector<IdMapping>> map =
        lines_of(draft_.request.gid_map).value_or(own);
    const Inside inside(draft_.request, map);
    for (const uint32_t group : draft_.caller.groups)
      if (const auto number = inside.find(group)) numbers_.groups.push_back(*number);
    numbers_.ids.caller_groups = !fresh;
  }

  Draft& draft_;
  const uint32_t uid_, gid_;  // the caller's, as the payload sees them
  Numbers numbers_;
};

}  // namespace

MaybeProblem resolve_identity(Draft& draft) {
  IdResolver resolver(draft);
  if (auto problem = std::visit(resolver, *draft.request.identity)) return problem;
  resolver.finish();
  return std::nullopt;
}

}  // namespace cloister::front
