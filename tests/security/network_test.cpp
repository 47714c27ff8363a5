// NET-01 to NET-06: what a payload reaches by the network.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxes.hpp"
#include "listener.hpp"

namespace cloister::security_test {
namespace {

TEST_CASE("before: network") {
  NEEDS_ROOT();
  count_before();
}

// One listener on every address that this host has, and one abstract name.
struct Listeners {
  std::vector<Fd> sockets;
  std::vector<std::string> dial;  // ADDRESS PORT ...

  void listen_on(const sockaddr* address, socklen_t size, const std::string& name) {
    sockets.push_back(listen_at(address, size));
    dial.push_back(name);
    dial.push_back(std::to_string(port_of(sockets.back())));
  }

  Listeners() {
    ifaddrs* list = nullptr;
    check(getifaddrs(&list), "getifaddrs");
    for (const ifaddrs* each = list; each; each = each->ifa_next) {
      if (!each->ifa_addr || !(each->ifa_flags & IFF_UP)) continue;
      char text[INET6_ADDRSTRLEN] = {};
      if (each->ifa_addr->sa_family == AF_INET) {
        const auto* address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
        inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
        listen_on(each->ifa_addr, sizeof *address, text);
      } else if (each->ifa_addr->sa_family == AF_INET6) {
        const auto* address = reinterpret_cast<const sockaddr_in6*>(each->ifa_addr);
        inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
        std::string name = text;
        if (address->sin6_scope_id) name += "%" + std::to_string(address->sin6_scope_id);
        listen_on(each->ifa_addr, sizeof *address, name);
      }
    }
    freeifaddrs(list);
    sockets.push_back(listen_abstract("cloister-net-canary"));
  }

  std::vector<std::string> words() const {
    std::vector<std::string> out = {"dial"};
    out.insert(out.end(), dial.begin(), dial.end());
    return out;
  }
};

TEST_CASE("NET-01 there is loopback only, and no listener of the host's answers") {
  NEEDS_ROOT();
  World& world = World::get();
  const Listeners canaries;
  REQUIRE(canaries.dial.size() >= 2);
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    // They answer out here, or nothing would be shown.
    const Json outside = act(client, world.probe_request(canaries.words()));
    for (const auto& [address, error] : outside.items()) {
      CAPTURE(address);
      CHECK(error == nullptr);
    }
    for (Json request : boxed_requests(client, canaries.words())) {
      const Json inside = act(client, request);
      CHECK(inside.size() * 2 == canaries.dial.size());
      check_all_refused(inside, {"ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL", "EINVAL", "ENODEV",
                                 "EHOSTUNREACH", "EACCES", "EPERM"});
      request["argv"] = {"probe", "connect", "@cloister-net-canary"};
      check_error(act(client, request), "error", {"ECONNREFUSED", "EPERM"});
      request["argv"] = {"probe"};
      const Json report = report_of(client, request);
      REQUIRE(report["interfaces"].size() == 1);
      CHECK(report["interfaces"][0]["name"] == "lo");
      CHECK(report["interfaces"][0]["up"] == true);
      CHECK(report["namespaces"]["net"] != own_namespace("net"));
    }
  }
}

TEST_CASE("NET-02 sockets of the kernel's inner families and raw ones are not to be had") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : boxed_requests(client, {"sockets"})) {
      const Json answer = act(client, request);
      for (const char* needed : {"unix", "inet", "inet6", "udp", "netlink route"}) {
        CAPTURE(std::string(needed));
        CHECK(answer[needed] == nullptr);
      }
      check_all_refused(answer,
                        {"EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT",
                         "ENOSYS", "EINVAL"},
                        // Groups of route are news of its own namespace only: its own socket tells.
                        {"unix", "inet", "inet6", "udp", "netlink route", "netlink groups"});
    }
  }
}

TEST_CASE("NET-03 who may not have the host's network does not get it, in or without a box") {
  NEEDS_ROOT();
  World& world = World::get();
  const Service service = world.configured({{"rules",
                                             {{{"name", "inside"},
                                               {"users", {world.name_of(world.alice())}},
                                               {"allow", {{"network", {"none"}}}}}}}});
  Json boxed = world.boxed_request();
  boxed["network"] = "host";
  boxed["namespaces"] = {{"net", "host"}};
  boxed["unset"] = {"sysctls.net.ipv4.ip_unprivileged_port_start"};
  for (const Json& request : {boxed, world.probe_request()}) {
    CAPTURE(request.dump());
    Client alice = connect_as(world.alice(), service.socket()),
           bob = connect_as(world.bob(), service.socket());
    const Outcome outcome = alice.run(request);
    INFO(outcome.told());
    CHECK(outcome.error == "Denied");
    CHECK(outcome.parameters["rule"].get<std::string>().find("inside") != std::string::npos);
    CHECK(report_of(bob, request)["namespaces"]["net"] == own_namespace("net"));
    CHECK(report_of(alice, world.boxed_request())["namespaces"]["net"] != own_namespace("net"));
  }
}

