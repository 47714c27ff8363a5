// Clients that are not what an honest one is: confined before they connect,
// writing raw bytes, closing when it suits them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "rows.hpp"

namespace cloister::security_test {

// A process of `who` that does `before` and then connects to `socket`. Unlike
// the helper of Service::connect it holds no descriptor of any other client, so
// that these clients may end in any order.
Client connect_as(
    const Who& who, const std::string& socket, const std::function<void()>& before = [] {});

// The call as text, so that a test can spoil it.
std::string call_text(const std::string& method, const Json& parameters);
std::string run_text(const Json& request);

// The text with `"marker"` replaced: what no JSON library would write.
std::string spoilt(std::string text, const std::string& marker, const std::string& by);
// Sends these bytes and a NUL. Nothing when the service only hung up; throws
// when it does neither.
std::optional<Reply> ask(Client& client, const std::string& text, const std::vector<int>& fds = {});
// Refused in words, or by hanging up: never served.
void check_refused(const std::optional<Reply>& reply);

// Descriptors that this process holds.
int descriptors_of(pid_t pid);
// Kibibytes of a line of /proc/PID/status.
long kibibytes_of(pid_t pid, const std::string& name);

// The fronts of the service that serve this user.
std::vector<pid_t> fronts_of(const Service& service, uid_t user);
// The inits of its jobs: children of the monitor that have a plan.
std::vector<pid_t> inits_of(const Service& service);

// Directories that a service with this pid has, or had, for its cgroups, in the
// trees that tests can see.
std::vector<std::string> cgroups_of(pid_t service);

// How long it takes, in milliseconds.
long milliseconds(const std::function<void()>& act);

// Run's events up to the one of this name; REQUIREs that it comes.
Json until(Client& client, const std::string& event);

}  // namespace cloister::security_test
