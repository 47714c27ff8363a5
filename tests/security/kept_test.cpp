// Verdicts that are kept: how many of one user, and how long.
#include <sys/resource.h>

#include "jobs.hpp"
#include "ruled.hpp"

namespace cloister::security_test {
namespace {

// A job that has ended, by its id.
std::string ended(Client& client) {
  const Json started = start(client, World::get().probe_request({"noop"}));
  wait(client, started["id"]);
  return started["id"];
}

bool is_kept(Client& client, const std::string& id) {
  const Reply reply = client.call("Inspect", {{"id", id}});
  CHECK((reply.error == "" || reply.error == "NoSuchJob"));
  return reply.error == "";
}

TEST_CASE("max_verdicts_per_uid: the oldest of a user's verdicts goes, and never another user's") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"max_verdicts_per_uid", 2}});
  Client alice = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  const std::string first = ended(alice), second = ended(alice);
  CHECK(is_kept(alice, first));
  CHECK(is_kept(alice, second));
  // Bob's come to the bound and one past it: of alice's none is older than his.
  std::vector<std::string> his;
  for (int i = 0; i < 4; ++i) his.push_back(ended(bob));
  CHECK(is_kept(alice, first));
  CHECK(is_kept(alice, second));
  CHECK_FALSE(is_kept(bob, his[0]));
  CHECK_FALSE(is_kept(bob, his[1]));
  CHECK(is_kept(bob, his[2]));
  CHECK(is_kept(bob, his[3]));
  // A job that runs is no verdict: it neither counts nor goes.
  const Json running = start(alice, world.probe_request({"hold"}));
  const std::string third = ended(alice);
  CHECK_FALSE(is_kept(alice, first));
  CHECK(is_kept(alice, second));
  CHECK(is_kept(alice, third));
  CHECK(is_kept(alice, running["id"]));
  CHECK(bob.call("Describe").parameters["jobs_kept"] == 2);
  discard(alice, running["id"]);
}

TEST_CASE("max_verdicts_per_uid: no user has more than an eighth of the monitor's descriptors") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json{{"max_verdicts_per_uid", 400}});
  Client alice = ruled.connect(world.alice());
  for (const auto& [descriptors, verdicts] : {std::pair{8000u, 400}, {3200u, 400}, {3199u, 399}}) {
    CAPTURE(descriptors);
    rlimit files{};
    REQUIRE(::prlimit(ruled.service().pid(), RLIMIT_NOFILE, nullptr, &files) == 0);
    files.rlim_cur = descriptors;
    REQUIRE(::prlimit(ruled.service().pid(), RLIMIT_NOFILE, &files, nullptr) == 0);
    CHECK(alice.call("Describe").parameters["jobs_kept_limit"] == verdicts);
  }
}

TEST_CASE("keep_verdicts_s: a verdict goes when its time is over, and not before") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled shortly(Json{{"keep_verdicts_s", 1}}), long_after(Json{{"keep_verdicts_s", 3600}});
  Client fast = shortly.connect(world.alice()), slow = long_after.connect(world.alice());
  const std::string kept = ended(slow), running = start(fast, world.probe_request({"hold"}))["id"];
  const std::string gone = ended(fast);
  CHECK(eventually([&] { return !is_kept(fast, gone); }));
  CHECK(is_kept(slow, kept));
  // It counts from the end of a job, not from its start.
  CHECK(is_kept(fast, running));
  CHECK(fast.call("Signal", {{"id", running}, {"signal", "SIGKILL"}}).error == "");
  CHECK(wait(fast, running)["id"] == running);
  CHECK(eventually([&] { return !is_kept(fast, running); }));
}

}  // namespace
}  // namespace cloister::security_test
