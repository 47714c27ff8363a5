// exec, environment, umask and working directory: rows posix_spawn, posix_spawnp,
// execve(fd), environ, umask, chdir, fchdir of the vocabulary.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

void copy_probe(const std::string& to, mode_t mode) {
  std::filesystem::copy_file(World::get().probe(), to);
  check(chmod(to.c_str(), mode), "chmod");
}

TEST_CASE("argv reaches the payload unchanged, argv[0] is only a name") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    Json request = World::get().probe_request();
    request["argv"] = {"-not a path;$(x)",  "report", "1", "", "--", "%n", "a\nb", "ü",
                       {{"base64", "/+4B"}}};
    Json report = report_of(client, request);
    CHECK(report["argv"] == request["argv"]);
  }
}

TEST_CASE("env is the whole environment, byte for byte") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    Json request = World::get().probe_request();
    request["env"] = {{"A", "1"}, {"EMPTY", ""}, {"B", {{"base64", "/w=="}}}, {"Q", "x=y\n\"z\""}};
    Json report = report_of(client, request);
    Json expected = {"A=1", {{"base64", "Qj3/"}}, "EMPTY=", "Q=x=y\n\"z\""};
    auto got = report["environ"];
    std::sort(got.begin(), got.end());
    auto wanted = expected;
    std::sort(wanted.begin(), wanted.end());
    CHECK(got == wanted);
  }
}

TEST_CASE("without env the environment is empty: no variable of the service leaks in") {
  NEEDS_ROOT();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = World::get().connect(way);
    CHECK(report_of(client, World::get().probe_request())["environ"] == Json::array());
  }
}

TEST_CASE("search_path looks in the new PATH, not in that of the service") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.alice());
  copy_probe(directory + "/only-here", 0755);
  for (const Way way : {Way::root, Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = {
        {"profile", "none"}, {"argv", {"only-here"}}, {"env", {{"PATH", "/nowhere:" + directory}}}};
    CHECK(report_of(client, request)["exe"] == directory + "/only-here");

    // Without PATH the default path is searched, and the program is not there.
    request.erase("env");
    Outcome missing = client.run(request);
    CHECK(missing.verdict["failure"]["errno_name"] == "ENOENT");

    request["env"] = {{"PATH", directory}};
    request["search_path"] = false;
    CHECK(client.run(request).verdict["failure"]["errno_name"] == "ENOENT");
  }
}

TEST_CASE("a name without PATH in env is searched in the default path") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Outcome outcome = client.run({{"profile", "none"}, {"argv", {"true"}}});
  INFO(outcome.told());
  CHECK(outcome.verdict["ok"] == true);
}

TEST_CASE("EACCES in PATH is remembered over ENOENT, and a later match wins over both") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string denied = world.directory_of(world.alice());
  const std::string good = world.directory_of(world.alice());
  copy_probe(denied + "/tool", 0644);
  copy_probe(good + "/tool", 0755);
  Client client = world.connect(Way::user);
  Json request = {
      {"profile", "none"}, {"argv", {"tool"}}, {"env", {{"PATH", denied + ":/nowhere"}}}};
  CHECK(client.run(request).verdict["failure"]["errno_name"] == "EACCES");
  request["env"]["PATH"] = denied + ":" + good;
  CHECK(report_of(client, request)["exe"] == good + "/tool");
}

TEST_CASE("a file without #! is ENOEXEC and no shell runs it; a script runs by its interpreter") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string directory = world.directory_of(world.alice());
  write_file(directory + "/text", "echo run by a shell\n", 0755);
  write_file(directory + "/script", "#!/bin/sh\nprintf '%s' \"$1\"\n", 0755);
  write_file(directory + "/orphan", "#!/no/such/interpreter\n", 0755);
  Client client = world.connect(Way::user);
  for (const bool search : {true, false}) {
    Outcome text =
        client.run({{"profile", "none"}, {"argv", {directory + "/text"}}, {"search_path", search}});
    CHECK(text.verdict["failure"]["errno_name"] == "ENOEXEC");
    CHECK(text.out.empty());
  }
  CHECK(client.run({{"profile", "none"}, {"argv", {directory + "/script", "hello"}}}).out ==
        "hello");
  Outcome orphan = client.run({{"profile", "none"}, {"argv", {directory + "/orphan"}}});
  CHECK(orphan.verdict["failure"]["errno_name"] == "ENOENT");
  // The hint says what execve(2) cannot: the interpreter is what is missing.
  CHECK(orphan.verdict["failure"]["hint"].get<std::string>().find("interpreter") !=
        std::string::npos);
}

