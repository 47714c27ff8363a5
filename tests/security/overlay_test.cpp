// S1, S2: what a job's mounts go on doing for it is done as its client.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>

#include "medium.hpp"
#include "mounts.hpp"

namespace cloister::security_test {
namespace {

TEST_CASE("before: overlay") {
  NEEDS_ROOT();
  count_before();
}

void copy_up_from(Medium::Kind kind) {
  World& world = World::get();
  const Medium medium(kind);
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::vector<Json> requests;
    for (const Json& boxed : boxed_requests(client, {"copy-up", "/run/over"}))
      for (const Json& each : with_and_without_user_namespace(boxed)) requests.push_back(each);
    int ran = 0;
    for (const Json& request : requests) {
      CAPTURE(request.dump());
      const std::string directory = world.directory_of(world.alice());
      Json overlay = kept_in(directory);
      overlay["lower"] = {medium.path()};
      const census::Files before = census::take_files({directory, medium.path()});
      Json asked = mounted(request, {{"at", "/run/over"}, {"overlay", overlay}});
      Outcome outcome = client.run(asked);
      INFO(outcome.told());
      // With leased ids nothing is kept, and its ids are in no user namespace.
      if (outcome.error == "Denied" || outcome.error == "InvalidRequest") {
        CHECK(request["profile"] == "untrusted");
        continue;
      }
      REQUIRE(outcome.verdict["ending"] == "exited");
      ++ran;
      const census::Files after = census::take_files({directory, medium.path()});
      CHECK(census::beyond(alice_may_be(), before, after) == "");
      const Json answer = Json::parse(outcome.out, nullptr, false);
      INFO(answer.dump());
      // It did try: where the payload is alice, what is hers is copied up.
      if (request.value("uid_map", Json()) != "subordinate") {
        CHECK(answer["set-uid-of-alice touch"] == nullptr);
        CHECK(access((directory + "/upper/set-uid-of-alice.moved").c_str(), F_OK) == 0);
      }
      for (const char* name :
           {"set-uid touch", "set-uid open", "set-uid-of-bob touch", "set-gid-of-root touch",
            "block touch", "char touch", "capable touch", "listed open", "directory make"})
        CHECK_MESSAGE(answer[name] == "EOVERFLOW", name << " " << answer[name].dump());
      struct stat status {};
      CHECK(lstat((directory + "/upper/set-uid.moved").c_str(), &status) != 0);
    }
    CHECK(ran >= 6);
  }
}

TEST_CASE("S1: what a crafted file system has is not copied onto the host's disk") {
  NEEDS_ROOT();
  copy_up_from(Medium::Kind::memory);
}

TEST_CASE("S1: what a medium mounted by a loop device has is not copied onto the host's disk") {
  NEEDS_ROOT();
  if (const std::string reason = Medium::why_not(Medium::Kind::image); !reason.empty())
    SKIP(reason);
  copy_up_from(Medium::Kind::image);
}

TEST_CASE("S1: a medium that is bound, not copied, stays nosuid and nodev") {
  NEEDS_ROOT();
  World& world = World::get();
  const Medium medium(Medium::Kind::memory);
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    const Json mount = {
        {"at", "/run/medium"}, {"bind", medium.path()}, {"nosuid", false}, {"nodev", false}};
    const MountLine line = mount_at(client, mounted(world.boxed_request(), mount), "/run/medium");
    INFO(line.whole);
    for (const char* option : {"nosuid", "nodev"}) CHECK(line.has(option));
  }
}

