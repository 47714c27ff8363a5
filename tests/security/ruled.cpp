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
  options_ = {"--config", path_};
  options_.insert(options_.end(), options.begin(), options.end());
  restart();
}

void Ruled::restart() {
  service_.reset();
  const Redirected log(log_.get());
  service_ = std::make_unique<Service>(World::get().root(), directory_, options_);
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

Ran run_cloisterd(const Who& who, const std::vector<std::string>& options,
                  const std::string& program) {
  const World& world = World::get();
  std::vector<std::string> words = {program, "--front", world.program("cloister-front"), "--init",
                                    world.program("cloister-init")};
  words.insert(words.end(), options.begin(), options.end());
  const Fd log = log_file();
  const int status = wait_for(child([&] {
    check(dup2(log.get(), 1), "dup2");
    check(dup2(log.get(), 2), "dup2");
    if (who.uid != 0) become(who);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return execv(argv[0], argv.data());
  }));
  CHECK(WIFEXITED(status));
  return {WEXITSTATUS(status), content_of(log.get())};
}

std::string complaint_about(const std::string& text, mode_t mode, uid_t owner) {
  const std::string config = World::get().directory_of(World::get().root()) + "/cloisterd.json";
  write_file(config, text, mode);
  check(chmod(config.c_str(), mode), "chmod");
  check(chown(config.c_str(), owner, static_cast<gid_t>(-1)), "chown");
  const Ran ran = run_cloisterd(World::get().root(), {"--check", "--config", config});
  if (ran.code == 0) return {};
  CHECK(ran.code == 78);  // EX_CONFIG
  return ran.said;
}

Json modest(const World& world, const std::vector<std::string>& arguments) {
  return with(world.probe_request(arguments),
              {{"namespaces", {{"net", "new"}, {"ipc", "new"}}}, {"no_new_privs", true}});
}

Reply planned(Client& client, const Json& request) {
  return client.call("Plan", {{"request", request}});
}

}  // namespace cloister::security_test
