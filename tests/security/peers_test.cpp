// PEER-01 to PEER-07: what two payloads of one user can do to each other.
#include <sys/stat.h>
#include <unistd.h>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

TEST_CASE("before: peers") {
  NEEDS_ROOT();
  count_before();
}

TEST_CASE("PEER-01 a job of the same user cannot be seen, signalled, traced or read") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client one = world.connect(way), other = world.connect(way);
    const Held victim(one, world.boxed_request({"hold"}));
    for (Json request : boxed_requests(other, {"pids"})) {
      // Its init, and itself; a helper of the profile's is a process too.
      const Json pids = act(other, request);
      CHECK(pids["listed"].size() <= 3);
      CHECK(pids["answering"].size() <= 3);
      request["argv"] = {"probe", "assault", std::to_string(victim.pid())};
      const Json assault = act(other, request);
      check_all_refused(assault, {"ESRCH", "EPERM", "ENOENT", "ENOSYS"});
    }
    CHECK(victim.runs());
  }
}

TEST_CASE(
    "PEER-01 without a box of its own the attacker reaches no job that has one of another uid") {
  NEEDS_ROOT();
  World& world = World::get();
  Client alice = connect_as(world.alice(), world.system().socket()),
         bob = connect_as(world.bob(), world.system().socket());
  for (const Json& of_alice : {world.boxed_request({"hold"}), world.probe_request({"hold"})}) {
    const Held victim(alice, of_alice);
    const Json assault = act(bob, world.probe_request({"assault", std::to_string(victim.pid())}));
    // As anywhere: /proc shows who runs what. Rights are what is refused.
    check_all_refused(assault, {"ESRCH", "EPERM", "EACCES", "ENOENT", "ENOSYS"},
                      {"pidfd_open", "/cmdline", "/status"});
    CHECK(victim.runs());
  }
}

TEST_CASE("PEER-02 shared memory, semaphores, queues and /dev/shm are each job's own") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string key = std::to_string(0x636c6f + getpid());
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client one = world.connect(way), other = world.connect(way);
    const Held maker(one, world.boxed_request({"ipc-make", key, "cloister-canary"}));
    INFO(maker.said().dump());
    for (const char* kind : {"shm", "sem", "msg", "mq", "shm_open"}) {
      CAPTURE(std::string(kind));
      CHECK(maker.said()[kind] == nullptr);
    }
    for (const Json& request : boxed_requests(other, {"ipc-find", key, "cloister-canary"})) {
      const Json found = act(other, request);
      INFO(found.dump());
      for (const char* kind : {"shm", "sem", "msg", "mq", "shm_open"})
        check_error(found, kind, {"ENOENT"});
      for (const char* kind : {"shm listed", "sem listed", "msg listed"}) CHECK(found[kind] <= 0);
    }
    // The host has none of them either, nor a name of them.
    CHECK(access("/dev/shm/cloister-canary", F_OK) != 0);
    const Json outside = act(other, world.probe_request({"ipc-find", key, "cloister-canary"}));
    for (const char* kind : {"shm", "sem", "msg", "mq", "shm_open"})
      check_error(outside, kind, {"ENOENT"});
  }
}

TEST_CASE("PEER-03 files in /tmp, /var/tmp and the home are not seen by another job, nor later") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string home = world.directory() + "/alice";
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client one = world.connect(way), other = world.connect(way);
    const std::vector<std::string> places = {"/tmp/", "/var/tmp/", home + "/", "/run/",
                                             "/dev/shm/"};
    const auto check_unseen = [&](const std::string& path) {
      for (const Json& request : boxed_requests(other, {"read", path}))
        CHECK(act(other, request)["error"] == "ENOENT");
      CHECK(access(path.c_str(), F_OK) != 0);
    };
    for (const std::string& place : places) {
      const std::string path = place + "cloister-left-here";
      CAPTURE(path);
      {
        // The shell makes it and stays.
        const Json request = {
            {"profile", "default"},
            {"argv",
             {"/bin/sh", "-c",
              "echo secret >" + path + " && echo '{}' || echo '[]'; exec sleep 1000"}}};
        const Held maker(one, request);
        // /run is root's inside as it is outside.
        if (place != "/run/") CHECK(maker.said() == Json::object());
        check_unseen(path);
      }
      check_unseen(path);
    }
  }
}

