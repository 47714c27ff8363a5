// S11: whether a mount can be made, or a mask is there, tells nothing of directories
// that neither payload nor client can enter.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <sstream>

#include "boxes.hpp"
#include "ids.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTree = "/run/tree";  // where the box shows what is outside

// Root's, with a file, a directory and links, below a directory that everybody reads.
class Closed {
 public:
  explicit Closed(mode_t mode = 0700, gid_t group = 0) {
    fs::remove_all(top);
    fs::create_directories(path + "/directory");
    write_file(path + "/file", "secret");
    write_file(path + "/directory/file", "secret");
    fs::create_symlink("/etc", path + "/link");
    check(chown(path.c_str(), 0, group), "chown");
    check(chmod(path.c_str(), mode), "chmod");
  }
  ~Closed() { fs::remove_all(top); }
  const std::string top = "/var/lib/cloister-test-places", path = top + "/closed";
  const std::string inside = std::string(kTree) + "/closed";
};

const char* const kNames[] = {"/file",           "/nothing", "/directory",   "/nothing/below",
                              "/directory/file", "/link",    "/link/passwd", "/file/below"};

Json box(const Closed& closed, const std::vector<std::string>& argv) {
  Json request = {{"profile", "default"}, {"argv", argv}};
  request["mounts"] = {{{"at", kTree}, {"bind", closed.top}, {"access", "ro"}}};
  return request;
}

// The mount points at and below the closed directory, as the payload reads them.
std::string points(const std::string& mountinfo, const Closed& closed) {
  std::string out;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string point;
    for (int i = 0; i < 5; ++i) words >> point;
    if (point.rfind(closed.inside, 0) == 0) out += point.substr(closed.inside.size()) + ";";
  }
  return out;
}

Outcome run(Client& client, const Json& request) {
  Outcome outcome = client.run(request);
  INFO(outcome.told());
  CHECK(outcome.error == "");
  return outcome;
}

TEST_CASE("S11: a mount in a closed directory is refused alike, whatever is there") {
  NEEDS_ROOT();
  World& world = World::get();
  const Closed closed;
  Client client = world.connect(Way::user);
  const std::pair<const char*, Json> kKinds[] = {{"bind of a file", {{"bind", "/etc/passwd"}}},
                                                 {"bind of a directory", {{"bind", "/etc"}}},
                                                 {"tmpfs", {{"tmpfs", Json::object()}}},
                                                 {"scratch", {{"scratch", Json::object()}}},
                                                 {"file", {{"file", {{"text", "text"}}}}},
                                                 {"dir", {{"dir", Json::object()}}},
                                                 {"symlink", {{"symlink", "/etc"}}},
                                                 {"proc", {{"proc", Json::object()}}},
                                                 {"overlay", {{"overlay", {{"lower", {"/etc"}}}}}}};
  for (const auto& [kind, what] : kKinds) {
    CAPTURE(std::string(kind));
    for (const char* name : kNames) {
      CAPTURE(std::string(name));
      Json request = box(closed, {"cat", "/proc/self/mountinfo"});
      Json mount = what;
      mount["at"] = closed.inside + name;
      request["mounts"].push_back(mount);
      Outcome refused = run(client, request);
      CHECK(refused.verdict["ending"] == "not_started");
      // A link is made in what is the job's own, whether it has a name there or not.
      const bool in_parent = mount.contains("symlink") && fs::path(name).parent_path() == "/";
      CHECK(refused.verdict["failure"]["errno"] == (in_parent ? ENOENT : EACCES));
      request["mounts"].back()["optional"] = true;
      Outcome left_out = run(client, request);
      INFO(left_out.told());
      CHECK(left_out.verdict["ending"] == "exited");
      CHECK(points(left_out.out, closed) == "");
    }
  }
}

TEST_CASE("S11: a mask in a closed directory covers the whole of it, whatever is there") {
  NEEDS_ROOT();
  World& world = World::get();
  const Closed closed;
  for (const Way way : {Way::user, Way::rootless, Way::alone}) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    for (const char* field : {"masked_paths", "readonly_paths"})
      for (const char* name : kNames) {
        CAPTURE(std::string(field));
        CAPTURE(std::string(name));
        Json request = box(closed, {"cat", "/proc/self/mountinfo"});
        request[field] = {closed.inside + name};
        Outcome outcome = run(client, request);
        INFO(outcome.told());
        CHECK(points(outcome.out, closed) == ";");
        CHECK(outcome.verdict["ending"] == "exited");
      }
  }
  Client client = world.connect(Way::user);
  // Several, and one in which another mount has its place.
  Json request = box(closed, {"cat", "/proc/self/mountinfo"});
  request["masked_paths"] = {closed.inside + "/file", closed.inside + "/nothing"};
  Outcome both = run(client, request);
  CHECK(both.verdict["ending"] == "exited");
  CHECK(points(both.out, closed).find("/") == std::string::npos);
}

