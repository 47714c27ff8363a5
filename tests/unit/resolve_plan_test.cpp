// The Plan as a whole: who ends with it, what it shows, how large it may be.
#include <nlohmann/json.hpp>

#include "resolving.hpp"

using namespace cloister;
using namespace cloister::front;
using namespace cloister::front::test;

TEST_CASE("Run ends with its caller, Start does not and hands out a pidfd") {
  const Made run = make(kPlain);
  CHECK(run->on_disconnect == plan::OnDisconnect::kill);
  CHECK((run->flags & plan::kWantPidfd) == 0);
  const Asked asked{plan::Method::start, 42, 7};
  const Made start = make(kPlain, {}, self(), asked);
  CHECK(start->on_disconnect == plan::OnDisconnect::keep);
  CHECK((start->flags & plan::kWantPidfd) != 0);
  CHECK(start->method == plan::Method::start);
  CHECK(start->request_digest == 42);
  CHECK(start->parse_us == 7);
  CHECK(make(plain(R"("lifetime": {"on_disconnect": "stop"})"), {}, self(), asked)->on_disconnect ==
        plan::OnDisconnect::stop);
}

TEST_CASE("Inspect shows names of variables, no values, and no inline input") {
  const Made made = make(plain(R"("env": {"TOKEN": "hunter2"}, "stdin": {"text": "hunter3"},
                                  "dumpable": false, "best_effort": ["dumpable"])"));
  const auto shown = nlohmann::json::parse(made.text(made->request_json));
  CHECK(shown["env"].contains("TOKEN"));
  CHECK(made.text(made->request_json).find("hunter") == std::string::npos);
  CHECK(shown["argv"] == nlohmann::json::array({"prog"}));
  CHECK(made.text(made->degraded) == R"(["dumpable"])");
}

TEST_CASE("the digest tells requests apart, not their spelling") {
  const auto digest = [](std::string_view text) { return digest_of(*parse(text)); };
  CHECK(digest(R"({"argv": ["a"], "nice": 1})") == digest(R"({ "nice":1, "argv":["\u0061"] })"));
  CHECK(digest(R"({"argv": ["a"], "nice": 1})") != digest(R"({"argv": ["a"], "nice": 2})"));
}

TEST_CASE("a request too large for a Plan is refused, one that fits is not") {
  Request request;
  request.profile = "none";
  request.argv = {"a"};
  for (int i = 0; i < 30; ++i)
    request.argv.push_back(std::string(plan::kMaxArgumentBytes - 1, 'x'));
  const auto fits = complete(request, profiles(), self());
  CHECK(resolve(*fits, {}, self(), {}).has_value());
  for (int i = 0; i < 30; ++i)
    request.argv.push_back(std::string(plan::kMaxArgumentBytes - 1, 'x'));
  const auto too_large = complete(request, profiles(), self());
  CHECK(resolve(*too_large, {}, self(), {}).has_error());
}
