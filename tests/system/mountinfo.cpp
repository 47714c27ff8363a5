#include "mountinfo.hpp"

#include <sstream>

namespace cloister::system_test {

std::vector<MountLine> mounts_of(const Json& report) {
  std::vector<MountLine> out;
  for (const auto& each : report["mountinfo"]) {
    MountLine line;
    line.whole = each;
    std::istringstream in(line.whole);
    std::string device, word;
    in >> line.id >> line.parent >> device >> line.root >> line.point >> line.options;
    while (in >> word && word != "-") {
    }
    in >> line.type >> line.source;
    out.push_back(line);
  }
  return out;
}

}  // namespace cloister::system_test
