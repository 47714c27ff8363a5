// The speed of one launch, as ratios: whatever is compared runs by turns in the
// same minute, so that a busy machine slows both.
//
//   bench --programs FOLDER --noop FILE [--samples N] [--gaps MS,MS,...]
//
// FOLDER is a build folder with cloisterd and its parts. Prints a table for
// people, lines that begin with `bench:` for programs, and ends with 0 when
// everything could be measured, whatever the figures are.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>

#include "stage.hpp"

namespace cloister::bench {
namespace {

struct Options {
  std::string programs, noop;
  int samples = 200;
  std::vector<int> gaps_ms = {0, 1, 10, 60};
};

// Percentiles of microseconds, nearest rank.
struct Samples {
  std::vector<double> us;

  double percentile(double share) const {
    std::vector<double> sorted = us;
    std::sort(sorted.begin(), sorted.end());
    return sorted.at(static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5));
  }
  double p50() const { return percentile(0.5); }
  double p99() const { return percentile(0.99); }
};

double us_of(const std::function<void()>& work) {
  const int64_t start = now_ns();
  work();
  return static_cast<double>(now_ns() - start) / 1000;
}

void idle(int ms) {
  if (ms > 0) ::usleep(static_cast<useconds_t>(ms) * 1000);
}

struct Subject {
  std::string name;
  std::function<void()> work;   // what is timed
  std::function<void()> check;  // what is not: throws unless the no-op ran
};

// A Run over a connection that stays. What the verdict says of its phases is
// kept for the breakdown.
class Kept {
 public:
  Kept(const Stage& stage, const std::string& profile)
      : connection_(stage.socket()), message_(stage.run_call(profile)) {}

  void run() { reply_ = connection_.call(message_); }

  void check() {
    const Json reply = Json::parse(reply_);
    const Json verdict = reply.value("parameters", Json::object()).value("verdict", Json());
    if (!verdict.is_object() || verdict.value("exit_code", Json()) != Json(0))
      throw std::runtime_error("the no-op did not run: " + reply_);
    for (const auto& [phase, us] : verdict.at("phases_us").items())
      if (us.is_number()) phases_[phase].us.push_back(us.get<double>());
  }

  const std::map<std::string, Samples>& phases() const { return phases_; }

 private:
  Connection connection_;
  std::string message_, reply_;
  std::map<std::string, Samples> phases_;
};

using Figures = std::map<std::string, Samples>;

// By turns, each round beginning with another subject: what one leaves behind
// for the next (a cgroup to remove, a warm cache) meets everybody.
Figures measure(const std::vector<Subject>& subjects, int samples, int gap_ms) {
  constexpr int kWarmUp = 3;
  Figures figures;
  for (int round = -kWarmUp; round < samples; ++round) {
    for (size_t turn = 0; turn < subjects.size(); ++turn) {
      const Subject& subject =
          subjects[(turn + static_cast<size_t>(round + kWarmUp)) % subjects.size()];
      idle(gap_ms);
      const double us = us_of(subject.work);
      subject.check();
      if (round >= 0) figures[subject.name].us.push_back(us);
    }
  }
  return figures;
}

// From connect(2) to the first reply, less the same call where a front is
// there already. The pause lets the next spare front get ready.
Figures measure_hand_over(const Stage& stage, int samples) {
  constexpr int kPauseMs = 50;
  const std::string message = R"({"method":"org.varlink.service.GetInfo"})";
  const auto checked = [](const std::string& reply) {
    if (!Json::parse(reply).value("parameters", Json::object()).contains("interfaces"))
      throw std::runtime_error("GetInfo failed: " + reply);
  };
  Connection kept(stage.socket());
  checked(kept.call(message));
  Figures figures;
  for (int i = 0; i < samples; ++i) {
    std::string reply;
    idle(kPauseMs);
    const double served = us_of([&] { reply = kept.call(message); });
    checked(reply);
    idle(kPauseMs);
    const double first = us_of([&] { reply = Connection(stage.socket()).call(message); });
    checked(reply);
    figures["served"].us.push_back(served);
    figures["first"].us.push_back(first);
    figures["hand-over"].us.push_back(first - served);
  }
  return figures;
}

// The value of `key` in KiB, from a file like /proc/PID/status.
long kib_of(pid_t pid, const std::string& file, const std::string& key) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/" + file);
  for (std::string word; in >> word;)
    if (long kib = 0; word == key + ":" && in >> kib) return kib;
  throw std::runtime_error("/proc/" + std::to_string(pid) + "/" + file + " has no " + key);
}

class Report {
 public:
  void figures(const std::string& gap, const std::string& name, const Samples& samples) {
    std::printf("bench: subject=%s gap_ms=%s samples=%zu p50_us=%.0f p99_us=%.0f\n", name.c_str(),
                gap.c_str(), samples.us.size(), samples.p50(), samples.p99());
    row(name, gap, samples);
  }
  void row(const std::string& name, const std::string& gap, const Samples& samples) {
    std::ostringstream line;
    line.precision(0);
    line << std::fixed << "| " << name << " | " << gap << " | " << samples.p50() << " | "
         << samples.p99() << " |";
    rows_.push_back(line.str());
  }
  void target(const std::string& name, double value, double limit, const char* unit) {
    std::printf("bench: target=\"%s\" value=%.2f limit=%.2f kept=%s\n", name.c_str(), value, limit,
                value <= limit ? "yes" : "no");
    std::ostringstream line;
    line.precision(2);
    line << std::fixed << "| " << name << " | " << value << unit << " | " << limit << unit << " | "
         << (value <= limit ? "kept" : "missed") << " |";
    targets_.push_back(line.str());
  }
  void fact(const std::string& name, long kib) {
    std::printf("bench: fact=\"%s\" kib=%ld\n", name.c_str(), kib);
    facts_.push_back("| " + name + " | " + std::to_string(kib) + " |");
  }

