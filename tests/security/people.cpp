#include "people.hpp"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace cloister::security_test {

Client connect_as(const Who& who, const std::string& socket_path,
                  const std::function<void()>& before) {
  int pair[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
  Fd ours(pair[0]), theirs(pair[1]);
  auto [wait_end, lifeline] = pipe();
  const pid_t helper = child([&, &wait_end = wait_end, &lifeline = lifeline] {
    // Nobody else's connection or lifeline ends later because of us.
    const auto [low, high] = std::minmax({theirs.get(), wait_end.get()});  // values, not references
    close_range(3, static_cast<unsigned>(low) - 1, 0);
    close_range(static_cast<unsigned>(low) + 1, static_cast<unsigned>(high) - 1, 0);
    close_range(static_cast<unsigned>(high) + 1, ~0u, 0);
    become(who);
    before();
    {
      const Fd connection(check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
      check(connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
            "connect");
      send_descriptor(theirs.get(), connection.get());
    }
    theirs.reset();
    char byte;
    while (read(wait_end.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    return 0;
  });
  theirs.reset();
  try {
    Fd connection = receive_descriptor(ours.get());
    return Client(std::move(connection), std::move(lifeline), helper);
  } catch (...) {
    lifeline.reset();
    wait_for(helper);
    throw;
  }
}

std::string call_text(const std::string& method, const Json& parameters) {
  return Json{{"method", "io.cloister.Launcher." + method}, {"parameters", parameters}}.dump();
}

std::string run_text(const Json& request) { return call_text("Run", {{"request", request}}); }

std::string spoilt(std::string text, const std::string& marker, const std::string& by) {
  const size_t at = text.find(marker);
  REQUIRE(at != text.npos);
  return text.replace(at, marker.size(), by);
}

std::optional<Reply> ask(Client& client, const std::string& text, const std::vector<int>& fds) {
  try {
    client.send_bytes(text + '\0', fds);
  } catch (const std::system_error& error) {
    if (error.code().value() != EPIPE && error.code().value() != ECONNRESET) throw;
  }
  return client.receive(60'000);
}

void check_refused(const std::optional<Reply>& reply) {
  if (!reply) return;
  INFO(reply->parameters.dump().substr(0, 500));
  CHECK(reply->error != "");
}

int descriptors_of(pid_t pid) {
  DIR* directory = opendir(("/proc/" + std::to_string(pid) + "/fd").c_str());
  if (!directory) return -1;
  int count = 0;
  while (const dirent* entry = readdir(directory)) count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

long kibibytes_of(pid_t pid, const std::string& name) {
  return std::strtol(status_of(pid, name).c_str(), nullptr, 10);
}

namespace {

std::string command_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(in, name);
  return name;
}

}  // namespace

std::vector<pid_t> fronts_of(const Service& service, uid_t user) {
  std::vector<pid_t> out;
  for (const pid_t pid : service.processes()) {
    const std::string uid = status_of(pid, "Uid");
    if (command_of(pid).starts_with("cloister-front") && !uid.empty() &&
        std::strtoul(uid.c_str(), nullptr, 10) == user) {
      out.push_back(pid);
    }
  }
  return out;
}

std::vector<pid_t> inits_of(const Service& service) {
  std::vector<pid_t> out;
  for (const pid_t pid : service.processes()) {
    char plan[64] = {};
    const std::string link = "/proc/" + std::to_string(pid) + "/fd/5";
    if (status_of(pid, "PPid") == std::to_string(service.pid()) &&
        readlink(link.c_str(), plan, sizeof plan - 1) > 0 &&
        std::string(plan).starts_with("/memfd:cloister-plan")) {
      out.push_back(pid);
    }
  }
  return out;
}

std::vector<std::string> cgroups_of(pid_t service) {
  std::vector<std::string> out;
  std::error_code none;
  for (const char* root : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids"})
    for (const auto& entry : std::filesystem::directory_iterator(root, none))
      if (entry.path().filename().native().starts_with("cloister-" + std::to_string(service) + "-"))
        out.push_back(entry.path());
  return out;
}

long milliseconds(const std::function<void()>& act) {
  const auto start = std::chrono::steady_clock::now();
  act();
  return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(
                               std::chrono::steady_clock::now() - start)
                               .count());
}

Json until(Client& client, const std::string& event) {
  for (;;) {
    const auto reply = client.receive(60'000);
    REQUIRE(reply);
    INFO(reply->error << reply->parameters.dump());
    REQUIRE(reply->error == "");
    if (reply->parameters["event"] == event) return reply->parameters;
    REQUIRE(reply->parameters["event"] != "ended");
  }
}

}  // namespace cloister::security_test