TEST_CASE("S11: where payload or client may enter, a mask is where it was asked for") {
  NEEDS_ROOT();
  World& world = World::get();
  const auto masked = [](Client& client, const Closed& closed, Json more = Json::object()) {
    Json request = box(closed, {"cat", "/proc/self/mountinfo"});
    request["masked_paths"] = {closed.inside + "/file", closed.inside + "/nothing"};
    request.update(more);
    Outcome outcome = run(client, request);
    CHECK(outcome.verdict["ending"] == "exited");
    return points(outcome.out, closed);
  };
  Client alice = world.connect(Way::user), root = world.connect(Way::root);
  {
    const Closed open(0755);
    CHECK(masked(alice, open) == "/file;");
  }
  {
    const Closed of_group(0710, world.alice().gid);
    CHECK(masked(alice, of_group) == "/file;");
  }
  // A supplementary group of the payload's alone.
  constexpr gid_t kLent = 54321;
  Ruled ruled(rules({{{"name", "lent"}, {"allow", {{"gids", {kLent}}}}}}));
  Client lent = ruled.connect(world.alice());
  {
    const Closed of_group(0710, kLent);
    CHECK(masked(lent, of_group) == ";");
    Json identity = {{"ruid", world.alice().uid}, {"rgid", world.alice().gid}};
    identity["groups"] = world.alice().groups;
    identity["groups"].push_back(kLent);
    CHECK(masked(lent, of_group, {{"identity", identity}}) == "/file;");
  }
  const Closed closed;
  CHECK(masked(root, closed) == "/file;");
  CHECK(masked(root, closed,
               {{"identity", {{"ruid", world.alice().uid}, {"rgid", world.alice().gid}}}}) ==
        "/file;");
}

TEST_CASE("S11: a user namespace's powers reach into the directories of all its ids") {
  NEEDS_ROOT();
  World& world = World::get();
  Client client = world.connect(Way::user);
  Json request = subordinate_request({"hold"});
  request["identity"] = {{"ruid", 0}, {"rgid", 0}};
  unsigned uid = 0, gid = 0;
  {
    const Held job(client, request);
    for (const auto& [file, id] : {std::pair{"/uid_map", &uid}, std::pair{"/gid_map", &gid}})
      REQUIRE(std::sscanf(read_file("/proc/" + std::to_string(job.pid()) + file).c_str(), "%*u %u",
                          id) == 1);
  }
  const Closed closed;
  check(chown(closed.path.c_str(), uid + 1000, gid + 1000), "chown");
  request["executable"] = "/bin/cat";
  request["argv"] = {"cat", "/proc/self/mountinfo"};
  request["mounts"].push_back({{"at", kTree}, {"bind", closed.top}, {"access", "ro"}});
  request["masked_paths"] = {closed.inside + "/file"};
  const auto where = [&] { return points(run(client, request).out, closed); };
  CHECK(where() == ";");  // closed to one id without powers
  for (const char* set : {"bounding", "permitted", "effective"})
    request["capabilities"][set] = "all";
  CHECK(where() == "/file;");
}

TEST_CASE("S11: what the payload could open to itself is masked all the same") {
  NEEDS_ROOT();
  World& world = World::get();
  const std::string tree = world.directory_of(world.alice()), own = tree + "/own";
  check(mkdir(own.c_str(), 0700), "mkdir");
  write_file(own + "/secret", "secret");
  write_file(own + "/other", "other");
  for (const std::string& path : {own, own + "/secret", own + "/other"})
    check(chown(path.c_str(), world.alice().uid, world.alice().gid), "chown");
  check(chmod(own.c_str(), 0), "chmod");
  Client client = world.connect(Way::user);
  Json request = {
      {"profile", "default"},
      {"argv", {"sh", "-c", "chmod 700 /run/tree/own; cd /run/tree/own; cat secret; cat other"}}};
  request["mounts"] = {{{"at", kTree}, {"bind", tree}, {"access", "rw"}}};
  Outcome open = run(client, request);
  CHECK(open.out == "secretother");
  check(chmod(own.c_str(), 0), "chmod");
  request["masked_paths"] = {"/run/tree/own/secret"};
  Outcome masked = run(client, request);
  CHECK(masked.out == "other");
}

}  // namespace
}  // namespace cloister::security_test
