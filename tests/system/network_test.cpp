// The networks of jobs: out through pasta, and nothing in but what is published.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>

#include "census.hpp"
#include "listener.hpp"
#include "outside.hpp"
#include "reading.hpp"

namespace cloister::system_test {
namespace {

#define NEEDS_OUTSIDE() \
  NEEDS_ROOT(); \
  if (const std::string reason = no_outside(); !reason.empty()) SKIP(reason)

// Services that live in the test's network; those of the World live in the host's.
class Services {
 public:
  explicit Services(const Json& config = Json::object())
      : world_(World::get()), system_(world_.configured(config)) {}

  const Service& system() const { return system_; }
  Client connect(Way way) {
    switch (way) {
      case Way::root: return system_.connect(world_.root());
      case Way::user: return system_.connect(world_.alice());
      case Way::rootless:
        if (!rootless_)
          rootless_ =
              std::make_unique<Service>(world_.alice(), world_.directory_of(world_.alice()));
        return rootless_->connect(world_.alice());
      case Way::alone: return world_.connect_alone(world_.alice());
    }
    throw std::logic_error("no such way");
  }

 private:
  World& world_;
  const Service system_;
  std::unique_ptr<Service> rootless_;
};

Json outbound(const std::vector<std::string>& arguments, const Json& publish = Json::array()) {
  Json request = World::get().boxed_request(arguments);
  request["network"] = {{"outbound", {{"publish", publish}}}};
  return request;
}

std::string shell(Client& client, const std::string& line) {
  Json request = outbound({});
  request["executable"] = "/bin/sh";
  request["argv"] = {"sh", "-c", line};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  REQUIRE(outcome.error.empty());
  REQUIRE(outcome.verdict["ending"] == "exited");
  return outcome.out;
}

struct Listener {
  Fd socket;
  uint16_t port = 0;

  Listener(int family, const char* address) {
    sockaddr_in6 place{};
    auto* const four = reinterpret_cast<sockaddr_in*>(&place);
    place.sin6_family = static_cast<sa_family_t>(family);
    inet_pton(family, address,
              family == AF_INET ? static_cast<void*>(&four->sin_addr) : &place.sin6_addr);
    socket = listen_at(reinterpret_cast<const sockaddr*>(&place),
                       family == AF_INET ? sizeof *four : sizeof place);
    port = port_of(socket);
  }
};

// What the host's side gets at 127.0.0.1, or "" and the errno.
std::string ask(int type, uint16_t port, const char* host = "127.0.0.1", int* error = nullptr) {
  const Fd fd(check(socket(AF_INET, type | SOCK_CLOEXEC, 0), "socket"));
  const timeval limit{2, 0};
  check(setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "setsockopt");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, host, &address.sin_addr);
  char text[64];
  ssize_t got = connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  if (got == 0 && type == SOCK_DGRAM) got = send(fd.get(), "x", 1, 0);
  if (got >= 0) got = recv(fd.get(), text, sizeof text, 0);
  if (error) *error = got < 0 ? errno : 0;
  return {text, got > 0 ? static_cast<size_t>(got) : 0};
}

Json end(Client& client, const Json& id) {
  Reply reply = client.call("Stop", {{"id", id}, {"timeout", "0s"}});
  REQUIRE(reply.error == "");
  return client.call("Wait", {{"id", id}}).parameters;
}

TEST_CASE("an outbound job reaches servers outside over TCP and UDP, IPv4 and IPv6") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    for (const char* address : {"198.51.100.1", "2001:db8::1"}) {
      CAPTURE(std::string(address));
      const Json tcp = act(client, outbound({"exchange", "tcp", address, "7000", "x"}));
      const Json udp = act(client, outbound({"exchange", "udp", address, "7000", "echo"}));
      CHECK(tcp.dump() == R"({"answer":"outside","error":null})");
      CHECK(udp.dump() == R"({"answer":"echo","error":null})");
    }
    // Its own network, not the host's.
    const Json report = report_of(client, outbound({}));
    CHECK(report["namespaces"]["net"] != own_namespace("net"));
    CHECK(report["interfaces"].size() == 2);
  }
  // Where the payload is root in a user namespace of its own, too.
  Client client = services.connect(Way::user);
  Json request = outbound({"exchange", "tcp", "198.51.100.1", "7000", "x"});
  request["namespaces"] = {{"user", "new"}};
  request["uid_map"] = {{{"inside", 0}, {"outside", World::get().alice().uid}, {"count", 1}}};
  request["gid_map"] = {{{"inside", 0}, {"outside", World::get().alice().gid}, {"count", 1}}};
  CHECK(act(client, request)["answer"] == "outside");
}

