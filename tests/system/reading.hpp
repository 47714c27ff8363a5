// Reading the probe's report and the service's answers in the system tests.
#pragma once

#include <sys/stat.h>

#include "service.hpp"

namespace cloister::system_test {

// The probe's report of a request that has to work.
inline Json report_of(Client& client, const Json& request, const std::vector<int>& fds = {}) {
  Outcome outcome = client.run(request, fds);
  INFO(request.dump());
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  REQUIRE(outcome.verdict["ok"] == true);
  return outcome.report();
}

// What the probe's act said, in a request that has to run to its end.
inline Json act(Client& client, const Json& request, const std::vector<int>& fds = {}) {
  Outcome outcome = client.run(request, fds);
  INFO(request.dump().substr(0, 2000));
  INFO(outcome.told());
  REQUIRE(outcome.error == "");
  REQUIRE(outcome.verdict["ending"] == "exited");
  REQUIRE(outcome.verdict["exit_code"] != 121);  // the probe knows no such act
  Json answer = Json::parse(outcome.out, nullptr, false);
  INFO(outcome.out);
  REQUIRE(answer.is_object());
  return answer;
}

// What Start answered, which has to have worked.
inline Json start(Client& client, const Json& request) {
  Reply reply = client.call("Start", {{"request", request}});
  INFO(reply.error << " " << reply.parameters.dump());
  REQUIRE(reply.error == "");
  return reply.parameters;
}

// An entry of the report's "fds"; null when that descriptor is not open.
inline Json descriptor(const Json& report, int fd) {
  for (const auto& entry : report["fds"]) {
    if (entry["fd"] == fd) return entry;
  }
  return nullptr;
}

inline std::vector<int> descriptor_numbers(const Json& report) {
  std::vector<int> out;
  for (const auto& entry : report["fds"]) out.push_back(entry["fd"].get<int>());
  return out;
}

// Uid and Gid of a process with one id only, as /proc/PID/status has them.
inline std::string four(unsigned id) {
  const std::string one = std::to_string(id);
  return one + "\t" + one + "\t" + one + "\t" + one;
}

// Inode of /proc/self/ns/NAME of the test.
inline unsigned long own_namespace(const std::string& name) {
  struct stat status;
  check(stat(("/proc/self/ns/" + name).c_str(), &status), "stat");
  return status.st_ino;
}

// The request with these members replaced or added; merges objects.
inline Json with(Json request, const Json& members) {
  request.merge_patch(members);
  return request;
}

}  // namespace cloister::system_test