TEST_CASE("an open descriptor is executed, also one whose path the payload cannot see") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    for (const char* profile : {"none", "default"}) {
      CAPTURE(name_of(way));
      CAPTURE(std::string(profile));
      Client client = world.connect(way);
      const Fd program(check(open(world.probe().c_str(), O_RDONLY | O_CLOEXEC), "open"));
      Json report = report_of(
          client,
          {{"profile", profile}, {"argv", {"by-descriptor"}}, {"executable", {{"passed_fd", 0}}}},
          {program.get()});
      CHECK(report["argv"] == Json{"by-descriptor"});
      CHECK(descriptor_numbers(report) == std::vector<int>{0, 1, 2});
    }
  }
}

TEST_CASE("a script passed as a descriptor runs, or the failure says why it cannot") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string path = world.directory_of(world.alice()) + "/script";
  write_file(path, "#!/bin/sh\necho from a descriptor\n", 0755);
  Client client = world.connect(Way::user);
  const Fd script(check(open(path.c_str(), O_RDONLY | O_CLOEXEC), "open"));
  Outcome outcome =
      client.run({{"profile", "none"}, {"argv", {"script"}}, {"executable", {{"passed_fd", 0}}}},
                 {script.get()});
  INFO(outcome.told());
  if (outcome.verdict["ok"] == true) {
    CHECK(outcome.out == "from a descriptor\n");
  } else {
    CHECK(outcome.verdict["ending"] == "not_started");
    CHECK(outcome.verdict["failure"]["step"] == "execve");
  }
}

TEST_CASE("umask is the payload's, also for the files it opens by file actions") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string directory = world.directory_of(world.who(way));
    Json request = world.probe_request();
    request["umask"] = "0027";
    request["file_actions"] = {{{"open",
                                 {{"fd", 3},
                                  {"path", directory + "/made"},
                                  {"flags", {"O_WRONLY", "O_CREAT"}},
                                  {"mode", "0666"}}}}};
    CHECK(report_of(client, request)["umask"] == 0027);
    struct stat made;
    REQUIRE(stat((directory + "/made").c_str(), &made) == 0);
    CHECK((made.st_mode & 07777) == 0640);
    CHECK(made.st_uid == world.who(way).uid);
  }
}

TEST_CASE("cwd is a path inside the new root or a passed descriptor") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    CHECK(report_of(client, with(world.probe_request(), {{"cwd", "/usr/bin"}}))["cwd"] ==
          "/usr/bin");
    CHECK(report_of(client, with(world.boxed_request(), {{"cwd", "/run/test"}}))["cwd"] ==
          "/run/test");
    const Fd directory(check(open("/usr/lib", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
    CHECK(report_of(client, with(world.probe_request(), {{"cwd", {{"passed_fd", 0}}}}),
                    {directory.get()})["cwd"] == "/usr/lib");
  }
}

TEST_CASE("a cwd that is not there fails at the step chdir and names the field") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Outcome outcome = client.run(with(World::get().probe_request(), {{"cwd", "/no/such/place"}}));
  CHECK(outcome.verdict["ending"] == "not_started");
  CHECK(outcome.verdict["failure"]["step"] == "chdir");
  CHECK(outcome.verdict["failure"]["field"] == "cwd");
  CHECK(outcome.verdict["failure"]["errno_name"] == "ENOENT");
}

}  // namespace
}  // namespace cloister::system_test