TEST_CASE("PEER-04 no socket of one job, abstract or in a file, is reached from another") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client one = world.connect(way), other = world.connect(way);
    for (const std::string name : {"@cloister-peer", "/tmp/cloister-peer"}) {
      CAPTURE(name);
      const Held server(one, world.boxed_request({"serve", name}));
      CHECK(server.said()["listen"] == nullptr);
      for (const Json& request : boxed_requests(other, {"connect", name})) {
        const Json answer = act(other, request);
        check_error(answer, "error", {"ECONNREFUSED", "ENOENT"});
      }
      const Json outside = act(other, world.probe_request({"connect", name}));
      check_error(outside, "error", {"ECONNREFUSED", "ENOENT"});
    }
  }
}

TEST_CASE("PEER-04 a client that joins its own job's network reaches its abstract sockets") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Held server(client, world.boxed_request({"serve", "@cloister-shared"}));
  Json request = world.boxed_request({"connect", "@cloister-shared"});
  request["namespaces"] = {{"net", {{"job", server.id()}}}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  if (outcome.error == "InvalidRequest" || outcome.error == "Unsupported") {
    // The profile's own network settings want a new namespace.
    request["unset"] = {"sysctls.net.ipv4.ip_unprivileged_port_start"};
    request["network"] = nullptr;
    outcome = client.run(request);
  }
  INFO(outcome.told());
  CHECK(outcome.error == "");
  CHECK(Json::parse(outcome.out, nullptr, false)["error"] == nullptr);
  // Another user may not.
  Client bob = connect_as(world.bob(), world.system().socket());
  CHECK(bob.run(request).error == "NoSuchJob");
}

TEST_CASE("PEER-06 a key of one job is found by no other job of the user, then or later") {
  NEEDS_ROOT();
  World& world = World::get();
  // Not one that an earlier run may have left with the same uid.
  const std::string name = "cloister-secret-" + std::to_string(getpid());
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client one = world.connect(way), other = world.connect(way);
    const auto check_not_found = [&] {
      for (const Json& request : boxed_requests(other, {"key-find", name})) {
        const Json found = act(other, request);
        CHECK(found["listed"] == false);
        check_all_refused(found, {"ENOKEY", "EPERM", "ENOSYS", "EACCES"}, {"listed"});
      }
    };
    {
      const Held maker(one, world.boxed_request({"key-add", name, "stay"}));
      INFO(maker.said().dump());
      CHECK(maker.said().is_object());
      check_not_found();
    }
    check_not_found();
    const Json outside = act(other, world.probe_request({"key-find", name}));
    INFO(outside.dump());
    CHECK(outside["user"] != nullptr);
    CHECK(outside["user session"] != nullptr);
  }
}

TEST_CASE("PEER-07 a job sees no cgroup of a sibling's and moves and limits nobody") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client one = world.connect(way), other = world.connect(way);
    const Held sibling(one, world.boxed_request({"hold"}));
    const std::string of_sibling = read_file("/proc/" + std::to_string(sibling.pid()) + "/cgroup");
    for (Json request : boxed_requests(other, {})) {
      request["argv"] = {"probe"};
      const Json report = report_of(other, request);
      for (const auto& line : report["cgroup"]) {
        INFO(line);
        CHECK(line.get<std::string>().find("job-") == std::string::npos);
      }
      request["executable"] = "/bin/sh";
      request["argv"] = {"sh", "-c",
                         "find /sys/fs/cgroup -name 'job-*' 2>/dev/null; "
                         "for f in $(find /sys/fs/cgroup -name cgroup.procs -o -name tasks); do "
                         "echo $$ >$f && echo moved by $f; done 2>/dev/null; echo done"};
      Outcome outcome = other.run(request);
      INFO(outcome.told());
      CHECK(outcome.out == "done\n");
    }
    CHECK(read_file("/proc/" + std::to_string(sibling.pid()) + "/cgroup") == of_sibling);
  }
}

TEST_CASE("after: peers have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
