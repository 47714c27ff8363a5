// ID-09: the order in which init gives up its powers, as strace sees it.
#include <signal.h>
#include <unistd.h>

#include <map>
#include <sstream>

#include "people.hpp"

namespace cloister::security_test {
namespace {

// The system calls of one process: name and, for prctl(2), what it is about.
struct Calls {
  std::vector<std::string> names;

  int first(const std::string& name, size_t from = 0) const {
    for (size_t i = from; i < names.size(); ++i) {
      if (names[i] == name) return static_cast<int>(i);
    }
    return -1;
  }
  int last(const std::string& name) const {
    for (size_t i = names.size(); i-- > 0;) {
      if (names[i] == name) return static_cast<int>(i);
    }
    return -1;
  }
};

// Lines are "PID call(arguments) = result"; a call that another interrupted is
// resumed on a later line.
std::map<pid_t, Calls> read_trace(const std::string& text) {
  std::map<pid_t, Calls> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t space = line.find(' ');
    const size_t open = line.find('(');
    if (space == line.npos || open == line.npos || open < space) continue;
    const pid_t pid = static_cast<pid_t>(std::strtol(line.c_str(), nullptr, 10));
    const size_t start = line.find_first_not_of(' ', space);
    std::string name = line.substr(start, open - start);
    if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != name.npos) continue;
    if (name == "prctl") name = line.substr(open + 1, line.find_first_of(",)", open) - open - 1);
    out[pid].names.push_back(name);
  }
  return out;
}

TEST_CASE(
    "ID-09 groups, gid, uid, capabilities, no_new_privs, Landlock, filters, exec: always in this "
    "order") {
  NEEDS_ROOT();
  if (access("/usr/bin/strace", X_OK) != 0) NOT_RUN("strace is missing");
  World& world = World::get();
  Service& service = world.system();
  const std::string trace = world.directory() + "/trace";
  const std::string pid = std::to_string(service.pid());
  eventually([] { return false; }, 500);  // until what is made ahead is there
  const auto waiting = service.processes();
  const pid_t strace = child([&] {
    std::vector<std::string> words = {
        "strace",
        "-f",
        "-q",
        "-o",
        trace,
        "-e",
        "trace=setgroups,setresgid,setresuid,capset,prctl,landlock_restrict_self,seccomp,execve,"
        "execveat",
        "-p",
        pid};
    // Inits that wait for their Order are there already.
    for (const pid_t each : waiting) words.insert(words.end(), {"-p", std::to_string(each)});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv("/usr/bin/strace", argv.data());
    return 127;
  });
  const bool attached = eventually(
      [&] { return status_of(service.pid(), "TracerPid") != "0" || !alive(strace); }, 20'000);
  if (!attached || !alive(strace)) {
    kill(strace, SIGKILL);
    wait_for(strace);
    NOT_RUN("strace may not attach here");
  }
  const bool domains = sys::landlock_abi() > 0;
  std::vector<pid_t> payloads;
  for (const Who& who : {world.alice(), world.root()}) {
    Client client = service.connect(who);
    for (Json request :
         {world.probe_request({"sleep", "100"}), world.boxed_request({"sleep", "100"})}) {
      request["no_new_privs"] = true;
      request["seccomp"] = "default";
      if (domains)
        request["landlock"] = {{"paths", {{{"path", "/"}, {"access", {"read", "execute"}}}}}};
      client.post("Run", {{"request", request}}, {}, {{"more", true}});
      payloads.push_back(until(client, "started")["pid"].get<pid_t>());
      until(client, "ended");
    }
  }
  kill(strace, SIGTERM);
  wait_for(strace);
  const std::string text = read_file(trace);
  const auto calls = read_trace(text);
  INFO(text.substr(0, 8000));
  for (const pid_t payload : payloads) {
    CAPTURE(payload);
    const auto found = calls.find(payload);
    REQUIRE(found != calls.end());
    const Calls& of = found->second;
    const int groups = of.first("setgroups"), gid = of.first("setresgid"),
              uid = of.first("setresuid"), bounding = of.first("PR_CAPBSET_DROP"),
              last_bounding = of.last("PR_CAPBSET_DROP"), caps = of.last("capset"),
              nnp = of.first("PR_SET_NO_NEW_PRIVS"), landlock = of.first("landlock_restrict_self"),
              filter = of.first("seccomp"), exec = std::max(of.last("execve"), of.last("execveat"));
    CHECK(groups >= 0);
    CHECK(groups < gid);
    CHECK(gid < uid);
    if (bounding >= 0) {
      CHECK(uid < bounding);
      CHECK(last_bounding < caps);
    }
    CHECK(uid < caps);
    CHECK(caps < nnp);
    if (domains) {
      CHECK(nnp < landlock);
      CHECK(landlock < filter);
    }
    CHECK(nnp < filter);
    CHECK(of.last("seccomp") < exec);
    CHECK(exec == static_cast<int>(of.names.size()) - 1);
    // Once only: nobody goes back.
    CHECK(of.last("setresuid") == uid);
    CHECK(of.last("setgroups") == groups);
    CHECK(of.last("setresgid") == gid);
  }
}

}  // namespace
}  // namespace cloister::security_test
