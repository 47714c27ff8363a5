// Where a process is in the cgroup trees, from the text of /proc/PID/cgroup.
#include "host/cgroup_tree.hpp"

#include "outcome.hpp"

using cloister::monitor::CgroupTree;

namespace {

const CgroupTree kUnified{"/sys/fs/cgroup/unified", "/", "rw", 2};
const CgroupTree kPids{"/sys/fs/cgroup/pids", "/", "rw,pids", 1};
const CgroupTree kCpu{"/sys/fs/cgroup/cpu,cpuacct", "/", "rw,cpu,cpuacct", 1};
const CgroupTree kNamed{"/sys/fs/cgroup/systemd", "/", "rw,xattr,name=systemd", 1};

constexpr const char* kText =
    "9:name=systemd:/user.slice/a:b\n"
    "8:pids:/user.slice\n"
    "4:cpu,cpuacct:/\n"
    "0::/user.slice/session-1.scope\n";

}  // namespace

TEST_CASE("a process has one place in each tree") {
  CHECK(kUnified.place_of(kText) == "/user.slice/session-1.scope");
  CHECK(kPids.place_of(kText) == "/user.slice");
  CHECK(kCpu.place_of(kText) == "");
  CHECK(kNamed.place_of(kText) == "/user.slice/a:b");
  CHECK(!kPids.place_of("0::/x\n").has_value());
  CHECK(!kUnified.place_of("8:pids:/x\n").has_value());
  CHECK(!kUnified.place_of("").has_value());
}

TEST_CASE("a place that cannot be seen from here is none") {
  CHECK(!kUnified.place_of("0::/../x\n").has_value());
  CHECK(!kUnified.place_of("0::/..\n").has_value());
  CHECK(!kUnified.place_of("0::/x (deleted)\n").has_value());
  CHECK(!kUnified.place_of("0::x\n").has_value());
}

TEST_CASE("a container shows the tree from its own root on") {
  const CgroupTree inside{"/sys/fs/cgroup", "/docker/1", "rw", 2};
  CHECK(inside.place_of("0::/docker/1/sub\n") == "/sub");
  CHECK(inside.place_of("0::/docker/1\n") == "");
  CHECK(inside.place_of("0::/sub\n") == "/sub");
  CHECK(inside.place_of("0::/docker/10\n") == "/docker/10");
}
