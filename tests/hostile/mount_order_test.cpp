// U1: what keeps a mount from being hidden is the monitor's, not the front's.
#include "ruled.hpp"
#include "script.hpp"

namespace cloister::security_test {
namespace {

using hostile::Script;

TEST_CASE("U1: a hostile front cannot have a mount lie over an earlier one") {
  NEEDS_ROOT();
  World& world = World::get();
  Ruled ruled(Json::object(), {"--front", world.program("hostile-front")});
  Client client = ruled.connect(world.alice());
  const uint32_t flags = plan::kMountReadOnly | plan::kMountNoSuid | plan::kMountNoDev;
  const Json request = world.boxed_request();
  // /run is private, and the probe lies in it; /proc is the job's own.
  for (const char* at : {"/run", "/run/test", "/proc", "/sys/fs", "/"}) {
    CAPTURE(std::string(at));
    Outcome outcome = client.run(Script().bind("/usr", at, flags).in(request));
    INFO(outcome.told());
    CHECK(outcome.error == "InvalidRequest");
    CHECK(outcome.parameters["reason"].dump().find("a-mount-hides-another") != std::string::npos);
  }
  // What hides nothing may come last all the same.
  Outcome outcome = client.run(Script().bind("/usr", "/run/more", flags).in(request));
  INFO(outcome.told());
  CHECK(outcome.verdict["ok"] == true);
}

}  // namespace
}  // namespace cloister::security_test
