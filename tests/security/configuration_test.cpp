// A configuration that is wrong: nobody is served by it, everybody is told where,
// and the service lives to be told better.
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "build_paths.hpp"
#include "fuse.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

constexpr int kUnavailable = 69, kConfig = 78;  // sysexits.h

Ran reload(const Ruled& ruled, const Who& who = World::get().root()) {
  return run_cloisterd(who, {"--reload", "--runtime-dir", ruled.runtime()});
}

Ran checked(const Ruled& ruled) {
  return run_cloisterd(World::get().root(), {"--check", "--config", ruled.path()});
}

// What each of these is told, on a connection of its own.
void check_told(Ruled& ruled, const Who& who, const std::string& place) {
  const World& world = World::get();
  const Json request = {{"request", world.probe_request()}};
  const std::pair<const char*, Json> kCalls[] = {
      {"Describe", Json::object()},
      {"List", Json::object()},
      {"Run", request},
      {"Start", request},
      {"Plan", request},
      {"Wait", {{"all", true}}},
      {"Inspect", {{"id", "j-00000000000000000000000000000000"}}},
      {"org.varlink.service.GetInfo", Json::object()}};
  for (const auto& [method, parameters] : kCalls) {
    CAPTURE(method);
    Client client = ruled.connect(who);
    Reply reply = client.call(method, parameters);
    INFO(reply.parameters.dump());
    CHECK(reply.error == "Misconfigured");
    CHECK(reply.parameters["file"] == ruled.path());
    CHECK(reply.parameters["place"] == (place.empty() ? Json() : Json(place)));
    CHECK(!reply.parameters["reason"].get<std::string>().empty());
    CHECK(!client.receive().has_value());  // and then the connection ends
  }
}

