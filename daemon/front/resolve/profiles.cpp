#include "resolve/profiles.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "sys/names.hpp"
#include "sys/unique_fd.hpp"

namespace cloister::front {
namespace {

namespace fs = std::filesystem;

Problem failed(const std::string& path, int error) {
  return {Problem::Kind::failed,  "profile", "cannot read " + path, "",
          sys::errno_name(error), error};
}

request::Result<std::string> read_whole(const std::string& path) {
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return failed(path, errno);
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

}  // namespace

request::Result<Profiles> Profiles::load(const std::string& directory) {
  Profiles profiles;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    const fs::path& path = at->path();
    if (path.extension() != ".json") continue;
    const auto text = read_whole(path.string());
    if (!text) return text.error();
    auto profile = request::parse_profile(*text);
    if (!profile) {
      Problem problem = profile.error();
      problem.reason = "of " + path.string() + ' ' + problem.reason;
      return problem;
    }
    profiles.profiles_.emplace(path.stem().string(), *std::move(profile));
  }
  if (error) return failed(directory, error.value());
  for (const auto& [name, profile] : profiles.profiles_)
    if (const auto layers = profiles.layers(name); !layers) {
      Problem problem = layers.error();
      problem.reason += ", the base of " + name;
      return problem;
    }
  return profiles;
}

request::Result<std::vector<request::Layer>> Profiles::layers(const std::string& name) const {
  std::vector<request::Layer> layers;
  for (std::optional<std::string> next = name; next;) {
    const auto found = profiles_.find(*next);
    if (found == profiles_.end() || layers.size() == profiles_.size()) {
      std::string known;
      for (const auto& [each, profile] : profiles_) known += (known.empty() ? "" : ", ") + each;
      return Problem{Problem::Kind::invalid, "profile",
                     found == profiles_.end() ? "is unknown" : "is based on itself",
                     "one of " + known, *next};
    }
    layers.push_back({found->second, "profile " + *next});
    next = found->second.profile;
    // The effective request names the profile that was asked for.
    layers.back().request.profile.reset();
  }
  std::reverse(layers.begin(), layers.end());
  return layers;
}

std::vector<std::string> Profiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, profile] : profiles_) names.push_back(name);
  return names;
}

}  // namespace cloister::front
