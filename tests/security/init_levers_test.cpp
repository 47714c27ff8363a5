// S7, S8: what has the ids of a job's init pulls every lever that such a process
// has on another (tests/probe_levers.cpp), from outside of the box and from within.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "boxes.hpp"

namespace cloister::security_test {
namespace {

TEST_CASE("before: levers") {
  NEEDS_ROOT();
  count_before();
}

// What an end may take beyond what it has to: no measure of speed, but of not
// hanging until somebody comes.
constexpr int kSoon = 20'000 * kSanitizerFactor;

struct Shape {
  std::string name;
  Json request;
  bool boxed;  // has a pid namespace of its own
};

std::vector<Shape> shapes(Way way) {
  World& world = World::get();
  std::vector<Shape> all = {
      {"none", world.probe_request(), false},
      {"box", world.boxed_request(), true},
      {"box with user namespace", as_inner_root(way, world.boxed_request()), true}};
  Json powerful = as_inner_root(way, world.boxed_request());
  powerful["capabilities"] = {
      {"effective", "all"}, {"permitted", "all"}, {"inheritable", "all"}, {"bounding", "all"}};
  powerful["seccomp"] = "none";
  all.push_back({"box with powers in its user namespace", powerful, true});
  Json inside = as_inner_root(way, world.probe_request());
  inside["no_new_privs"] = true;
  all.push_back({"user namespace alone", inside, false});
  return all;
}

// The probe with these words on the init of its own job, then `after`.
std::string inside(const Shape& shape, const std::string& words, const std::string& after) {
  const std::string probe = shape.boxed ? "/run/test/probe" : World::get().probe();
  return probe + " levers " + (shape.boxed ? "1" : "$PPID") + words + "; " + after;
}

Json shell(const Shape& shape, const std::string& script) {
  Json request = shape.request;
  request["executable"] = "/bin/sh";
  request["argv"] = {"sh", "-c", script};
  return request;
}

// A job that ends when it is told, with 42.
class Waiting {
 public:
  Waiting(Client& client, const Shape& shape, const std::string& script = "read x; exit 42")
      : client_(client) {
    auto [end, write_end] = pipe();
    Json request = shell(shape, script);
    request["stdin"] = {{"passed_fd", 0}};
    request["stdout"] = "null";
    const Reply reply = client.call("Start", {{"request", request}}, {end.get()});
    INFO(reply.error << reply.parameters.dump());
    REQUIRE(reply.error == "");
    Json answer = reply.parameters;
    id_ = answer["id"];
    pid_ = answer["pid"].get<pid_t>();
    init_ = parent_of(pid_);
    monitor_ = parent_of(init_);
    told_ = std::move(write_end);
  }
  // The verdict, from the service's own mouth.
  Json wait() {
    client_.post("Wait", {{"id", id_}});
    return answered();
  }
  Json stop(const std::string& timeout) {
    client_.post("Stop", {{"id", id_}, {"timeout", timeout}});
    return answered();
  }
  Json end() {
    told_.reset();
    return wait();
  }
  pid_t pid() const { return pid_; }
  pid_t init() const { return init_; }
  pid_t monitor() const { return monitor_; }
  const std::string& id() const { return id_; }

 private:
  Json answered() {
    const auto reply = client_.receive(kSoon);
    REQUIRE(reply);
    INFO(reply->error << reply->parameters.dump());
    REQUIRE(reply->error == "");
    Json answer = reply->parameters;
    return answer["verdict"];
  }

  Client& client_;
  Fd told_;
  std::string id_;
  pid_t pid_ = 0, init_ = 0, monitor_ = 0;
};

// A process of `who`, outside of every box, that pulls these levers; all that harm
// at once if none is named. It stays where a lever says so, until this goes.
class Attacker {
 public:
  Attacker(const Who& who, pid_t target, const std::vector<std::string>& names) {
    auto [end, write_end] = pipe();
    pid_ = child([&, &write_end = write_end] {
      check(dup2(write_end.get(), STDOUT_FILENO), "dup2");
      close_range(3, ~0u, 0);
      if (who.uid != 0) become(who);
      std::vector<std::string> words = {"probe", "levers", std::to_string(target)};
      words.insert(words.end(), names.begin(), names.end());
      std::vector<char*> raw;
      for (std::string& word : words) raw.push_back(word.data());
      raw.push_back(nullptr);
      execv(World::get().probe().c_str(), raw.data());
      return 71;
    });
    write_end.reset();
    std::string line;
    for (std::string byte; line.find('\n') == line.npos && (byte = read_from(end.get(), 1)) != "";)
      line += byte;
    came_of_ = Json::parse(line, nullptr, false);
  }
  ~Attacker() {
    kill(pid_, SIGKILL);
    wait_for(pid_);
  }
  Attacker(const Attacker&) = delete;
  Attacker& operator=(const Attacker&) = delete;
  Json& came_of() { return came_of_; }

