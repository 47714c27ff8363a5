// S3: no program with the set-uid bit is left behind by a box, whichever call makes
// it. What counts is what lies on the host afterwards.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "boxes.hpp"
#include "ids.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;
using system_test::subordinate_request;

// Names of the files in it that have one of these bits.
std::vector<std::string> files_with(const std::string& directory, mode_t bits) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(directory)) {
    struct stat status;
    check(lstat(entry.path().c_str(), &status), "lstat");
    if (S_ISREG(status.st_mode) && (status.st_mode & bits)) out.push_back(entry.path().filename());
  }
  return out;
}

size_t files_in(const std::string& directory) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(directory), {}));
}

std::string open_directory_of(const Who& who) {
  const std::string path = World::get().directory_of(who);
  check(chmod(path.c_str(), 0777), "chmod");
  return path;
}

// The default box, without a filter of the client's, that tries it in `directory`.
Json trying(const std::string& directory, const std::string& mode, const Json& workspace) {
  return with(World::get().boxed_request({"set-ids", directory, mode}),
              {{"seccomp", "none"}, {"workspace", workspace}});
}
Json trying(const std::string& directory, const std::string& mode) {
  return trying(directory, mode, {{"path", directory}, {"access", "rw"}});
}

bool is_blind(const std::string& call) {
  return call.ends_with(" openat2") || call.ends_with(" io_uring_setup");
}

// Every call of every entry that this machine has.
void check_refused_all(const Json& answers) {
  INFO(answers.dump());
  CHECK(answers.size() >= 8);
  for (const auto& [call, error] : answers.items()) {
    CAPTURE(call);
    if (error == "SIGSEGV") {
      CHECK(call.starts_with("i386 "));  // a kernel without 32-bit calls
    } else if (is_blind(call) || call.starts_with("x32 ")) {
      CHECK((error == "ENOSYS" || (error == "EPERM" && !is_blind(call))));
    } else {
      CHECK(error == "EPERM");
    }
  }
}

// That the calls are good ones, and only the bit was refused.
void check_works(const Json& answers) {
  INFO(answers.dump());
  for (const char* call : {"native fchmodat", "native mknodat", "native openat"})
    CHECK(answers.value(call, Json("absent")) == nullptr);
}

TEST_CASE("before: set-uid files") {
  NEEDS_ROOT();
  count_before();
}

TEST_CASE("S3: no call of any ABI leaves a set-uid file in the workspace") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string directory = world.directory_of(world.who(way));
    check_refused_all(act(client, trying(directory, "4755")));
    check_refused_all(act(client, trying(directory, "6711")));
    CHECK(files_with(directory, S_ISUID | S_ISGID).empty());
    check_works(act(client, trying(directory, "0755")));
    CHECK(files_in(directory) > 8);
    // Outside of a box it is the caller's own business.
    const std::string own = world.directory_of(world.who(way));
    check_works(act(client, world.probe_request({"set-ids", own, "4755"})));
    CHECK(files_with(own, S_ISUID).size() > 4);
  }
}

TEST_CASE("S3: set-gid is for directories of one's own groups, and not for root's jobs") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string directory = world.directory_of(world.alice());
    check_works(act(client, trying(directory, "2755")));
    CHECK(files_with(directory, S_ISUID).empty());
  }
  Client root = world.connect(Way::root);
  const std::string directory = world.directory_of(world.root());
  check_refused_all(act(root, trying(directory, "2755")));
  CHECK(files_with(directory, S_ISUID | S_ISGID).empty());
  // A group that is alice's for the job alone.
  Ruled ruled(rules({{{"name", "lent"}, {"allow", {{"gids", {world.bob().gid}}}}}}));
  Client alice = ruled.connect(world.alice());
  const std::string shared = open_directory_of(world.alice());
  const Json lent = with(trying(shared, "2755"),
                         {{"identity", {{"ruid", world.alice().uid}, {"rgid", world.bob().gid}}}});
  check_refused_all(act(alice, lent));
  CHECK(files_with(shared, S_ISUID | S_ISGID).empty());
}

