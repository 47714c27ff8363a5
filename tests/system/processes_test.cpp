// The processes of a service: what they run as, what the end of each means to
// everybody else, and the end of the service.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

std::string command_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(in, name);
  return name;
}

uid_t user_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("Uid:")) return static_cast<uid_t>(std::stoul(line.substr(4)));
  }
  return static_cast<uid_t>(-1);
}

// The front that serves this user's only connection.
pid_t front_of(const Service& service, uid_t user) {
  for (const pid_t pid : service.processes()) {
    if (command_of(pid).starts_with("cloister-front") && user_of(pid) == user) return pid;
  }
  return 0;
}

TEST_CASE("a front runs as its client, without capabilities, filtered, with no_new_privs") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  REQUIRE(client.call("Describe").error == "");
  const pid_t front = front_of(world.system(), world.alice().uid);
  REQUIRE(front > 0);
  const std::string status = read_file("/proc/" + std::to_string(front) + "/status");
  const std::string uid = std::to_string(world.alice().uid);
  CHECK(status.find("Uid:\t" + uid + "\t" + uid + "\t" + uid + "\t" + uid) != std::string::npos);
  for (const char* line : {"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000",
                           "NoNewPrivs:\t1", "Seccomp:\t2"}) {
    CAPTURE(std::string(line));
    CHECK(status.find(line) != std::string::npos);
  }
}

TEST_CASE("kill -9 of a front ends its connection and no other") {
  NEEDS_ROOT();
  World& world = World::get();
  Client bob = world.system().connect(world.bob());
  Client alice = world.connect(Way::user);
  bob.post("Run", {{"request", world.probe_request({"hold"})}}, {}, {{"more", true}});
  Json job;
  while (!job["pid"].is_number()) {
    auto reply = bob.receive();
    REQUIRE(reply);
    job = reply->parameters;
  }
  REQUIRE(alice.call("Describe").error == "");
  const pid_t front = front_of(world.system(), world.alice().uid);
  REQUIRE(front > 0);
  kill(front, SIGKILL);
  CHECK(!alice.receive());
  CHECK(alive(job["pid"].get<pid_t>()));
  bob.post("Signal", {{"id", job["id"]}, {"signal", "SIGTERM"}}, {}, {{"oneway", true}});
  auto ended = bob.receive();
  REQUIRE(ended);
  CHECK(ended->parameters["verdict"]["term_signal"] == "SIGTERM");
  Client again = world.connect(Way::user);
  CHECK(again.call("Describe").error == "");
}

TEST_CASE("kill -9 of the spares, inits and nursery included, is made good") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    const Service& service = way == Way::user ? world.system() : world.rootless();
    CHECK(world.connect(way).run(world.probe_request({"noop"})).verdict["ok"] == true);
    for (int round = 0; round < 3; ++round) {
      eventually([] { return false; }, 200);  // until what is made ahead is there
      const auto spares = service.processes();
      CHECK(spares.size() >= 5);
      for (const pid_t pid : spares) kill(pid, SIGKILL);
      CHECK(eventually([&] {
        return std::none_of(spares.begin(), spares.end(), [](pid_t pid) { return alive(pid); });
      }));
      for (const Json& request : {world.probe_request({"noop"}), world.boxed_request({"noop"})}) {
        Outcome outcome = world.connect(way).run(request);
        INFO(outcome.told());
        CHECK(outcome.verdict["ok"] == true);
      }
    }
  }
}

TEST_CASE("SIGSTOP of a front, or a client that never reads, holds up nobody else") {
  NEEDS_ROOT();
  World& world = World::get();
  Client alice = world.connect(Way::user);
  REQUIRE(alice.call("Describe").error == "");
  const pid_t front = front_of(world.system(), world.alice().uid);
  REQUIRE(front > 0);
  kill(front, SIGSTOP);
  alice.post("Run", {{"request", world.probe_request({"noop"})}});
  Client bob = world.system().connect(world.bob());
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    CHECK(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
  }
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(5));
  kill(front, SIGCONT);
  auto late = alice.receive();
  REQUIRE(late);
  CHECK(late->parameters["verdict"]["ok"] == true);

  // Ten thousand answers that nobody reads.
  fcntl(alice.socket(), F_SETFL, O_NONBLOCK);
  const std::string call = Json{{"method", "io.cloister.Launcher.Describe"}}.dump() + '\0';
  for (int i = 0; i < 10'000; ++i) {
    if (send(alice.socket(), call.data(), call.size(), MSG_NOSIGNAL) < 0) break;
  }
  for (int i = 0; i < 20; ++i) {
    CHECK(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
  }
}

