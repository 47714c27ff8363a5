// Identity: ids and groups, capabilities, no_new_privs, keyrings.
#include <unistd.h>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

void check_ids(const Json& report, uid_t r, uid_t e, uid_t s, gid_t rg, gid_t eg, gid_t sg) {
  CHECK(report["ruid"] == r);
  CHECK(report["euid"] == e);
  CHECK(report["suid"] == s);
  CHECK(report["fsuid"] == e);
  CHECK(report["rgid"] == rg);
  CHECK(report["egid"] == eg);
  CHECK(report["sgid"] == sg);
  CHECK(report["fsgid"] == eg);
}

TEST_CASE("by default the payload runs as its caller, with the caller's groups") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Who& who = world.who(way);
    for (const Json& request :
         {world.probe_request(), with(world.probe_request(), {{"identity", "caller"}})}) {
      Json report = report_of(client, request);
      check_ids(report, who.uid, who.uid, who.uid, who.gid, who.gid, who.gid);
      CHECK(report["groups"] == Json(who.groups));
    }
  }
}

TEST_CASE("root may run a job as anyone, by name or by six ids") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const Who& bob = world.bob();
  Json report = report_of(
      client, with(world.probe_request(), {{"identity", {{"user", world.name_of(bob)}}}}));
  check_ids(report, bob.uid, bob.uid, bob.uid, bob.gid, bob.gid, bob.gid);
  CHECK(report["groups"] == Json(bob.groups));

  report = report_of(client, with(world.probe_request(), {{"identity",
                                                           {{"ruid", 4001},
                                                            {"euid", 4002},
                                                            {"suid", 4003},
                                                            {"rgid", 5001},
                                                            {"egid", 5002},
                                                            {"sgid", 5003},
                                                            {"groups", {77, 88}}}}}));
  // execve(2) makes the saved ids the effective ones.
  check_ids(report, 4001, 4002, 4002, 5001, 5002, 5002);
  CHECK(report["groups"] == Json{77, 88});
  CHECK(report["status"]["Uid"] == "4001\t4002\t4002\t4002");
}

TEST_CASE("initgroups resolves the groups of a user in the user database") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  const Who& bob = world.bob();
  REQUIRE(command({"usermod", "-a", "-G", "users", world.name_of(bob)}) == 0);
  Json report = report_of(
      client, with(world.probe_request(),
                   {{"identity",
                     {{"ruid", bob.uid}, {"rgid", bob.gid}, {"initgroups", world.name_of(bob)}}}}));
  auto groups = report["groups"].get<std::vector<int>>();
  std::sort(groups.begin(), groups.end());
  std::vector<int> expected = {100, static_cast<int>(bob.gid)};  // "users" is 100 in Debian
  std::sort(expected.begin(), expected.end());
  CHECK(groups == expected);
  CHECK(report["euid"] == bob.uid);
  REQUIRE(command({"gpasswd", "-d", world.name_of(bob), "users"}) == 0);
}

TEST_CASE("resetids makes the effective ids the real ones") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  Json request = world.probe_request();
  request["identity"] = {{"ruid", 4001}, {"euid", 4002}, {"suid", 4002},
                         {"rgid", 5001}, {"egid", 5002}, {"sgid", 5002}};
  request["resetids"] = true;
  Json report = report_of(client, request);
  CHECK(report["ruid"] == 4001);
  CHECK(report["euid"] == 4001);
  CHECK(report["rgid"] == 5001);
  CHECK(report["egid"] == 5001);
}

TEST_CASE("an unprivileged caller cannot be somebody else, not even in one id or group") {
  NEEDS_ROOT();
  World& world = World::get();
  const Who& bob = world.bob();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& identity :
         {Json{{"ruid", 0}}, Json{{"euid", 0}}, Json{{"suid", 0}}, Json{{"rgid", 0}},
          Json{{"egid", 0}}, Json{{"sgid", 0}}, Json{{"groups", {0}}}, Json{{"user", "root"}},
          Json{{"ruid", bob.uid}}, Json{{"user", world.name_of(bob)}},
          Json{{"groups", Json::array({bob.gid})}}, Json{{"ruid", 65534}}}) {
      Outcome outcome = client.run(with(world.probe_request(), {{"identity", identity}}));
      INFO(identity.dump());
      INFO(outcome.told());
      CHECK(outcome.error == "Denied");
      CHECK(outcome.parameters["field"].get<std::string>().starts_with("identity"));
      CHECK(outcome.parameters["rule"].get<std::string>() != "");
    }
  }
}

