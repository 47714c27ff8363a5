#include "warm_up.hpp"

#include <pwd.h>
#include <unistd.h>

#include "plan/view.hpp"
#include "resolve/resolve.hpp"
#include "varlink/envelope.hpp"
#include "varlink/render.hpp"
#include "verdict.hpp"

namespace cloister::front {

void warm_up(const Profiles& profiles) {
  ::getpwuid(0);
  plan::Peer nobody{};
  nobody.pid = ::getpid();
  const Caller caller = make_caller(nobody, {0});
  for (const char* profile : {"none", "default"}) {
    const std::string text =
        std::string(R"({"method":"io.cloister.Launcher.Run","parameters":{"request":{"argv":["x"],)"
                    R"("cwd":"/","executable":"/x","umask":"022","nice":0,"affinity":[0],)"
                    R"("rlimits":{"RLIMIT_CORE":{"soft":0,"hard":0}},"profile":")") +
        profile + R"("}}})";
    const auto call = varlink::parse_call(text);
    if (!call) return;
    const auto request =
        request::read_layer(call->parameters.at("request"), request::Kind::request);
    if (!request) return;
    const auto effective = complete(*request, profiles, caller);
    if (!effective) continue;  // an administrator's own profile of that name
    const auto resolved = resolve(*effective, {}, caller, Asked{});
    if (!resolved) continue;
    plan::JobState state{};
    varlink::Reply reply;
    reply.parameters["verdict"] =
        varlink::to_dom(told_verdict(state, plan::View(resolved->plan_block.data())));
    (void)varlink::to_text(reply);
  }
}

}  // namespace cloister::front