TEST_CASE("S3: no way around by a passed directory, a joined box or a user namespace") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string directory = world.directory_of(world.who(way));
    const Fd folder(check(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
    Json passed =
        with(world.boxed_request({"set-ids", "/proc/self/fd/7", "4755"}), {{"seccomp", "none"}});
    passed["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 7}, {"directory", true}}}}};
    check_refused_all(act(client, passed, {folder.get()}));

    check_refused_all(act(client, as_inner_root(way, trying(directory, "4755"))));

    Json held = with(world.boxed_request({"hold"}),
                     {{"workspace", {{"path", directory}, {"access", "rw"}}}});
    const Held job(client, held);
    const Json joined = {
        {"argv", {"probe", "set-ids", directory, "4755"}},
        {"executable", "/run/test/probe"},
        {"profile", "none"},
        {"cwd", "/"},
        {"no_new_privs", true},
        {"namespaces", {{"mnt", {{"job", job.id()}}}, {"pid", {{"job", job.id()}}}}}};
    Outcome outcome = client.run(
        way == Way::rootless ? with(joined, {{"namespaces", {{"user", {{"job", job.id()}}}}}})
                             : joined);
    INFO(outcome.told());
    check_refused_all(Json::parse(outcome.out, nullptr, false));
    // A namespace of another kind alone is a box too.
    check_refused_all(
        act(client, with(world.probe_request({"set-ids", directory, "4755"}),
                         {{"namespaces", {{"uts", "new"}}}, {"no_new_privs", true}})));
    CHECK(files_with(directory, S_ISUID | S_ISGID).empty());
  }
}

TEST_CASE("S3: a leased id leaves no set-id file of its caller's, and files without the bits") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string directory = world.directory_of(world.who(way));
    const auto leased = [&](const std::string& mode) {
      return with(trying(directory, mode, {{"path", directory}, {"owner", "caller"}}),
                  {{"identity", "dynamic"}});
    };
    const Outcome outcome = client.run(leased("0755"));
    if (outcome.error == "Unsupported") NOT_RUN(outcome.told());
    INFO(outcome.told());
    check_works(Json::parse(outcome.out, nullptr, false));
    struct stat made;
    check(stat((directory + "/native openat 0755").c_str(), &made), "stat");
    CHECK(made.st_uid == world.who(way).uid);
    for (const char* mode : {"4755", "2755", "6755"}) check_refused_all(act(client, leased(mode)));
    CHECK(files_with(directory, S_ISUID | S_ISGID).empty());
  }
}

// The rule that lets dpkg(1) unpack su(1) in a machine.
TEST_CASE("S3: ids that are apart make set-uid files of their own, and none of the caller's") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string directory = open_directory_of(world.who(way));
    const auto machine = [&](const char* at, const Json& workspace) {
      Json request = subordinate_request({"set-ids", at, "4755"});
      request["identity"] = {{"ruid", 0}, {"rgid", 0}};
      request["seccomp"] = "none";
      if (!workspace.is_null()) request["workspace"] = workspace;
      return request;
    };
    Outcome outcome = client.run(machine("/tmp", nullptr));
    if (outcome.error == "Unsupported") {
      not_run(outcome.told());
      continue;
    }
    INFO(outcome.told());
    check_works(Json::parse(outcome.out, nullptr, false));

    if (way != Way::root) {  // whose ids are leased, and leave nothing anyway
      const Json shared = {{"path", directory}, {"access", "rw"}};
      check_works(act(client, machine(directory.c_str(), shared)));
      for (const auto& name : files_with(directory, S_ISUID)) {
        struct stat status;
        check(stat((directory + "/" + name).c_str(), &status), "stat");
        CHECK(status.st_uid != world.who(way).uid);
      }
    }
    if (way == Way::rootless) continue;  // no idmapped mounts
    const std::string lent = world.directory_of(world.who(way));
    const Json owned = {{"path", lent}, {"owner", "caller"}};
    check_refused_all(act(client, machine(lent.c_str(), owned)));
    CHECK(files_with(lent, S_ISUID).empty());
  }
}

