// Home is every place that home is: what $HOME says, what the user database says,
// and where links lead from there. None of these alone can be believed: HOME can
// be anything, and the database may not know who logs in by other means.
//
// A mount at "~" is the home inside: it goes where HOME points, and HOME is always
// set. What else is home is hidden in the same way.
#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "plan/places.hpp"
#include "resolve/places.hpp"

namespace cloister::front {
namespace {

constexpr const char* kVariable = "HOME";
constexpr const char* kElsewhere = "/run/home";  // where a home cannot be where it should

bool is_absolute(const std::string& path) { return path.starts_with('/'); }

// HOME of the request; `implied`: only as the caller's own.
std::string said(const Draft& draft, bool implied) {
  const auto home = draft.request.env.find(kVariable);
  if (home == draft.request.env.end() || !is_absolute(home->second)) return "";
  const auto origin = draft.effective.origins.find("env." + std::string(kVariable));
  const bool own =
      origin != draft.effective.origins.end() && origin->second == request::kFromCaller;
  return implied && !own ? "" : request::normal_path(home->second);
}

bool is_taken_away(const Draft& draft) {
  const auto& list = draft.effective.taken_away;
  return std::any_of(list.begin(), list.end(), [](const std::string& path) {
    return path == "env" || path == "env." + std::string(kVariable);
  });
}

class Home {
 public:
  explicit Home(const MountList& mounts) : mounts_(mounts) { box_.look_at(mounts.list); }

  std::string place_of(const std::string& path) const { return box_.place_of(path); }

  // Files of the workspace are the payload's to see.
  bool is_in_workspace(const std::string& place) const {
    const std::string& workspace = mounts_.draft.cwd_of_workspace;
    return !workspace.empty() && plan::lies_in(place.c_str(), box_.place_of(workspace).c_str());
  }

  // A daemon's home may be /usr/sbin or /dev, and a container's is often /.
  bool is_of_the_system(const std::string& place) const {
    if (place == "/") return true;
    const Placed* const mount = box_.mount_of(place);
    if (mount && mount->at == place)
      return mount->mount.kind != plan::MountKind::bind && home_in(*mount) != plan::HomeIn::made;
    struct stat status {};
    return seen(place, status) && is_system(status);
  }

  // As a directory of the host's.
  bool is_visible(const std::string& place) const {
    struct stat status {};
    return seen(place, status) && S_ISDIR(status.st_mode);
  }

  // There, or on a file system of the job's own, where what is missing is made.
  bool can_be(const std::string& place) const {
    if (is_visible(place)) return true;
    const Placed* const mount = box_.mount_of(place);
    if (!mount) return true;
    switch (home_in(*mount)) {
      case plan::HomeIn::never: return false;
      case plan::HomeIn::made: return true;
      case plan::HomeIn::if_writable: return (mount->mount.flags & plan::kMountReadOnly) == 0;
    }
    return false;
  }

 private:
  static plan::HomeIn home_in(const Placed& placed) {
    return plan::traits_of(placed.mount.kind).home_in;
  }

  bool seen(const std::string& place, struct stat& status) const {
    for (const std::string& source : box_.sources_of(place))
      if (::stat(source.c_str(), &status) == 0) return true;
    return false;
  }

