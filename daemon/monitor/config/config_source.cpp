#include "config/config_source.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "config/config_program.hpp"
#include "sys/root.hpp"

namespace cloister::monitor {
namespace {

constexpr char kStandard[] = "/etc/cloister/cloisterd.json";

// Where scratch directories on disk are by default; empty: there are none. A user's own
// are in the cache, whose content may be deleted at any time (XDG base directory specification).
std::string scratch_path() {
  if (sys::is_root()) return "/var/lib/cloister/scratch";
  const char* cache = ::getenv("XDG_CACHE_HOME");
  if (cache && *cache == '/') return std::string(cache) + "/cloister/scratch";
  const char* home = ::getenv("HOME");
  return home && *home == '/' ? std::string(home) + "/.cache/cloister/scratch" : "";
}

// The first member that differs and that is used only at the start of the service.
const char* changed_start_member(const Config& now, const Config& fresh) {
  if (fresh.cgroup != now.cgroup) return "cgroup";
  if (fresh.pasta != now.pasta) return "pasta";
  if (fresh.scratch != now.scratch) return "scratch";
  return nullptr;
}

Config defaults_with(Misconfiguration wrong) {
  Config config;
  config.scratch = scratch_path();
  config.wrong = std::move(wrong);
  return config;
}

bool may_have_content(const char* path) {
  struct stat info {};
  return ::stat(path, &info) == 0 ? info.st_size > 0 : errno != ENOENT;
}

}  // namespace

std::string ConfigSource::path() const {
  if (!told_.empty()) return told_;
  return standard_ && ::access(kStandard, F_OK) == 0 ? kStandard : "";
}

void ConfigSource::read(std::function<void(Config)> done) {
  const std::string file = path();
  // A user's own service and private mode often have nothing to read. Then the program is
  // not started, so that a private service answers sooner.
  if (!of_root_ && file.empty() && !may_have_content("/etc/subuid") &&
      !may_have_content("/etc/subgid"))
    return boost::asio::post(io_, [done = std::move(done)] { done(of_no_file()); });
  read_config(io_, {program_.borrow(), of_root_, file},
              [file, done = std::move(done)](Config config) {
                if (config.wrong.file.empty()) config.wrong.file = file;
                if (config.scratch.empty()) config.scratch = scratch_path();
                done(std::move(config));
              });
}

Config ConfigSource::of_no_file() { return defaults_with({}); }

void ConfigSource::first(std::function<void(Config)> done) {
  found_ = !path().empty();
  read(std::move(done));
}

Config ConfigSource::first() {
  std::optional<Config> config;
  first([&](Config read) { config = std::move(read); });
  while (!config) io_.run_one();
  io_.restart();
  return std::move(*config);
}

void ConfigSource::again(const Config& now, std::function<void(Config)> done) {
  const std::string file = path();
  if (file.empty() && found_)
    return boost::asio::post(io_, [done = std::move(done)] {
      done(defaults_with(
          {kStandard,
           {},
           "no longer exists; put it back, or restart the service to run without it"}));
    });
  read([this, &now, file, done = std::move(done)](Config fresh) {
    if (!fresh.wrong) {
      if (const char* member = changed_start_member(now, fresh))
        fresh = defaults_with({file, member, "cannot change while the service runs; restart it"});
      else
        found_ = !file.empty();
    }
    done(std::move(fresh));
  });
}

}  // namespace cloister::monitor
