// API-12 to API-18: clients that are slow, silent, gone, confined, or after
// somebody else's jobs.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "people.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

// Whether these bytes are in memory that the process can write to.
bool holds(pid_t pid, const std::string& bytes) {
  const std::string proc = "/proc/" + std::to_string(pid);
  const Fd memory(check(open((proc + "/mem").c_str(), O_RDONLY | O_CLOEXEC), "mem"));
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    uint64_t at, end;
    char dash;
    std::string access;
    words >> std::hex >> at >> dash >> end >> access;
    // Beyond a GiB: the shadow of a sanitizer.
    if (!access.starts_with("rw") || end - at > (uint64_t{1} << 30)) continue;
    std::string content(end - at, '\0');
    const ssize_t got = pread(memory.get(), content.data(), content.size(), static_cast<off_t>(at));
    content.resize(got > 0 ? static_cast<size_t>(got) : 0);
    if (content.find(bytes) != content.npos) return true;
  }
  return false;
}

TEST_CASE("S5: no byte that a client wrote is in the monitor's memory, served, refused or gone") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"quota", {{"connections", 4}}}});
  const pid_t monitor = ruled.service().pid();
  // As little as that is found where it is.
  REQUIRE(holds(monitor, ruled.socket()));
  const std::string mark = "written-by-alice-" + std::to_string(getpid());
  const std::string half = "{\"method\":\"" + mark, whole = half + "\"}" + '\0';
  const auto come_and_go = [&] {
    for (const std::string& text : {half, whole})
      for (const int how : std::initializer_list<int>{-1, SHUT_WR, SHUT_RDWR}) {
        Client client = ruled.connect(world.alice());
        client.send_bytes(text);
        if (how >= 0) shutdown(client.socket(), how);
      }
  };
  come_and_go();
  std::vector<Client> held;
  while (held.size() < 4) {
    held.push_back(ruled.connect(world.alice()));
    held.back().send_bytes(half);
  }
  come_and_go();  // beyond the quota now
  // Until what was refused is told so, and longer.
  Client bob = ruled.connect(world.bob());
  CHECK(bob.call("Describe").error == "");
  eventually([] { return false; }, 500);
  CHECK_FALSE(holds(monitor, mark));
}

