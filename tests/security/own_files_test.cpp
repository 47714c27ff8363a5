// U8: files that answer their user and nobody else, root neither: FUSE without
// allow_other, and NFS that takes root for nobody. What the caller can use works.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boxes.hpp"
#include "fuse.hpp"
#include "people.hpp"

namespace cloister::security_test {
namespace {

using namespace system_test;

// What `who` opens, as a descriptor of ours.
Fd opened_by(const Who& who, const std::string& path, int flags) {
  int pair[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
  Fd ours(pair[0]), theirs(pair[1]);
  const pid_t opener = child([&] {
    become(who);
    const Fd file(check(open(path.c_str(), flags | O_CLOEXEC), path.c_str()));
    send_descriptor(theirs.get(), file.get());
    return 0;
  });
  theirs.reset();
  Fd file = receive_descriptor(ours.get());
  wait_for(opener);
  return file;
}

// The probe's act, with the answer on a pipe of ours.
Json told_by(Client& client, Json request, const std::vector<int>& fds = {}) {
  Outcome outcome = client.run(std::move(request), fds);
  INFO(outcome.told());
  REQUIRE(outcome.error == "");
  REQUIRE(outcome.verdict["ending"] == "exited");
  return Json::parse(outcome.out);
}

Json asking(Json request, const std::vector<std::string>& arguments) {
  request["argv"] = {"probe"};
  for (const std::string& word : arguments) request["argv"].push_back(word);
  return request;
}

TEST_CASE("U8: a workspace, binds and descriptors that answer their user alone work") {
  NEEDS_ROOT();
  if (access("/dev/fuse", R_OK | W_OK) != 0) SKIP("no /dev/fuse");
  World& world = World::get();
  const Who& alice = world.alice();
  const std::string directory = world.directory_of(world.root()), mounted = directory + "/own";
  check(chmod(directory.c_str(), 0755), "chmod");
  check(mkdir(mounted.c_str(), 0755), "mkdir");
  const PrivateMounts mounts;
  SilentFiles files(mounted, alice);
  {
    struct stat status {};
    const int refused = stat(files.plain().c_str(), &status);
    REQUIRE(refused != 0);  // root itself may not look
  }
  Service service(world.root(), directory);
  Client user = service.connect(alice), alone = world.connect_alone(alice);
  for (Client* client : {&user, &alone}) {
    CAPTURE((client == &user ? "service" : "private"));
    const auto run = [&](const Json& request, const std::vector<std::string>& arguments,
                         const std::vector<int>& fds = {}) {
      return told_by(*client, asking(request, arguments), fds);
    };
    Json box = world.boxed_request();
    box["workspace"] = {{"path", mounted}};
    CHECK(run(box, {"read", mounted + "/plain"})["text"] == "of the user");
    CHECK(run(box, {"file-write", mounted + "/plain", "x"})["error"] == nullptr);
    Json within = box;
    within["cwd"] = mounted + "/tree";
    CHECK(run(within, {"read", mounted + "/plain"})["text"] == "of the user");

    Json bound = world.boxed_request();
    bound["mounts"].push_back({{"at", "/run/tree"}, {"bind", mounted}});
    bound["mounts"].push_back({{"at", "/run/file"}, {"bind", files.plain()}, {"access", "rw"}});
    CHECK(run(bound, {"read", "/run/tree/plain"})["text"] == "of the user");
    CHECK(run(bound, {"file-write", "/run/tree/plain", "x"})["error"] == "EROFS");
    CHECK(run(bound, {"read", "/run/file"})["text"] == "of the user");

    const Fd path = opened_by(alice, mounted + "/tree", O_PATH);
    Json passed = world.boxed_request();
    passed["mounts"].push_back({{"at", "/run/tree"}, {"bind", {{"passed_fd", 0}}}});
    CHECK(run(passed, {"stat", "/run/tree"}, {path.get()})["error"] == nullptr);

    // As stdin, into a box: there the monitor asks what it is.
    const Fd file = opened_by(alice, files.plain(), O_RDONLY);
    Json streamed = world.boxed_request({"noop"});
    streamed["stdin"] = {{"passed_fd", 0}};
    Outcome outcome = client->run(streamed, {file.get()});
    INFO(outcome.told());
    CHECK(outcome.verdict["ok"] == true);
    // And a directory is known for one.
    const Fd tree = opened_by(alice, mounted, O_RDONLY | O_DIRECTORY);
    streamed["stdin"] = "null";
    streamed["file_actions"] = {{{"receive", {{"passed_fd", 0}, {"fd", 5}}}}};
    outcome = client->run(streamed, {tree.get()});
    INFO(outcome.told());
    CHECK(outcome.told().find("directories-are-granted-by-name") != std::string::npos);

    // Deeper ones in it: the way there is the caller's to walk.
    Json deeper = box;
    deeper["mounts"].push_back({{"at", mounted + "/tree"}, {"tmpfs", Json::object()}});
    deeper["mounts"].push_back({{"at", mounted + "/plain"}, {"file", {{"text", "of the job"}}}});
    CHECK(run(deeper, {"read", mounted + "/plain"})["text"] == "of the job");
    CHECK(run(deeper, {"file-write", mounted + "/tree/made", "x"})["error"] == nullptr);
    deeper = box;
    deeper["masked_paths"] = {mounted + "/plain"};
    CHECK(run(deeper, {"read", mounted + "/plain"})["text"] == "");
    deeper = box;
    deeper["readonly_paths"] = {mounted + "/plain"};
    CHECK(run(deeper, {"file-write", mounted + "/plain", "x"})["error"] == "EROFS");
  }
  service.stop();
}

}  // namespace
}  // namespace cloister::security_test
