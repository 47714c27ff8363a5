// One user who connects and connects: another waits for it no more than for any
// process of that user's.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "ruled.hpp"

namespace cloister::security_test {
namespace {

// For children: what of this user's is there at once, without a process each.
int connected(const std::string& path) {
  const int fd = check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    close(fd);
    return -1;
  }
  return fd;
}

// A process of alice's, until it goes.
class Doing {
 public:
  Doing(const Who& who, const std::function<void()>& act) {
    pid_ = child([&] {
      become(who);
      act();
      return 0;
    });
  }
  ~Doing() {
    kill(pid_, SIGKILL);
    wait_for(pid_);
  }
  Doing(const Doing&) = delete;
  Doing& operator=(const Doing&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

using Act = std::function<void()>;

// What an attacker can do on one connection after the other, as often as it likes.
Act connect_and_close(const std::string& path, const std::string& bytes = {}, int shut = -1) {
  return [=] {
    for (;;) {
      const int fd = connected(path);
      if (fd < 0) continue;
      if (!bytes.empty())
        static_cast<void>(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
      if (shut >= 0) shutdown(fd, shut);
      close(fd);
    }
  };
}

// Milliseconds of Runs over fresh connections: what a command does. The 99th of a hundred.
double slowest(const std::string& path, const Json& request, int runs) {
  const std::string text = call_text("Run", {{"request", request}}) + '\0';
  std::vector<double> all;
  for (int i = 0; i < runs; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto start = std::chrono::steady_clock::now();
    const Fd fd(connected(path));
    REQUIRE(fd);
    REQUIRE(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
    std::string reply;
    char part[4096];
    while (reply.empty() || reply.back() != '\0') {
      const ssize_t got = recv(fd.get(), part, sizeof part, 0);
      REQUIRE(got > 0);
      reply.append(part, static_cast<size_t>(got));
    }
    INFO(reply);
    REQUIRE(reply.find("\"ok\":true") != reply.npos);
    all.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::sort(all.begin(), all.end());
  return all[all.size() * 99 / 100];
}

// Of bob's, while alice's processes do this: measured by a process of bob's.
double slowest_of_bob(const Service& service, const std::vector<Act>& acts, int runs) {
  World& world = World::get();
  std::vector<std::unique_ptr<Doing>> all;
  for (const Act& act : acts) all.push_back(std::make_unique<Doing>(world.alice(), act));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  auto [end, write_end] = pipe();
  const Json request = world.probe_request({"noop"});
  const pid_t bob = child([&, &write_end = write_end] {
    become(world.bob());
    const double found = slowest(service.socket(), request, runs);
    check(static_cast<int>(write(write_end.get(), &found, sizeof found)), "write");
    return 0;
  });
  write_end.reset();
  const std::string found = read_from(end.get(), sizeof(double), 300'000);
  CHECK(wait_for(bob) == 0);
  REQUIRE(found.size() == sizeof(double));
  double value;
  std::memcpy(&value, found.data(), sizeof value);
  return value;
}

void spin() {
  for (uint64_t i = 0;; ++i) asm volatile("" : : "r"(i));
}

TEST_CASE(
    "S5: whoever connects in a loop delays another user no more than by using the processor") {
  NEEDS_ROOT();
  World& world = World::get();
  // Room for what is held below and for no more.
  Ruled ruled(Json{{"quota", {{"connections", 260}}}});
  const std::string path = ruled.socket();
  // Held from now on: 200 that say nothing, 50 that begin and do not end.
  auto [ready, ready_write] = pipe();
  const Doing holding(world.alice(), [&, &ready_write = ready_write] {
    for (int i = 0; i < 250; ++i) {
      const int fd = check(connected(path), "connect");
      if (i >= 200) check(static_cast<int>(send(fd, "{\"met", 5, MSG_NOSIGNAL)), "send");
    }
    check(static_cast<int>(write(ready_write.get(), "x", 1)), "write");
    for (;;) pause();
  });
  REQUIRE(read_from(ready.get(), 1, 60'000) == "x");
  const int runs = std::getenv("CLOISTER_SOAK") ? 1000 : 200;
  const struct {
    const char* what;
    Act act;
  } kLoops[] = {
      {"connect and close", connect_and_close(path)},
      {"half a message and close", connect_and_close(path, "{\"method\":\"io")},
      {"nothing, shut for writing", connect_and_close(path, "", SHUT_WR)},
      {"a whole call and close",
       connect_and_close(path, call_text("Describe", Json::object()) + '\0')},
  };
  for (const auto& loop : kLoops) {
    CAPTURE(std::string(loop.what));
    const double beside = slowest_of_bob(ruled.service(), {spin, spin}, runs);
    const double under = slowest_of_bob(ruled.service(), {loop.act, loop.act}, runs);
    std::printf("S5: %s: p99 of Run %.1f ms, beside two that spin %.1f ms\n", loop.what, under,
                beside);
    CHECK(under <= 4 * beside);
  }
}

TEST_CASE("S5: connections beyond the quota cost no front each, and are told Busy") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"quota", {{"connections", 4}}}});
  const std::string path = ruled.socket();
  constexpr int kMany = 300;
  auto [said, said_write] = pipe();
  const std::string call = call_text("Describe", Json::object()) + '\0';
  const Doing alice(world.alice(), [&, &said_write = said_write] {
    std::vector<int> held, more;
    for (int i = 0; i < 4; ++i) held.push_back(check(connected(path), "connect"));
    for (int i = 0; i < kMany; ++i) more.push_back(check(connected(path), "connect"));
    for (const int fd : more) static_cast<void>(send(fd, call.data(), call.size(), MSG_NOSIGNAL));
    int busy = 0;
    for (const int fd : more) {
      std::string reply;
      char part[4096];
      for (ssize_t got; (got = recv(fd, part, sizeof part, 0)) > 0;)
        reply.append(part, static_cast<size_t>(got));
      busy += reply.find("Busy") != reply.npos && reply.find("quota.connections") != reply.npos;
    }
    check(static_cast<int>(write(said_write.get(), &busy, sizeof busy)), "write");
    for (;;) pause();
  });
  said_write.reset();
  const std::string answer = read_from(said.get(), sizeof(int), 60'000);
  REQUIRE(answer.size() == sizeof(int));
  int busy;
  std::memcpy(&busy, answer.data(), sizeof busy);
  CHECK(busy == kMany);
  // And are no connections any more.
  Client bob = ruled.connect(world.bob());
  CHECK(bob.call("Describe").error == "");
}

TEST_CASE("S5: who hangs up without a word costs no process") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  const std::string path = ruled.socket();
  for (const int how : std::initializer_list<int>{-1, SHUT_WR, SHUT_RDWR}) {
    CAPTURE(how);
    constexpr int kMany = 2000;
    const auto fronts = [&] { return ruled.service().processes(); };
    eventually([] { return false; }, 300);
    const auto before = fronts();
    const Doing alice(world.alice(), [&] {
      for (int i = 0; i < kMany; ++i) {
        const int fd = check(connected(path), "connect");
        if (how >= 0) shutdown(fd, how);
        close(fd);
      }
      for (;;) pause();
    });
    // All were looked at when one that came after them is served.
    CHECK(eventually([&] { return descriptors_of(ruled.service().pid()) > 0; }));
    eventually([] { return false; }, 500);
    // The spares are those of before: nobody has taken one.
    CHECK(fronts() == before);
    Client bob = ruled.connect(world.bob());
    CHECK(bob.call("Describe").error == "");
  }
}

TEST_CASE("S5: what is said before half of the connection is shut is answered") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object());
  Client client = ruled.connect(world.alice());
  client.send_bytes(call_text("Describe", Json::object()) + '\0');
  shutdown(client.socket(), SHUT_WR);
  const auto reply = client.receive();
  REQUIRE(reply);
  CHECK(reply->error == "");
}

}  // namespace
}  // namespace cloister::security_test