 private:
  pid_t pid_;
  Json came_of_;
};

// The levers that moved something.
std::vector<std::string> moved(const Json& came_of) {
  REQUIRE(came_of.is_object());
  std::vector<std::string> all;
  for (const auto& [name, error] : came_of.items())
    if (error.is_null()) all.push_back(name);
  return all;
}

using Names = std::vector<std::string>;

TEST_CASE(
    "S7: in root's service no lever of the client's ids reaches init, from outside or inside") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::root}) {
    Client client = world.connect(way);
    for (const Shape& shape : shapes(way)) {
      CAPTURE(name_of(way));
      CAPTURE(shape.name);
      // Root outside has every lever. Without a pid namespace it has the monitor's.
      if (way == Way::root && !shape.boxed) continue;
      if (way == Way::user) {
        Waiting job(client, shape);
        for (const Names& names : {Names{"all", "SIGSTOP", "SIGKILL"}, Names{"hold"}}) {
          Attacker attacker(world.who(way), job.init(), names);
          INFO(attacker.came_of().dump());
          CHECK(attacker.came_of().size() >= (names.size() > 1 ? 100 : 1));
          CHECK(moved(attacker.came_of()) == Names{});
        }
        // The same levers move what is the client's own.
        if (shape.name == "none") {
          Attacker attacker(world.who(way), job.pid(), {"limit CORE", "nice", "oom_score_adj"});
          CHECK(moved(attacker.came_of()).size() == 3);
        }
        CHECK(job.end()["exit_code"] == 42);
      }
      const std::string words = shape.boxed ? " all SIGSTOP SIGKILL" : " all SIGSTOP";
      Outcome outcome = client.run(shell(shape, inside(shape, words, "exit 42")));
      INFO(outcome.told());
      const Json came_of = Json::parse(outcome.out, nullptr, false);
      INFO(came_of.dump());
      CHECK(outcome.verdict["exit_code"] == 42);
      Names took = moved(came_of);
      // PID 1 takes no signal from its namespace for which it has no handler, pid_namespaces(7).
      if (shape.boxed)
        std::erase_if(took, [](const std::string& name) {
          return name.starts_with("signal ") || name == "SIGSTOP" || name == "SIGKILL";
        });
      // In its own user namespace a payload enters what it is in.
      CHECK(took == Names{});
    }
  }
}

TEST_CASE("S8: a limit that the payload lowers for its init does not change its exit code") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless, Way::alone}) {
    Client client = world.connect(way);
    for (const Shape& shape : shapes(way)) {
      CAPTURE(name_of(way));
      CAPTURE(shape.name);
      for (const std::string limit :
           {"FSIZE", "NOFILE", "AS", "DATA", "STACK", "NPROC", "CPU", "MEMLOCK"}) {
        CAPTURE(limit);
        Outcome outcome = client.run(
            shell(shape, inside(shape, " 'limit " + limit + "'", "sleep 0.01 & exit 42")));
        INFO(outcome.told());
        CHECK(outcome.verdict["exit_code"] == 42);
        CHECK(outcome.verdict["cause"] == "payload");
      }
    }
  }
}

