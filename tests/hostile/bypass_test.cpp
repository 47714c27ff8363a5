// S9: what the monitor compares is what init applies. The front is hostile and
// alters one field of an honest Plan at a time.
#include <fcntl.h>

#include <cstddef>

#include "ruled.hpp"
#include "script.hpp"

namespace cloister::security_test {
namespace {

using hostile::Script;
using plan::Header;

std::vector<std::string> hostile_options() {
  return {"--front", World::get().program("hostile-front")};
}

TEST_CASE("a hostile front alters what it is told to, and nothing else") {
  NEEDS_ROOT();
  Ruled ruled(Json::object(), hostile_options());
  Client client = ruled.connect(World::get().alice());
  const Json request = World::get().probe_request();
  Outcome honest = client.run(request), altered = client.run(Script().set(&Header::nice, 7).in(request));
  INFO(altered.told());
  CHECK(honest.report()["nice"] == 0);
  CHECK(altered.report()["nice"] == 7);
}

}  // namespace
}  // namespace cloister::security_test
