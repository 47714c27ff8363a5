// S1 to S4: whatever jobs do, nothing of it stays on the host that their client
// could not have made. Random boxes, random acts; the seed is printed, and
// CLOISTER_SEED repeats a run. 1,000 jobs with CLOISTER_SOAK, some dozens without.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "medium.hpp"

namespace cloister::security_test {
namespace {

TEST_CASE("before: random jobs") {
  NEEDS_ROOT();
  // What a service makes once, its store of scratch directories, is there before.
  World& world = World::get();
  for (const Way way : {Way::user, Way::rootless}) {
    Client client = world.connect(way);
    const Outcome first = client.run(World::on_disk(world.boxed_request({"noop"}), "/run/scratch"));
    INFO(first.told());
    REQUIRE(first.verdict["ok"] == true);
  }
  count_before();
}

// What a job may be given: directories of alice's, a medium, one for everybody.
class Playground {
 public:
  Playground() : medium_(Medium::Kind::memory) {
    World& world = World::get();
    own_ = world.directory_of(world.alice());
    shared_ = world.directory_of(world.root());
    check(chmod(shared_.c_str(), 01777), "chmod");
    for (const char* name : {"/a", "/b"}) {
      check(mkdir((own_ + name).c_str(), 0755), "mkdir");
      write_file(own_ + name + "/file", "alice's", 0644);
      write_file(shared_ + std::string(name).substr(1), "root's", 0644);
    }
    const Who& who = world.alice();
    REQUIRE(command({"chown", "-R", std::to_string(who.uid) + ":" + std::to_string(who.gid),
                     own_}) == 0);
  }

  std::vector<std::string> directories() const {
    return {own_, shared_, medium_.path(), World::get().disk()};
  }
  const std::string& own() const { return own_; }
  const std::string& shared() const { return shared_; }
  const std::string& medium() const { return medium_.path(); }

 private:
  const Medium medium_;
  std::string own_, shared_;
};

class Jobs {
 public:
  Jobs(uint32_t seed, const Playground& playground) : engine_(seed), playground_(playground) {}

  Json next() {
    World& world = World::get();
    Json request = world.boxed_request();
    request["profile"] = one_of({"default", "build", "untrusted", "browser"});
    if (below(4) == 0) request["identity"] = "dynamic";
    request = with_and_without_user_namespace(request)[below(5) > 2 ? 1 + below(2) : 0];
    if (below(4) == 0) request["seccomp"] = "none";
    Json words = {"probe", "random-acts", std::to_string(below(1u << 31)), "150", "/tmp"};
    for (uint32_t i = 0, count = 1 + below(4); i < count; ++i) {
      const std::string at = "/run/m" + std::to_string(i);
      Json mount = some_mount();
      if (mount.contains("bind") && below(2)) mount["nosuid"] = mount["nodev"] = false;
      if (mount.contains("bind") && below(3) == 0) mount["owner"] = "caller";
      mount["at"] = at;
      request["mounts"].push_back(mount);
      words.push_back(at);
    }
    if (below(2)) {
      request["workspace"] = {{"path", playground_.own() + one_of({"/a", "/b"})}};
      if (below(2)) request["workspace"]["owner"] = "caller";
      words.push_back(request["workspace"]["path"]);
    }
    request["argv"] = words;
    return request;
  }
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(engine_()) % end; }

 private:
  std::string one_of(const std::vector<std::string>& words) {
    return words[below(static_cast<uint32_t>(words.size()))];
  }
  std::string some_directory() {
    return one_of({playground_.own(), playground_.own() + "/a", playground_.shared(),
                   playground_.medium(), playground_.medium() + "/directory", "/usr/share"});
  }
  Json overlay(bool kept) {
    Json overlay = {{"lower", Json::array()}};
    if (kept) overlay.update(kept_in(World::get().directory_of(World::get().alice())));
    for (uint32_t i = 1 + below(3); i > 0; --i) overlay["lower"].push_back(some_directory());
    return overlay;
  }
  Json some_mount() {
    switch (below(12)) {
      case 0:
      case 1: return {{"bind", some_directory()}, {"access", "rw"}};
      case 2: return {{"bind", playground_.medium()}};
      case 3: return {{"overlay", overlay(false)}};
      case 4:
      case 5: return {{"overlay", overlay(true)}};
      case 6: return {{"tmpfs", {{"mode", "1777"}}}};
      case 7: return {{"scratch", {{"on", one_of({"disk", "memory"})}}}};
      case 8: return {{"file", {{"text", "x"}}}, {"access", "rw"}};
      case 9: return {{one_of({"mqueue", "devpts", "proc"}), Json::object()}};
      case 10: return {{"dev", "minimal"}};
      default: return {{"dir", {{"mode", "0777"}}}};
    }
  }

  std::mt19937 engine_;
  const Playground& playground_;
};

TEST_CASE("S1 to S4: after random jobs there is nothing that their client could not make") {
  NEEDS_ROOT();
  World& world = World::get();
  const bool soak = std::getenv("CLOISTER_SOAK") != nullptr;
  const int jobs = soak ? 1000 : 60;
  if (!soak) not_run("60 of 1,000 jobs; all with CLOISTER_SOAK=1");
  const char* const given = std::getenv("CLOISTER_SEED");
  const uint32_t seed = given ? static_cast<uint32_t>(std::atoll(given)) : std::random_device()();
  std::printf("random jobs: CLOISTER_SEED=%u\n", seed);
  CAPTURE(seed);
  const Playground playground;
  Jobs random(seed, playground);
  const census::Files before = census::take_files(playground.directories());
  const census::People people = alice_may_be();
  int ran = 0, worked = 0;
  for (int i = 0; i < jobs; ++i) {
    CAPTURE(i);
    const Way way = random.below(4) ? Way::user : Way::rootless;
    const Json request = random.next();
    INFO(name_of(way) << " " << request.dump());
    Client client = world.connect(way);
    const Outcome outcome = client.run(request);
    INFO(outcome.told().substr(0, 2000));
    // Many a random box is refused; a job that ran has made its acts.
    if (outcome.error.empty() && outcome.verdict["ending"] == "exited") {
      const Json answer = Json::parse(outcome.out, nullptr, false);
      REQUIRE(answer.is_object());
      ++ran;
      worked += answer["worked"].get<int>();
    }
    const std::string left =
        census::beyond(people, before, census::take_files(playground.directories()));
    REQUIRE(left == "");
  }
  std::printf("random jobs: %d of %d ran, %d acts worked\n", ran, jobs, worked);
  CHECK(ran > jobs / 4);
  CHECK(worked > ran);
}

TEST_CASE("after: random jobs have left nothing behind") {
  NEEDS_ROOT();
  check_nothing_left();
}

}  // namespace
}  // namespace cloister::security_test
