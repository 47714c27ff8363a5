// API-01 to API-03, API-09, API-10: the fields of a hostile client's requests.
#include <fstream>
#include <optional>
#include <set>

#include "build_paths.hpp"
#include "people.hpp"

namespace cloister::security_test {
namespace {

Json no_jobs() { return Json::array(); }

TEST_CASE("API-01 duplicate keys are refused at any depth, however they are spelt") {
  NEEDS_ROOT();
  World& world = World::get();
  const Json base =
      with(world.probe_request({"exit", "3"}), {{"env", {{"A", "1"}}},
                                                {"identity", {{"ruid", world.alice().uid}}},
                                                {"file_actions", {{{"close", {{"fd", 9}}}}}},
                                                {"tags", {{"t", "1"}}}});
  const std::string text = run_text(base);
  const std::string own = std::to_string(world.alice().uid);
  const std::pair<std::string, std::string> spoilings[] = {
      {"\"method\":", R"("method":"io.cloister.Launcher.List","method":)"},
      {"\"parameters\":", R"("parameters":{},"parameters":)"},
      {"\"request\":", R"("request":{},"request":)"},
      {"\"argv\":", R"("argv":["other"],"argv":)"},
      {"\"argv\":", "\"\\u0061rgv\":[\"other\"],\"argv\":"},
      {"\"A\":", R"("A":"0","A":)"},
      {"\"A\":", "\"\\u0041\":\"0\",\"A\":"},
      {"\"ruid\":" + own, "\"ruid\":0,\"ruid\":" + own},
      {"\"ruid\":" + own, "\"ruid\":" + own + ",\"\\u0072uid\":0"},
      {"\"fd\":9", R"("fd":8,"fd":9)"},
      {"\"t\":", R"("t":"0","t":)"}};
  for (const auto& [from, to] : spoilings) {
    CAPTURE(to);
    Client client = world.connect(Way::user);
    check_refused(ask(client, spoilt(text, from, to)));
  }
  // Unspoilt it runs.
  Client client = world.connect(Way::user);
  const auto reply = ask(client, text);
  REQUIRE(reply);
  INFO(reply->error << reply->parameters.dump());
  CHECK(reply->parameters["verdict"]["exit_code"] == 3);
}

TEST_CASE("API-02 every field refuses a wrong type, every misspelt name is refused by name") {
  NEEDS_ROOT();
  World& world = World::get();
  std::ifstream in(REQUEST_SCHEMA);
  const Json schema = Json::parse(in, nullptr, false);
  REQUIRE(schema["properties"].is_object());
  REQUIRE(schema["properties"].size() > 40);
  Client client = world.connect(Way::user);
  for (const auto& [name, value] : schema["properties"].items()) {
    CAPTURE(name);
    // A map whose value is a list of lists: what no field is.
    Json request = world.probe_request();
    request[name] = {{"no such member", Json::array({Json::array()})}};
    Reply reply = client.call("Run", {{"request", request}});
    CHECK((reply.error == "InvalidRequest" || reply.error == "Unsupported"));
    for (const std::string& misspelt : {name + "s", name.substr(1), "X" + name}) {
      if (schema["properties"].contains(misspelt)) continue;
      request = world.probe_request();
      request[misspelt] = value.value("default", Json(true));
      reply = client.call("Run", {{"request", request}});
      CAPTURE(misspelt);
      CHECK(reply.error == "InvalidRequest");
      CHECK(reply.parameters["field"].get<std::string>().find(misspelt) != std::string::npos);
    }
  }
  // Beside the request, and around it.
  CHECK(client.call("Run", {{"request", world.probe_request()}, {"no_new_privs", true}}).error ==
        "org.varlink.service.InvalidParameter");
  CHECK(client.call("List").parameters["jobs"] == no_jobs());
}

TEST_CASE("API-02 null for a control is the same as leaving it out, never off") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.boxed_request();
    for (const char* control : {"no_new_privs", "namespaces", "rlimits", "network", "identity",
                                "keyring", "lifetime", "setsigmask"}) {
      request[control] = nullptr;
    }
    const Json report = report_of(client, request);
    CHECK(report["no_new_privs"] == 1);
    CHECK(report["ruid"] == world.alice().uid);
    for (const char* name : {"mnt", "pid", "net", "ipc", "uts"}) {
      CHECK(report["namespaces"][name] != own_namespace(name));
    }
    CHECK(report["rlimits"]["RLIMIT_CORE"]["hard"] == 1);
  }
}

const std::string kNumbers[] = {"-1",  "4294967295", "4294967296", "9007199254740993",
                                "1e3", "1.0",        "-0",         "9223372036854775808",
                                "007", "\"1\"",      "1e400",      "18446744073709551616"};

