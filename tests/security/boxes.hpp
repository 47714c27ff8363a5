// Payloads that try to get out of their box, and what a file of rows leaves
// behind when all of them have run.
#pragma once

#include <string>
#include <vector>

#include "people.hpp"

namespace cloister::security_test {

// The ways in which a box is somebody's who is not root: what each row is tried by.
inline constexpr Way kUserWays[] = {Way::user, Way::rootless};

// What the probe's act said; REQUIREs that the request ran to an end.
Json act(Client& client, const Json& request, const std::vector<int>& fds = {});

// An act in the box of each profile that keeps a payload in: default, build and
// untrusted, as far as they are there and this service grants them.
std::vector<Json> boxed_requests(Client& client, const std::vector<std::string>& arguments);

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

// First and last case of each file: what there is before, and that the same is
// there after.
void count_before();
void check_nothing_left();

}  // namespace cloister::security_test
