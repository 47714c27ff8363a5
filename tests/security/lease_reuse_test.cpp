// S4: an id is lent, not given. Nothing that is the host's is left with a leased
// id, whatever reaches its job from outside, and the next holder finds nothing.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "boxes.hpp"
#include "ids.hpp"
#include "listener.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;
using system_test::subordinate_request;

// Nobody has these.
constexpr unsigned kPool = 1'910'000'000;

std::string why_no_leases() {
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Outcome outcome =
      client.run(with(world.boxed_request({"noop"}), {{"identity", "dynamic"}}));
  return outcome.error.empty() ? "" : outcome.told();
}

#define NEEDS_LEASES() \
  NEEDS_ROOT(); \
  if (const std::string why = why_no_leases(); !why.empty()) SKIP(why)

// Everybody may change it, and what is in it.
class Open {
 public:
  explicit Open(const Who& who) : path(World::get().directory_of(who)) {
    check(chmod(path.c_str(), 0777), "chmod");
    write_file(path + "/given", "given", 0666);
    check(chown((path + "/given").c_str(), who.uid, who.gid), "chown");
    check(chmod((path + "/given").c_str(), 0666), "chmod");
    fd = Fd(check(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
  }
  bool untouched() const {
    return std::distance(fs::directory_iterator(path), {}) == 1 &&
           read_file(path + "/given") == "given";
  }
  const std::string path;
  Fd fd;
};

std::pair<Fd, Fd> socket_pair() {
  int ends[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
  return {Fd(ends[0]), Fd(ends[1])};
}

// A job that gets `directory` over a socket that it was started with.
Json changed_by(Client& client, Json request, int directory) {
  auto [ours, theirs] = socket_pair();
  send_descriptor(ours.get(), directory);
  request["argv"] = {"probe", "receive-and-change", "7"};
  request["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 7}}}}};
  return act(client, request, {theirs.get()});
}

void check_nothing_done(const Json& answers) {
  INFO(answers.dump());
  CHECK(answers.value("receive", Json("absent")) == nullptr);
  CHECK(answers.size() >= 11);
  check_all_refused(answers, {"EACCES"}, {"receive"});
}

std::vector<Json> leased_requests(Client& client, Way way) {
  World& world = World::get();
  const Json box = with(world.boxed_request(), {{"seccomp", "none"}});
  std::vector<Json> all = {with(box, {{"identity", "dynamic"}})};
  for (Json request : boxed_requests(client, {}))
    if (request["profile"] == "untrusted") all.push_back(request);
  if (way == Way::root) {  // whose blocks are leased, as it has no subordinate ids
    Json block = subordinate_request();
    block["seccomp"] = "none";
    all.push_back(block);
  }
  return all;
}

TEST_CASE("before: leased ids") {
  NEEDS_ROOT();
  World& world = World::get();
  // The store is opened when it is first needed.
  for (const Way way : kBoxWays)
    world.connect(way).run(World::on_disk(world.boxed_request({"noop"}), "/run/scratch"));
  count_before();
}

TEST_CASE("S4: a directory that reaches a leased payload over a passed socket is not changed") {
  NEEDS_LEASES();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const Json& request : leased_requests(client, way)) {
      CAPTURE(request.dump());
      const Open directory(world.who(way));
      check_nothing_done(changed_by(client, request, directory.fd.get()));
      CHECK(directory.untouched());
    }
    // The attempts are good ones: as itself the caller changes it.
    const Open own(world.who(way));
    const Json answers =
        changed_by(client, with(world.boxed_request(), {{"seccomp", "none"}}), own.fd.get());
    INFO(answers.dump());
    for (const char* what : {"create", "tmpfile", "mkdir", "bind", "truncate"})
      CHECK(answers.value(what, Json("absent")) == nullptr);
    CHECK(!own.untouched());
  }
}

TEST_CASE("S4: nor one that comes from a socket which the payload finds in a bind") {
  NEEDS_LEASES();
  World& world = World::get();
  Client client = world.connect(Way::user);
  const Open directory(world.alice());
  const std::string bound = world.directory_of(world.alice()), path = bound + "/socket";
  check(chmod(bound.c_str(), 0755), "chmod");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const Fd listener = listen_at(reinterpret_cast<sockaddr*>(&address), sizeof address);
  check(chmod(path.c_str(), 0777), "chmod");
  const pid_t server = child([&] {
    const Fd connection(check(accept(listener.get(), nullptr, nullptr), "accept"));
    send_descriptor(connection.get(), directory.fd.get());
    read_from(connection.get(), 1);
    return 0;
  });
  Json request =
      with(world.boxed_request({"connect-and-change", path}),
           {{"identity", "dynamic"}, {"workspace", {{"path", bound}, {"access", "ro"}}}});
  Json answers = act(client, request);
  kill(server, SIGKILL);
  wait_for(server);
  INFO(answers.dump());
  CHECK(answers["connect"] == nullptr);
  answers.erase("connect");
  check_nothing_done(answers);
  CHECK(directory.untouched());
}

TEST_CASE("S4: what is shown as the caller's can be written, and only as that") {
  NEEDS_LEASES();
  World& world = World::get();
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Open directory(world.who(way));
    Json request = with(
        world.boxed_request(),
        {{"identity", "dynamic"}, {"workspace", {{"path", directory.path}, {"owner", "caller"}}}});
    // The same directory, past the mount that makes files in it the caller's.
    check_nothing_done(changed_by(client, request, directory.fd.get()));
    CHECK(directory.untouched());
    request["executable"] = "/bin/sh";
    request["argv"] = {"sh", "-c",
                       "echo made >made && mkdir d && mv made d/moved && echo more >>given"};
    request["cwd"] = directory.path;
    const Outcome outcome = client.run(request);
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    CHECK(read_file(directory.path + "/d/moved") == "made\n");
    CHECK(read_file(directory.path + "/given") == "givenmore\n");
    struct stat status;
    check(stat((directory.path + "/d/moved").c_str(), &status), "stat");
    CHECK(status.st_uid == world.who(way).uid);
  }
}

TEST_CASE("S4: a leased job works in all that is its own") {
  NEEDS_LEASES();
  World& world = World::get();
  const char* const work =
      "set -e; for at in /tmp /dev/shm; do cd $at; mkdir one two; echo x >one/file; "
      "mv one/file two/moved; ln two/moved two/link; ln -s moved two/symlink; : >two/moved; "
      "mkfifo fifo; rm -r one two fifo; done; echo x >/dev/null; echo 7 >/proc/self/oom_score_adj; "
      "test -w /dev/tty; cat /proc/self/oom_score_adj";
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (Json request : leased_requests(client, way)) {
      CAPTURE(request.dump());
      request["executable"] = "/bin/sh";
      request["argv"] = {"sh", "-c", work};
      const Outcome outcome = client.run(request);
      INFO(outcome.told());
      INFO(outcome.out);
      CHECK(outcome.verdict["exit_code"] == 0);
      CHECK(outcome.out == "7\n");
    }
  }
  // In an overlay that is thrown away, on disk, and in files of the request.
  Client client = world.connect(Way::user);
  Json request =
      with(World::on_disk(world.boxed_request(), "/run/scratch"), {{"identity", "dynamic"}});
  request["mounts"].push_back({{"at", "/run/usr"}, {"overlay", {{"lower", {"/usr"}}}}});
  request["executable"] = "/bin/sh";
  request["argv"] = {"sh", "-c",
                     "mkdir /run/scratch/d && echo x >/run/scratch/d/x && "
                     "mv /run/scratch/d/x /run/scratch/y"};
  const Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.verdict["ok"] == true);
}

