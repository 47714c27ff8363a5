// Descriptors: file actions in list order with their POSIX meaning, the three
// standard streams, and that nothing else is open.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reading.hpp"

namespace cloister::system_test {
namespace {

const std::vector<int> kStandard = {0, 1, 2};

TEST_CASE("the payload has 0, 1 and 2 and nothing else, on every way in") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : {world.probe_request(), world.boxed_request()}) {
      Json report = report_of(client, request);
      CHECK(descriptor_numbers(report) == kStandard);
      // 0 and 2 were not asked for: /dev/null, 1:3.
      CHECK(descriptor(report, 0)["rdev"] == 0x103);
      CHECK(descriptor(report, 2)["rdev"] == 0x103);
    }
  }
}

TEST_CASE("stdin is text, bytes, a path or a descriptor") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string path = world.directory_of(world.alice()) + "/input";
  write_file(path, "from a file", 0644);
  for (const Way way : {Way::root, Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.probe_request({"cat"});
    CHECK(client.run(with(request, {{"stdin", {{"text", "hello\n"}}}})).out == "hello\n");
    CHECK(client.run(with(request, {{"stdin", {{"base64", "AP8K"}}}})).out ==
          std::string("\0\xff\n", 3));
    CHECK(client.run(with(request, {{"stdin", {{"path", path}}}})).out == "from a file");
    CHECK(client.run(with(request, {{"stdin", "null"}})).out.empty());
    const Fd passed = memory_file("passed along");
    CHECK(client.run(with(request, {{"stdin", {{"passed_fd", 0}}}}), {passed.get()}).out ==
          "passed along");
  }
}

TEST_CASE("inline stdin cannot be written to by the payload") {
  NEEDS_ROOT();
  Client client = World::get().connect(Way::user);
  Json report = report_of(client, with(World::get().probe_request(), {{"stdin", {{"text", "x"}}}}));
  CHECK((descriptor(report, 0)["flags"].get<int>() & O_ACCMODE) == O_RDONLY);
  Outcome outcome = client.run(
      with(World::get().probe_request({"write", "0", "y"}), {{"stdin", {{"text", "x"}}}}));
  CHECK(outcome.verdict["exit_code"] == 1);
}

TEST_CASE("stdout and stderr go to a path, to a descriptor, or stderr to where stdout goes") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string path = world.directory_of(world.who(way)) + "/out";
    Outcome outcome = client.run(
        with(world.probe_request({"write", "1", "to a file"}), {{"stdout", {{"path", path}}}}));
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    CHECK(read_file(path) == "to a file");
    outcome = client.run(with(world.probe_request({"write", "2", "both"}), {{"stderr", "stdout"}}));
    CHECK(outcome.out == "both");
    const Fd errors = memory_file();
    outcome = client.run(
        with(world.probe_request({"write", "2", "errors"}), {{"stderr", {{"passed_fd", 0}}}}),
        {errors.get()});
    CHECK(content_of(errors.get()) == "errors");
    CHECK(outcome.out.empty());
  }
}

TEST_CASE("a path for stdin that the caller cannot open is not opened with more rights") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string secret = world.directory_of(world.root()) + "/secret";
  write_file(secret, "canary", 0600);
  Client client = world.connect(Way::user);
  for (const char* stream : {"stdin", "stdout"}) {
    Outcome outcome =
        client.run(with(world.probe_request({"cat"}), {{stream, {{"path", secret}}}}));
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] != true);
    CHECK(outcome.out.find("canary") == std::string::npos);
  }
  CHECK(read_file(secret) == "canary");
}

TEST_CASE("open, dup2 and close act in list order") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    Json request = world.probe_request();
    request["file_actions"] = {
        {{"open", {{"fd", 4}, {"path", "/etc/passwd"}, {"flags", {"O_RDONLY"}}}}},
        {{"dup2", {{"fd", 4}, {"new_fd", 5}}}},
        {{"close", {{"fd", 4}}}},
        {{"open", {{"fd", 6}, {"path", "/dev/null"}, {"flags", {"O_RDWR", "O_APPEND"}}}}}};
    Json report = report_of(client, request);
    CHECK(descriptor_numbers(report) == std::vector<int>{0, 1, 2, 5, 6});
    CHECK(descriptor(report, 5)["target"] == "/etc/passwd");
    CHECK(descriptor(report, 5)["cloexec"] == false);
    CHECK((descriptor(report, 6)["flags"].get<int>() & O_APPEND) != 0);
  }
}