TEST_CASE("ids that are no ids are refused before anybody is asked") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const char* number : {"-1", "4294967295", "4294967296", "9007199254740993",
                             "9223372036854775808", "1e3", "1.0", "-0", "007"}) {
    for (const char* id : {"ruid", "egid"}) {
      CAPTURE(std::string(number));
      std::string text = Json{{"method", "io.cloister.Launcher.Run"},
                              {"parameters", {{"request", world.probe_request()}}}}
                             .dump();
      text.insert(text.find("\"argv\""),
                  "\"identity\":{\"" + std::string(id) + "\":" + number + "},");
      Client client = world.connect(Way::root);
      client.send_bytes(text + '\0');
      auto reply = client.receive();
      REQUIRE(reply);
      INFO(reply->parameters.dump());
      // "-0" and "007" are no integers of JSON that has one spelling for each:
      // the message is refused as a whole.
      CHECK((reply->error == "InvalidRequest" ||
             reply->error == "org.varlink.service.InvalidParameter"));
      if (reply->error == "InvalidRequest") {
        CHECK(reply->parameters["field"] == "identity." + std::string(id));
      }
    }
  }
}

TEST_CASE("a payload of an ordinary user holds no capability and cannot get its ids back") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : {world.probe_request(), world.boxed_request()}) {
      Json report = report_of(client, request);
      for (const char* set : {"effective", "permitted", "inheritable", "ambient"}) {
        CAPTURE(std::string(set));
        CHECK(report["capabilities"][set] == 0);
      }
      request["argv"] = {"probe", "regain"};
      Outcome outcome = client.run(request);
      INFO(outcome.out);
      CHECK(outcome.verdict["exit_code"] == 0);
    }
  }
}

TEST_CASE("a job of root's for another user holds no capability and cannot become root again") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  Json request = world.probe_request();
  request["identity"] = {{"user", world.name_of(world.bob())}};
  Json report = report_of(client, request);
  for (const char* set : {"effective", "permitted", "inheritable", "ambient"}) {
    CHECK(report["capabilities"][set] == 0);
  }
  request["argv"] = {"probe", "regain"};
  Outcome outcome = client.run(request);
  INFO(outcome.out);
  CHECK(outcome.verdict["exit_code"] == 0);
}

TEST_CASE("under the default profile root's payload has an empty bounding set and no_new_privs") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::root);
  Json report = report_of(client, world.boxed_request());
  CHECK(report["ruid"] == 0);
  for (const char* set : {"bounding", "effective", "permitted", "inheritable", "ambient"}) {
    CAPTURE(std::string(set));
    CHECK(report["capabilities"][set] == 0);
  }
  CHECK(report["no_new_privs"] == 1);
}

TEST_CASE("no_new_privs is what was asked for, and on under the default profile") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    CHECK(report_of(client, world.boxed_request())["no_new_privs"] == 1);
    CHECK(report_of(client,
                    with(world.probe_request(), {{"no_new_privs", true}}))["no_new_privs"] == 1);
    CHECK(report_of(client,
                    with(world.probe_request(), {{"no_new_privs", false}}))["no_new_privs"] == 0);
  }
}

TEST_CASE("a payload has a session keyring of its own") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    // The baseline refuses the calls that would tell.
    Json request = with(world.boxed_request(), {{"keyring", "new"}, {"seccomp", "none"}});
    Json first = report_of(client, request)["keyring"];
    Json second = report_of(client, request)["keyring"];
    if (!has_keyrings()) SKIP("this kernel has no keyrings");
    CHECK(first["serial"] != second["serial"]);
    CHECK(first["description"].get<std::string>().find("_ses") != std::string::npos);
  }
}

TEST_CASE("parent death, subreaper and dumpable are those of a fresh process") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json report = report_of(client, world.boxed_request());
    // SIGKILL when init goes: the payload never outlives the one that knows about it.
    CHECK(report["pdeathsig"] == 9);
    CHECK(report["child_subreaper"] == 0);
    CHECK(report["dumpable"] == 1);
    CHECK(report["securebits"] == 0);
  }
}

}  // namespace
}  // namespace cloister::system_test