TEST_CASE("S4: a leased id has no keyring that the next one would find") {
  NEEDS_LEASES();
  World& world = World::get();
  const std::string name = "cloister-lent-" + std::to_string(getpid());
  for (const Way way : {Way::root, Way::user}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json leased = with(world.boxed_request(), {{"seccomp", "none"}, {"identity", "dynamic"}});
    for (const char* word : {"key-add", "key-find"}) {
      Json answers = act(client, with(leased, {{"argv", {"probe", word, name}}}));
      answers.erase("listed");
      check_all_refused(answers, {"ENOSYS"});
    }
    // As itself the caller has keyrings.
    const Json own =
        act(client, with(world.boxed_request({"key-find", name}), {{"seccomp", "none"}}));
    CHECK(own.value("process", Json()) == (has_keyrings() ? "ENOKEY" : "ENOSYS"));
  }
}

// What each of these jobs had as its uid.
std::vector<unsigned> ids_of(Client& client, int jobs) {
  std::vector<unsigned> ids;
  for (int i = 0; i < jobs; ++i) {
    const Json request = with(World::get().boxed_request(), {{"identity", "dynamic"}});
    Outcome outcome;
    // The id of the job before is given back a moment after its end.
    eventually([&] { return (outcome = client.run(request)).error != "Busy"; });
    INFO(outcome.told());
    REQUIRE(outcome.error.empty());
    ids.push_back(outcome.report()["ruid"]);
  }
  return ids;
}

TEST_CASE("S4: ids go round, also across a restart of the service") {
  NEEDS_LEASES();
  World& world = World::get();
  const std::string directory = world.directory_of(world.root()),
                    file = directory + "/cloisterd.json";
  check(chmod(directory.c_str(), 0755), "chmod");
  write_file(file, Json{{"lease", {{"first", kPool}, {"count", 12}, {"block", 12}}}}.dump());
  std::vector<unsigned> ids;
  const auto serve = [&](int jobs, int signal) {
    Service service(world.root(), directory, {"--config", file});
    {
      Client client = service.connect(world.alice());
      for (const unsigned id : ids_of(client, jobs)) ids.push_back(id);
    }
    if (signal == SIGKILL) kill(service.pid(), SIGKILL);
  };
  serve(3, SIGTERM);
  serve(4, SIGKILL);
  serve(5, SIGTERM);
  CHECK(ids.size() == 12);
  CHECK(std::set<unsigned>(ids.begin(), ids.end()).size() == 12);
  serve(2, SIGTERM);
  CHECK(ids[12] == ids[0]);
  // A file that is no such position is none.
  const std::string kept = directory + "/run/records/leases";
  struct stat status;
  check(stat(kept.c_str(), &status), "stat");
  CHECK(status.st_uid == 0);
  CHECK((status.st_mode & 07777) == 0600);
  for (const auto& content : std::vector<std::string>{"", "x", std::string(4096, '\xff')}) {
    write_file(kept, content, 0600);
    serve(1, SIGTERM);
    CHECK(ids.back() == kPool);
  }
}

TEST_CASE("after: leased ids have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