TEST_CASE("NET-03 a network is joined by its file only if the client owns it") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const auto network_of = [](pid_t pid) {
    return Fd(check(
        open(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC), "open"));
  };
  Json request = world.probe_request();
  request["no_new_privs"] = true;
  request["namespaces"] = {{"net", {{"passed_fd", 0}}}};
  const auto holder = [&](const Who& who, int flags) {
    return std::make_unique<Standing>([&] {
      if (who.uid) become(who);
      check(unshare(flags), "unshare");
    });
  };
  {
    const auto own = holder(world.alice(), CLONE_NEWUSER | CLONE_NEWNET);
    const Fd fd = network_of(own->pid());
    struct stat status {};
    check(fstat(fd.get(), &status), "fstat");
    CHECK(report_of(client, request, {fd.get()})["namespaces"]["net"] == status.st_ino);
  }
  for (const auto& [name, other] :
       {std::pair{"bob's", holder(world.bob(), CLONE_NEWUSER | CLONE_NEWNET).release()},
        {"root's", holder(world.root(), CLONE_NEWNET).release()}}) {
    CAPTURE(std::string(name));
    const std::unique_ptr<Standing> ends(other);
    const Fd fd = network_of(ends->pid());
    const Outcome outcome = client.run(request, {fd.get()});
    INFO(outcome.told());
    CHECK(outcome.error == "Denied");
    CHECK(outcome.parameters["rule"] == "namespace-owner");
  }
}

TEST_CASE("NET-05 a sysctl that is no plain key of a namespace of the job's is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::vector<std::string> files = {
      "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/sysrq", "/proc/sys/vm/overcommit_memory",
      "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/threads-max"};
  std::vector<std::string> before;
  for (const auto& file : files)
    before.push_back(access(file.c_str(), R_OK) ? "" : read_file(file));
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const std::string key : {"kernel.core_pattern",
                                  "kernel/core_pattern",
                                  "kernel.sysrq",
                                  "vm.overcommit_memory",
                                  "kernel.threads-max",
                                  "fs.file-max",
                                  "net.ipv4/../../kernel/core_pattern",
                                  "net/ipv4/../../kernel/sysrq",
                                  "net.ipv4.../../kernel.sysrq",
                                  "net..ipv4.ip_forward",
                                  "net.ipv4.ip_forward ",
                                  " net.ipv4.ip_forward",
                                  "net.ipv4.+ip_forward",
                                  "+net.ipv4.ip_forward",
                                  "net.ipv4.",
                                  "net",
                                  "",
                                  ".",
                                  "/",
                                  "net.ipv4.ip forward",
                                  "net.ipv4.ip_forward\n",
                                  "net.ipv4.%2e%2e",
                                  "net.ipv4.conf.no-such-interface.forwarding"}) {
      CAPTURE(key);
      Json request = world.boxed_request({"noop"});
      request["sysctls"] = {{key, "1"}};
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      CHECK((outcome.error == "InvalidRequest" || outcome.error == "Denied" ||
             outcome.error == "Unsupported" || outcome.verdict["ending"] == "not_started"));
    }
    // With the host's network the keys are the host's.
    Json request = world.probe_request({"noop"});
    request["sysctls"] = {{"net.ipv4.ip_forward", "1"}};
    const Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK((!outcome.error.empty() || outcome.verdict["ending"] == "not_started"));
  }
  for (size_t i = 0; i < files.size(); ++i) {
    CAPTURE(files[i]);
    if (!before[i].empty()) CHECK(read_file(files[i]) == before[i]);
  }
}

TEST_CASE("NET-06 a job that ends with connections half open leaves no network and no port") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (int round = 0; round < 5; ++round) {
      for (const Json& request : boxed_requests(client, {"half-open", "8080"})) {
        const Json answer = act(client, request);
        CHECK(answer["bind"] == nullptr);
        CHECK(answer["listen"] == nullptr);
      }
    }
  }
  // What else of it is left, the last case of this file would find.
}

TEST_CASE("after: network has left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