// Meanwhile the kernel in there has done all that it does when a link comes up.
TEST_CASE("an outbound job gets an answer that comes two seconds later, IPv4 and IPv6") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    for (const char* address : {"198.51.100.1", "2001:db8::1"}) {
      CAPTURE(std::string(address));
      const Json late = act(client, outbound({"exchange", "udp", address, "7001", "late"}));
      CHECK(late.dump() == R"({"answer":"late","error":null})");
    }
  }
}

TEST_CASE("loopback, abstract sockets and the metadata service of the host are out of its reach") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  const Listener four(AF_INET, "127.0.0.1"), six(AF_INET6, "::1"), any(AF_INET6, "::");
  const Fd abstract = listen_abstract("cloister-outbound-canary");
  const std::vector<std::string> words = {"dial",
                                          "127.0.0.1",
                                          std::to_string(four.port),
                                          "::1",
                                          std::to_string(six.port),
                                          "198.51.100.2",
                                          std::to_string(any.port),
                                          "2001:db8::2",
                                          std::to_string(any.port),
                                          "169.254.169.254",
                                          "80",
                                          "fd00:ec2::254",
                                          "80",
                                          "::ffff:169.254.169.254",
                                          "80"};
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    // Out here all of them answer, or nothing would be shown.
    const Json out_here = act(client, World::get().probe_request(words));
    for (const auto& [address, error] : out_here.items()) {
      CAPTURE(address);
      CHECK(error == nullptr);
    }
    const Json inside = act(client, outbound(words));
    CHECK(inside.size() == out_here.size());
    for (const auto& [address, error] : inside.items()) {
      CAPTURE(address);
      CHECK(error != nullptr);
    }
    // The gateway's address is not a name of the host's loopback.
    const std::vector<std::string> gateway = {"dial", "198.51.100.1", std::to_string(four.port),
                                              "2001:db8::1", std::to_string(six.port)};
    for (const auto& error : act(client, outbound(gateway))) CHECK(error != nullptr);
    CHECK(act(client, World::get().probe_request(
                          {"connect", "@cloister-outbound-canary"}))["error"] == nullptr);
    CHECK(act(client, outbound({"connect", "@cloister-outbound-canary"}))["error"] ==
          "ECONNREFUSED");
  }
}

TEST_CASE("no payload has power over its outbound network, root's neither") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  const std::string line =
      "ip rule del priority 10 && echo rule; ip -6 rule del priority 10 && echo rule6; "
      "ip route del default && echo route; ip link set net0 down && echo link; "
      "ip route add 169.254.169.254/32 dev net0 && echo added; "
      "unshare --user --map-root-user ip route del default && echo nested; "
      "echo 1 >/proc/sys/net/ipv4/ip_forward && echo sysctl; echo end";
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    CHECK(shell(client, "(" + line + ") 2>/dev/null") == "end\n");
    // A sysctl of the request's is set all the same.
    Json request = outbound({"read", "/proc/sys/net/ipv4/ip_default_ttl"});
    request["sysctls"] = {{"net.ipv4.ip_default_ttl", "77"}};
    CHECK(act(client, request)["text"] == "77\n");
  }
}

TEST_CASE("a published port leads in from its address of the host, and no other does") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    const Json publish = {{{"port", 8081}, {"host_port", 8080}},
                          {{"port", 8081}, {"host_port", 8080}, {"protocol", "udp"}}};
    const Json started = start(client, outbound({"answer", "0.0.0.0", "8081", "inside"}, publish));
    std::string tcp, udp;
    CHECK(eventually([&] { return (tcp = ask(SOCK_STREAM, 8080)) == "inside"; }));
    CHECK(eventually([&] { return (udp = ask(SOCK_DGRAM, 8080)) == "inside"; }));
    int error = 0;
    for (const auto& [host, port] : {std::pair{"198.51.100.2", 8080}, {"127.0.0.1", 8081}}) {
      CAPTURE(std::string(host));
      CHECK(ask(SOCK_STREAM, static_cast<uint16_t>(port), host, &error) == "");
      CHECK(error == ECONNREFUSED);
    }
    // A second one that wants it is told which.
    Outcome second = client.run(outbound({"noop"}, publish));
    INFO(second.told());
    CHECK(second.verdict["ending"] == "not_started");
    CHECK(second.verdict["failure"]["step"] == "publish");
    CHECK(second.verdict["failure"]["field"] == "network.outbound.publish[0]");
    CHECK(second.verdict["failure"]["errno_name"] == "EADDRINUSE");
    end(client, started["id"]);
    // Free when the end has been told: not in a moment.
    for (int i = 0; i < 3; ++i)
      CHECK(act(client, outbound({"exchange", "tcp", "198.51.100.1", "7000", "x"},
                                 publish))["answer"] == "outside");
  }
}

