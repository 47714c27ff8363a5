// Jobs after their start, in the system tests.
#pragma once

#include <signal.h>
#include <unistd.h>

#include "reading.hpp"

namespace cloister::system_test {

// Stops and forgets, so that each case leaves an empty table.
inline void discard(Client& client, const Json& id) {
  CHECK(client.call("Stop", {{"id", id}, {"timeout", "0s"}}).error == "");
  CHECK(client.call("Remove", {{"id", id}}).error == "");
}

// So that a case counts its own jobs only, whatever an earlier one left.
inline void discard_all(Client& client) {
  const Reply listed = client.call("List");
  for (const auto& job : listed.parameters.at("jobs")) discard(client, job["id"]);
}

inline Json wait(Client& client, const Json& id, const Json& options = nullptr) {
  Reply reply = client.call("Wait", {{"id", id}, {"options", options}});
  INFO(reply.error << " " << reply.parameters.dump());
  REQUIRE(reply.error == "");
  return reply.parameters;
}

// A service whose monitor stands still again and again: what happens to a job meanwhile is
// seen all at once, in any order.
class Stuttering {
 public:
  explicit Stuttering(pid_t monitor) : monitor_(monitor) {
    pid_ = child([monitor]() -> int {
      for (;;) {
        if (kill(monitor, SIGSTOP) < 0) return 1;
        usleep(8000);
        kill(monitor, SIGCONT);
        usleep(4000);
      }
    });
  }
  ~Stuttering() {
    kill(pid_, SIGKILL);
    wait_for(pid_);
    kill(monitor_, SIGCONT);
  }
  Stuttering(const Stuttering&) = delete;

 private:
  pid_t monitor_, pid_;
};

// The request of a program of the host's tree, in the box that the profile default makes.
inline Json in_a_box(Json request) {
  request["profile"] = "default";
  request["workspace"] = nullptr;
  request["cwd"] = "/";
  return request;
}

}  // namespace cloister::system_test