TEST_CASE("swaps and cycles of descriptors work, also over the service's own numbers") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  std::vector<Fd> files;
  std::vector<int> fds;
  for (int i = 0; i < 12; ++i) {
    files.push_back(memory_file("file " + std::to_string(i)));
    fds.push_back(files.back().get());
  }
  Json request = world.probe_request();
  request["file_actions"] = Json::array();
  // 3..14 are where the service's programs keep their own.
  for (int i = 0; i < 12; ++i) {
    request["file_actions"].push_back({{"receive", {{"passed_fd", i}, {"fd", 14 - i}}}});
  }
  const auto move = [&](int from, int to) {
    request["file_actions"].push_back({{"dup2", {{"fd", from}, {"new_fd", to}}}});
  };
  move(3, 20), move(4, 3), move(20, 4);              // 3 <-> 4
  move(5, 20), move(6, 5), move(7, 6), move(20, 7);  // 5 <- 6 <- 7 <- 5
  request["file_actions"].push_back({{"close", {{"fd", 20}}}});
  Json report = report_of(client, request, fds);
  const auto is_file = [&](int fd, int number) {
    struct stat status;
    REQUIRE(fstat(fds[static_cast<size_t>(number)], &status) == 0);
    CAPTURE(fd);
    CHECK(descriptor(report, fd)["ino"] == status.st_ino);
  };
  is_file(3, 10), is_file(4, 11), is_file(5, 8), is_file(6, 7), is_file(7, 9);
  for (int fd = 8; fd <= 14; ++fd) is_file(fd, 14 - fd);
  CHECK(descriptor_numbers(report).size() == 15);
}

TEST_CASE("dup2 of a descriptor onto itself makes it inheritable; inheritable false closes it") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.probe_request();
  request["file_actions"] = {
      {{"open", {{"fd", 7}, {"path", "/dev/null"}, {"flags", {"O_RDONLY", "O_CLOEXEC"}}}}},
      {{"dup2", {{"fd", 7}, {"new_fd", 7}}}},
      {{"dup2", {{"fd", 7}, {"new_fd", 8}, {"inheritable", false}}}},
      {{"open", {{"fd", 9}, {"path", "/dev/null"}, {"flags", {"O_RDONLY", "O_CLOEXEC"}}}}}};
  Json report = report_of(client, request);
  CHECK(descriptor(report, 7)["cloexec"] == false);
  CHECK(descriptor(report, 8) == nullptr);
  CHECK(descriptor(report, 9) == nullptr);
}

TEST_CASE("closerange closes from low up to, not including, high, and minds no gaps") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.probe_request();
  request["file_actions"] = Json::array();
  for (int fd : {5, 6, 8, 9, 10}) {
    request["file_actions"].push_back(
        {{"open", {{"fd", fd}, {"path", "/dev/null"}, {"flags", {"O_RDONLY"}}}}});
  }
  request["file_actions"].push_back({{"closerange", {{"fd_low", 6}, {"fd_high", 10}}}});
  CHECK(descriptor_numbers(report_of(client, request)) == std::vector<int>{0, 1, 2, 5, 10});
  // To the end of the table: the way to the service must survive it.
  request["file_actions"].push_back({{"closerange", {{"fd_low", 3}, {"fd_high", 1048576}}}});
  CHECK(descriptor_numbers(report_of(client, request)) == kStandard);
}

TEST_CASE("closing a standard stream leaves it closed") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json report = report_of(
      client, with(world.probe_request(), {{"file_actions", {{{"close", {{"fd", 0}}}}}}}));
  CHECK(descriptor_numbers(report) == std::vector<int>{1, 2});
}

TEST_CASE("dup2 of a closed descriptor is EBADF and names the action") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = world.probe_request();
  request["file_actions"] = {{{"close", {{"fd", 0}}}}, {{"dup2", {{"fd", 77}, {"new_fd", 3}}}}};
  Outcome outcome = client.run(request);
  CHECK(outcome.verdict["failure"]["step"] == "file_action");
  CHECK(outcome.verdict["failure"]["errno_name"] == "EBADF");
  CHECK(outcome.verdict["failure"]["index"] == 1);
  CHECK(outcome.verdict["failure"]["field"].get<std::string>().starts_with("file_actions[1]"));
}