TEST_CASE("names are asked of the host's resolver, also one on its loopback") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    CHECK(shell(client, "getent ahostsv4 www.example | head -1").starts_with("198.51.100.80 "));
  }
}

TEST_CASE("a job whose pasta is killed ends with a verdict that says so") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  for (const Way way : {Way::root, Way::user}) {
    for (const bool whole : {false, true}) {
      CAPTURE(name_of(way));
      CAPTURE(whole);
      Client client = services.connect(way);
      const Json started = start(client, outbound({"hold"}));
      const pid_t pasta = process_of(services.system(), "pasta");
      REQUIRE(pasta > 0);
      // It runs as the client, whose it is to end; or the process above it ends.
      const pid_t above = parent_of(pasta);
      struct stat owner {};
      check(::stat(("/proc/" + std::to_string(above)).c_str(), &owner), "stat");
      CHECK(owner.st_uid == World::get().who(way).uid);
      kill(whole ? above : pasta, SIGKILL);
      Json verdict = client.call("Wait", {{"id", started["id"]}}).parameters;
      INFO(verdict.dump());
      verdict = verdict.value("verdict", verdict);
      CHECK(verdict["ending"] == "signaled");
      CHECK(verdict["cause"] == "cloister");
      CHECK(verdict["fault"] == "host");
      CHECK(verdict["failure"]["step"] == "pasta");
      CHECK(verdict["failure"]["field"] == "network.outbound");
      CHECK(verdict["failure"]["errno_name"] == "ENETDOWN");
      CHECK(eventually([&] { return !alive(pasta) && !alive(above); }));
    }
  }
}

TEST_CASE("a stopped pasta delays the end of nothing but its job, and that by a second") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  Client client = services.connect(Way::user);
  const Json started = start(client, outbound({"hold"}));
  const pid_t pasta = process_of(services.system(), "pasta");
  REQUIRE(pasta > 0);
  kill(parent_of(pasta), SIGSTOP);
  kill(pasta, SIGSTOP);
  Json verdict = end(client, started["id"]);
  verdict = verdict.value("verdict", verdict);
  INFO(verdict.dump());
  CHECK(verdict["cause"] == "canceled");
  CHECK(eventually([&] { return !alive(pasta); }));
}

TEST_CASE("signals to everybody in a job do not reach its pasta, nor is it a leftover") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  Client client = services.connect(Way::user);
  const Json started = start(client, outbound({"ignore-term"}));
  const pid_t pasta = process_of(services.system(), "pasta");
  REQUIRE(pasta > 0);
  // The payload is started before it has come to ignore the signal.
  const pid_t payload = started["pid"];
  REQUIRE(eventually([&] {
    return std::strtoull(status_of(payload, "SigIgn").c_str(), nullptr, 16) >> (SIGTERM - 1) & 1;
  }));
  CHECK(client.call("Signal", {{"id", started["id"]}, {"signal", "SIGTERM"}, {"scope", "all"}})
            .error == "");
  CHECK_FALSE(eventually([&] { return !alive(pasta); }, 300));
  Json verdict = end(client, started["id"]);
  verdict = verdict.value("verdict", verdict);
  INFO(verdict.dump());
  CHECK(verdict["leftover_processes_killed"] == 0);
  CHECK_FALSE(alive(pasta));
  // Nor is it in the payload's sight.
  CHECK(shell(client, "ls -d /proc/[1-9]* | wc -l").size() == 2);
}

