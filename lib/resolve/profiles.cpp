#include "resolve/profiles.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "sys/names.hpp"
#include "sys/root.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {
namespace {

namespace fs = std::filesystem;

Problem failed(const std::string& path, int error) {
  return {Problem::Kind::failed,  "profile", "cannot read " + path, "",
          sys::errno_name(error), error};
}

request::Result<std::string> read_whole(const std::string& path, bool guarded) {
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return failed(path, errno);
  struct stat info {};
  if (::fstat(fd.borrow(), &info) != 0) return failed(path, errno);
  if (guarded &&
      ((!sys::is_roots(info.st_uid) && info.st_uid != ::geteuid()) || (info.st_mode & 022)))
    return Problem{Problem::Kind::invalid, "profile",
                   path + " can be changed by users other than root",
                   "a file that only root can write (chown root, chmod go-w)", ""};
  std::string text;
  char chunk[16384];
  for (;;) {
    const ssize_t got = ::read(fd.borrow(), chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(path, errno);
    if (got == 0) return text;
    text.append(chunk, static_cast<size_t>(got));
    if (text.size() > request::kMaxText) return failed(path, EFBIG);
  }
}

request::Result<Request> read_profile(const std::string& path, bool guarded) {
  const auto text = read_whole(path, guarded);
  if (!text) return text.error();
  auto profile = request::parse_profile(*text);
  if (profile) return *std::move(profile);
  Problem problem = profile.error();
  problem.reason = "of " + path + ' ' + problem.reason;
  return problem;
}

// What a name may be to become a file name among the caller's own.
bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= 128 && name[0] != '.' &&
         name.find('/') == std::string::npos;
}

std::vector<std::string> names_in(const std::string& directory, std::error_code& error) {
  std::vector<std::string> names;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
    if (const fs::path& path = at->path();
        path.extension() == ".json" && path.filename().string()[0] != '.')
      names.push_back(path.stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

request::Result<Profiles> Profiles::load(std::span<const Directory> directories) {
  Profiles profiles;
  for (const Directory& directory : directories) {
    std::error_code error;
    for (const std::string& name : names_in(directory.path, error)) {
      const std::string path = directory.path + '/' + name + ".json";
      auto profile = read_profile(path, directory.guarded);
      if (!profile) return profile.error();
      profiles.profiles_.insert_or_assign(name, Profile{*std::move(profile), path});
    }
    if (error && !(directory.optional && error == std::errc::no_such_file_or_directory))
      return failed(directory.path, error.value());
  }
  const auto nowhere = [] { return std::string(); };
  for (const auto& [name, profile] : profiles.profiles_)
    if (const auto layers = profiles.layers(name, nowhere); !layers) {
      Problem problem = layers.error();
      problem.reason += ", the base of " + name;
      return problem;
    }
  return profiles;
}

request::Result<std::vector<request::Layer>> Profiles::layers(const std::string& name,
                                                              const OwnDirectory& own) const {
  std::vector<request::Layer> layers;
  std::vector<std::string> seen;
  for (std::optional<std::string> next = name; next;) {
    if (std::find(seen.begin(), seen.end(), *next) != seen.end())
      return Problem{Problem::Kind::invalid, "profile", "is based on itself", "", *next};
    seen.push_back(*next);
    Profile found;
    if (const auto known = profiles_.find(*next); known != profiles_.end()) {
      found = known->second;
    } else {
      const std::string directory = is_name(*next) ? own() : "";
      found.file = directory + '/' + *next + ".json";
      if (directory.empty() || ::access(found.file.c_str(), F_OK) != 0) {
        std::string names;
        for (const auto& [each, profile] : profiles_) names += (names.empty() ? "" : ", ") + each;
        return Problem{Problem::Kind::invalid, "profile", "is unknown",
                       "one of " + names + ", or one of your own in " +
                           (directory.empty() ? "~/.config/cloister/profiles" : directory),
                       *next};
      }
      auto profile = read_profile(found.file, false);
      if (!profile) return profile.error();
      found.request = *std::move(profile);
    }
    next = found.request.profile;
    // The effective request names the profile that was asked for.
    found.request.profile.reset();
    layers.push_back({std::move(found.request), "profile " + seen.back() + ", " + found.file});
  }
  std::reverse(layers.begin(), layers.end());
  return layers;
}

std::vector<Profiles::Known> Profiles::list(const OwnDirectory& own) const {
  std::vector<Known> list;
  for (const auto& [name, profile] : profiles_)
    list.push_back({name, profile.file, profile.request.profile.value_or(""), ""});
  const std::string directory = own();
  std::error_code none;  // without a directory there are none
  if (!directory.empty())
    for (const std::string& name : names_in(directory, none)) {
      Known known{name, directory + '/' + name + ".json", "", ""};
      if (profiles_.contains(name)) {
        known.problem = "never used: the service has a profile of this name";
      } else if (const auto layers = Profiles::layers(name, own); !layers) {
        known.problem = layers.error().field + ' ' + layers.error().reason;
      } else if (const auto profile = read_profile(known.file, false)) {
        known.base = profile->profile.value_or("");
      }
      list.push_back(std::move(known));
    }
  return list;
}

}  // namespace cloister::front