TEST_CASE("a client that says nothing costs no front") {
  NEEDS_ROOT();
  World& world = World::get();
  const auto fronts = [&] {
    int count = 0;
    for (const pid_t pid : world.system().processes()) {
      count += command_of(pid).starts_with("cloister-front") ? 1 : 0;
    }
    return count;
  };
  Client first = world.connect(Way::user);
  CHECK(first.call("Describe").error == "");
  eventually([&] { return false; }, 500);
  const int before = fronts();
  std::vector<Client> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(world.connect(Way::user));
  eventually([&] { return false; }, 300);
  CHECK(fronts() == before);
}

TEST_CASE("SIGTERM ends the service in order: jobs are killed and waiters hear of it") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Who& who : {world.root(), world.alice()}) {
    CAPTURE(who.uid);
    const std::string directory = world.directory_of(who);
    check(chmod(directory.c_str(), 0755), "chmod");
    Service service(who, directory);
    Client client = service.connect(who);
    client.post("Run", {{"request", world.boxed_request({"ignore-term"})}}, {}, {{"more", true}});
    pid_t payload = 0;
    while (payload == 0) {
      auto reply = client.receive();
      REQUIRE(reply);
      INFO(reply->error << reply->parameters.dump());
      REQUIRE(reply->error == "");
      if (reply->parameters["pid"].is_number()) payload = reply->parameters["pid"];
    }
    kill(service.pid(), SIGTERM);
    auto ended = client.receive();
    if (ended) {
      CHECK(ended->parameters["verdict"]["cause"] == "shutdown");
      CHECK(ended->parameters["verdict"]["fault"] == "operator");
    }
    // It gives 10 s to what does not end, and this job has ended.
    CHECK(eventually([&] { return !alive(service.pid()); }, 9'000));
    const int status = service.stop();
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(!alive(payload));
    CHECK(access((directory + "/socket").c_str(), F_OK) != 0);
  }
}

TEST_CASE("what is made ahead is made again, also after a job that did not start") {
  NEEDS_ROOT();
  World& world = World::get();
  const Service service = world.configured();
  Client client = service.connect(world.alice());
  const auto inits = [&] {
    std::vector<pid_t> found;
    for (const pid_t pid : service.processes())
      if (read_file("/proc/" + std::to_string(pid) + "/cmdline").starts_with("cloister-init"))
        found.push_back(pid);
    return found;
  };
  for (const char* executable : {"/run/test/probe", "/nonexistent"}) {
    CAPTURE(std::string(executable));
    Json request = world.boxed_request({"noop"});
    request["executable"] = executable;
    REQUIRE(eventually([&] { return inits().size() == 2; }));
    const std::vector<pid_t> before = inits();
    client.run(request);
    // One of these was it.
    CHECK(eventually([&] {
      const std::vector<pid_t> now = inits();
      return now.size() == 2 && now != before;
    }));
  }
}

TEST_CASE("kill -9 of the service leaves no payload behind") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Who& who : {world.root(), world.alice()}) {
    CAPTURE(who.uid);
    const std::string directory = world.directory_of(who);
    check(chmod(directory.c_str(), 0755), "chmod");
    Service service(who, directory);
    Client client = service.connect(who);
    std::vector<pid_t> payloads;
    for (Json request :
         {world.boxed_request({"ignore-term"}), world.probe_request({"ignore-term"})}) {
      Reply reply = client.call("Start", {{"request", request}});
      INFO(reply.error << reply.parameters.dump());
      REQUIRE(reply.error == "");
      payloads.push_back(reply.parameters["pid"].get<pid_t>());
    }
    kill(service.pid(), SIGKILL);
    for (const pid_t payload : payloads) CHECK(eventually([&] { return !alive(payload); }));
    CHECK(!client.receive());
  }
}

TEST_CASE("the socket has its mode from the first instant and the records are private") {
  NEEDS_ROOT();
  World& world = World::get();
  struct stat status;
  REQUIRE(stat(world.system().socket().c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0666);
  REQUIRE(stat((world.directory() + "/system/run/records").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0700);
  CHECK(status.st_uid == 0);
}

}  // namespace
}  // namespace cloister::system_test