TEST_CASE("API-03 a number that is no id, descriptor or time is refused, by everybody") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    const std::pair<std::string, Json> fields[] = {
        {"ruid", {{"identity", {{"ruid", "@"}}}}},
        {"groups", {{"identity", {{"groups", {"@"}}}}}},
        {"close", {{"file_actions", {{{"close", {{"fd", "@"}}}}}}}},
        {"dup2", {{"file_actions", {{{"dup2", {{"fd", 0}, {"new_fd", "@"}}}}}}}},
        {"passed_fd", {{"stdin", {{"passed_fd", "@"}}}}},
        {"setup_timeout", {{"lifetime", {{"setup_timeout", "@"}}}}},
        {"stop_signal", {{"lifetime", {{"stop_signal", "@"}}}}},
        {"priority", {{"scheduler", {{"priority", "@"}}}}}};
    std::optional<Client> client;
    for (const auto& [name, members] : fields) {
      const std::string text = run_text(with(world.probe_request({"noop"}), members));
      for (const std::string& number : kNumbers) {
        CAPTURE(name);
        CAPTURE(number);
        if (!client) client.emplace(world.connect(way));
        const auto reply = ask(*client, spoilt(text, "\"@\"", number));
        check_refused(reply);
        // A text that is no JSON ends the connection, and so says nothing of the field.
        if (!reply || reply->error != "InvalidRequest") client.reset();
      }
    }
  }
}

TEST_CASE("API-03 a time has one number and one unit and fits a timer") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (const char* time : {"", "5", "s", "-1s", "+1s", "1e3s", "5 s", "5s ", "0x5s", "5S", "5sec",
                           "18446744073709551616ms", "99999999999999999999h", "nans", "5s5s"}) {
    CAPTURE(time);
    const Outcome outcome =
        client.run(with(world.probe_request({"noop"}), {{"lifetime", {{"setup_timeout", time}}}}));
    CHECK(outcome.error == "InvalidRequest");
  }
}

TEST_CASE("API-03 a resource limit beyond 32 and 53 bits arrives exactly or is refused") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const std::string& number : kNumbers) {
    CAPTURE(number);
    Client client = world.connect(Way::root);
    const std::string text =
        run_text(with(world.probe_request({"report", "5"}),
                      {{"rlimits", {{"RLIMIT_LOCKS", {{"soft", "@"}, {"hard", "unlimited"}}}}},
                       {"file_actions", {{{"receive", {{"passed_fd", 0}, {"fd", 5}}}}}}}));
    const Fd file = memory_file();
    const auto reply = ask(client, spoilt(text, "\"@\"", number), {file.get()});
    if (!reply || reply->error == "org.varlink.service.InvalidParameter") continue;
    INFO(reply->parameters.dump());
    if (reply->error == "InvalidRequest") continue;
    REQUIRE(reply->error == "");
    const Json report = Json::parse(content_of(file.get()), nullptr, false);
    REQUIRE(report.is_object());
    // "1" is a size with its unit left out: one byte.
    const std::string wanted = number == "\"1\"" ? "1" : number;
    CHECK(report["rlimits"]["RLIMIT_LOCKS"]["soft"].dump() == wanted);
  }
}

TEST_CASE("API-09 an environment name is not empty and holds no =") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (const char* name : {"", "=", "A=B", "=A"}) {
    CAPTURE(name);
    const Outcome outcome = client.run(with(world.probe_request(), {{"env", {{name, "x"}}}}));
    CHECK(outcome.error == "InvalidRequest");
  }
}

TEST_CASE("API-09 options, shell words and formats in argv, env and names are data") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string words[] = {"--runtime-dir=/x",
                               "-e",
                               "$(touch /tmp/cloister-x)",
                               "`id`",
                               "; reboot",
                               "%s%n%s%n",
                               "*",
                               "a b",
                               "\x1b[2J",
                               "\u202e",
                               "\n"};
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const std::string& word : words) {
      CAPTURE(word);
      Json request = world.boxed_request({"report", "1", word});
      request["name"] = word;
      const bool is_name = word.find('=') == word.npos;
      // HOME is always set in a box.
      request["env"] = {{is_name ? word : "A", word}, {"HOME", "/"}};
      request["tags"] = {{"t", word}};
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      REQUIRE(outcome.error == "");
      CHECK(outcome.verdict["name"] == word);
      CHECK(outcome.verdict["tags"]["t"] == word);
      const Json report = outcome.report();
      CHECK(report["argv"] == Json{"probe", "report", "1", word});
      std::set<std::string> environment = report["environ"];
      CHECK(environment == std::set<std::string>{(is_name ? word : "A") + "=" + word, "HOME=/"});
    }
  }
}

TEST_CASE("API-10 an empty argv and an empty argv[0] are refused") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  for (const Json& argv : {Json::array(), Json::array({""}), Json::array({"", "a"})}) {
    CAPTURE(argv.dump());
    CHECK(client.run(with(world.probe_request(), {{"argv", argv}})).error == "InvalidRequest");
  }
  Json request = world.probe_request();
  request.erase("argv");
  CHECK(client.run(request).error == "InvalidRequest");
  request["argv"] = {"-"};
  CHECK(report_of(client, request)["argv"] == Json{"-"});
}

}  // namespace
}  // namespace cloister::security_test