TEST_CASE("S7, S8: in a user's own service no lever changes a verdict or holds one up") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::rootless, Way::alone}) {
    Client client = world.connect(way);
    for (const Shape& shape : shapes(way)) {
      CAPTURE(name_of(way));
      CAPTURE(shape.name);
      for (const Names& names : {Names{}, Names{"SIGSTOP"}, Names{"hold"},
                                 Names{"idle", "nice", "affinity"}, Names{"trace"}}) {
        CAPTURE((names.empty() ? "all that do not stop it" : names[0]));
        Waiting job(client, shape);
        {
          Attacker attacker(world.alice(), job.init(), names);
          INFO(attacker.came_of().dump());
          if (names != Names{"hold"} && names != Names{"trace"})
            CHECK(moved(attacker.came_of()).size() > 0);
          Json verdict = job.end();
          INFO(verdict.dump());
          // A limit on its processor time kills an init, if a tick of the clock finds it at
          // work; its payload dies with it.
          const bool limited =
              names.empty() && attacker.came_of().value("limit CPU", Json("none")).is_null();
          if (limited && verdict["ending"] == "signaled") {
            CHECK(verdict["term_signal"] == "SIGKILL");
            CHECK(verdict["cause"] == "external");
          } else {
            CHECK(verdict["ending"] == "exited");
            CHECK(verdict["exit_code"] == 42);
            CHECK(verdict["cause"] == "payload");
          }
        }
        CHECK(eventually([&] { return !alive(job.init()); }));
      }
      const std::string words = shape.boxed ? " all SIGSTOP SIGKILL" : " all SIGSTOP";
      Outcome outcome = client.run(shell(shape, inside(shape, words, "exit 42")));
      INFO(outcome.told());
      CHECK(outcome.verdict["exit_code"] == 42);
    }
  }
}

TEST_CASE("S7: Stop of a job whose init was stopped, held or starved keeps its deadline") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::rootless, Way::alone}) {
    Client client = world.connect(way);
    for (const Shape& shape : shapes(way)) {
      CAPTURE(name_of(way));
      CAPTURE(shape.name);
      for (const std::string lever : {"SIGSTOP", "hold"}) {
        CAPTURE(lever);
        Waiting job(client, shape, "trap '' TERM; (setsid sleep 1000 &) ; read x");
        REQUIRE(eventually([&] {
          return std::stoull(status_of(job.pid(), "SigIgn"), nullptr, 16) >> (SIGTERM - 1) & 1;
        }));
        Attacker attacker(world.alice(), job.init(), {lever});
        // Without capabilities init is not even its own user's to trace.
        if (lever == "hold" && moved(attacker.came_of()).empty()) continue;
        REQUIRE(moved(attacker.came_of()) == Names{lever});
        Json verdict;
        const long took = milliseconds([&] { verdict = job.stop("100ms"); });
        INFO(verdict.dump());
        INFO(took);
        CHECK(verdict["ending"] == "signaled");
        CHECK(verdict["term_signal"] == "SIGKILL");
        CHECK(verdict["cause"] == "canceled");
        CHECK_FALSE(alive(job.pid()));
      }
    }
  }
}

TEST_CASE(
    "S7: an init that had to enter a user namespace is reached, and holds up nothing all the "
    "same") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::vector<Shape> all = shapes(way);
    Waiting owner(client, all.back());
    for (const bool boxed : {false, true}) {
      for (const bool stopped : {false, true}) {
        CAPTURE(boxed);
        CAPTURE(stopped);
        Shape joining{"joining", world.probe_request(), boxed};
        joining.request["no_new_privs"] = true;
        joining.request["identity"] = {{"ruid", 0}, {"rgid", 0}};
        joining.request["namespaces"] = {{"user", {{"job", owner.id()}}}};
        if (boxed) joining.request["namespaces"]["pid"] = "new";
        Waiting job(client, joining);
        Attacker attacker(world.alice(), job.init(), {"SIGSTOP"});
        INFO(attacker.came_of().dump());
        Json verdict = stopped ? job.stop("100ms") : job.end();
        INFO(verdict.dump());
        if (stopped)
          CHECK(verdict["cause"] == "canceled");
        else
          CHECK(verdict["exit_code"] == 42);
        CHECK_FALSE(alive(job.pid()));
      }
    }
    CHECK(owner.end()["exit_code"] == 42);
  }
}