  const MountList& mounts_;
  Box box_;
};

void add_place(std::vector<std::string>& places, const std::string& path) {
  const std::string normal = request::normal_path(path);
  if (!is_absolute(path) || path == "/" ||
      std::find(places.begin(), places.end(), normal) != places.end())
    return;
  places.push_back(normal);
  char real[PATH_MAX];
  if (::realpath(path.c_str(), real) && normal != real) places.emplace_back(real);
}

}  // namespace

const std::vector<std::string>& homes_of(Draft& draft) {
  if (draft.homes) return *draft.homes;
  std::vector<std::string>& places = draft.homes.emplace();
  for (const std::string& path : {said(draft, true), draft.caller.home(),
                                  draft.caller.home_of_process(), draft.named_home.value_or("")})
    add_place(places, path);
  return places;
}

std::string home_outside(const Draft& draft) {
  if (draft.named_home) return *draft.named_home;
  const std::string own = said(draft, true);
  return own.empty() ? draft.caller.home() : own;
}

std::string home_inside(const Draft& draft) {
  if (!draft.home_inside.empty()) return draft.home_inside;
  const std::string asked = said(draft, false);
  return asked.empty() ? home_outside(draft) : asked;
}

MaybeProblem place_home(MountList& mounts) {
  Draft& draft = mounts.draft;
  const auto wanted = std::find_if(draft.request.mounts.begin(), draft.request.mounts.end(),
                                   [](const Mount& mount) { return mount.at == "~"; });
  // A bind there is what somebody asks to see.
  if (wanted == draft.request.mounts.end() || !(wanted->scratch || wanted->tmpfs))
    return std::nullopt;
  const Home home(mounts);
  std::vector<Placed> more;  // once nothing looks at the list any more
  const auto add = [&](plan::MountKind kind, const std::string& at) -> plan::Mount& {
    const auto rank = draft.effective.ranks.find("mounts.~");
    more.push_back({mounts.blank(kind), at, at, "mounts.~",
                    rank == draft.effective.ranks.end() ? 0 : rank->second});
    return more.back().mount;
  };
  const std::string asked = home_inside(draft);
  const std::string place = is_absolute(asked) ? home.place_of(asked) : "/";
  draft.home_inside = asked;
  draft.home_is_mounted = true;
  if (home.is_in_workspace(place)) {
    draft.home_is_mounted = false;
  } else if (home.is_of_the_system(place) || !home.can_be(place)) {
    const bool own = said(draft, false) == said(draft, true);
    draft.home_is_mounted = false;
    if (own && !home.is_visible(kElsewhere) && home.can_be(kElsewhere)) {
      draft.home_inside = kElsewhere;
      add(plan::MountKind::dir, kElsewhere).mode = 0700;
      if (!asked.empty())
        draft.warnings.push_back("HOME is " + std::string(kElsewhere) +
                                 ", because the job cannot have a directory of its own at " +
                                 asked);
    }
  }
  const std::string mounted = home.place_of(draft.home_inside);
  std::vector<std::string> hidden;
  for (const std::string& path : homes_of(draft)) {
    const std::string other = home.place_of(path);
    if (other == mounted || home.is_in_workspace(other) || home.is_of_the_system(other) ||
        !home.is_visible(other) || std::find(hidden.begin(), hidden.end(), other) != hidden.end())
      continue;
    hidden.push_back(other);
    add(plan::MountKind::scratch, other);
  }
  std::move(more.begin(), more.end(), std::back_inserter(mounts.list));
  return std::nullopt;
}

// Who asks for a directory by name gets it; that a home is in it may be news.
MaybeProblem tell_of_home(MountList& mounts) {
  Box box;
  bool looked = false;
  for (const Placed& placed : mounts.list) {
    if (placed.mount.kind != plan::MountKind::bind || placed.shows.empty()) continue;
    const auto origin = mounts.draft.effective.origins.find(placed.field);
    if (origin == mounts.draft.effective.origins.end() || origin->second != request::kFromRequest)
      continue;
    if (!std::exchange(looked, true)) box.look_at(mounts.list);
    const std::string shown = placed.shows[0].empty() ? "/" : placed.shows[0];
    for (const std::string& home : homes_of(mounts.draft)) {
      char real[PATH_MAX];
      if (!plan::lies_in(home.c_str(), shown.c_str()) || !::realpath(home.c_str(), real) ||
          home != real)
        continue;
      const std::string place = placed.at + (shown == "/" ? home : home.substr(shown.size()));
      const Placed* const mount = box.mount_of(request::normal_path(place));
      if (!mount || mount->at != placed.at) continue;
      mounts.draft.warnings.push_back(placed.field + " shows the job the home directory " + home +
                                      ", with the secrets in it");
      break;
    }
  }
  return std::nullopt;
}

void set_home(Draft& draft, std::map<std::string, std::string>& env) {
  const bool boxed = std::holds_alternative<NewNamespace>(*draft.request.namespaces.mnt) &&
                     draft.request.defaults != Defaults::caller;
  if (!boxed || (is_taken_away(draft) && !env.contains(kVariable))) return;
  const std::string home = home_inside(draft);
  if (said(draft, false) == said(draft, true)) env[kVariable] = home.empty() ? "/" : home;
}

}  // namespace cloister::front