TEST_CASE(
    "S7: a network process that its user has stopped holds up no end, and ends with the monitor") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  Client client = services.connect(Way::user);
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    const Json started = start(client, outbound({"hold"}));
    const pid_t pasta = process_of(services.system(), "pasta");
    REQUIRE(pasta > 0);
    const pid_t process = parent_of(pasta);
    REQUIRE(parent_of(process) == services.system().pid());
    CHECK(status_of(process, "Uid") == four(World::get().alice().uid));
    check(::kill(process, SIGSTOP), "kill");
    if (killed) {
      check(::kill(services.system().pid(), SIGKILL), "kill");
    } else {
      Json verdict = end(client, started["id"]);
      INFO(verdict.dump());
      CHECK(verdict["verdict"]["cause"] == "canceled");
    }
    CHECK(eventually([&] { return !alive(pasta) && !alive(process); }));
  }
  for (const std::string root : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}) {
    const std::string left = root + "/cloister-" + std::to_string(services.system().pid());
    if (access(left.c_str(), F_OK) == 0)
      command({"find", left, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"});
  }
}

TEST_CASE("another job of the client's may join an outbound network") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    const Json started = start(client, outbound({"hold"}));
    Json request = World::get().boxed_request({"exchange", "tcp", "198.51.100.1", "7000", "x"});
    request["namespaces"] = {{"net", {{"job", started["id"]}}}};
    CHECK(act(client, request)["answer"] == "outside");
    request["argv"] = {"probe", "dial", "169.254.169.254", "80"};
    for (const auto& error : act(client, request)) CHECK(error != nullptr);
    end(client, started["id"]);
  }
}

TEST_CASE("without a pasta that is root's alone there is no outbound network") {
  NEEDS_OUTSIDE();
  const Outside outside;
  const std::string writable = World::get().directory_of(World::get().root()) + "/pasta";
  write_file(writable, "#!/bin/sh\n", 0777);
  check(chmod(writable.c_str(), 0777), "chmod");
  for (const std::string& program : {std::string("/nonexistent/pasta"), writable}) {
    CAPTURE(program);
    const Json config = {{"pasta", program}};
    Services services(config);
    Client client = services.connect(Way::user);
    Outcome outcome = client.run(outbound({"noop"}));
    INFO(outcome.told());
    CHECK(outcome.error == "Unsupported");
    CHECK(outcome.parameters["feature"] == "network.outbound");
    CHECK(outcome.parameters["reason"].get<std::string>().find("pasta") != std::string::npos);
    // And what asks for none is served.
    CHECK(client.run(World::get().boxed_request({"noop"})).verdict["ok"] == true);
  }
}

TEST_CASE("a host without a way out is named, not a payload that waits for ever") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  REQUIRE(command({"ip", "route", "del", "default"}) == 0);
  REQUIRE(command({"ip", "-6", "route", "del", "default"}) == 0);
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = services.connect(way);
    Outcome outcome = client.run(outbound({"noop"}));
    INFO(outcome.told());
    CHECK(outcome.verdict["ending"] == "not_started");
    CHECK(outcome.verdict["failure"]["step"] == "pasta");
    CHECK(outcome.verdict["failure"]["errno_name"] == "ENETUNREACH");
    CHECK(outcome.verdict["fault"] == "host");
  }
  REQUIRE(unlink("/dev/net/tun") == 0);
  Client client = services.connect(Way::user);
  Outcome outcome = client.run(outbound({"noop"}));
  INFO(outcome.told());
  CHECK(outcome.verdict["failure"]["step"] == "tun_device");
  CHECK(outcome.verdict["failure"]["errno_name"] == "ENOENT");
}

TEST_CASE("outbound jobs leave nothing behind") {
  NEEDS_OUTSIDE();
  const Outside outside;
  Services services;
  Client client = services.connect(Way::user);
  const auto run = [&] { CHECK(client.run(outbound({"noop"})).verdict["ok"] == true); };
  run();
  census::Scope scope;
  scope.ancestor = getpid();
  scope.processes = {services.system().pid()};
  eventually([&] { return services.system().processes().size() >= 5; }, 1000);  // the spares
  // Until the service is at rest.
  census::Census before;
  CHECK(eventually([&] {
    before = census::take(scope);
    usleep(200'000);
    return census::difference(before, census::take(scope)).empty();
  }));
  for (int i = 0; i < 20; ++i) run();
  CHECK(census::settle(before, scope) == "");
}

}  // namespace
}  // namespace cloister::system_test