TEST_CASE("U6: with a configuration that is wrong the service starts, and tells every call where") {
  NEEDS_ROOT();
  const World& world = World::get();
  Ruled ruled(rules({{{"name", "x"}, {"allow", {{"nise", 5}}}}}));
  check_told(ruled, world.alice(), "rules[0].allow.nise");
  check_told(ruled, world.root(), "rules[0].allow.nise");
  CHECK(ruled.said().find("serves nobody: " + ruled.path() + ": rules[0].allow.nise: ") !=
        std::string::npos);
  const auto records = ruled.service().records();
  REQUIRE(!records.empty());
  CHECK(records[0].find("CLOISTER_DECISION=misconfigured") != std::string::npos);

  const struct {
    std::string text, place;
    mode_t mode = 0644;
  } kFaults[] = {
      {"{\n  \"rules\": [],\n  \"quota\": {\"jobs\" 1}\n}\n", "line 3"},
      {"", "line 1"},
      {"[]", ""},
      {"{}", "", 0666},
      {R"({"quota": {"jobs": -1}})", "quota.jobs"},
      {R"({"rules": [], "rules": []})", "rules"},
      {R"({"rules": [{"name": "gone", "users": ["nobody-of-that-name"]}]})", "rules[0].users[0]"},
      {R"({"lease": {"first": 100000, "count": 65536, "block": 100000}})", "lease.count"},
      {R"({"a\u001b[2J\u00e9\n": 1})", "a?[2J???"},
  };
  for (const auto& fault : kFaults) {
    CAPTURE(fault.text);
    ruled.write(fault.text, fault.mode);
    ruled.restart();
    check_told(ruled, world.alice(), fault.place);
  }
  // However long it is.
  ruled.write(Json{{std::string(60'000, 'x'), 1}}.dump());
  ruled.restart();
  check_told(ruled, world.alice(), std::string(255, 'x'));
  CHECK(unlink(ruled.path().c_str()) == 0);
  ruled.restart();
  check_told(ruled, world.alice(), "");
  // What is not said: the text itself, which who asks may not be allowed to read.
  ruled.write("{\"users\": secret-of-root}", 0600);
  ruled.restart();
  Reply reply = ruled.connect(world.alice()).call("Describe");
  CHECK(reply.parameters.dump().find("secret") == std::string::npos);
}

TEST_CASE("U6: a hundred connections that are told so leave nothing") {
  NEEDS_ROOT();
  const World& world = World::get();
  Ruled ruled(Json{{"no", 1}});
  const auto connect = [&](int times) {
    for (int i = 0; i < times; ++i)
      CHECK(ruled.connect(world.alice()).call("Describe").error == "Misconfigured");
    CHECK(eventually([&] { return fronts_of(ruled.service(), world.alice().uid).empty(); }));
  };
  connect(10);
  const int before = descriptors_of(ruled.service().pid());
  connect(100);
  // What waits ahead, fronts and inits, may not all have been there.
  constexpr int kAhead = 50;
  CHECK(eventually([&] { return descriptors_of(ruled.service().pid()) < before + kAhead; }));
  CHECK(alive(ruled.service().pid()));
}

TEST_CASE("U6: a reload says how it went, by its exit code and in words") {
  NEEDS_ROOT();
  const World& world = World::get();
  Ruled ruled(rules({{{"name", "old"}}}));
  const auto policy = [&] {
    Client client = ruled.connect(world.alice());
    return planned(client, world.probe_request()).parameters["policy"];
  };
  CHECK(policy() == "old");
  ruled.write(rules({{{"name", "new"}}}).dump());
  Ran done = reload(ruled);
  CHECK(done.code == 0);
  CHECK(done.said == "cloisterd: reloaded " + ruled.path() + "\n");
  CHECK(policy() == "new");

  ruled.write(R"({"rules": [{"name": "worse", "allow": {"nice": 99}}]})");
  done = reload(ruled);
  CHECK(done.code == kConfig);
  CHECK(done.said.find("not reloaded: " + ruled.path() + ": rules[0].allow.nice: must be") !=
        std::string::npos);
  CHECK(policy() == "new");

  // Nobody but the service's own user.
  ruled.write(rules({{{"name", "alices"}}}).dump());
  CHECK(reload(ruled, world.alice()).code == kUnavailable);
  CHECK(policy() == "new");
  struct stat info {};
  check(stat((ruled.runtime() + "/records/reload").c_str(), &info), "stat");
  CHECK((info.st_mode & 0777) == 0600);

  // Asked for by many at once.
  std::vector<pid_t> asking;
  for (int i = 0; i < 20; ++i) asking.push_back(child([&] { return reload(ruled).code; }));
  for (const pid_t pid : asking) CHECK(wait_for(pid) == 0);
  CHECK(policy() == "alices");

  ruled.service().stop();
  CHECK(reload(ruled).code == kUnavailable);
}

TEST_CASE("U6: a service that started with a wrong configuration serves once it is right") {
  NEEDS_ROOT();
  const World& world = World::get();
  Ruled ruled(Json{{"no", 1}});
  check_told(ruled, world.alice(), "no");
  CHECK(reload(ruled).code == kConfig);
  check_told(ruled, world.alice(), "no");
  ruled.write(rules({{{"name", "good"}}}).dump());
  CHECK(reload(ruled).code == 0);
  Client client = ruled.connect(world.alice());
  CHECK(client.run(world.probe_request({"noop"})).error == "");
  // Into a wrong one it does not go back.
  ruled.write("{");
  CHECK(reload(ruled).code == kConfig);
  CHECK(ruled.connect(world.alice()).run(world.probe_request({"noop"})).error == "");
}

TEST_CASE("U6: whoever asks for a reload and says or reads nothing delays nobody") {
  NEEDS_ROOT();
  const World& world = World::get();
  Ruled ruled(Json::object());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (ruled.runtime() + "/records/reload").copy(address.sun_path, sizeof address.sun_path - 1);
  std::array<Fd, 16> asking;
  for (Fd& each : asking) {
    each = Fd(check(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket"));
    check(connect(each.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
  }
  Client client = ruled.connect(world.alice());
  CHECK(client.run(world.probe_request({"noop"})).error == "");
  CHECK(reload(ruled).code == 0);
  // What is sent there arrives nowhere.
  CHECK(send(asking[0].get(), "x", 1, MSG_NOSIGNAL) < 0);
}

TEST_CASE("a cloister-config that fails, or says nothing, is a fault of the configuration") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root());
  REQUIRE(command({"cp", world.program("cloisterd"), directory}) == 0);
  for (const char* name : {"cloister-network", "cloister-sweep"})
    REQUIRE(command({"cp", world.program(name), directory}) == 0);
  const auto told = [&](const char* program) {
    REQUIRE(command({"cp", program, directory + "/cloister-config"}) == 0);
    const Ran ran = run_cloisterd(world.root(), {"--check"}, directory + "/cloisterd");
    CHECK(ran.code == kConfig);
    return ran.said;
  };
  CHECK(told("/bin/false") == "cloisterd: cloister-config ended without an answer\n");
  CHECK(told("/bin/true") == "cloisterd: cloister-config wrote an invalid policy block\n");
}

TEST_CASE("a group database that is silent fails a reload and a check, and holds up nothing else") {
  NEEDS_ROOT();
  World& world = World::get();
  if (access("/dev/fuse", R_OK | W_OK) != 0) SKIP("no /dev/fuse");
  const std::string mounted = world.directory_of(world.root()) + "/silent";
  check(mkdir(mounted.c_str(), 0755), "mkdir");
  const PrivateMounts own;
  SilentFiles files(mounted);
  Ruled ruled(Json::object());
  REQUIRE(mount(files.slow().c_str(), "/etc/group", nullptr, MS_BIND, nullptr) == 0);
  ruled.write(rules({{{"name", "x"}, {"groups", {"root"}}}}).dump());
  const std::string told = ruled.path() + ": was not read within 10 s: ";
  const auto is_told = [&](const Ran& ran) {
    return ran.said.find(told) != std::string::npos ? ran.code : 1;
  };
  const pid_t reloading = child([&] { return is_told(reload(ruled)); });
  const pid_t checking = child([&] { return is_told(checked(ruled)); });
  const auto readers = [&] {
    int found = 0;
    for (const pid_t pid : ruled.service().processes()) {
      std::ifstream words("/proc/" + std::to_string(pid) + "/cmdline");  // gone: empty
      std::string name;
      std::getline(words, name, '\0');
      found += name == "cloister-config";
    }
    return found;
  };
  CHECK(eventually([&] { return readers() == 1; }));
  Client client = ruled.connect(world.alice());
  CHECK(client.run(world.probe_request({"noop"})).error == "");
  CHECK(readers() == 1);  // it was run while that one hung
  CHECK(WEXITSTATUS(wait_for(reloading)) == kConfig);
  CHECK(WEXITSTATUS(wait_for(checking)) == kConfig);
  CHECK(planned(client, world.probe_request()).parameters["policy"] == "default");
  CHECK(umount2("/etc/group", MNT_DETACH) == 0);
  CHECK(reload(ruled).code == 0);
  CHECK(planned(client, world.probe_request()).parameters["policy"] == "default");  // not alice's
  files.abort();
  CHECK(eventually([&] { return readers() == 0; }));  // killed before, and reaped
}

TEST_CASE("U6: cloisterd --check says what a start would find, and changes nothing") {
  NEEDS_ROOT();
  const World& world = World::get();
  Ruled ruled(rules({{{"name", "good"}}}));
  Ran found = checked(ruled);
  CHECK(found.code == 0);
  CHECK(found.said == "cloisterd: " + ruled.path() + ": no error\n");
  ruled.write("{\n\n\"rules\": 1}");
  found = checked(ruled);
  CHECK(found.code == kConfig);
  CHECK(found.said == "cloisterd: " + ruled.path() + ": rules: must be an array\n");
  Client client = ruled.connect(world.alice());
  CHECK(planned(client, world.probe_request()).parameters["policy"] == "good");
}

TEST_CASE("U6: a profile that is wrong is told too, and right again without a restart") {
  NEEDS_ROOT();
  const World& world = World::get();
  const PrivateMounts own;
  if (access("/etc/cloister", F_OK) != 0 && mkdir("/etc/cloister", 0755) != 0)
    SKIP("no /etc/cloister");
  REQUIRE(mount("tmpfs", "/etc/cloister", "tmpfs", 0, "mode=755") == 0);
  check(mkdir("/etc/cloister/profiles", 0755), "mkdir");
  const std::string path = "/etc/cloister/profiles/mine.json";
  write_file(path, R"({"profile": "default", "nise": 1})");
  Ruled ruled(Json::object());
  for (const Who& who : {world.alice(), world.root()}) {
    Reply reply = ruled.connect(who).call("Describe");
    INFO(reply.parameters.dump());
    CHECK(reply.error == "Misconfigured");
    CHECK(reply.parameters["file"] == "/etc/cloister/profiles");
    const std::string reason = reply.parameters["reason"];
    CHECK(reason.find("nise") != reason.npos);
    CHECK(reason.find(path) != reason.npos);
  }
  const Ran found = checked(ruled);
  CHECK(found.code == kConfig);
  CHECK(found.said.find(path) != std::string::npos);
  write_file(path, R"({"profile": "none", "nice": 1})");
  CHECK(checked(ruled).code == 0);
  for (int i = 0; i < 5; ++i) {  // more than there are fronts made ahead
    Client client = ruled.connect(world.alice());
    CHECK(client.run({{"profile", "mine"}, {"argv", {"/bin/true"}}}).error == "");
  }
}

}  // namespace
}  // namespace cloister::security_test
