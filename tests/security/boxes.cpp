#include "boxes.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>

#include "census.hpp"

namespace cloister::security_test {

namespace {

// Why this profile cannot be tried by this client; empty when it can.
std::string why_not_under(Client& client, Json request, const std::string& profile) {
  request["argv"] = {"probe", "noop"};
  Outcome outcome = client.run(request);
  if (outcome.error.empty() && outcome.verdict["ok"] == true) return {};
  if (outcome.error == "Denied" || outcome.error == "Unsupported")
    return "profile " + profile + ": " + outcome.error + " " + outcome.parameters.dump();
  INFO(profile);
  INFO(outcome.told());
  CHECK(outcome.verdict["ok"] == true);
  return "profile " + profile + " does not work";
}

}  // namespace

std::vector<Json> boxed_requests(Client& client, const std::vector<std::string>& arguments) {
  World& world = World::get();
  std::vector<Json> out = {world.boxed_request(arguments)};
  for (const std::string profile : {"build", "untrusted"}) {
    if (access((world.directory() + "/bin/config/profiles/" + profile + ".json").c_str(), R_OK))
      continue;
    Json request = world.boxed_request(arguments);
    request["profile"] = profile;
    if (const std::string reason = why_not_under(client, request, profile); !reason.empty()) {
      not_run(reason);
    } else {
      out.push_back(request);
    }
  }
  return out;
}

Json workspace_for(const Json& request, const std::string& path) {
  return {{"path", path}, {"access", request["profile"] == "untrusted" ? "ro" : "rw"}};
}

Json as_inner_root(Way way, Json request) {
  const Who& who = World::get().who(way);
  request["namespaces"]["user"] = "new";
  request["identity"] = {{"ruid", 0}, {"rgid", 0}};
  request["uid_map"] = {{{"inside", 0}, {"outside", who.uid}, {"count", 1}}};
  request["gid_map"] = {{{"inside", 0}, {"outside", who.gid}, {"count", 1}}};
  return request;
}

void check_error(const Json& answer, const std::string& name,
                 const std::vector<std::string>& errors) {
  CAPTURE(name);
  INFO(answer.dump().substr(0, 4000));
  REQUIRE(answer.contains(name));
  const Json& error = answer[name];
  CHECK(std::any_of(errors.begin(), errors.end(),
                    [&](const std::string& one) { return error == one; }));
}

void check_all_refused(const Json& answer, const std::vector<std::string>& errors,
                       const std::vector<std::string>& but) {
  std::string otherwise;
  for (const auto& [name, error] : answer.items()) {
    const auto is = [&, &error = error](const std::string& one) { return error == one; };
    if (std::find(but.begin(), but.end(), name) != but.end()) continue;
    if (std::none_of(errors.begin(), errors.end(), is))
      otherwise += name + ":" + error.dump() + " ";
  }
  CHECK(otherwise == "");
}

Held::Held(Client& client, Json request) : client_(client) {
  auto [end, write_end] = pipe();
  request["stdout"] = {{"passed_fd", 0}};
  Reply reply = client.call("Start", {{"request", request}}, {write_end.get()});
  INFO(reply.error << reply.parameters.dump());
  REQUIRE(reply.error == "");
  id_ = reply.parameters["id"];
  pid_ = reply.parameters["pid"].get<pid_t>();
  write_end.reset();
  std::string line;
  for (std::string byte; line.find('\n') == line.npos && (byte = read_from(end.get(), 1)) != "";)
    line += byte;
  said_ = Json::parse(line, nullptr, false);
  output_ = std::move(end);
}

bool Held::runs() const { return alive(pid_); }

Held::~Held() {
  try {
    client_.call("Signal", {{"id", id_}, {"signal", "SIGKILL"}});
    client_.call("Wait", {{"id", id_}, {"options", {"WEXITED"}}});
    client_.call("Remove", {{"id", id_}});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "a job could not be ended: %s\n", error.what());
  }
}

void remove_cgroups_of(pid_t monitor) {
  for (const std::string& top : cgroups_of(monitor))
    command({"find", top, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"});
}

namespace {

census::Scope scope() {
  World& world = World::get();
  census::Scope scope;
  scope.ancestor = getpid();  // a child subreaper: nothing drops out
  scope.users = {world.alice().uid, world.bob().uid};
  scope.paths = {world.directory() + "/system"};
  // Other services of this machine make and remove their own.
  scope.word = "cloister-" + std::to_string(world.system().pid());
  return scope;
}

std::optional<census::Census> before;

}  // namespace

void count_before() {
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    Client client = world.connect(way);
    for (const Json& request : {world.probe_request({"noop"}), world.boxed_request({"noop"})}) {
      for (int i = 0; i < 3; ++i) REQUIRE(client.run(request).verdict["ok"] == true);
    }
  }
  {
    // Keyrings of a user are made when it first does anything.
    Client bob = connect_as(world.bob(), world.system().socket());
    REQUIRE(bob.run(world.probe_request({"noop"})).verdict["ok"] == true);
  }
  // Until what is made ahead is there, and nothing moves any more.
  CHECK(eventually(
      [] {
        before = census::take(scope());
        return census::settle(*before, scope(), std::chrono::milliseconds(0)) == "" &&
               !eventually([] { return census::difference(*before, census::take(scope())) != ""; },
                           400);
      },
      20'000));
}

void check_nothing_left() {
  World& world = World::get();
  for (const Way way : {Way::root, Way::user, Way::rootless}) {
    Client client = world.connect(way);
    // One that starts has what is made ahead made again.
    for (const Json& request : {world.probe_request({"noop"}), world.boxed_request({"noop"})})
      CHECK(client.run(request).verdict["ok"] == true);
    CHECK(eventually([&] {
      Json jobs = client.call("List").parameters["jobs"];
      for (const auto& job : jobs) client.call("Remove", {{"id", job["id"]}});
      return jobs.empty();
    }));
  }
  // What lost its parent came to us.
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  CHECK(census::settle(*before, scope(), std::chrono::seconds(20)) == "");
}

}  // namespace cloister::security_test
