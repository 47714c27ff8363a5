// Connections: order of calls, framing over the real socket, the methods that run
// nothing, and who is let in.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

TEST_CASE("calls that are pipelined are answered in their order") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::string bytes;
    for (int code = 0; code < 20; ++code) {
      bytes +=
          Json{{"method", "io.cloister.Launcher.Run"},
               {"parameters", {{"request", world.probe_request({"exit", std::to_string(code)})}}}}
              .dump() +
          '\0';
      bytes += std::string(R"({"method":"org.varlink.service.GetInfo"})") + '\0';
    }
    client.send_bytes(bytes);
    for (int code = 0; code < 20; ++code) {
      auto ended = client.receive(), info = client.receive();
      REQUIRE(ended);
      REQUIRE(info);
      CHECK(ended->parameters["verdict"]["exit_code"] == code);
      CHECK(info->parameters["vendor"].is_string());
    }
  }
}

TEST_CASE("a message split at each byte is read as one") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const std::string message = Json{{"method", "io.cloister.Launcher.Describe"}}.dump() + '\0';
  for (size_t at = 1; at < message.size(); ++at) {
    client.send_bytes(message.substr(0, at));
    client.send_bytes(message.substr(at));
    auto reply = client.receive();
    REQUIRE(reply);
    CHECK(reply->error == "");
  }
}

TEST_CASE("descriptors of a later message do not reach an earlier one") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  // Without a pause, so that the kernel glues them.
  const Fd file = memory_file("of the second");
  Json second = world.probe_request({"cat"});
  second["stdin"] = {{"passed_fd", 0}};
  client.post("Run", {{"request", world.probe_request({"noop"})}});
  client.post("Run", {{"request", second}}, {file.get()});
  auto first_reply = client.receive(), second_reply = client.receive();
  REQUIRE(first_reply);
  REQUIRE(second_reply);
  INFO(first_reply->parameters.dump());
  INFO(second_reply->parameters.dump());
  CHECK(first_reply->error == "");
  CHECK(second_reply->error == "");
  CHECK(second_reply->parameters["verdict"]["ok"] == true);
  // And the wrong way round: A names one, B brings it.
  client.post("Run", {{"request", second}});
  client.post("Run", {{"request", world.probe_request({"noop"})}}, {file.get()});
  auto without = client.receive(), surplus = client.receive();
  REQUIRE(without);
  REQUIRE(surplus);
  CHECK(without->error == "InvalidRequest");
  CHECK(surplus->error == "InvalidRequest");
}

TEST_CASE("what is no message closes the connection after at most one error") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const std::string& text :
       {std::string("garbage"), std::string("[]"), std::string("{}"),
        std::string(R"({"method":7})"), std::string(R"({"method":"a.b","method":"a.c"})"),
        std::string(R"({"method":"a.b","surprise":1})"), std::string("{\"method\":\"\xff\"}"),
        R"({"method":"a.b","parameters":)" + std::string(1'000'000, '[')}) {
    const std::string bytes = text + '\0';
    CAPTURE(bytes.substr(0, 40));
    Client client = world.connect(Way::user);
    client.send_bytes(bytes);
    auto error = client.receive(5000);
    if (error) {
      CHECK(error->error != "");
      CHECK(!client.receive(5000));
    }
  }
  // The service is well.
  Client client = world.connect(Way::user);
  CHECK(client.call("Describe").error == "");
}

TEST_CASE("a message of 4 MiB is read and one byte more closes the connection") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string head = R"({"method":"io.cloister.Launcher.Describe","parameters":{)";
  const std::string tail = "}}";
  constexpr size_t kMost = 4u << 20;
  Client client = world.connect(Way::user);
  client.send_bytes(head + std::string(kMost - head.size() - tail.size(), ' ') + tail + '\0');
  auto reply = client.receive();
  REQUIRE(reply);
  CHECK(reply->error == "");
  Client other = world.connect(Way::user);
  try {
    other.send_bytes(head + std::string(kMost + 1 - head.size() - tail.size(), ' ') + tail + '\0');
  } catch (const std::system_error&) {
    // The service hung up before it had all of it.
  }
  auto error = other.receive();
  if (error) CHECK(error->error != "");
}

