// Requests made Plans in the test's own process: what the cases about resolve() share.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "build_paths.hpp"
#include "outcome.hpp"
#include "plan/view.hpp"
#include "resolve/resolve.hpp"

namespace cloister::front::test {

namespace fs = std::filesystem;

using Fds = std::vector<sys::UniqueFd>;

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/cloister-resolve-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
    REQUIRE(::chmod(name, 0755) == 0);
  }
  ~TempDir() { fs::remove_all(path_); }
  std::string operator/(std::string_view name) const { return path_ + '/' + std::string(name); }
  const std::string& path() const { return path_; }
  std::string write(std::string_view name, std::string_view text) const {
    std::ofstream(*this / name) << text;
    return *this / name;
  }
  std::string make(std::string_view name) const {
    fs::create_directories(*this / name);
    return *this / name;
  }

 private:
  std::string path_;
};

inline request::Result<Profiles> load(std::vector<std::string> paths) {
  std::vector<Profiles::Directory> directories;
  for (std::string& path : paths) directories.push_back({std::move(path)});
  return Profiles::load(directories);
}

inline const Profiles& profiles() {
  static const auto kProfiles = load({PROFILES});
  REQUIRE_MESSAGE(kProfiles.has_value(), kProfiles.error().reason);
  return *kProfiles;
}

inline Caller self() {
  plan::Peer peer{};
  peer.uid = ::geteuid();
  peer.gid = ::getegid();
  peer.pid = ::getpid();
  std::vector<gid_t> groups(static_cast<size_t>(::getgroups(0, nullptr)));
  if (!groups.empty()) REQUIRE(::getgroups(static_cast<int>(groups.size()), groups.data()) >= 0);
  return make_caller(peer, {groups.begin(), groups.end()});
}

struct Made {
  Resolved resolved;
  std::vector<uint64_t> block;  // aligned as a mapping is
  plan::View view{nullptr};

  const plan::Header* operator->() const { return &view.header(); }
  std::string text(plan::Text text) const { return {view.c_str(text), text.length}; }
  template <class T>
  std::vector<T> list(plan::Span<T> span) const {
    return {view.begin(span), view.begin(span) + span.count};
  }
  std::vector<std::string> texts(plan::Span<plan::Text> span) const {
    std::vector<std::string> all;
    for (const plan::Text& each : list(span)) all.push_back(text(each));
    return all;
  }
  const plan::Mount* mount(std::string_view at) const {
    for (uint32_t i = 0; i < view->mounts.count; ++i)
      if (text(view.at(view->mounts, i).at) == at) return &view.at(view->mounts, i);
    return nullptr;
  }
  // Of the mounts that the request names; what is covered for root comes after them.
  plan::Mount last() const {
    plan::Mount found{};
    for (const plan::Mount& mount : list(view->mounts))
      if (mount.kind != plan::MountKind::mask && mount.kind != plan::MountKind::lock) found = mount;
    return found;
  }
  int fd(uint32_t descriptor) const { return resolved.descriptors.at(descriptor).borrow(); }
};

inline request::Result<Resolved> try_resolve(std::string_view members, Fds passed = {},
                                             const Caller& caller = self(),
                                             const Asked& asked = {}) {
  const auto request = parse(R"({"argv": ["prog"], )" + std::string(members) + '}');
  REQUIRE_MESSAGE(request.has_value(), request.error().field, ' ', request.error().reason);
  const auto effective = complete(*request, profiles(), caller);
  if (!effective) return effective.error();
  return resolve(*effective, std::move(passed), caller, asked);
}

inline Made make(std::string_view members, Fds passed = {}, const Caller& caller = self(),
                 const Asked& asked = {}) {
  CAPTURE(members);
  auto resolved = try_resolve(members, std::move(passed), caller, asked);
  REQUIRE_MESSAGE(resolved.has_value(), resolved.error().field, ' ', resolved.error().reason);
  Made made;
  made.resolved = *std::move(resolved);
  const std::string& block = made.resolved.plan_block;
  made.block.resize((block.size() + 7) / 8);
  std::memcpy(made.block.data(), block.data(), block.size());
  REQUIRE(plan::check(made.block.data(), block.size()) == plan::Flaw::none);
  made.view = plan::View(made.block.data());
  CHECK(made->descriptors.count == made.resolved.descriptors.size());
  return made;
}

inline Problem refused_as(std::string_view members, std::string_view field, Fds passed = {},
                          const Caller& caller = self()) {
  CAPTURE(members);
  const auto resolved = try_resolve(members, std::move(passed), caller);
  CHECK(resolved.has_error());
  if (resolved) return {};
  CHECK(resolved.error().field == field);
  CHECK_FALSE(resolved.error().reason.empty());
  return resolved.error();
}

inline sys::UniqueFd open_fd(const std::string& path, int flags = O_RDONLY) {
  sys::UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  REQUIRE_MESSAGE(fd, path);
  return fd;
}

template <class... Fd>
Fds fds(Fd... fd) {
  Fds list;
  (list.push_back(std::move(fd)), ...);
  return list;
}

// Root without its powers over files, for one scope.
class Nobody {
 public:
  Nobody() { REQUIRE(::seteuid(65534) == 0); }
  ~Nobody() { REQUIRE(::seteuid(0) == 0); }
};

inline sys::UniqueFd pidfd_of(pid_t pid) {
  return sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

inline uint64_t inode(int fd) {
  struct stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  return status.st_ino;
}

inline uint64_t inode(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_ino;
}

inline constexpr const char* kPlain = R"("profile": "none", "cwd": "/")";

inline std::string plain(std::string_view members) {
  return std::string(kPlain) + ", " + std::string(members);
}

}  // namespace cloister::front::test