TEST_CASE("API-12 clients that dribble are dropped at the deadline and hold up nobody") {
  NEEDS_ROOT();
  not_run("8 clients instead of 500, and no percentile: too small a machine to tell");
  World& world = World::get();
  std::vector<Client> slow;
  for (int i = 0; i < 8; ++i) slow.push_back(connect_as(world.alice(), world.system().socket()));
  Client bob = connect_as(world.bob(), world.system().socket());
  const std::string bytes(1000, ' ');
  std::vector<bool> dropped(slow.size());
  const auto dribble = [&] {
    bool all = true;
    for (size_t i = 0; i < slow.size(); ++i) {
      if (dropped[i]) continue;
      char byte = i % 2 ? '{' : ' ';
      const bool sent = send(slow[i].socket(), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
      char answer;
      const ssize_t got = recv(slow[i].socket(), &answer, 1, MSG_DONTWAIT);
      dropped[i] = !sent || got == 0 || (got < 0 && errno != EAGAIN);
      all = all && dropped[i];
    }
    return all;
  };
  // The deadline is 10 s and looked at every 10 s: three times that.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  bool all = false;
  while (!all && std::chrono::steady_clock::now() < end) {
    all = dribble();
    CHECK(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
    std::this_thread::sleep_for(std::chrono::milliseconds(900));
  }
  CHECK(all);
}

TEST_CASE("API-13 answers that nobody reads are bounded and hold up nobody") {
  NEEDS_ROOT();
  World& world = World::get();
  Client alice = connect_as(world.alice(), world.system().socket()),
         bob = connect_as(world.bob(), world.system().socket());
  REQUIRE(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
  const long before = kibibytes_of(world.system().pid(), "VmRSS");
  fcntl(alice.socket(), F_SETFL, O_NONBLOCK);
  const std::string call = call_text("Describe", Json::object()) + '\0';
  size_t sent = 0;
  // Until the service has stopped reading, for three seconds.
  int idle = 0;
  while (idle < 30 && sent < (64u << 20)) {
    const ssize_t n = send(alice.socket(), call.data(), call.size(), MSG_NOSIGNAL);
    if (n > 0) {
      sent += static_cast<size_t>(n);
      idle = 0;
    } else {
      ++idle;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  CHECK(sent < (64u << 20));
  for (int i = 0; i < 10; ++i) {
    CHECK(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
  }
  CHECK(kibibytes_of(world.system().pid(), "VmRSS") - before < 4096 * kSanitizerFactor);
  for (const pid_t front : fronts_of(world.system(), world.alice().uid)) {
    CHECK(kibibytes_of(front, "VmRSS") < 128 * 1024 * kSanitizerFactor);
  }
}

TEST_CASE("API-13 events that nobody reads are bounded and hold up nobody") {
  NEEDS_ROOT();
  World& world = World::get();
  Client reader = connect_as(world.alice(), world.system().socket()),
         other = connect_as(world.alice(), world.system().socket()),
         bob = connect_as(world.bob(), world.system().socket());
  reader.post("Run", {{"request", world.probe_request({"hold"})}}, {}, {{"more", true}});
  const Json started = until(reader, "started");
  const long before = kibibytes_of(world.system().pid(), "VmRSS");
  for (int i = 0; i < 500; ++i) {
    for (const char* signal : {"SIGSTOP", "SIGCONT"}) {
      // Or Busy, where they come faster than the job can take them.
      const std::string error =
          other.call("Signal", {{"id", started["id"]}, {"signal", signal}}).error;
      REQUIRE((error == "" || error == "Busy"));
    }
  }
  CHECK(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
  CHECK(kibibytes_of(world.system().pid(), "VmRSS") - before < 4096 * kSanitizerFactor);
  other.call("Signal", {{"id", started["id"]}, {"signal", "SIGKILL"}});
}

TEST_CASE("API-14 a client that closes at any moment leaves no job, process or descriptor") {
  NEEDS_ROOT();
  not_run("20 rounds of each instead of 10,000: the soak does the long run");
  World& world = World::get();
  Service& service = world.system();
  Client bob = connect_as(world.bob(), service.socket());
  for (int i = 0; i < 3; ++i) REQUIRE(bob.run(world.probe_request({"noop"})).error == "");
  const auto counts = [&] {
    return std::pair(descriptors_of(service.pid()), service.processes().size());
  };
  eventually([] { return false; }, 500);  // until what is made ahead is there
  const auto before = counts();
  const std::string text = run_text(world.boxed_request({"hold"})) + '\0';
  for (int round = 0; round < 20; ++round) {
    for (const char* moment : {"before", "inside", "between", "accepted", "started", "half"}) {
      const std::string when = moment;
      Client client = connect_as(world.alice(), service.socket());
      if (when == "inside") client.send_bytes(text.substr(0, text.size() / 2));
      if (when == "between") client.send_bytes(text);
      if (when == "accepted" || when == "started") {
        client.post("Run", {{"request", world.boxed_request({"hold"})}}, {}, {{"more", true}});
        until(client, when);
      }
      if (when == "half") {
        client.send_bytes(text);
        shutdown(client.socket(), SHUT_RD);
      }
    }
  }
  // What ended unheard is kept for whoever asks, and is no job any more.
  Client alice = connect_as(world.alice(), service.socket());
  const auto jobs = [&](const Json& filter) {
    return alice.call("List", filter).parameters["jobs"];
  };
  CHECK(eventually([&] { return jobs(Json::object()) == jobs({{"state", "ended"}}); }, 60'000));
  for (const Json& job : jobs(Json::object())) {
    CHECK(alice.call("Remove", {{"id", job["id"]}}).error == "");
  }
  alice.close();
  const bool back = eventually(
      [&] {
        const auto now = counts();
        return now.first <= before.first && now.second <= before.second;
      },
      60'000);
  CAPTURE(counts().first);
  CAPTURE(before.first);
  CAPTURE(counts().second);
  CAPTURE(before.second);
  CHECK(back);
  CHECK(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
}

TEST_CASE("API-15 nobody is somebody else by saying so") {
  NEEDS_ROOT();
  World& world = World::get();
  Client bob = connect_as(world.bob(), world.system().socket());
  const Reply job = bob.call("Start", {{"request", world.probe_request({"hold"})}});
  REQUIRE(job.error == "");
  for (const char* claim : {"uid", "pid", "owner", "gid", "peer", "client"}) {
    CAPTURE(claim);
    Client client = connect_as(world.alice(), world.system().socket());
    Json message = {{"method", "io.cloister.Launcher.List"}, {claim, world.bob().uid}};
    auto reply = ask(client, message.dump());
    if (reply) CHECK(reply->error != "");
    Client other = connect_as(world.alice(), world.system().socket());
    CHECK(other.call("List", {{claim, world.bob().uid}}).error ==
          "org.varlink.service.InvalidParameter");
    CHECK(other
              .call("Signal",
                    {{"id", job.parameters["id"]}, {"signal", "SIGKILL"}, {claim, world.bob().uid}})
              .error == "org.varlink.service.InvalidParameter");
    CHECK(other.run(with(world.probe_request(), {{claim, world.bob().uid}})).error ==
          "InvalidRequest");
  }
  CHECK(alive(job.parameters["pid"].get<pid_t>()));
  bob.call("Stop", {{"id", job.parameters["id"]}});
}

TEST_CASE("API-16 another user's job is answered like none at all") {
  NEEDS_ROOT();
  World& world = World::get();
  Client bob = connect_as(world.bob(), world.system().socket());
  Json request = world.probe_request({"hold"});
  request["idempotency_key"] = "the same";
  request["tags"] = {{"pipeline", "7"}};
  const Reply job = bob.call("Start", {{"request", request}});
  INFO(job.parameters.dump());
  REQUIRE(job.error == "");
  const std::string id = job.parameters["id"], none = [&] {
    std::string guess = id;
    guess.back() = guess.back() == '0' ? '1' : '0';
    return guess;
  }();
  Client alice = connect_as(world.alice(), world.system().socket());
  const auto both = [&](const std::string& method, const Json& more) {
    CAPTURE(method);
    CAPTURE(more.dump());
    const auto answer = [&](const std::string& which) {
      Json parameters = more;
      parameters["id"] = which;
      Reply reply = alice.call(method, parameters);
      if (reply.parameters.value("id", "") == which) reply.parameters["id"] = "ID";
      return reply;
    };
    const Reply theirs = answer(id), nobodys = answer(none);
    CHECK(theirs.error == "NoSuchJob");
    CHECK(theirs.error == nobodys.error);
    CHECK(theirs.parameters == nobodys.parameters);
  };
  for (const char* signal : {"SIGKILL", "SIGSTOP", "SIGCONT"}) {
    for (const char* scope : {"main", "group", "all"}) {
      both("Signal", {{"signal", signal}, {"scope", scope}});
    }
  }
  both("Wait", Json::object());
  both("Wait", {{"options", {"WNOHANG"}}});
  both("Stop", Json::object());
  both("Stop", {{"timeout", "1ms"}});
  both("Inspect", Json::object());
  both("Remove", Json::object());
  CHECK(alice.call("List").parameters["jobs"] == Json::array());
  CHECK(alice.call("List", {{"tag", {{"key", "pipeline"}, {"value", "7"}}}}).parameters["jobs"] ==
        Json::array());
  CHECK(alice.call("Wait", {{"tag", {{"key", "pipeline"}, {"value", "7"}}}}).error == "NoSuchJob");
  CHECK(alice.call("Wait", {{"all", true}, {"options", {"WNOHANG"}}}).error == "NoSuchJob");
  CHECK(alice.call("Wait", {{"pgid", job.parameters["pid"]}, {"options", {"WNOHANG"}}}).error ==
        "NoSuchJob");
  for (const char* name : {"mnt", "pid", "net", "ipc", "uts", "user"}) {
    CAPTURE(name);
    const auto joining = [&](const std::string& which) {
      return alice.run(
          with(world.probe_request({"noop"}), {{"namespaces", {{name, {{"job", which}}}}}}));
    };
    CHECK(joining(id).error == "NoSuchJob");
    CHECK(joining(none).error == "NoSuchJob");
  }
  // The same idempotency key of another user is another job.
  const Reply own = alice.call("Start", {{"request", request}});
  REQUIRE(own.error == "");
  CHECK(own.parameters["id"] != id);
  alice.call("Stop", {{"id", own.parameters["id"]}});
  CHECK(alive(job.parameters["pid"].get<pid_t>()));
  CHECK(bob.call("Inspect", {{"id", id}}).error == "");
  bob.call("Stop", {{"id", id}});
}

TEST_CASE("API-16 a oneway Signal for another user's job does nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  Client bob = connect_as(world.bob(), world.system().socket());
  bob.post("Run", {{"request", world.probe_request({"hold"})}}, {}, {{"more", true}});
  const Json started = until(bob, "started");
  Client alice = connect_as(world.alice(), world.system().socket());
  alice.post("Signal", {{"id", started["id"]}, {"signal", "SIGKILL"}}, {}, {{"oneway", true}});
  REQUIRE(alice.call("Describe").error == "");
  CHECK(alive(started["pid"].get<pid_t>()));
  bob.post("Signal", {{"id", started["id"]}, {"signal", "SIGTERM"}}, {}, {{"oneway", true}});
  const auto ended = bob.receive();
  REQUIRE(ended);
  CHECK(ended->parameters["verdict"]["term_signal"] == "SIGTERM");
}

TEST_CASE("API-18 a caller in another user, mount or pid namespace or root is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string socket = world.system().socket();
  // Fork into a new pid namespace, and let the grandchild be the client.
  const auto in_new_pid = [] {
    check(unshare(CLONE_NEWPID), "unshare");
    const pid_t inner = check(fork(), "fork");
    if (inner != 0) {
      wait_for(inner);
      _exit(0);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
  };
  const std::string root = world.directory() + "/other-root";
  REQUIRE(command({"mkdir", "-p", root}) == 0);
  struct Confined {
    std::string where;
    Who who;
    std::string path;
    std::function<void()> before;
  };
  const Confined all[] = {
      {"user namespace", world.alice(), socket, [] { check(unshare(CLONE_NEWUSER), "unshare"); }},
      {"user namespace, its root", world.root(), socket,
       [] {
         // Root in there, and as root on the outside too.
         check(unshare(CLONE_NEWUSER), "unshare");
         const Fd map(check(open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC), "open"));
         check(static_cast<int>(write(map.get(), "0 0 1", 5)), "write");
       }},
      {"mount namespace", world.root(), socket, [] { check(unshare(CLONE_NEWNS), "unshare"); }},
      {"pid namespace", world.root(), socket, in_new_pid},
      {"root directory", world.root(), "/socket",
       [&] {
         // The directory of the socket is all of its world; /proc is not there.
         check(chroot((world.directory() + "/system").c_str()), "chroot");
         check(chdir("/"), "chdir");
       }},
      {"overflow uid", Who{65534, 65534, {}}, socket, [] {}}};
  for (const Confined& confined : all) {
    CAPTURE(confined.where);
    Client client = connect_as(confined.who, confined.path, confined.before);
    for (const char* method : {"Run", "Describe", "List"}) {
      const auto reply =
          ask(client,
              call_text(method, *method == 'R' ? Json{{"request", world.probe_request({"noop"})}}
                                               : Json::object()));
      if (!reply) break;
      INFO(reply->parameters.dump());
      CHECK(reply->error == "Denied");
      CHECK(reply->parameters["rule"] ==
            (confined.who.uid == 65534 ? "unmapped-uid" : "confined-caller"));
    }
  }
}

TEST_CASE("another-users-service: a user's own service serves its user and root") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string socket = world.rootless().socket();
  const std::string directory = socket.substr(0, socket.rfind('/'));
  // As if its user had opened it to everybody.
  check(chmod(directory.c_str(), 0755), "chmod");
  check(chmod(socket.c_str(), 0666), "chmod");
  for (const Who& who : {world.alice(), world.bob(), world.root()}) {
    CAPTURE(who.uid);
    Client client = connect_as(who, socket);
    const auto reply = ask(client, call_text("Describe", Json::object()));
    REQUIRE(reply.has_value());
    INFO(reply->parameters.dump());
    if (who.uid != world.bob().uid) {
      CHECK(reply->error == "");
      continue;
    }
    CHECK(reply->error == "Denied");
    CHECK(reply->parameters["rule"] == "another-users-service");
    Client again = connect_as(who, socket);
    check_refused(ask(again, run_text(world.probe_request({"noop"}))));
  }
  check(chmod(socket.c_str(), 0600), "chmod");
  check(chmod(directory.c_str(), 0700), "chmod");
}

TEST_CASE("API-18 a caller that is gone when its bytes arrive is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = connect_as(world.alice(), world.system().socket());
  kill(client.helper(), SIGKILL);
  REQUIRE(eventually([&] { return !alive(client.helper()); }));
  const auto reply = ask(client, run_text(world.probe_request({"noop"})));
  if (reply) CHECK(reply->error == "Denied");
}

TEST_CASE("API-18 a caller with no_new_privs gets jobs with no_new_privs, whatever it asks") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Who& who : {world.alice(), world.root()}) {
    CAPTURE(who.uid);
    Client client = connect_as(who, world.system().socket(), [] {
      check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
    });
    CHECK(report_of(client,
                    with(world.probe_request(), {{"no_new_privs", false}}))["no_new_privs"] == 1);
    CHECK(report_of(client, world.probe_request())["no_new_privs"] == 1);
    // In a box it is not even asked for.
    CHECK(client.run(with(world.boxed_request(), {{"no_new_privs", false}})).error ==
          "InvalidRequest");
  }
}

}  // namespace
}  // namespace cloister::security_test