TEST_CASE("a oneway Signal on a connection whose Run streams is executed at once") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    client.post("Run", {{"request", world.boxed_request({"hold"})}}, {}, {{"more", true}});
    for (;;) {
      auto reply = client.receive();
      REQUIRE(reply);
      INFO(reply->error << reply->parameters.dump());
      REQUIRE(reply->error == "");
      if (reply->parameters["event"] == "started") {
        client.post("Signal", {{"id", reply->parameters["id"]}, {"signal", "SIGUSR2"}}, {},
                    {{"oneway", true}});
      }
      if (reply->parameters["event"] != "ended") continue;
      CHECK(reply->parameters["verdict"]["term_signal"] == "SIGUSR2");
      break;
    }
    // Nothing answers a oneway call: the next reply is that of the next call.
    CHECK(client.call("Describe").parameters.contains("kernel"));
  }
}

TEST_CASE("the service introspects and answers the standard errors") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Reply info = client.call("org.varlink.service.GetInfo");
    for (const char* member : {"vendor", "product", "version", "url"}) {
      CHECK(info.parameters[member].is_string());
    }
    CHECK(info.parameters["interfaces"] == Json{"io.cloister.Launcher", "org.varlink.service"});
    Reply description = client.call("org.varlink.service.GetInterfaceDescription",
                                    {{"interface", "io.cloister.Launcher"}});
    const std::string text = description.parameters["description"];
    for (const char* method : {"Run", "Start", "Wait", "Signal", "List", "Inspect", "Stop",
                               "Remove", "Plan", "Describe"}) {
      CHECK(text.find("method " + std::string(method) + "(") != std::string::npos);
    }
    CHECK(
        client.call("org.varlink.service.GetInterfaceDescription", {{"interface", "a.b"}}).error ==
        "org.varlink.service.InterfaceNotFound");
    CHECK(client.call("io.cloister.Launcher.Fly").error == "org.varlink.service.MethodNotFound");
    CHECK(client.call("io.example.Fly").error == "org.varlink.service.InterfaceNotFound");
    Reply parameter = client.call("Inspect", {{"id", 7}});
    CHECK(parameter.error == "org.varlink.service.InvalidParameter");
    CHECK(parameter.parameters["parameter"] == "id");
  }
}

TEST_CASE("Plan shows what would be run, where each value came from, and runs nothing") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.boxed_request({"file-write", "made-by-plan", "x"});
    request["nice"] = 3;
    request["dumpable"] = false;
    request["best_effort"] = {"dumpable"};
    Reply reply = client.call("Plan", {{"request", request}});
    INFO(reply.error << reply.parameters.dump());
    REQUIRE(reply.error == "");
    CHECK(reply.parameters["effective"]["nice"] == 3);
    CHECK(reply.parameters["effective"]["no_new_privs"] == true);
    CHECK(reply.parameters["origins"]["nice"] == "request");
    CHECK(reply.parameters["origins"]["network"].get<std::string>().find("default") !=
          std::string::npos);
    CHECK(reply.parameters["steps"].size() > 10);
    CHECK(reply.parameters["steps"].back() == "execve");
    CHECK(reply.parameters["degraded"] == Json{"dumpable"});
    CHECK(client.call("List").parameters["jobs"] == Json::array());
  }
}

TEST_CASE("Describe says the mode and the kernel") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json answer = client.call("Describe").parameters;
    const char* modes[] = {"system", "system", "user", "private"};
    CHECK(answer["mode"] == modes[static_cast<int>(way)]);
    std::string release = read_file("/proc/sys/kernel/osrelease");
    release.pop_back();
    CHECK(answer["kernel"] == release);
    CHECK(answer["features"].is_object());
  }
}

