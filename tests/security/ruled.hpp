// A service of root's under a configuration of the test's own.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "people.hpp"

namespace cloister::security_test {

class Ruled {
 public:
  explicit Ruled(const Json& config, const std::vector<std::string>& options = {});

  Service& service() { return *service_; }
  const std::string& socket() const { return service_->socket(); }
  const std::string& path() const { return path_; }
  void write(const std::string& text, mode_t mode = 0644);
  // The programs and the file as they are now.
  void restart();
  std::string runtime() const { return directory_ + "/run"; }
  // SIGHUP, and what the service said about it.
  std::string reload();
  // All that it has said on standard error.
  std::string said() const { return content_of(log_.get()); }

  Client connect(const Who& who) { return connect_as(who, service_->socket()); }

 private:
  std::string directory_, path_;
  std::vector<std::string> options_;
  Fd log_;
  std::unique_ptr<Service> service_;
};

struct Ran {
  int code;
  std::string said;  // on both standard output and standard error
};
// cloisterd, with the programs of this build, to its end.
Ran run_cloisterd(const Who& who, const std::vector<std::string>& options,
                  const std::string& program = World::get().program("cloisterd"));

// What `cloisterd --check` says of this configuration; empty: nothing is wrong.
std::string complaint_about(const std::string& text, mode_t mode = 0644, uid_t owner = 0);

// {"rules": [RULE, ...]}
inline Json rules(std::initializer_list<Json> all) { return {{"rules", Json::array_t(all)}}; }

// A job that `rules` say nothing against: own ids, new net and ipc.
Json modest(const World& world, const std::vector<std::string>& arguments = {});

// The Plan of this request, as a reply.
Reply planned(Client& client, const Json& request);

}  // namespace cloister::security_test
