// What one client does to make the service wait: nobody else waits with it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "boxes.hpp"
#include "fuse.hpp"
#include "people.hpp"

namespace cloister::security_test {
namespace {

constexpr int kLinger = 60;            // seconds for which a close would wait
constexpr long kPatience = 20 * 1000;  // milliseconds: far below, and enough for a loaded machine

// A TCP connection over loopback with unsent data, whose close waits.
struct Lingering {
  Fd sender, receiver;

  Lingering() {
    const Fd listener(check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const int small = 4096;
    check(setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), "SO_RCVBUF");
    check(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), "bind");
    check(listen(listener.get(), 1), "listen");
    check(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
    sender = Fd(check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    check(connect(sender.get(), reinterpret_cast<sockaddr*>(&address), size), "connect");
    receiver = Fd(check(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept4"));
    const linger wait{1, kLinger};
    check(setsockopt(sender.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof wait), "SO_LINGER");
    const std::string data(65536, 'x');
    while (send(sender.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    REQUIRE(errno == EAGAIN);
  }
};

void check_serves(Client& client, const World& world) {
  for (int i = 0; i < 3; ++i) {
    Outcome outcome;
    const long spent = milliseconds([&] { outcome = client.run(world.probe_request({"noop"})); });
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    CHECK(spent < kPatience);
  }
  Outcome boxed;
  CHECK(milliseconds([&] { boxed = client.run(world.boxed_request({"noop"})); }) < kPatience);
  CHECK(boxed.verdict["ok"] == true);
}

TEST_CASE("a client that passes a TCP socket with SO_LINGER and unsent data delays nobody else") {
  NEEDS_ROOT();
  World& world = World::get();
  Service& service = world.system();
  // All processes that a client needs come first: a later fork would hold a
  // copy of the socket, and no close would be the last.
  Client bob = connect_as(world.bob(), service.socket());
  std::vector<Client> alices;
  for (int i = 0; i < 5; ++i) alices.push_back(connect_as(world.alice(), service.socket()));
  Client nobody = connect_as(Who{65534, 65534, {}}, service.socket());
  REQUIRE(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);

  Json used = world.probe_request({"noop"}), held = world.probe_request({"hold"});
  used["stdin"] = held["stdin"] = {{"passed_fd", 0}};
  std::vector<Fd> receivers;
  const auto begin = [&](Client& client, const std::string& bytes) {
    Lingering connection;
    client.send_bytes(bytes, {connection.sender.get()});
    receivers.push_back(std::move(connection.receiver));
    // Ours is not the last copy, since the message has not ended: this close does not wait.
    CHECK(milliseconds([&] { connection.sender.reset(); }) < kPatience);
  };
  const auto pass = [&](Client& client, const std::string& bytes) {
    begin(client, bytes);
    client.send_bytes(std::string(1, '\0'));
  };
  pass(alices[0], run_text(used));                           // accepted
  pass(alices[1], run_text(world.probe_request({"noop"})));  // surplus: refused
  pass(alices[2], R"({"method":"a.b","uid":0})");            // no call: refused
  begin(alices[3], "{");                                     // never finished
  alices[3].close();
  pass(alices[4], run_text(held));                       // killed while it has it
  begin(nobody, run_text(used) + std::string(1, '\0'));  // never let in
  check_serves(bob, world);
  nobody.close();
  alices[4].close();
  check_serves(bob, world);
  Client late = connect_as(world.alice(), service.socket());
  check_serves(late, world);
  // A reset: whatever waits is done.
  receivers.clear();
  while (!alices.empty()) alices.pop_back();
  CHECK(eventually([&] { return inits_of(service).empty(); }, 30'000));
}

// A process of alice's that opens the file, passes it along with these bytes,
// and then leaves or stays. Its own close never ends either.
pid_t pass_file(const Who& who, const std::string& socket_path, const std::string& file,
                const std::string& bytes, bool stay) {
  auto [ready, ready_write] = pipe();
  const pid_t pid = child([&, &ready_write = ready_write]() -> int {
    become(who);
    const int connection = check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    check(connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
    const int fd = check(open(file.c_str(), O_RDWR | O_CLOEXEC), "open");
    {
      Client client{Fd(connection), Fd(), -1};
      client.send_bytes(bytes, {fd});
      if (!stay) client.close();
      check(static_cast<int>(write(ready_write.get(), "x", 1)), "write");
      for (;;) pause();
    }
  });
  ready_write.reset();
  CHECK(read_from(ready.get(), 1) == "x");
  return pid;
}

TEST_CASE("a FUSE file that never answers delays nobody else") {
  NEEDS_ROOT();
  if (access("/dev/fuse", R_OK | W_OK) != 0) SKIP("no /dev/fuse");
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), mounted = directory + "/silent";
  check(chmod(directory.c_str(), 0755), "chmod");
  check(mkdir(mounted.c_str(), 0755), "mkdir");
  const PrivateMounts mounts;
  Service service(world.root(), directory);
  {
    Client bob = connect_as(world.bob(), service.socket());
    REQUIRE(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
    std::vector<Client> alices;
    std::vector<pid_t> passers;
    SilentFiles files(mounted);

    const auto post = [&](const Json& request) {
      CAPTURE(request.dump());
      alices.push_back(connect_as(world.alice(), service.socket()));
      alices.back().post("Run", {{"request", request}}, {}, {{"more", true}});
      check_serves(bob, world);
    };
    Json box = world.boxed_request({"cat"});
    for (const bool dark : {false, true}) {
      const auto path = [&] { return dark ? files.dark() : files.slow(); };
      post(with(world.probe_request({"cat"}), {{"stdin", {{"path", path()}}}}));
      post(with(world.probe_request({"cat"}), {{"executable", path()}}));
      post(with(world.probe_request({"noop"}), {{"cwd", path()}}));
      Json bound = box;
      bound["stdin"] = {{"path", "/run/silent"}};
      bound["mounts"].push_back({{"at", "/run/silent"}, {"bind", path()}});
      post(bound);
      post(with(box, {{"workspace", {{"path", path()}}}}));
    }
    Json used = world.probe_request({"cat"}), closed = world.probe_request({"noop"});
    used["stdin"] = {{"passed_fd", 0}};
    closed["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 5}}}},
                              {{"close", {{"fd", 5}}}}};
    const std::string nul(1, '\0');
    for (const std::string& bytes : {run_text(used) + nul, run_text(closed) + nul,
                                     run_text(world.probe_request({"noop"})) + nul,
                                     std::string("{\"method\":7}") + nul, std::string("{")}) {
      for (const bool stay : {true, false}) {
        CAPTURE(bytes.substr(0, 30));
        passers.push_back(pass_file(world.alice(), service.socket(), files.slow(), bytes, stay));
        check_serves(bob, world);
      }
    }
    // A caller who is not let in.
    passers.push_back(pass_file(Who{65534, 65534, {}}, service.socket(), files.slow(),
                                run_text(used) + nul, true));
    check_serves(bob, world);
    CHECK(bob.call("List").error == "");

    files.abort();
    for (const pid_t passer : passers) {
      kill(passer, SIGKILL);
      wait_for(passer);
    }
    while (!alices.empty()) alices.pop_back();
    check_serves(bob, world);
    CHECK(eventually([&] { return inits_of(service).empty(); }, 60'000));
  }
  const int status = service.stop();
  CHECK(status == 0);
}

TEST_CASE("S10: a payload that cannot die does not hold up the end of the service") {
  NEEDS_ROOT();
  if (access("/dev/fuse", R_OK | W_OK) != 0) SKIP("no /dev/fuse");
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), mounted = directory + "/silent";
  check(chmod(directory.c_str(), 0755), "chmod");
  check(mkdir(mounted.c_str(), 0755), "mkdir");
  const PrivateMounts mounts;
  Service service(world.root(), directory);
  SilentFiles files(mounted);
  Client client = connect_as(world.alice(), service.socket());
  const Reply started = client.call(
      "Start",
      {{"request", with(world.probe_request({"cat"}), {{"stdin", {{"path", files.slow()}}}})}});
  INFO(started.parameters.dump());
  if (started.error.empty()) {
    const pid_t payload = started.parameters["pid"].get<pid_t>();
    kill(payload, SIGKILL);
    if (!eventually([&] { return !alive(payload); }, 500)) {
      const pid_t pid = service.pid();
      check(kill(pid, SIGTERM), "kill");
      CHECK(eventually([&] { return !alive(pid); }, 30'000));
      files.abort();
      CHECK(eventually([&] { return !alive(payload); }, 30'000));
      return;
    }
  }
  files.abort();
  not_run("no payload could be made that does not die");
}

// A bind of the files, in which init looks up the place of a mask.
Json looking_up(const SilentFiles& files, const std::string& mounted, const std::string& canary) {
  Json request = World::get().boxed_request({"file-write", "/run/own/" + canary, "ran"});
  request["mounts"].push_back({{"at", "/run/silent"}, {"bind", mounted}});
  request["masked_paths"] = {"/run/silent" + files.dim().substr(mounted.size())};
  return request;
}

TEST_CASE("S7: a monitor that is killed while init looks a place up leaves nothing that goes on") {
  NEEDS_ROOT();
  if (access("/dev/fuse", R_OK | W_OK) != 0) SKIP("no /dev/fuse");
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), mounted = directory + "/silent";
  check(chmod(directory.c_str(), 0755), "chmod");
  check(mkdir(mounted.c_str(), 0755), "mkdir");
  const std::string own = world.directory_of(world.alice());
  const PrivateMounts mounts;
  for (const bool pid_namespace : {true, false}) {
    CAPTURE(pid_namespace);
    Service service(world.root(), directory);
    SilentFiles files(mounted);
    Client client = connect_as(world.alice(), service.socket());
    Json request = looking_up(files, mounted, "canary");
    request["mounts"].push_back({{"at", "/run/own"}, {"bind", own}, {"access", "rw"}});
    request["lifetime"] = {{"setup_timeout", "60s"}};
    if (!pid_namespace) {
      request["namespaces"]["pid"] = "host";
      request["unset"].push_back("mounts./proc");
    }
    client.post("Run", {{"request", request}}, {}, {{"more", true}});
    std::vector<pid_t> inits;
    REQUIRE(eventually([&] { return !(inits = inits_of(service)).empty(); }, 5'000));
    usleep(300'000);
    const pid_t monitor = service.pid();
    check(kill(monitor, SIGKILL), "kill");
    // What ends PID 1 of a namespace waits with it for the file system.
    const auto doomed = [](pid_t init) {
      const std::string status = read_file("/proc/" + std::to_string(init) + "/status");
      const auto pending = [&](const char* set) {
        const size_t at = status.find(set);
        return at != status.npos && (std::strtoull(status.c_str() + at + 8, nullptr, 16) >> 8 & 1);
      };
      return !alive(init) || pending("\nSigPnd:") || pending("\nShdPnd:");
    };
    if (pid_namespace)
      for (const pid_t init : inits) CHECK(eventually([&] { return doomed(init); }, 2'000));
    usleep(200'000);
    files.answer();
    for (const pid_t init : inits) CHECK(eventually([&] { return !alive(init); }, 5'000));
    CHECK(access((own + "/canary").c_str(), F_OK) != 0);
    remove_cgroups_of(monitor);
  }
}

TEST_CASE("S7: a set-up that a file system holds up ends at its time") {
  NEEDS_ROOT();
  if (access("/dev/fuse", R_OK | W_OK) != 0) SKIP("no /dev/fuse");
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()), mounted = directory + "/silent";
  check(chmod(directory.c_str(), 0755), "chmod");
  check(mkdir(mounted.c_str(), 0755), "mkdir");
  const PrivateMounts mounts;
  Service service(world.root(), directory);
  SilentFiles files(mounted);
  Client client = connect_as(world.alice(), service.socket());
  Json request = looking_up(files, mounted, "canary");
  request["lifetime"] = {{"setup_timeout", "500ms"}};
  client.post("Run", {{"request", request}});
  const auto reply = client.receive(10'000);
  REQUIRE(reply);
  INFO(reply->parameters.dump());
  CHECK(reply->parameters["verdict"]["failure"]["step"] == "setup_timeout");
  files.abort();
  CHECK(eventually([&] { return inits_of(service).empty(); }, 10'000));
}

pid_t front_of(const Service& service, const Who& who) {
  const auto fronts = fronts_of(service, who.uid);
  REQUIRE(fronts.size() == 1);
  return fronts[0];
}

TEST_CASE("kill -9 and SIGSTOP of a front touch only its own connection") {
  NEEDS_ROOT();
  World& world = World::get();
  Service& service = world.system();
  Client bob = connect_as(world.bob(), service.socket());
  bob.post("Run", {{"request", world.probe_request({"hold"})}}, {}, {{"more", true}});
  const Json job = until(bob, "started");
  Client other = connect_as(world.bob(), service.socket());
  for (const int signal : {SIGSTOP, SIGKILL}) {
    CAPTURE(signal);
    eventually([&] { return fronts_of(service, world.alice().uid).empty(); }, 30'000);
    Client alice = connect_as(world.alice(), service.socket());
    alice.post("Run", {{"request", world.probe_request({"hold"})}}, {}, {{"more", true}});
    const Json own = until(alice, "started");
    const pid_t front = front_of(service, world.alice());
    kill(front, signal);
    check_serves(other, world);
    CHECK(alive(job["pid"].get<pid_t>()));
    if (signal == SIGSTOP) {
      // It is asleep, not gone: its job lives, its client waits.
      CHECK(alive(own["pid"].get<pid_t>()));
      alice.post("Signal", {{"id", own["id"]}, {"signal", "SIGTERM"}}, {}, {{"oneway", true}});
      CHECK(alive(own["pid"].get<pid_t>()));
      kill(front, SIGCONT);
      const auto ended = alice.receive(60'000);
      REQUIRE(ended);
      CHECK(ended->parameters["verdict"]["term_signal"] == "SIGTERM");
    } else {
      // Run's job goes with its connection.
      CHECK(!alice.receive(60'000));
      CHECK(eventually([&] { return !alive(own["pid"].get<pid_t>()); }, 30'000));
    }
  }
  bob.post("Signal", {{"id", job["id"]}, {"signal", "SIGTERM"}}, {}, {{"oneway", true}});
  const auto ended = bob.receive(60'000);
  REQUIRE(ended);
  CHECK(ended->parameters["verdict"]["term_signal"] == "SIGTERM");
}

}  // namespace
}  // namespace cloister::security_test
