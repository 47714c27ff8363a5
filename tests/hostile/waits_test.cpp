// S10: what a hostile front can have the monitor keep and look through.
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>

#include "ruled.hpp"
#include "script.hpp"

namespace cloister::security_test {
namespace {

using hostile::Script;

plan::Ask wait_for_all() {
  plan::Ask ask;
  std::memset(&ask, 0, sizeof ask);
  ask.kind = plan::AskKind::wait;
  ask.sequence = 1u << 30;  // of no call
  ask.select = plan::Select::all;
  ask.options = WEXITED;
  return ask;
}

plan::Ask list_all() {
  plan::Ask ask = wait_for_all();
  ask.kind = plan::AskKind::list;
  return ask;
}

TEST_CASE("S10: waits without number cost the monitor next to nothing, and another user no time") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object(), {"--front", world.program("hostile-front")});
  Client alice = ruled.connect(world.alice()), bob = ruled.connect(world.bob());
  const Reply held = alice.call("Start", {{"request", world.probe_request({"hold"})}});
  REQUIRE(held.error == "");
  const auto fronts = fronts_of(ruled.service(), world.alice().uid);
  REQUIRE(fronts.size() == 1);
  const pid_t honest = fronts[0];
  const auto bobs = [&] {
    return milliseconds([&] {
      for (int i = 0; i < 50; ++i)
        CHECK(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
    });
  };
  // A few do no harm: those that are too many are refused, and the call goes on.
  CHECK(
      alice.run(Script().ask(wait_for_all(), 30).in(world.probe_request({"noop"}))).verdict["ok"] ==
      true);
  bobs();
  const long before = kibibytes_of(ruled.service().pid(), "VmRSS"), alone = bobs();
  constexpr int kConnections = 100, kWaits = 5'000;  // half a million
  for (const plan::Ask& ask : {wait_for_all(), list_all()}) {
    CAPTURE(static_cast<int>(ask.kind));
    std::vector<Client> hostile;
    for (int i = 0; i < kConnections; ++i) {
      hostile.push_back(ruled.connect(world.alice()));
      hostile.back().post(
          "Run", {{"request", Script().ask(ask, kWaits).in(world.probe_request({"noop"}))}});
    }
    // Until nothing moves any more.
    eventually([] { return false; }, 3'000);
    const long under = bobs(), after = kibibytes_of(ruled.service().pid(), "VmRSS");
    std::printf(
        "S10: %d asks of kind %u: monitor %ld KiB (%ld before), 50 Runs %ld ms (%ld before)\n",
        kConnections * kWaits, static_cast<unsigned>(ask.kind), after, before, under, alone);
    CHECK(after - before < 4096 * kSanitizerFactor);
    CHECK(under < 4 * alone + 200);
    // They hang in their Asks, and are their user's to end.
    for (const pid_t front : fronts_of(ruled.service(), world.alice().uid))
      if (front != honest) kill(front, SIGKILL);
    CHECK(eventually([&] { return fronts_of(ruled.service(), world.alice().uid).size() == 1; },
                     60'000));
  }
  CHECK(alive(held.parameters["pid"].get<pid_t>()));
  // None of them is left behind: the next wait is answered.
  alice.post("Wait", {{"id", held.parameters["id"]}});
  Client other = ruled.connect(world.alice());
  CHECK(other.call("Stop", {{"id", held.parameters["id"]}, {"timeout", "0s"}}).error == "");
  const auto reply = alice.receive();
  REQUIRE(reply);
  CHECK(reply->parameters["event"] == "ended");
}

}  // namespace
}  // namespace cloister::security_test
