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