TEST_CASE("S3: ids that are apart are so in mounts of their own, and where no rule grants others") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const std::string directory = open_directory_of(world.alice());
  Json holding = subordinate_request({"hold"});
  holding["identity"] = {{"ruid", 0}, {"rgid", 0}};
  holding["workspace"] = {{"path", directory}, {"owner", "caller"}};
  const Held job(client, holding);
  Json joined = subordinate_request({"set-ids", directory, "4755"});
  joined["identity"] = {{"ruid", 0}, {"rgid", 0}};
  joined.erase("mounts");
  joined["profile"] = "none";
  joined["no_new_privs"] = true;
  joined["namespaces"] = {{"user", "new"}, {"pid", "new"}, {"mnt", {{"job", job.id()}}}};
  Outcome outcome = client.run(joined);
  INFO(outcome.told());
  CHECK(outcome.parameters["rule"] == "joined-with-own-ids");
  // One who could show files of bob's to a job, and hand their directory to another.
  Ruled ruled(rules({{{"name", "lent"}, {"allow", {{"uids", {world.bob().uid}}}}}}));
  Client lent = ruled.connect(world.alice());
  Json machine = subordinate_request({"set-ids", "/tmp", "4755"});
  machine["identity"] = {{"ruid", 0}, {"rgid", 0}};
  machine["seccomp"] = "none";
  check_refused_all(act(lent, machine));
  CHECK(files_with(directory, S_ISUID).empty());
}

TEST_CASE("S3: set_uid_files is root's to grant, and nobody's with a leased id") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.alice());
  const Json asking = with(trying(directory, "4755"), {{"set_uid_files", true}});
  Client plain = world.connect(Way::user);
  Outcome outcome = plain.run(asking);
  INFO(outcome.told());
  CHECK(outcome.error == "Denied");
  CHECK(outcome.parameters["rule"] == "set-uid-files-need-a-grant");
  CHECK(outcome.parameters["field"] == "set_uid_files");
  CHECK(files_in(directory) == 0);

  Ruled ruled(rules({{{"name", "packagers"}, {"allow", {{"set_uid_files", true}}}}}));
  Client granted = ruled.connect(world.alice());
  check_refused_all(act(granted, trying(directory, "4755")));  // asked for, not given
  check_works(act(granted, asking));
  CHECK(files_with(directory, S_ISUID).size() > 4);

  outcome = plain.run(with(
      asking, {{"identity", "dynamic"}, {"workspace", {{"path", directory}, {"access", "ro"}}}}));
  CHECK((outcome.error == "Denied" || outcome.error == "Unsupported"));
  // In one's own service one asks oneself.
  for (const Way way : {Way::root, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string own = world.directory_of(world.who(way));
    check_works(act(client, with(trying(own, "4755"), {{"set_uid_files", true}})));
  }
}

TEST_CASE("S3: an open action of the request makes none either") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string directory = world.directory_of(world.who(way));
    Json request = with(world.boxed_request({"noop"}),
                        {{"workspace", {{"path", directory}, {"access", "rw"}}}});
    request["file_actions"] = {{{"open",
                                 {{"fd", 7},
                                  {"path", directory + "/made"},
                                  {"flags", {"O_WRONLY", "O_CREAT"}},
                                  {"mode", "4755"}}}}};
    Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK((outcome.error == "Denied" || outcome.error == "InvalidRequest"));
    CHECK(files_in(directory) == 0);
    request["file_actions"][0]["open"]["mode"] = "0755";
    CHECK(client.run(request).verdict["ok"] == true);
    CHECK(files_in(directory) == 1);
  }
}

TEST_CASE("after: set-uid files have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
