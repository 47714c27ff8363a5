#include "ruled.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::security_test {
namespace {

// With standard error in a file, for whatever is started meanwhile.
class Redirected {
 public:
  explicit Redirected(int to) : before_(check(dup(2), "dup")) { check(dup2(to, 2), "dup2"); }
  ~Redirected() { dup2(before_.get(), 2); }

 private:
  Fd before_;
};

// Written at its end, by whoever shares it.
Fd log_file() {
  Fd log = memory_file();
  check(fcntl(log.get(), F_SETFL, O_APPEND), "O_APPEND");
  return log;
}

}  // namespace

Ruled::Ruled(const Json& config, const std::vector<std::string>& options)
    : directory_(World::get().directory_of(World::get().root())),
      path_(directory_ + "/cloisterd.json"),
      log_(log_file()) {
  check(chmod(directory_.c_str(), 0755), "chmod");
  write(config.dump());
  std::vector<std::string> words = {"--config", path_};
  words.insert(words.end(), options.begin(), options.end());
  const Redirected log(log_.get());
  service_ = std::make_unique<Service>(World::get().root(), directory_, words);
}

void Ruled::write(const std::string& text, mode_t mode) {
  unlink(path_.c_str());
  write_file(path_, text, mode);
  check(chmod(path_.c_str(), mode), "chmod");
}

std::string Ruled::reload() {
  const size_t before = said().size();
  check(kill(service_->pid(), SIGHUP), "kill");
  std::string news;
  REQUIRE(eventually([&] {
    news = said().substr(before);
    return news.find("reloaded") != news.npos && news.ends_with('\n');
  }));
  return news;
}

std::string complaint_about(const std::string& text, mode_t mode, uid_t owner) {
  const World& world = World::get();
  const std::string directory = World::get().directory_of(world.root());
  const std::string config = directory + "/cloisterd.json";
  write_file(config, text, mode);
  check(chmod(config.c_str(), mode), "chmod");
  check(chown(config.c_str(), owner, static_cast<gid_t>(-1)), "chown");
  const Fd log = log_file();
  const std::string program = world.program("cloisterd"), front = world.program("cloister-front"),
                    init = world.program("cloister-init"), socket = directory + "/socket";
  const pid_t pid = child([&] {
    check(dup2(log.get(), 2), "dup2");
    return execl(program.c_str(), "cloisterd", "--config", config.c_str(), "--socket",
                 socket.c_str(), "--front", front.c_str(), "--init", init.c_str(), nullptr);
  });
  const bool started = eventually(
      [&] { return !alive(pid) || access(socket.c_str(), F_OK) == 0; });
  const bool lives = started && alive(pid);
  if (lives) kill(pid, SIGTERM);
  const int status = wait_for(pid);
  if (lives) return {};
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 78);  // EX_CONFIG
  return content_of(log.get());
}

Json modest(const World& world, const std::vector<std::string>& arguments) {
  return with(world.probe_request(arguments), {{"namespaces", {{"net", "new"}, {"ipc", "new"}}},
                                               {"no_new_privs", true}});
}

Reply planned(Client& client, const Json& request) {
  return client.call("Plan", {{"request", request}});
}

}  // namespace cloister::security_test
