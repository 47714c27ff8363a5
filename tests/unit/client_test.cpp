// The blocking client against a small service of the test's own.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "client_peer.hpp"
#include "cloister/client.hpp"

using namespace cloister;
using namespace cloister::test;

TEST_CASE("run reports the events and returns the verdict") {
  Single service(run_jobs);
  auto client = Client::adopt(std::move(service.client));
  std::string seen;
  const auto ended = client.run(job({"x", "3"}), {}, [&](Event& event) {
    seen += to_string(event.kind);
    seen += event.pid ? ":" + std::to_string(*event.pid) + " " : " ";
  });
  REQUIRE(ended.has_value());
  CHECK(seen == "accepted started:77 ended ");
  CHECK(ended->exit_code == 3);
  // The connection serves the next call, without events this time.
  const auto plain = client.run(job());
  REQUIRE(plain.has_value());
  CHECK(plain->ok);
}

TEST_CASE("descriptors go to the service and come back, and the caller keeps its own") {
  Single service([](Peer& peer) {
    REQUIRE(peer.descriptors.size() == 1);
    const int back[] = {peer.descriptors[0].borrow(), peer.descriptors[0].borrow()};
    peer.reply({{"id", "j-2"}, {"pid", nullptr}, {"pidfd_passed_fd", 1}, {"pty_passed_fd", 0}},
               false, back);
  });
  auto client = Client::adopt(std::move(service.client));
  const UniqueFd own(::memfd_create("own", MFD_CLOEXEC));
  const int sent[] = {own.borrow()};
  const auto started = client.start(job(), sent);
  REQUIRE(started.has_value());
  CHECK(started->id == "j-2");
  CHECK_FALSE(started->pid.has_value());
  struct stat a {
  }, b{};
  REQUIRE(::fstat(own.borrow(), &a) == 0);
  REQUIRE(::fstat(started->pidfd.borrow(), &b) == 0);
  CHECK(a.st_ino == b.st_ino);
  CHECK((::fcntl(started->pty.borrow(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("errors of the service are values that say what to do") {
  Single service([](Peer& peer) {
    if (peer.is("Start")) {
      varlink::Reply failed;
      failed.error = kPrefix + "LaunchFailed";
      failed.parameters = {{"stage", "payload"},     {"step", "execve"},
                           {"field", "argv[0]"},     {"errno", 2},
                           {"errno_name", "ENOENT"}, {"message", "no program"},
                           {"hint", "Install it"},   {"index", nullptr}};
      peer.send(failed);
    } else if (peer.is("List")) {
      peer.send(varlink::busy(100, 2, 0, 2, "few/quota.jobs", "too many; wait"));
    } else if (peer.is("Run")) {
      peer.send(varlink::denied("identity", "own_ids", {}, 0, "it is another's; ask"));
    } else {
      peer.send(varlink::invalid_request("nice", "is out of range", "-20 to 19", "99"));
    }
  });
  auto client = Client::adopt(std::move(service.client));
  const auto denied = client.run(job());
  REQUIRE_FALSE(denied.has_value());
  CHECK(denied.error().is("Denied"));
  CHECK_FALSE(denied.error().is("nied"));
  CHECK(denied.error().field("rule") == "own_ids");
  CHECK(denied.error().message() ==
        "policy forbids identity (rule own_ids, requested 0): it is another's; ask");
  CHECK(client.list().error().message() ==
        "the service is busy (rule few/quota.jobs, 2 under way, limit 2, try again in 100 ms): "
        "too many; wait");
  const auto failed = client.start(job());
  REQUIRE(failed.error().failure().has_value());
  CHECK(folded_exit_code(*failed.error().failure()) == 127);
  CHECK(failed.error().message() == "the job did not start, at argv[0]: no program. Install it");
  const auto invalid = client.plan(job());
  CHECK(invalid.error().message() ==
        "the request is refused at nice: is out of range; expected -20 to 19, got 99");
  CHECK_THROWS_WITH_AS(
      client.plan(job()).value(),
      "the request is refused at nice: is out of range; expected -20 to 19, got 99", Exception);
}

TEST_CASE("captured output comes between the events of a run, byte for byte") {
  Single service([](Peer& peer) {
    peer.reply({{"event", "started"}, {"id", "j-1"}}, true);
    peer.reply({{"event", "output"},
                {"id", "j-1"},
                {"stream", "stderr"},
                {"offset", 9'000'000'000},
                {"data", "AP8K"}},
               true);
    peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", verdict("j-1", 0)}});
  });
  auto client = Client::adopt(std::move(service.client));
  std::string seen;
  const auto ended = client.run(job(), {}, [&](Event& event) {
    seen += to_string(event.kind);
    if (event.kind != Event::Kind::output) return;
    CHECK(event.stream == "stderr");
    CHECK(event.offset == 9'000'000'000);
    CHECK(event.data == std::string("\0\xff\n", 3));
  });
  REQUIRE(ended.has_value());
  CHECK(seen == "startedoutputended");
}

TEST_CASE("the output of a job is read to the last reply, and the connection serves on") {
  Json seen;
  bool more = false;
  Single service([&](Peer& peer) {
    if (!peer.is("Output")) return peer.reply(Json::object());
    seen = peer.call.parameters;
    more = peer.call.more;
    peer.reply({{"stream", "stdout"}, {"offset", 7}, {"data", "YQ=="}, {"end", false}}, true);
    peer.reply({{"stream", "stdout"}, {"offset", 8}, {"data", ""}, {"end", true}});
  });
  auto client = Client::adopt(std::move(service.client));
  std::string text;
  const auto take = [&](const OutputChunk& chunk) {
    text += chunk.stream + "@" + std::to_string(chunk.offset) + ":" + chunk.data +
            (chunk.end ? "$" : ";");
  };
  REQUIRE(client.output("j-1", {"stdout", 7, true}, take).has_value());
  CHECK(text == "stdout@7:a;stdout@8:$");
  CHECK(seen == Json({{"id", "j-1"}, {"stream", "stdout"}, {"offset", 7}, {"follow", true}}));
  CHECK(more);
  REQUIRE(client.output("j-1", {}, {}).has_value());
  CHECK(seen == Json({{"id", "j-1"}}));
  seen = nullptr;
  const auto both = client.output("j-1", {.stream = "", .offset = 1}, take);
  REQUIRE_FALSE(both.has_value());
  CHECK(both.error().is("InvalidRequest"));
  CHECK(both.error().message() ==
        "the request is refused at offset: needs the stream that it is of");
  CHECK(seen == nullptr);  // it was not sent
  CHECK(client.remove("j-1").has_value());
}

TEST_CASE("output that cannot be read is an error, and what came before it is kept") {
  for (const char* wrong :
       {R"({"parameters":{"stream":"stdout","offset":0,"data":"YQ=","end":true}})",
        R"({"parameters":{"stream":"stdout","offset":0,"data":"YR==","end":true}})",
        R"({"parameters":{"stream":"stdout","offset":0,"data":7,"end":true}})",
        R"({"parameters":{"stream":"stdout","offset":-1,"data":"","end":true}})",
        R"({"parameters":{"stream":"stdout","data":"","end":true}})",
        R"({"parameters":{"offset":0,"data":"","end":true}})",
        R"({"parameters":{"stream":"stdout","offset":0,"data":""}})"}) {
    Single service([&](Peer& peer) {
      peer.reply({{"stream", "stdout"}, {"offset", 0}, {"data", "YQ=="}, {"end", false}}, true);
      (void)varlink::write_message(peer.socket, wrong);
    });
    auto client = Client::adopt(std::move(service.client));
    std::string text;
    const auto result =
        client.output("j-1", {}, [&](const OutputChunk& chunk) { text += chunk.data; });
    REQUIRE_FALSE(result.has_value());
    CHECK_MESSAGE(result.error().is("Protocol"), std::string(wrong));
    CHECK(text == "a");
  }
}

TEST_CASE("a service that hangs up or talks nonsense is an error, never a verdict") {
  for (
      const char* nonsense :
      {"", "{", "[]", R"({"parameters":{}})", R"({"parameters":{"event":"ended","id":"j"}})",
       R"({"parameters":{"event":"ended","id":"j","verdict":{"id":7}}})",
       R"({"parameters":{"event":"started","id":"j","pty_passed_fd":0},"continues":true})",
       R"({"parameters":{"event":"started","id":"j"}})",
       R"({"parameters":{"event":"output","id":"j","stream":"stdout","offset":0},"continues":true})",
       R"({"parameters":{"event":"output","id":"j","stream":"stdout","offset":0,"data":"="},"continues":true})",
       R"({"parameters":{"event":"flown","id":"j"},"continues":true})"}) {
    Single service([&](Peer& peer) {
      if (*nonsense != '\0') (void)varlink::write_message(peer.socket, nonsense);
      ::shutdown(peer.socket, SHUT_RDWR);
    });
    auto client = Client::adopt(std::move(service.client));
    const auto result = client.run(job(), {}, [](Event&) {});
    REQUIRE_FALSE(result.has_value());
    CHECK_MESSAGE(result.error().is(*nonsense != '\0' ? "Protocol" : "Transport"),
                  std::string(nonsense));
    CHECK_FALSE(result.error().message().empty());
  }
}

TEST_CASE("U6: who is refused before a large call has been written reads why") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Client client = Client::adopt(UniqueFd(ends[0]));
  std::jthread service([end = ends[1]] {
    const UniqueFd socket(end);
    char byte;
    (void)!::read(socket.borrow(), &byte, 1);  // the rest of the call stays unread
    const auto word = varlink::to_text(varlink::misconfigured("/etc/x.json", "line 3", "is odd"));
    (void)varlink::write_message(socket.borrow(), word, {});
  });
  Request request;
  request.argv = {"true"};
  for (int i = 0; i < 25; ++i) request.env["V" + std::to_string(i)] = std::string(100'000, 'x');
  const auto verdict = client.run(request, {}, [](Event&) {});
  REQUIRE(!verdict);
  CHECK(verdict.error().is("Misconfigured"));
  const std::string message = verdict.error().message();
  CHECK(message.find("/etc/x.json: line 3: is odd") != message.npos);
}

TEST_CASE("the arguments of the other calls are what the interface describes") {
  Json seen;
  Single service([&](Peer& peer) {
    seen = peer.call.parameters;
    if (peer.is("Wait")) {
      peer.reply({{"event", nullptr}});
    } else if (peer.is("List")) {
      peer.reply({{"jobs", Json::array({{{"id", "j-1"}, {"state", "running"}, {"owner", 5}}})}});
    } else if (peer.is("Stop")) {
      peer.reply({{"verdict", verdict("j-1", 0)}});
    } else if (peer.is("Describe")) {
      peer.reply({{"version", "1"}, {"mode", "user"}, {"features", {{"a", 1}}}});
    } else {
      peer.reply(Json::object());
    }
  });
  auto client = Client::adopt(std::move(service.client));
  const auto nothing = client.wait({.tag = {{"k", "v"}}}, WEXITED | WNOHANG | WSTOPPED);
  REQUIRE(nothing.has_value());
  CHECK_FALSE(nothing->has_value());
  CHECK(seen == Json({{"tag", {{"key", "k"}, {"value", "v"}}},
                      {"options", {"WEXITED", "WSTOPPED", "WNOHANG"}}}));
  REQUIRE(client.signal("j-1", SIGUSR1, SignalScope::group).has_value());
  CHECK(seen == Json({{"id", "j-1"}, {"signal", SIGUSR1}, {"scope", "group"}}));
  REQUIRE(client.stop("j-1", std::chrono::milliseconds(250)).has_value());
  CHECK(seen == Json({{"id", "j-1"}, {"timeout", "250ms"}}));
  const auto jobs = client.list({.tag = {}, .state = JobPhase::running});
  REQUIRE(jobs.has_value());
  CHECK(jobs->at(0).state == JobPhase::running);
  CHECK(jobs->at(0).owner == 5);
  CHECK(seen == Json({{"state", "running"}}));
  REQUIRE(client.remove("j-1").has_value());
  CHECK(seen == Json({{"id", "j-1"}}));
  CHECK(client.mode().value() == Mode::user);
  CHECK(client.describe()->features == "{\"a\":1}");
  CHECK(client.call("a.b.C", "{\"x\":1}")->parameters == "{}");
  CHECK(seen == Json({{"x", 1}}));
}

TEST_CASE("the caller's own attributes fill what a request leaves open, and no more") {
  const mode_t saved = ::umask(0027);
  Request request = job();
  request.nice = 7;
  request.rlimits["RLIMIT_FSIZE"] = {5, 6};
  fill_from_caller(request);
  ::umask(saved);
  CHECK(request.umask == 0027);
  CHECK(request.nice == 7);
  REQUIRE(request.affinity.has_value());
  CHECK_FALSE(request.affinity->empty());
  CHECK(request.rlimits["RLIMIT_FSIZE"] == Rlimit{5, 6});
  rlimit stack{};
  REQUIRE(::getrlimit(RLIMIT_STACK, &stack) == 0);
  CHECK(request.rlimits["RLIMIT_STACK"] == Rlimit{stack.rlim_cur, stack.rlim_max});
  const auto implies = [](const Request& filled, const char* path) {
    return std::count(filled.implied.begin(), filled.implied.end(), path) == 1;
  };
  for (const char* path : {"umask", "affinity", "rlimits.RLIMIT_STACK", "rlimits.RLIMIT_NOFILE"})
    CHECK_MESSAGE(implies(request, path), path);
  for (const char* path : {"nice", "rlimits", "rlimits.RLIMIT_FSIZE", "cwd"})
    CHECK_FALSE_MESSAGE(implies(request, path), path);
  CHECK_FALSE(request.cwd.has_value());

  Request plain = job();
  plain.profile = "build";
  fill_from_caller(plain);
  CHECK(plain.umask.has_value());
  CHECK(implies(plain, "rlimits"));

  Request other = job();
  other.profile = "none";
  fill_from_caller(other);
  CHECK_FALSE(other.umask.has_value());
  CHECK(other.rlimits.empty());
}

TEST_CASE("a service that is not there is Unreachable, with the place named") {
  const auto missing = Client::connect({.socket = "/nonexistent/socket"});
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().is("Unreachable"));
  CHECK(missing.error().message() ==
        "cannot connect to /nonexistent/socket: No such file or directory");
  const auto program =
      Client::connect({.service = Service::private_, .cloisterd = "/nonexistent/cloisterd"});
  REQUIRE_FALSE(program.has_value());
  CHECK(program.error().message().find("/nonexistent/cloisterd") != std::string::npos);
  CHECK(Client::connect({.socket = std::string(200, 'x')}).error().is("Unreachable"));
}

TEST_CASE("a private service gets its socket and nothing else, and is reaped") {
  char name[] = "/tmp/client_test_XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  const std::string directory = name, program = directory + "/cloisterd";
  {
    std::ofstream script(program);
    // Its own descriptors 0 to 2, the socket, and what sh and ls open themselves.
    script
        << "#!/bin/sh\n"
           "{ echo \"$@\"; ls -l /proc/self/fd | grep -c socket; ls /proc/$$/fd | tr '\\n' ' ';\n"
           "  echo; cut -d' ' -f5,6 /proc/$$/stat; } > "
        << directory << "/seen.new\nmv " << directory << "/seen.new " << directory
        << "/seen\nexec cat <&3 >/dev/null\n";
  }
  REQUIRE(::chmod(program.c_str(), 0700) == 0);
  const UniqueFd leaky(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC
  REQUIRE(::fcntl(leaky.borrow(), F_DUPFD, 50) >= 50);
  {
    auto client = Client::connect({.service = Service::private_, .cloisterd = program});
    REQUIRE_MESSAGE(client.has_value(), client.error().message());
    CHECK(client->mode().value() == Mode::private_);
    for (int i = 0; i < 500 && ::access((directory + "/seen").c_str(), F_OK) != 0; i++)
      ::usleep(10'000);
    std::ifstream seen(directory + "/seen");
    std::string arguments, sockets, numbers, session;
    std::getline(seen, arguments);
    std::getline(seen, sockets);
    std::getline(seen, numbers);
    std::getline(seen, session);
    CHECK(arguments == "--private 3");
    CHECK(sockets == "1");
    CHECK(numbers.find("50") == std::string::npos);
    std::istringstream ids(session);
    int group = 0, leader = 0;
    ids >> group >> leader;
    CHECK(group == leader);
    CHECK(leader != ::getsid(0));
  }
  ::close(50);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
  ::unlink((directory + "/seen").c_str());
  ::unlink(program.c_str());
  ::rmdir(directory.c_str());
}

TEST_CASE("the synchronous client runs in pieces and signals in between") {
  Single service([](Peer& peer) {
    if (!peer.is("Run")) return;
    peer.reply({{"event", "started"}, {"id", "j-1"}, {"pid", 7}}, true);
    const auto next = varlink::read_message(peer.socket, *peer.reader);
    REQUIRE(next.has_value());
    CHECK(varlink::parse_call(next->json)->parameters["signal"] == SIGINT);
    peer.reply({{"event", "stopped"}, {"id", "j-1"}, {"signal", "SIGTSTP"}}, true);
    peer.reply({{"event", "ended"}, {"id", "j-1"}, {"verdict", verdict("j-1", 0)}});
  });
  auto client = Client::adopt(std::move(service.client));
  REQUIRE(client.begin_run(job()).has_value());
  auto event = client.next_event();
  REQUIRE(event.has_value());
  CHECK(event->kind == Event::Kind::started);
  REQUIRE(client.signal_running(event->id, SIGINT).has_value());
  event = client.next_event();
  REQUIRE(event.has_value());
  CHECK(event->signal == "SIGTSTP");
  event = client.next_event();
  REQUIRE(event.has_value());
  CHECK(event->verdict->ok);
}
