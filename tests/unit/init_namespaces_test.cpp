// The namespaces that init makes, joins and leaves alone.
#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "init_driver.hpp"
#include "outcome.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::MountKind;
using plan::Namespace;
using plan::ReportKind;

TEST_CASE("every namespace can be fresh, and the payload is pid 2 of its own") {
  NEEDS_ROOT();
  Driver job;
  for (const auto which : {Namespace::pid, Namespace::net, Namespace::ipc, Namespace::uts,
                           Namespace::cgroup, Namespace::time})
    job.fresh(which);
  job.host_tree();
  job.plan->flags |= plan::kLoopbackUp | plan::kTimeOffsets;
  job.plan->boottime_offset_ns = 100'000'000'000'000;
  job.plan->monotonic_offset_ns = -1;
  job.plan->hostname = job.plan.text("cell");
  job.plan->domainname = job.plan.text("abbey");
  job.sysctls = {{job.plan.text("net/ipv4/ip_unprivileged_port_start"), job.plan.text("0")}};
  job.capture();
  job.shell(
      "echo $$; hostname; cat /proc/sys/kernel/domainname; "
      "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; "
      "cut -d. -f1 /proc/uptime; cat /sys/class/net/lo/flags; ls /proc | grep -c '^[0-9]'; "
      "for n in mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$n; done");
  job.run();
  CHECK(job.exit_code() == 0);
  std::vector<std::string> lines;
  for (size_t at = 0, end; (end = job.output().find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(job.output().substr(at, end - at));
  REQUIRE(lines.size() == 14);
  CHECK(lines[0] == "2");
  CHECK(lines[1] == "cell");
  CHECK(lines[2] == "abbey");
  CHECK(lines[3] == "0");
  CHECK(std::stol(lines[4]) >= 100'000);
  CHECK(std::stol(lines[6]) <= 6);
  const char* names[] = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "time"};
  for (size_t i = 0; i < 7; ++i) {
    char link[64]{};
    REQUIRE(::readlink((std::string("/proc/self/ns/") + names[i]).c_str(), link, 63) > 0);
    CHECK(lines[7 + i] != link);
    CHECK(lines[7 + i].starts_with(names[i]));
  }
  CHECK(job.forked_pid() > 2);
}

TEST_CASE("a joined namespace is the other job's") {
  NEEDS_ROOT();
  Driver first;
  for (const auto which : {Namespace::net, Namespace::uts, Namespace::ipc}) first.fresh(which);
  first.fresh(Namespace::pid);
  first.plan->hostname = first.plan.text("shared");
  first.shell("sleep 100");
  first.start();
  REQUIRE(first.await(ReportKind::started));

  Driver second;
  std::vector<sys::UniqueFd> held;
  const auto join = [&](Namespace which, const char* name) {
    held.emplace_back(::open(("/proc/" + std::to_string(first.init_pid()) + "/ns/" + name).c_str(),
                             O_RDONLY | O_CLOEXEC));
    REQUIRE(held.back());
    second.plan->namespaces[static_cast<int>(which)].join = plan::Join::job;
    second.order.join_of[second.joins.size()] = static_cast<uint32_t>(which);
    second.joins.push_back(held.back().borrow());
  };
  join(Namespace::uts, "uts");
  join(Namespace::net, "net");
  join(Namespace::pid, "pid");
  second.fresh(Namespace::mnt);
  second.bind("/", "/", plan::kMountRecursive);
  second.mount(MountKind::proc, "/proc");
  second.capture();
  second.shell("hostname; cat /proc/1/comm; [ $$ -lt 20 ] && echo inside");
  second.run();
  CHECK(second.exit_code() == 0);
  CHECK(second.output() == "shared\ncloister-init\ninside\n");
  first.command(plan::CommandKind::kill);
  CHECK(first.end().wait_status == SIGKILL);
}

TEST_CASE("namespaces made ahead are a job's that asks for such ones, and no other's") {
  NEEDS_ROOT();
  const auto host = [](const char* name) {
    return std::filesystem::read_symlink(std::string("/proc/self/ns/") + name).string() + "\n";
  };
  for (const bool fresh : {true, false})
    for (const bool loopback : {true, false})
      for (const bool own_user : {true, false}) {
        CAPTURE(fresh);
        CAPTURE(loopback);
        CAPTURE(own_user);
        Driver job;
        job.ahead = true;
        job.fresh(Namespace::pid);
        if (fresh) job.fresh(Namespace::net), job.fresh(Namespace::ipc);
        if (fresh && loopback) job.plan->flags |= plan::kLoopbackUp;
        if (own_user) {
          job.fresh(Namespace::user);
          job.uid_map = job.gid_map = {{0, 0, 1000}};
        }
        job.host_tree();
        job.capture();
        job.shell(
            "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; "
            "grep -q 127.0.0.1 /proc/net/fib_trie && echo up; read unused <&9");
        int hold[2];
        REQUIRE(::pipe2(hold, O_CLOEXEC) == 0);
        sys::UniqueFd held(hold[0]), let_go(hold[1]);
        job.receive(held.borrow(), 9);
        job.start();
        REQUIRE(job.await(ReportKind::started));
        const auto of_payload = [&](const char* name) {
          return sys::UniqueFd(
              ::open(("/proc/" + std::to_string(job.forked_pid()) + "/ns/" + name).c_str(),
                     O_RDONLY | O_CLOEXEC));
        };
        struct stat user {
        }, owner{};
        const sys::UniqueFd net = of_payload("net"), users = of_payload("user");
        REQUIRE(net);
        const sys::UniqueFd owning(::ioctl(net.borrow(), NS_GET_USERNS));
        REQUIRE(::fstat(owning.borrow(), &owner) == 0);
        REQUIRE(::fstat(users.borrow(), &user) == 0);
        CHECK((owner.st_ino == user.st_ino) == (fresh || !own_user));
        let_go.reset();
        job.end();
        const std::string& out = job.output();
        CHECK((out.find(host("net")) == std::string::npos) == fresh);
        CHECK((out.find(host("ipc")) == std::string::npos) == fresh);
        if (fresh) CHECK((out.find("\nup\n") != std::string::npos) == loopback);
      }
}

TEST_CASE("an outbound job waits for the network that it is sent, and enters that one") {
  NEEDS_ROOT();
  for (const bool own_user : {false, true}) {
    CAPTURE(own_user);
    Driver job;
    job.plan->flags |= plan::kOutbound | plan::kLoopbackUp;
    job.fresh(Namespace::net);
    if (own_user) job.fresh(Namespace::user);
    job.shell("readlink /proc/self/ns/net");
    job.capture();
    job.start();
    const sys::UniqueFd network(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    job.send_network(network.borrow());
    job.end();
    CHECK(job.exit_code() == 0);
    CHECK(job.output() == std::filesystem::read_symlink("/proc/self/ns/net").string() + "\n");
  }
}

TEST_CASE("a rootless job needs nothing but a user namespace") {
  NEEDS_ROOT();
  Driver job;
  job.uid = 65534;
  job.clone_flags = CLONE_NEWUSER;
  job.order.flags |= plan::kFreshUser | plan::kFixedGroups;
  job.order.mapped_uid = job.order.mapped_gid = 65534;
  job.plan->identity = {65534, 65534, 65534, 65534, 65534, 65534, {}, 0, 0};
  job.host_tree();
  for (const auto which : {Namespace::net, Namespace::ipc, Namespace::uts}) job.fresh(which);
  job.mount(MountKind::scratch, "/root");
  job.plan->flags |= plan::kLoopbackUp | plan::kNoNewPrivs;
  job.plan->hostname = job.plan.text("cell");
  job.capture();
  job.shell(
      "id -u; hostname; touch /usr/x 2>/dev/null || echo ro; touch /root/x && echo home; echo $$; "
      "grep -E 'CapEff|CapBnd' /proc/self/status; echo x >/dev/null && echo dev");
  job.run();
  CHECK(job.exit_code() == 0);
  CHECK(job.output() ==
        "65534\ncell\nro\nhome\n2\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\ndev\n");
}

TEST_CASE("a plain process of a plain user needs no power at all") {
  NEEDS_ROOT();
  Driver job;
  job.uid = 65534;
  job.order.flags |= plan::kFixedGroups;
  job.plan->identity = {65534, 65534, 65534, 65534, 65534, 65534, {}, 0, 0};
  job.plan->flags |= plan::kNewKeyring;
  job.capture();
  job.shell("id -u; id -g; grep CapPrm /proc/self/status; setsid sleep 1000 & exit 4");
  CHECK(job.run().leftovers_killed == 1);
  CHECK(job.exit_code() == 4);
  CHECK(job.output() == "65534\n65534\nCapPrm:\t0000000000000000\n");
}

TEST_CASE("a user namespace of the plan's own is mapped as asked, rootless and not") {
  NEEDS_ROOT();
  for (const bool rootless : {false, true}) {
    Driver job;
    if (rootless) {
      job.uid = 65534;
      job.clone_flags = CLONE_NEWUSER;
      job.order.flags |= plan::kFreshUser | plan::kFixedGroups;
      job.order.mapped_uid = job.order.mapped_gid = 65534;
      job.uid_map = job.gid_map = {{0, 65534, 1}};
    } else {
      job.uid_map = job.gid_map = {{0, 100000, 1000}};
    }
    job.fresh(Namespace::user);
    job.host_tree();
    job.mount(MountKind::scratch, "/root");
    job.fresh(Namespace::net);
    job.plan->flags |= plan::kLoopbackUp;
    job.capture();
    job.shell(
        "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u /root; touch /root/x && echo home; "
        "mount -t tmpfs none /mnt 2>/dev/null || echo locked");
    job.run();
    CHECK(job.exit_code() == 0);
    CHECK(job.output() ==
          std::string("0\n ") + (rootless ? "0 65534 1" : "0 100000 1000") + "\n0\nhome\nlocked\n");
  }
}

TEST_CASE("a mount with maps shows ids as they say, and so does what is mounted in it") {
  NEEDS_ROOT();
  char path[] = "/var/tmp/cloister-mapped-XXXXXX";
  REQUIRE(::mkdtemp(path));
  const std::string top = std::string(path) + "/top", inside = top + "/inside",
                    other = std::string(path) + "/other";
  for (const std::string& each : {std::string(path), top, inside, other}) {
    std::filesystem::create_directory(each);
    REQUIRE(::chmod(each.c_str(), 0755) == 0);
  }
  REQUIRE(::chown(top.c_str(), 3, 4) == 0);
  REQUIRE(::chown(other.c_str(), 3, 4) == 0);
  REQUIRE(::mount(other.c_str(), inside.c_str(), nullptr, MS_BIND, nullptr) == 0);
  Driver job;
  job.fresh(Namespace::user);
  job.uid_map = job.gid_map = {{0, 300000, 1}, {5, 200000, 20}};
  job.host_tree();
  plan::Mount& mount = job.bind(top, "/mnt", plan::kMountReadOnly | plan::kMountRecursive);
  const std::vector<plan::IdMap> uids = {{5, 0, 10}}, gids = {{15, 0, 10}};
  mount.uid_map = job.plan.span(uids);
  mount.gid_map = job.plan.span(gids);
  job.capture();
  job.shell("stat -c '%u %g' /mnt /mnt/inside");
  job.run();
  ::umount2(inside.c_str(), MNT_DETACH);
  std::filesystem::remove_all(path);
  CHECK(job.output() == "8 19\n8 19\n");
}

TEST_CASE("a mount of the caller's is the payload's in the box, and shows as it is to the caller") {
  NEEDS_ROOT();
  constexpr uid_t kUid = 1001;
  constexpr gid_t kGid = 2001;
  for (const uid_t uid : {kUid, uid_t{3001}})
    for (const gid_t gid : {kGid, gid_t{3001}}) {
      CAPTURE(uid);
      CAPTURE(gid);
      char top[] = "/var/tmp/cloister-lent-XXXXXX";
      REQUIRE(::mkdtemp(top));
      const std::string other = std::string(top) + "/other";
      REQUIRE(::chmod(top, 0755) == 0);
      REQUIRE(::mkdir(other.c_str(), 0755) == 0);
      REQUIRE(::chown(top, uid, gid) == 0);
      REQUIRE(::chown(other.c_str(), 7, 8) == 0);
      Driver job;
      job.order.caller_uid = uid;
      job.order.caller_gid = gid;
      job.plan->identity = {kUid, kUid, kUid, kGid, kGid, kGid, {}, 0, 0};
      job.host_tree();
      job.bind(top, "/mnt", plan::kMountOwnerCaller);
      job.capture();
      job.shell("stat -c '%u %g' /mnt /mnt/other; mkdir /mnt/made");
      job.run();
      struct stat made {};
      CHECK(::stat((std::string(top) + "/made").c_str(), &made) == 0);
      std::filesystem::remove_all(top);
      const bool caller = uid == kUid && gid == kGid;
      CHECK(job.output() == (caller ? "1001 2001\n7 8\n" : "1001 2001\n65534 65534\n"));
      CHECK(made.st_uid == uid);
      CHECK(made.st_gid == gid);
    }
}

TEST_CASE("a pid namespace inside a joined user namespace has init's child as pid 1") {
  NEEDS_ROOT();
  Driver owner;
  owner.fresh(Namespace::user);
  owner.uid_map = owner.gid_map = {{0, 100000, 1000}};
  owner.shell("sleep 1000");
  owner.start();
  REQUIRE(owner.await(ReportKind::started));
  const sys::UniqueFd user(::open(
      ("/proc/" + std::to_string(owner.forked_pid()) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(user);
  Driver job;
  job.plan->namespaces[static_cast<int>(Namespace::user)].join = plan::Join::job;
  job.order.join_of[0] = static_cast<uint32_t>(Namespace::user);
  job.joins = {user.borrow()};
  job.plan->namespaces[static_cast<int>(Namespace::pid)].join = plan::Join::fresh;
  job.capture();
  job.shell("echo $$ $PPID; id -u; setsid sleep 1000 & exit 5");
  const plan::ExitRecord& record = job.run();
  CHECK(job.exit_code() == 5);
  CHECK(job.output() == "2 1\n0\n");
  CHECK(record.leftovers_killed == 1);
  owner.command(plan::CommandKind::kill);
  owner.end();
}