// POSIX lets an implementation ignore EBADF here; documented is that it is ignored
// or reported, never something else.
TEST_CASE("closing a descriptor that is not open has one documented outcome") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Outcome outcome =
      client.run(with(world.probe_request(), {{"file_actions", {{{"close", {{"fd", 55}}}}}}}));
  INFO(outcome.told());
  if (outcome.verdict["ok"] != true) {
    CHECK(outcome.verdict["failure"]["errno_name"] == "EBADF");
    CHECK(outcome.verdict["failure"]["index"] == 0);
  }
}

TEST_CASE("open honours the payload's cwd, chdir and fchdir act in order") {
  NEEDS_ROOT();
  World& world = World::get();
  for (const Way way : kWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const std::string base = world.directory_of(world.who(way));
    const Who& who = world.who(way);
    check(mkdir((base + "/sub").c_str(), 0755), "mkdir");
    check(chown((base + "/sub").c_str(), who.uid, who.gid), "chown");
    const auto made = [](int fd, const char* path) {
      return Json{{"open", {{"fd", fd}, {"path", path}, {"flags", {"O_WRONLY", "O_CREAT"}}}}};
    };
    Json request = world.probe_request();
    request["cwd"] = base;
    request["file_actions"] = {
        made(3, "first"),
        {{"chdir", {{"path", "sub"}}}},
        made(4, "second"),
        {{"open", {{"fd", 5}, {"path", "/usr"}, {"flags", {"O_RDONLY", "O_DIRECTORY"}}}}},
        {{"fchdir", {{"fd", 5}}}}};
    Json report = report_of(client, request);
    CHECK(report["cwd"] == "/usr");
    CHECK(access((base + "/first").c_str(), F_OK) == 0);
    CHECK(access((base + "/sub/second").c_str(), F_OK) == 0);
  }
}

TEST_CASE("each passed descriptor is used exactly once") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Fd one = memory_file(), two = memory_file();
  Outcome outcome =
      client.run(with(world.probe_request(), {{"stdin", {{"passed_fd", 0}}}, {"stdout", "null"}}),
                 {one.get(), two.get()});
  CHECK(outcome.error == "InvalidRequest");
  outcome = client.run(
      with(world.probe_request(), {{"stdin", {{"passed_fd", 0}}}, {"stdout", {{"passed_fd", 0}}}}),
      {one.get()});
  CHECK(outcome.error == "InvalidRequest");
  outcome =
      client.run(with(world.probe_request(), {{"stdin", {{"passed_fd", 7}}}, {"stdout", "null"}}),
                 {one.get()});
  CHECK(outcome.error == "InvalidRequest");
}

// Without a mount namespace there is no box that a descriptor could open.
TEST_CASE("into a box go files, pipes and ordinary sockets; directories only by name") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  std::vector<std::pair<const char*, Fd>> refused;
  refused.emplace_back("directory",
                       Fd(check(open("/usr", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open")));
  refused.emplace_back("O_PATH", Fd(check(open("/etc/passwd", O_PATH | O_CLOEXEC), "open")));
  refused.emplace_back("namespace",
                       Fd(check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "open")));
  refused.emplace_back("netlink",
                       Fd(check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0), "socket")));
  const auto receive = [](Json request, bool directory) {
    Json action = {{"passed_fd", 0}, {"fd", 3}};
    if (directory) action["directory"] = true;
    request["file_actions"] = Json::array({Json{{"receive", action}}});
    return request;
  };
  for (const auto& [name, fd] : refused) {
    CAPTURE(std::string(name));
    Outcome outcome = client.run(receive(world.boxed_request(), false), {fd.get()});
    INFO(outcome.told());
    CHECK(outcome.error == "Denied");
    CHECK(outcome.parameters["field"].dump().find("file_actions") != std::string::npos);
    Json report = report_of(client, receive(world.probe_request(), false), {fd.get()});
    CHECK(descriptor(report, 3) != nullptr);
  }
  const Fd inet(check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  CHECK(descriptor(report_of(client, receive(world.boxed_request(), false), {inet.get()}),
                   3)["type"] == "socket");
  CHECK(
      descriptor(report_of(client, receive(world.boxed_request(), true), {refused[0].second.get()}),
                 3)["type"] == "directory");
}

}  // namespace
}  // namespace cloister::system_test