TEST_CASE("S2: merged directories show nothing that the client cannot open") {
  NEEDS_ROOT();
  World& world = World::get();
  // DIRECTORY/vault/secret is there for root alone, and below a name that alice
  // may have as well.
  const std::string directory = world.directory_of(world.root());
  check(chmod(directory.c_str(), 0755), "chmod");
  check(mkdir((directory + "/vault").c_str(), 0700), "mkdir");
  check(mkdir((directory + "/vault/deep").c_str(), 0755), "mkdir");
  for (const char* name : {"/vault/secret", "/vault/deep/secret"})
    write_file(directory + name, "canary", 0644);
  write_file(directory + "/unreadable", "canary", 0600);
  write_file(directory + "/open", "open to all", 0644);
  // On a file system of its own, since the kernel takes no layer inside another.
  const std::string mine = world.directory_of(world.root());
  const HostMount apart(mine);
  for (const char* name : {"/vault", "/root"}) {
    check(mkdir((mine + name).c_str(), 0755), "mkdir");
    check(chown((mine + name).c_str(), world.alice().uid, world.alice().gid), "chown");
  }
  for (const Way way : kUserWays) {
    CAPTURE(name_of(way));
    Client client = world.connect(way);
    std::vector<Json> requests;
    for (const Json& boxed : boxed_requests(client, {}))
      for (const Json& each : with_and_without_user_namespace(boxed)) requests.push_back(each);
    int ran = 0;
    for (const Json& request : requests) {
      CAPTURE(request.dump());
      for (const bool keep : {false, true}) {
        Json overlay = keep ? kept_in(world.directory_of(world.alice())) : Json::object();
        overlay["lower"] = {mine, directory};
        const Json asked = mounted(request, {{"at", "/run/over"}, {"overlay", overlay}});
        const Outcome outcome = client.run(words(asked, {"read", "/run/over/open"}));
        INFO(outcome.told());
        if (outcome.error == "Denied" || outcome.error == "InvalidRequest") {
          CHECK(request["profile"] == "untrusted");
          continue;
        }
        ++ran;
        CHECK(Json::parse(outcome.out, nullptr, false)["text"] == "open to all");
        for (const char* path :
             {"/run/over/vault/secret", "/run/over/vault/deep/secret", "/run/over/unreadable"}) {
          CAPTURE(std::string(path));
          CHECK(act(client, words(asked, {"read", path}))["error"] == "EACCES");
        }
        Json listing = words(asked, {});
        listing["executable"] = "/bin/sh";
        listing["argv"] = {"sh", "-c", "ls -R /run/over/vault; echo listed"};
        const Outcome listed = client.run(listing);
        CHECK(listed.out.find("secret") == std::string::npos);
        CHECK(listed.out.find("listed") != std::string::npos);
      }
    }
    CHECK(ran >= 12);
    // The same with the host's own root, which shows no home of root's. In a user
    // namespace of her own alice makes no layer of a directory with mounts in it.
    if (way != Way::user) continue;
    const Json asked = mounted(world.boxed_request(),
                               {{"at", "/run/over"}, {"overlay", {{"lower", {mine, "/"}}}}});
    CHECK(act(client, words(asked, {"read", "/run/over/root/.bashrc"}))["error"] == "EACCES");
  }
}

TEST_CASE("S1: root's own overlay keeps what root may keep") {
  NEEDS_ROOT();
  World& world = World::get();
  const Medium medium(Medium::Kind::memory);
  Client client = world.connect(Way::root);
  const std::string directory = world.directory_of(world.root());
  for (const char* name : {"/upper", "/work"})
    check(mkdir((directory + name).c_str(), 0755), "mkdir");
  const Json overlay = {
      {"lower", {medium.path()}}, {"upper", directory + "/upper"}, {"work", directory + "/work"}};
  const Json asked = mounted(world.boxed_request({"copy-up", "/run/over"}),
                             {{"at", "/run/over"}, {"overlay", overlay}});
  const Json answer = act(client, asked);
  INFO(answer.dump());
  for (const char* name : {"set-uid touch", "set-uid-of-bob touch", "capable touch"})
    CHECK(answer[name] == nullptr);
  // No user namespace has a right to a device, and an overlay of ours is in one.
  CHECK(answer["block touch"] == "EPERM");
}

TEST_CASE("after: overlay has left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
