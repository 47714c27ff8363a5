// Payloads that try to get out of their box, and what a file of rows leaves
// behind when all of them have run.
#pragma once

#include <sys/mount.h>

#include <string>
#include <vector>

#include "mountinfo.hpp"
#include "people.hpp"

namespace cloister::security_test {

// The ways in which a box is somebody's who is not root: what each row is tried by.
inline constexpr Way kUserWays[] = {Way::user, Way::rootless};
// Also by root, whose payload has uid 0 and no powers.
inline constexpr Way kBoxWays[] = {Way::root, Way::user, Way::rootless};

// An act in the box of each profile that keeps a payload in: default, build and
// untrusted, as far as they are there and this service grants them.
std::vector<Json> boxed_requests(Client& client, const std::vector<std::string>& arguments);

// A workspace as this request's profile takes one: with ids that are leased
// nothing is written that outlasts them.
Json workspace_for(const Json& request, const std::string& path);

// uid 0 in a user namespace of its own, where the caller is mapped to it.
Json as_inner_root(Way way, Json request);

// A filesystem of the test's own, mounted for as long as this lives.
class HostMount {
 public:
  explicit HostMount(const std::string& path) : path_(path) {
    check(mount("cloister-canary", path.c_str(), "tmpfs", 0, "mode=0777"), "mount");
  }
  ~HostMount() { umount2(path_.c_str(), MNT_DETACH); }
  HostMount(const HostMount&) = delete;
  HostMount& operator=(const HostMount&) = delete;

 private:
  std::string path_;
};

// That this was refused, with one of these errors.
void check_error(const Json& answer, const std::string& name,
                 const std::vector<std::string>& errors);
// That all of it was; `but` are the names that may be anything.
void check_all_refused(const Json& answer, const std::vector<std::string>& errors,
                       const std::vector<std::string>& but = {});

// A job that stays: started, and the first line that it said read as JSON.
class Held {
 public:
  Held(Client& client, Json request);
  ~Held();
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  const Json& said() const { return said_; }
  const std::string& id() const { return id_; }
  pid_t pid() const { return pid_; }
  bool runs() const;

 private:
  Client& client_;
  Fd output_;
  Json said_;
  std::string id_;
  pid_t pid_ = 0;
};

// Of a service that was killed. Another one sweeps them; a test does not wait for that.
void remove_cgroups_of(pid_t monitor);

// First and last case of each file: what there is before, and that the same is
// there after.
void count_before();
void check_nothing_left();

}  // namespace cloister::security_test
