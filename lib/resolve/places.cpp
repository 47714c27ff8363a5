#include "resolve/places.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "plan/places.hpp"

namespace cloister::front {
namespace {

using plan::MountKind;

constexpr int kMaxLinks = 40;  // path_resolution(7)
// Links may lead below each other; who makes more of them finds out from init.
constexpr int kPasses = 4;

// Nothing is mounted for it that something else could be found in.
bool is_no_mount(const Placed& placed) {
  const MountKind kind = placed.mount.kind;
  return kind == MountKind::lock ||
         (plan::traits_of(kind).origin == plan::Origin::entry && kind != MountKind::symlink);
}

std::string above(const std::string& place) {
  const size_t slash = place.rfind('/');
  return slash == 0 ? "/" : place.substr(0, slash);
}

// Onto `rest`, so that the first name is the last element.
void push_names(const std::string& path, std::vector<std::string>& rest) {
  size_t end = path.size();
  while (end > 0) {
    const size_t slash = path.rfind('/', end - 1);
    const size_t begin = slash == std::string::npos ? 0 : slash + 1;
    const std::string name = path.substr(begin, end - begin);
    if (!name.empty() && name != ".") rest.push_back(name);
    end = slash == std::string::npos ? 0 : slash;
  }
}

}  // namespace

void Box::look_at(const std::vector<Placed>& list) {
  mounts_.clear();
  links_.clear();
  for (const Placed& placed : list) {
    if (is_no_mount(placed)) continue;
    auto& map = placed.mount.kind == MountKind::symlink ? links_ : mounts_;
    const Placed*& there = map[placed.at];
    if (!there || there->rank <= placed.rank) there = &placed;
  }
}

const Placed* Box::mount_of(const std::string& place) const {
  const auto found = mounts_.find(place);
  return found != mounts_.end() ? found->second : mount_above(place);
}

const Placed* Box::mount_above(const std::string& place) const {
  for (std::string path = place; path != "/";) {
    path = above(path);
    if (const auto found = mounts_.find(path); found != mounts_.end()) return found->second;
  }
  return nullptr;
}

bool Box::holds(const std::vector<Placed>& list, const std::string& old,
                const std::string& place) const {
  const bool is_new = !mounts_.contains(place);
  return std::any_of(list.begin(), list.end(), [&](const Placed& other) {
    const char* const asked = other.asked.c_str();
    return (other.asked != old && plan::lies_in(asked, old.c_str())) ||
           (is_new && plan::lies_in(asked, place.c_str()));
  });
}

std::vector<std::string> Box::sources_of(const std::string& place) const {
  std::vector<std::string> sources;
  if (const Placed* mount = mount_of(place))
    for (const std::string& shown : mount->shows)
      sources.push_back(mount->at == "/" ? shown + place : shown + place.substr(mount->at.size()));
  return sources;
}

std::optional<std::string> Box::link_of_host(const std::string& place) const {
  const Placed* const mount = mount_above(place);
  if (!mount) return std::nullopt;
  for (const std::string& shown : mount->shows) {
    const std::string path = shown + (mount->at == "/" ? place : place.substr(mount->at.size()));
    auto known = read_.find(path);
    if (known == read_.end()) {
      char target[plan::kMaxPath];
      const ssize_t size = ::readlink(path.c_str(), target, sizeof target);
      Read read{size >= 0 || errno == EINVAL, std::nullopt};
      if (size > 0 && size < static_cast<ssize_t>(sizeof target))
        read.target.emplace(target, static_cast<size_t>(size));
      known = read_.emplace(path, std::move(read)).first;
    }
    if (known->second.is_there) return known->second.target;
  }
  return std::nullopt;
}

// What is mounted at the last name is mounted beneath the link, if there is
// one: it has not been followed yet.
std::optional<std::string> Box::link_at(const std::string& place, bool is_last) const {
  if (const auto made = links_.find(place); made != links_.end()) return made->second->target;
  if (!is_last && mounts_.contains(place)) return std::nullopt;
  return link_of_host(place);
}

std::string Box::place_of(const std::string& path, bool follow_last) const {
  std::vector<std::string> rest;
  push_names(path, rest);
  std::string place;
  for (int links = 0; !rest.empty();) {
    const std::string name = std::move(rest.back());
    rest.pop_back();
    if (name == "..") {
      place.resize(place.empty() ? 0 : place.rfind('/'));
      continue;
    }
    const std::string next = place + '/' + name;
    const bool is_last = rest.empty();
    const auto target = is_last && !follow_last ? std::nullopt : link_at(next, is_last);
    if (target && ++links <= kMaxLinks) {
      if (target->starts_with('/')) place.clear();
      push_names(*target, rest);
    } else {
      place = next;
    }
  }
  return place.empty() ? "/" : place;
}

void follow_links(std::vector<Placed>& list) {
  Box box;
  std::vector<std::string> places(list.size());
  for (int pass = 0; pass < kPasses; ++pass) {
    box.look_at(list);
    bool again = false;
    for (size_t i = 0; i < list.size(); ++i) {
      // Its last name is that of what is made there.
      const bool makes =
          list[i].mount.kind == MountKind::symlink || list[i].mount.kind == MountKind::secret;
      places[i] = box.place_of(list[i].asked, !makes);
      again = again || (places[i] != list[i].at && box.holds(list, list[i].at, places[i]));
    }
    for (size_t i = 0; i < list.size(); ++i) list[i].at = std::move(places[i]);
    if (!again) return;
  }
}

}  // namespace cloister::front
