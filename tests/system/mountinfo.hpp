// /proc/PID/mountinfo of the probe's report, taken apart: proc_pid_mountinfo(5).
#pragma once

#include <string>
#include <vector>

#include "client.hpp"

namespace cloister::system_test {

struct MountLine {
  int id = 0, parent = 0;
  std::string root, point, options, type, source, whole;
  bool has(const std::string& option) const {
    return ("," + options + ",").find("," + option + ",") != std::string::npos;
  }
};

std::vector<MountLine> mounts_of(const Json& report);

}  // namespace cloister::system_test
