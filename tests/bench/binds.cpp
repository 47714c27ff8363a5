// What many binds cost: one job with N of them, by the service and by bwrap, in
// the same run. Prints, for each N, the time from the acceptance of the request
// to the fork of the payload, which the last mount comes before.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>

#include "stage.hpp"

namespace cloister::bench {
namespace {

constexpr double kTargetMs = 40;  // for 2,000
constexpr int kCounts[] = {0, 500, 1000, 2000};

// "2026-11-20T12:00:00.000000Z" as microseconds of that day.
int64_t microseconds(const std::string& time) {
  int hours = 0, minutes = 0, seconds = 0, fraction = 0;
  if (std::sscanf(time.c_str(), "%*d-%*d-%*dT%d:%d:%d.%dZ", &hours, &minutes, &seconds,
                  &fraction) != 4)
    throw std::runtime_error("no time: " + time);
  return ((hours * 60LL + minutes) * 60 + seconds) * 1'000'000 + fraction;
}

struct Times {
  double mounts_ms = 1e9;  // from acceptance to the fork
  double whole_ms = 1e9;   // of the call
  double bwrap_ms = 1e9;   // from its start to its end
};

class Sources {
 public:
  explicit Sources(int count) {
    char name[] = "/tmp/cloister-binds.XXXXXX";
    if (!::mkdtemp(name)) fail("mkdtemp");
    directory_ = name;
    for (int i = 0; i < count; ++i)
      if (::mkdir(path(i).c_str(), 0755) < 0) fail("mkdir");
  }
  ~Sources() { std::filesystem::remove_all(directory_); }
  Sources(const Sources&) = delete;
  Sources& operator=(const Sources&) = delete;

  std::string path(int i) const { return directory_ + "/" + std::to_string(i); }

 private:
  std::string directory_;
};

std::string call_with(const Stage& stage, const Sources& sources, int count) {
  Json message = Json::parse(stage.run_call("default"));
  Json& mounts = message["parameters"]["request"]["mounts"];
  for (int i = 0; i < count; ++i)
    mounts.push_back({{"at", "/run/binds/" + std::to_string(i)}, {"bind", sources.path(i)}});
  return message.dump();
}

Words bwrap_with(const Stage& stage, const Sources& sources, int count) {
  Words words = stage.bwrap();
  // Before the program, which is the last word.
  Words binds;
  for (int i = 0; i < count; ++i)
    for (const std::string& word :
         {std::string("--ro-bind"), sources.path(i), "/run/binds/" + std::to_string(i)})
      binds.push_back(word);
  words.insert(words.end() - 1, binds.begin(), binds.end());
  return words;
}

void measure(Connection& connection, const std::string& message, Times& best) {
  const int64_t start = now_ns();
  const Json reply = Json::parse(connection.call(message));
  best.whole_ms = std::min(best.whole_ms, static_cast<double>(now_ns() - start) / 1e6);
  const Json verdict = reply.value("parameters", Json::object()).value("verdict", Json());
  if (!verdict.is_object() || verdict.value("exit_code", Json()) != Json(0))
    throw std::runtime_error("the no-op did not run: " + reply.dump().substr(0, 1000));
  const int64_t accepted = microseconds(verdict["accepted_at"]);
  const int64_t started = microseconds(verdict["started_at"]);
  const auto exec = verdict["phases_us"]["exec"].get<int64_t>();
  best.mounts_ms = std::min(best.mounts_ms, static_cast<double>(started - exec - accepted) / 1000);
}

int run(const std::string& programs, const std::string& noop, int samples) {
  const Stage stage(programs, noop);
  const Sources sources(*std::max_element(std::begin(kCounts), std::end(kCounts)));
  Connection connection(stage.socket());
  Times last;
  for (const int count : kCounts) {
    const std::string message = call_with(stage, sources, count);
    const Words bwrap = bwrap_with(stage, sources, count);
    Times best;
    for (int i = 0; i < samples; ++i) {
      measure(connection, message, best);
      const int64_t start = now_ns();
      spawn_and_wait(bwrap);
      best.bwrap_ms = std::min(best.bwrap_ms, static_cast<double>(now_ns() - start) / 1e6);
    }
    std::printf("binds: count=%d accepted_to_fork_ms=%.2f call_ms=%.2f bwrap_ms=%.2f ratio=%.3f\n",
                count, best.mounts_ms, best.whole_ms, best.bwrap_ms, best.whole_ms / best.bwrap_ms);
    if (count == 1000) last = best;
    if (count == 2000) {
      std::printf("binds: target=\"2000, accepted to fork\" value=%.2f ms limit=%.2f ms kept=%s\n",
                  best.mounts_ms, kTargetMs, best.mounts_ms <= kTargetMs ? "yes" : "no");
      std::printf("binds: fact=\"2000 / 1000\" value=%.2f (linear: 2)\n",
                  best.mounts_ms / last.mounts_ms);
    }
  }
  return 0;
}

}  // namespace
}  // namespace cloister::bench

int main(int argc, char** argv) {
  using namespace cloister::bench;
  constexpr int kSkipped = 77;
  if (argc != 4) {
    std::fputs("usage: binds FOLDER NOOP SAMPLES\n", stderr);
    return 2;
  }
  if (::geteuid() != 0 || ::access("/usr/bin/bwrap", X_OK) < 0) {
    std::puts(::geteuid() != 0 ? "needs root" : "bwrap is missing (Debian: bubblewrap)");
    return kSkipped;
  }
  try {
    return run(argv[1], argv[2], std::max(1, std::atoi(argv[3])));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "binds: could not be measured: %s\n", error.what());
    return 1;
  }
}
