#include "config/config_source.hpp"
#include "sys/root.hpp"

#include <unistd.h>

#include <cstdlib>

namespace cloister::monitor {
namespace {

constexpr char kStandard[] = "/etc/cloister/cloisterd.json";

// Where scratch directories on disk lie, unless root says otherwise; empty:
// nowhere. What is in a cache of a user's may vanish, as the XDG base directory
// specification has it.
std::string scratch_path() {
  if (sys::is_root()) return "/var/lib/cloister/scratch";
  const char* cache = ::getenv("XDG_CACHE_HOME");
  if (cache && *cache == '/') return std::string(cache) + "/cloister/scratch";
  const char* home = ::getenv("HOME");
  return home && *home == '/' ? std::string(home) + "/.cache/cloister/scratch" : "";
}

// What is opened once, at the start.
const char* changed_for_good(const Config& now, const Config& fresh) {
  if (fresh.cgroup != now.cgroup) return "cgroup";
  if (fresh.pasta != now.pasta) return "pasta";
  if (fresh.scratch != now.scratch) return "scratch";
  return nullptr;
}

Config with(Misconfiguration wrong) {
  Config config;
  config.scratch = scratch_path();
  config.wrong = std::move(wrong);
  return config;
}

}  // namespace

std::string ConfigSource::path() const {
  if (!told_.empty()) return told_;
  return standard_ && ::access(kStandard, F_OK) == 0 ? kStandard : "";
}

Config ConfigSource::read() const {
  const std::string file = path();
  Config config;
  Misconfiguration wrong;
  if (!file.empty()) wrong = read_config(file, ::geteuid(), config);
  if (!wrong) wrong = read_subordinate(of_root_, config);
  if (wrong.file.empty()) wrong.file = file;
  if (wrong) return with(std::move(wrong));
  if (config.scratch.empty()) config.scratch = scratch_path();
  return config;
}

Config ConfigSource::first() {
  found_ = !path().empty();
  return read();
}

Config ConfigSource::again(const Config& now) {
  const std::string file = path();
  if (file.empty() && found_) return with({kStandard, {}, "is not there any more"});
  Config fresh = read();
  if (fresh.wrong) return fresh;
  if (const char* member = changed_for_good(now, fresh))
    return with({file, member, "cannot change while the service runs; restart it"});
  found_ = !file.empty();
  return fresh;
}

}  // namespace cloister::monitor