TEST_CASE("S7: who traces a dead payload and does not let go holds up nobody's verdict") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    Client client = world.connect(way);
    for (const Shape& shape : shapes(way)) {
      CAPTURE(name_of(way));
      CAPTURE(shape.name);
      // In root's service a payload in a user namespace is not its client's to trace.
      for (const bool stopped : {false, true}) {
        Waiting job(client, shape);
        {
          Attacker attacker(world.alice(), job.pid(), {"hold"});
          if (moved(attacker.came_of()).empty()) continue;
          Json verdict = stopped ? job.stop("0s") : job.end();
          INFO(verdict.dump());
          if (stopped) {
            CHECK(verdict["term_signal"] == "SIGKILL");
            CHECK(verdict["cause"] == "canceled");
          } else {
            CHECK(verdict["exit_code"] == 42);
            CHECK(verdict["cause"] == "payload");
          }
        }
        CHECK(eventually([&] { return kill(job.init(), 0) < 0; }));
      }
    }
  }
}

TEST_CASE("S7: the end of init in a user's own service is told as what it did to the payload") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::rootless, Way::alone}) {
    Client client = world.connect(way);
    for (const Shape& shape : shapes(way)) {
      CAPTURE(name_of(way));
      CAPTURE(shape.name);
      Waiting job(client, shape, "(setsid sleep 1000 &) ; read x; exit 42");
      Attacker attacker(world.alice(), job.init(), {"SIGKILL"});
      REQUIRE(moved(attacker.came_of()) == Names{"SIGKILL"});
      Json verdict = job.wait();
      INFO(verdict.dump());
      // Without exit information by pidfd (Linux 6.15) nobody knows that of a pid namespace.
      CHECK((verdict["ending"] == "signaled" || (shape.boxed && verdict["ending"] == "lost")));
      if (verdict["ending"] == "signaled") CHECK(verdict["term_signal"] == "SIGKILL");
      CHECK(verdict["cause"] == "external");
      CHECK(verdict["ok"] == false);
      CHECK_FALSE(alive(job.pid()));
    }
  }
}

TEST_CASE("S7: SIGTERM of a service ends it, whatever was done to its inits") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Who& who : {world.root(), world.alice()}) {
    const Way way = who.uid == 0 ? Way::user : Way::rootless;
    for (const std::string lever : {"SIGSTOP", "hold", "payload"}) {
      CAPTURE(who.uid);
      CAPTURE(lever);
      const std::string directory = world.directory_of(who);
      check(chmod(directory.c_str(), 0755), "chmod");
      Service service(who, directory);
      Client client = connect_as(world.alice(), service.socket());
      std::vector<std::unique_ptr<Attacker>> attackers;
      std::vector<std::unique_ptr<Waiting>> jobs;
      for (const Shape& shape : shapes(way)) {
        jobs.push_back(std::make_unique<Waiting>(client, shape));
        const bool payload = lever == "payload";
        attackers.push_back(std::make_unique<Attacker>(
            world.alice(), payload ? jobs.back()->pid() : jobs.back()->init(),
            Names{payload ? std::string("hold") : lever}));
      }
      const int status = service.stop();
      CHECK(WIFEXITED(status));
      CHECK(WEXITSTATUS(status) == 0);
      for (const auto& job : jobs) CHECK_FALSE(alive(job->pid()));
    }
  }
}

TEST_CASE("S7: nothing outlives a killed monitor, also where its inits were stopped") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Who& who : {world.root(), world.alice()}) {
    const Way way = who.uid == 0 ? Way::user : Way::rootless;
    CAPTURE(who.uid);
    const std::string directory = world.directory_of(who);
    check(chmod(directory.c_str(), 0755), "chmod");
    Service service(who, directory);
    Client client = connect_as(world.alice(), service.socket());
    std::vector<std::unique_ptr<Waiting>> jobs;
    for (const Shape& shape : shapes(way)) {
      jobs.push_back(
          std::make_unique<Waiting>(client, shape, "(setsid sleep 1000 &) ; read x; exit 42"));
      Attacker attacker(world.alice(), jobs.back()->init(), {"SIGSTOP"});
      CHECK(moved(attacker.came_of()).empty() == (who.uid == 0));
    }
    const auto all = service.processes();
    CHECK(all.size() >= 2 * jobs.size());
    check(kill(service.pid(), SIGKILL), "kill");
    CHECK(eventually([&] {
      return std::none_of(all.begin(), all.end(), [](pid_t pid) { return alive(pid); });
    }));
    if (who.uid == 0) remove_cgroups_of(service.pid());
  }
}

TEST_CASE("after: levers have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