  void print() const {
    const auto table = [](const char* head, const char* rule,
                          const std::vector<std::string>& rows) {
      std::printf("\n%s\n%s\n", head, rule);
      for (const std::string& row : rows) std::printf("%s\n", row.c_str());
    };
    table("| subject | idle gap, ms | p50, µs | p99, µs |", "|---|---:|---:|---:|", rows_);
    table("| target | measured | limit | |", "|---|---:|---:|---|", targets_);
    table("| memory | KiB |", "|---|---:|", facts_);
  }

 private:
  std::vector<std::string> rows_, targets_, facts_;
};

void compare(Report& report, const Figures& figures, int gap_ms) {
  const auto p50 = [&](const char* name) { return figures.at(name).p50(); };
  const std::string gap = " at gap " + std::to_string(gap_ms);
  report.target("default, kept / bwrap" + gap, p50("default") / p50("bwrap"), 0.5, "x");
  if (figures.contains("command"))
    report.target("cloister run / bwrap" + gap, p50("command") / p50("bwrap"), 0.8, "x");
  if (gap_ms == 0)
    report.target("none, kept / posix_spawn" + gap, p50("none") / p50("posix_spawn"), 1.9, "x");
  else
    report.target("none, kept - posix_spawn" + gap, (p50("none") - p50("posix_spawn")) / 1000, 0.5,
                  " ms");
}

int run(const Options& options) {
  Stage stage(options.programs, options.noop);
  ::setenv("CLOISTER_SOCKET", stage.socket().c_str(), 1);
  Report report;

  idle(500);  // until the spare fronts wait
  report.fact("monitor, idle, VmRSS", kib_of(stage.monitor(), "status", "VmRSS"));
  if (stage.children().empty()) throw std::runtime_error("there is no spare front");
  report.fact("spare front, PSS", kib_of(stage.children().front(), "smaps_rollup", "Pss"));

  Kept none(stage, "none"), boxed(stage, "default");
  const auto nothing = [] {};
  std::vector<Subject> subjects = {{"posix_spawn", [&] { spawn_and_wait(stage.plain()); }, nothing},
                                   {"none", [&] { none.run(); }, [&] { none.check(); }},
                                   {"bwrap", [&] { spawn_and_wait(stage.bwrap()); }, nothing},
                                   {"default", [&] { boxed.run(); }, [&] { boxed.check(); }}};
  if (stage.command().empty())
    std::printf("skipped command (there is no cloister in %s)\n", options.programs.c_str());
  else
    subjects.push_back({"command", [&] { spawn_and_wait(stage.command()); }, nothing});

  for (int gap_ms : options.gaps_ms) {
    const Figures figures = measure(subjects, options.samples, gap_ms);
    for (const Subject& subject : subjects)
      report.figures(std::to_string(gap_ms), subject.name, figures.at(subject.name));
    compare(report, figures, gap_ms);
  }
  const Figures hand_over = measure_hand_over(stage, options.samples);
  for (const auto& [name, samples] : hand_over) report.figures("50", "GetInfo, " + name, samples);
  report.target("hand-over, p50", hand_over.at("hand-over").p50(), 200, " µs");
  const long rss = kib_of(stage.monitor(), "status", "VmRSS");
  report.fact("monitor, after the runs, VmRSS", rss);
  report.target("monitor, VmRSS", static_cast<double>(rss) / 1024, 10, " MiB");
  for (const auto& [name, kept] : {std::pair{"none", &none}, std::pair{"default", &boxed}})
    for (const auto& [phase, samples] : kept->phases())
      report.figures("all", std::string(name) + ", phase " + phase, samples);
  report.print();
  return 0;
}

[[noreturn]] void usage() {
  std::fputs("usage: bench --programs FOLDER --noop FILE [--samples N] [--gaps MS,MS,...]\n",
             stderr);
  std::exit(2);
}

int number(std::string_view text) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) usage();
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) usage();
    const std::string_view name = argv[i], value = argv[i + 1];
    if (name == "--programs") {
      options.programs = value;
    } else if (name == "--noop") {
      options.noop = value;
    } else if (name == "--samples") {
      options.samples = std::max(1, number(value));
    } else if (name == "--gaps") {
      options.gaps_ms.clear();
      std::istringstream list{std::string(value)};
      for (std::string gap; std::getline(list, gap, ',');) options.gaps_ms.push_back(number(gap));
    } else {
      usage();
    }
  }
  if (options.programs.empty() || options.noop.empty()) usage();
  return options;
}

}  // namespace
}  // namespace cloister::bench

int main(int argc, char** argv) {
  using namespace cloister::bench;
  const Options options = parse(argc, argv);
  constexpr int kSkipped = 77;
  if (::geteuid() != 0) {
    std::puts("needs root");
    return kSkipped;
  }
  if (::access("/usr/bin/bwrap", X_OK) < 0) {
    std::puts("bwrap is missing (Debian: bubblewrap)");
    return kSkipped;
  }
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: could not be measured: %s\n", error.what());
    return 1;
  }
}
