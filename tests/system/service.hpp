// The services under test, and the people who use them.
//
// One World a test program: a directory below /tmp with copies of the programs
// (a build folder may lie where an unprivileged user cannot go), two users made
// for the run, and the services, started when first asked for. All of it is
// gone when the program ends.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "sys/landlock.hpp"

namespace cloister::system_test {

// How a client reaches a service: whose it is and who asks.
enum class Way {
  root,      // root's service, asked by root
  user,      // root's service, asked by an unprivileged user
  rootless,  // an unprivileged user's service, asked by that user
  alone      // private mode of an unprivileged user
};
inline constexpr Way kWays[] = {Way::root, Way::user, Way::rootless, Way::alone};
std::string name_of(Way way);

class Service {
 public:
  // Runs cloisterd as `who` on DIRECTORY/socket and returns once it answers.
  // `before` runs in its process before its exec.
  Service(
      const Who& who, const std::string& directory, const std::vector<std::string>& options = {},
      const std::function<void()>& before = [] {});
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  const std::string& socket() const { return socket_; }
  pid_t pid() const { return pid_; }
  // Fronts, inits and what they started: everything below the monitor.
  std::vector<pid_t> processes() const;

  Client connect(const Who& who) const;
  // What it has told the journal since the last call: one text a record.
  std::vector<std::string> records();
  // SIGTERM, and the raw wait status.
  int stop();

 private:
  std::string socket_;
  Fd journal_;
  pid_t pid_ = -1;
};

// The process of this service with that argv[0]; 0 when none comes.
pid_t process_of(const Service& service, const std::string& name);

class World {
 public:
  static World& get();
  ~World();

  const std::string& directory() const { return directory_; }
  std::string probe() const { return directory_ + "/bin/probe"; }
  std::string program(const std::string& name) const { return directory_ + "/bin/" + name; }

  const Who& root() const { return root_; }
  const Who& alice() const { return alice_; }
  const Who& bob() const { return bob_; }
  const std::string& name_of(const Who& who) const;
  const Who& who(Way way) const { return way == Way::root ? root_ : alice_; }

  // Root's, with a configuration that grants nobody anything but leases.
  Service& system();
  Service& rootless();  // alice's

  // Root's, under a configuration of the test's own.
  Service configured(
      const Json& config = Json::object(), const std::function<void()>& before = [] {});

  Client connect(Way way);
  // A private service of its own, as the child of a process of `who` that has
  // done `before`.
  Client connect_alone(
      const Who& who, const std::function<void()>& before = [] {});

  // {"argv": ["probe", ARGUMENTS...], "profile": "none", "executable": ...}
  Json probe_request(const std::vector<std::string>& arguments = {}) const;
  // The same under the default profile, where the probe is bound to /run/test.
  Json boxed_request(const std::vector<std::string>& arguments = {}) const;

  // Where the services make scratch directories: below /var/tmp, which is on a
  // disk more often than /tmp is. Below it "system" and one of each user's.
  const std::string& disk() const { return disk_; }
  // The request with a scratch directory on disk at this place.
  static Json on_disk(Json request, const std::string& at);

  // A new directory of `who`, mode 0700, gone with the World.
  std::string directory_of(const Who& who);

 private:
  World();

  std::string directory_, disk_;
  Fd lock_;
  Who root_, alice_, bob_;
  std::unique_ptr<Service> system_, rootless_;
  int directories_ = 0;
};

bool has_keyrings();  // of this kernel, keyrings(7)

// Why the system tests cannot run here; empty when they can.
std::string why_not();

}  // namespace cloister::system_test

// For what needs this ABI of Landlock; leased ids need 2.
#define NEEDS_LANDLOCK(abi) \
  do { \
    if (::cloister::sys::landlock_abi() < (abi)) \
      SKIP("needs Landlock, ABI " + std::to_string(abi) + "; this kernel has " + \
           std::to_string(std::max(::cloister::sys::landlock_abi(), 0))); \
  } while (false)

// First line of every case of the system suite.
#define NEEDS_ROOT() \
  do { \
    if (const std::string reason = ::cloister::system_test::why_not(); !reason.empty()) \
      SKIP(reason); \
  } while (false)