// Ask the service for something from a process that `confine` has changed.
Json ask_confined(const Who& who, const std::function<void()>& confine) {
  World& world = World::get();
  world.system();
  auto [out, out_write] = pipe();
  const pid_t pid = child([&, &out_write = out_write] {
    become(who);
    confine();
    const Fd connection(check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    world.system().socket().copy(address.sun_path, sizeof address.sun_path - 1);
    check(connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
          "connect");
    const std::string call = Json{{"method", "io.cloister.Launcher.Run"},
                                  {"parameters", {{"request", world.probe_request({"exit", "5"})}}}}
                                 .dump() +
                             '\0';
    (void)!write(connection.get(), call.data(), call.size());
    check(shutdown(connection.get(), SHUT_WR), "shutdown");
    const std::string answer = read_from(connection.get());
    check(static_cast<int>(write(out_write.get(), answer.data(), answer.size())), "write");
    return 0;
  });
  out_write.reset();
  std::string answer = read_from(out.get());
  wait_for(pid);
  answer = answer.substr(0, answer.find('\0'));
  return Json::parse(answer, nullptr, false);
}

TEST_CASE("a caller in another user, mount or pid namespace, or root directory, is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  Json user = ask_confined(world.alice(), [] { check(unshare(CLONE_NEWUSER), "unshare"); });
  INFO(user.dump());
  CHECK(user["error"] == "io.cloister.Launcher.Denied");
  Json mount = ask_confined(world.root(), [] { check(unshare(CLONE_NEWNS), "unshare"); });
  INFO(mount.dump());
  CHECK(mount["error"] == "io.cloister.Launcher.Denied");
  // A socket below another root is reached by its absolute path only from inside.
  Json root = ask_confined(world.root(), [&] {
    const Fd cwd(check(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), "open"));
    check(chroot("/tmp"), "chroot");
    check(fchdir(cwd.get()), "fchdir");
  });
  INFO(root.dump());
  CHECK(root.is_discarded());  // it could not connect: the path is not there
}

TEST_CASE("a caller with no_new_privs gets jobs with no_new_privs") {
  NEEDS_ROOT();
  World& world = World::get();
  auto [out, out_write] = pipe();
  for (const char* set : {"", "1"}) {
    Json reply = ask_confined(world.alice(), [&] {
      if (*set) check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
    });
    INFO(reply.dump());
    CHECK(reply["parameters"]["verdict"]["exit_code"] == 5);
  }
  // What the payload itself sees.
  const std::string directory = world.directory_of(world.alice());
  const pid_t pid = child([&] {
    become(world.alice());
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
    const Fd connection(check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    world.system().socket().copy(address.sun_path, sizeof address.sun_path - 1);
    check(connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
          "connect");
    Json request = world.probe_request({"report-file", directory + "/report"});
    request["no_new_privs"] = false;
    const std::string call =
        Json{{"method", "io.cloister.Launcher.Run"}, {"parameters", {{"request", request}}}}
            .dump() +
        '\0';
    (void)!write(connection.get(), call.data(), call.size());
    char byte;
    return read(connection.get(), &byte, 1) == 1 ? 0 : 1;
  });
  REQUIRE(wait_for(pid) == 0);
  CHECK(Json::parse(read_file(directory + "/report"))["no_new_privs"] == 1);
}

TEST_CASE("a job cannot ask the service for another job") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  if (client.call("Describe").parameters["cgroup_version"] == 0) SKIP("no cgroups here");
  Json request = world.probe_request();
  request["executable"] = "/usr/bin/socat";
  request["argv"] = {"socat", "-t5", "-", "UNIX-CONNECT:" + world.system().socket()};
  request["stdin"] = {{"base64", "eyJtZXRob2QiOiJpby5jbG9pc3Rlci5MYXVuY2hlci5EZXNjcmliZSJ9AA=="}};
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  INFO(outcome.out);
  CHECK(outcome.out.find("Denied") != std::string::npos);
}

TEST_CASE("an unmapped id never reaches the service as somebody's own") {
  NEEDS_ROOT();
  Json reply = ask_confined(Who{65534, 65534, {}}, [] {});
  INFO(reply.dump());
  CHECK(reply["error"] == "io.cloister.Launcher.Denied");
}

}  // namespace
}  // namespace cloister::system_test
