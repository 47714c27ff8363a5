// U10: random endings, by a test that acts itself and so knows who did what.
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "jobs.hpp"

namespace cloister::system_test {
namespace {

constexpr int64_t kMs = 1'000'000;
// Two acts this close may have come in either order.
constexpr int64_t kClose = 10 * kMs;
constexpr int64_t kLate = 60 * kMs;
constexpr int64_t kStopTimeout = 150 * kMs;
constexpr int64_t kCleaningUp = 20 * kMs;

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::string name_of_signal(int signal) { return std::string("SIG") + sigabbrev_np(signal); }

enum class By { us, stranger, stop, wall_time, escalation, hang_up, itself };

struct Act {
  int64_t at;  // when it is to be done; then, when it was done
  By by;
  int signal = 0;  // 0: exits with `code`
  int code = 0;
};

// The test does it; the others happen by themselves.
bool is_ours(By by) { return by != By::itself && by != By::wall_time && by != By::escalation; }

// How a payload takes a signal: "" is the default action.
using Answers = std::map<int, std::string>;

struct Played {
  Answers answers;
  std::vector<Act> acts;
};

// cause, fault, ending and signal of ours, as one line to compare.
std::string line(const std::string& cause, const std::string& ending, int ours = 0) {
  const std::string fault = cause == "payload" || cause == "wall_time" ? "payload"
                            : cause == "external"                      ? "host"
                                                                       : "operator";
  return cause + " " + fault + " " + ending + " " + (ours ? name_of_signal(ours) : "-");
}

std::string line_of(const Json& verdict) {
  const Json& by = verdict["killed_by"];
  return verdict["cause"].get<std::string>() + " " + verdict["fault"].get<std::string>() + " " +
         (verdict["term_signal"].is_null() ? std::to_string(verdict["exit_code"].get<int>())
                                           : verdict["term_signal"].get<std::string>()) +
         " " + (by.is_null() ? "-" : by["signal"].get<std::string>());
}

bool asks_to_end(int signal) {
  return signal == SIGHUP || signal == SIGINT || signal == SIGQUIT || signal == SIGTERM;
}

// What the verdict has to say when these things happen in this order, and what ends
// the payload at once takes that long to.
std::string expected(const Answers& answers, std::vector<Act> acts, int64_t at_once = 0) {
  std::set<int> sent;
  int asked = 0, last = 0;  // signals of ours: to end, of any kind
  int64_t asked_at = 0;
  bool cleaning = false;
  std::string intent;
  for (size_t i = 0; i < acts.size(); ++i) {
    const Act act = acts[i];
    if (act.by == By::itself) {
      if (act.signal == 0) {
        if (!intent.empty()) return line(intent, std::to_string(act.code), last);
        const std::string code = std::to_string(act.code);
        if (act.code == 0) return line("payload", code);
        if (const int told = act.code - 128; sent.contains(told) && asks_to_end(told))
          return line("canceled", code, told);
        if (!asked || act.at - asked_at > kStopTimeout) return line("payload", code);
        return line("canceled", code, asked);
      }
      const std::string name = name_of_signal(act.signal);
      if (sent.contains(act.signal))
        return line(intent.empty() ? "canceled" : intent, name, act.signal);
      if (act.signal == SIGSEGV)
        return intent.empty() ? line("payload", name) : line(intent, name, last);
      return line("external", name);
    }
    if (act.by == By::stop && intent.empty()) intent = "canceled";
    if (act.by == By::hang_up && intent.empty()) intent = "disconnected";
    if (act.by == By::wall_time && intent.empty()) intent = "wall_time";
    if (act.by == By::escalation && intent.empty()) continue;
    if (act.by != By::stranger) {
      sent.insert(act.signal);
      last = act.signal;
      if (asks_to_end(act.signal)) {
        asked = act.signal;
        asked_at = act.at;
      }
    }
    const auto found = answers.find(act.signal);
    const std::string answer = found == answers.end() ? "" : found->second;
    if (act.signal == SIGCONT || answer == "ignore") continue;
    // It cleans up and hears nothing more that it would answer.
    if (cleaning && !answer.empty()) continue;
    cleaning |= answer == "again";
    const Act end =
        answer.empty() || answer == "again"
            ? Act{act.at + (answer.empty() ? at_once : kCleaningUp), By::itself, act.signal}
            : Act{act.at + at_once, By::itself, 0, std::atoi(answer.c_str())};
    // What comes while it cleans up comes before its end.
    const auto after = std::find_if(acts.begin() + static_cast<long>(i) + 1, acts.end(),
                                    [&](const Act& other) { return other.at > end.at; });
    acts.insert(after, end);
  }
  return "nothing ended it";
}

// The order that was played, and those with two neighbours that were close the
// other way round.
std::set<std::string> allowed(const Played& played) {
  std::vector<Act> acts = played.acts;
  std::stable_sort(acts.begin(), acts.end(),
                   [](const Act& a, const Act& b) { return a.at < b.at; });
  std::set<std::string> all = {expected(played.answers, acts),
                               expected(played.answers, acts, kClose)};
  // A cleaning up ends between two others.
  for (size_t i = 0; i + 1 < acts.size(); ++i)
    for (size_t j = i + 1; j < acts.size(); ++j) {
      std::vector<Act> other = acts;
      const int64_t apart = other[j].at - other[i].at;
      // Ours to wake up for it, and the payload's to sleep that long, on a busy machine.
      const auto is_about = [&](int64_t time) { return std::abs(apart - time) <= 2 * kClose; };
      const auto by_stop = [](const Act& act) {
        return act.by == By::stop || act.by == By::wall_time || act.by == By::escalation;
      };
      // A stop goes by a connection of its own, whose front may have to wait its turn, and
      // a limit on time counts from a start that was a moment before we heard of it.
      const bool stop = by_stop(acts[i]) || by_stop(acts[j]);
      if (apart > (stop ? kLate : kClose) && !is_about(kCleaningUp) && !is_about(kStopTimeout))
        continue;
      // Both may be pending at once, and the later one be taken first, signal(7).
      if (apart <= kClose && acts[i].by != By::itself) {
        Answers untaken = played.answers;
        untaken[acts[i].signal] = "ignore";
        all.insert(expected(untaken, acts));
      }
      for (const int64_t moved : {-kCleaningUp - 1, kCleaningUp + 1, -kClose - 1, kClose + 1,
                                  stop ? -kLate - 1 : 0, stop ? kLate + 1 : 0}) {
        other[j].at = acts[j].at + moved;
        std::vector<Act> sorted = other;
        std::stable_sort(sorted.begin(), sorted.end(),
                         [](const Act& a, const Act& b) { return a.at < b.at; });
        all.insert(expected(played.answers, sorted));
      }
    }
  return all;
}

// Of two that were close the one may be the end and the other what was sent
// before it: each part of a verdict is of one of the lines that are right.
bool is_of(const std::set<std::string>& right, const std::string& said, const Played& played) {
  const auto parts = [](const std::string& line) {
    std::istringstream in(line);
    std::string cause, fault, ending, sent;
    in >> cause >> fault >> ending >> sent;
    return std::array<std::string, 3>{cause + " " + fault, ending, sent};
  };
  const auto told = parts(said);
  const auto has = [&](size_t part) {
    return std::any_of(right.begin(), right.end(),
                       [&](const std::string& line) { return parts(line)[part] == told[part]; });
  };
  const auto sent = [&] {
    return right.size() > 1 &&
           std::any_of(played.acts.begin(), played.acts.end(), [&](const Act& act) {
             return act.by != By::stranger && act.signal && name_of_signal(act.signal) == told[2];
           });
  };
  return has(0) && has(1) && (has(2) || sent());
}

struct Running {
  Played played;
  Json id;
  pid_t pid = 0;
  int64_t ready = 0;
  int64_t wall_time = 0;            // its limit; 0: none
  std::unique_ptr<Client> own;      // where it is to hang up
  std::unique_ptr<Client> stopper;  // on which Stop waits for the end
};

class Harness {
 public:
  Harness(Way way, unsigned seed) : way_(way), random_(seed), client_(World::get().connect(way)) {}

  // The verdicts that are wrong.
  int play(int jobs) {
    std::vector<Running> running;
    for (int i = 0; i < jobs; ++i) running.push_back(begin());
    // All acts of all jobs in the order of their times.
    std::vector<std::pair<Running*, size_t>> order;
    for (Running& job : running)
      for (size_t i = 0; i < job.played.acts.size(); ++i)
        if (is_ours(job.played.acts[i].by)) order.emplace_back(&job, i);
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return a.first->played.acts[a.second].at < b.first->played.acts[b.second].at;
    });
    for (const auto& [job, index] : order) act(*job, index);
    int wrong = 0;
    for (Running& job : running) wrong += !is_right(job);
    CHECK(stalled_ <= jobs / 5);
    return wrong;
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return *(list.begin() + pick(0, static_cast<int>(list.size()) - 1));
  }

  Running begin() {
    Running job;
    Played& played = job.played;
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1})
      if (const std::string answer =
              one_of<const char*>({"", "", "ignore", "again", "0", "3", "130", "143"});
          !answer.empty())
        played.answers[signal] = answer;
    // The payload's own end, on which everybody else has 600 ms to act.
    Act own{(500 + pick(0, 100)) * kMs, By::itself};
    if (pick(0, 1))
      own.code = one_of({0, 1, 2, 42, 129, 143});
    else
      own.signal = one_of({SIGSEGV, SIGKILL, SIGTERM});
    Json request = World::get().probe_request(
        {"react", std::to_string(own.at / kMs),
         own.signal ? name_of_signal(own.signal) : std::to_string(own.code)});
    for (const auto& [signal, answer] : played.answers)
      request["argv"].push_back(name_of_signal(signal) + "=" + answer);
    request["lifetime"] = {{"stop_timeout", "150ms"}};
    if (pick(0, 3) == 0) job.wall_time = pick(50, 350) * kMs;
    if (job.wall_time > 0)
      request["limits"] = {{"wall_time", std::to_string(job.wall_time / kMs) + "ms"}};
    const bool hangs_up = pick(0, 7) == 0;
    if (hangs_up) {
      job.own = std::make_unique<Client>(World::get().connect(way_));
      request["lifetime"]["on_disconnect"] = "kill";
    }
    auto [out, out_write] = pipe();
    request["stdout"] = {{"passed_fd", 0}};
    Client& client = job.own ? *job.own : client_;
    Reply started = client.call("Start", {{"request", request}}, {out_write.get()});
    out_write.reset();
    INFO(started.error << started.parameters.dump());
    REQUIRE(started.error == "");
    REQUIRE(read_from(out.get(), 6) == "ready\n");
    job.ready = now_ns();
    job.id = started.parameters["id"];
    job.pid = started.parameters["pid"].get<pid_t>();

    own.at += job.ready;
    played.acts.push_back(own);
    if (job.wall_time > 0) {
      const int64_t at = job.ready + job.wall_time;
      played.acts.push_back({at, By::wall_time, SIGTERM});
      played.acts.push_back({at + kStopTimeout, By::escalation, SIGKILL});
    }
    const int count = pick(0, 3);
    for (int i = 0; i < count; ++i) {
      const int64_t at = job.ready + pick(50, 350) * kMs;
      switch (pick(0, hangs_up ? 6 : 5)) {
        case 0:
        case 1:
        case 2:
          played.acts.push_back(
              {at, By::us, one_of({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCONT, SIGKILL})});
          break;
        case 3:
        case 4:
          played.acts.push_back({at, By::stranger, one_of({SIGTERM, SIGINT, SIGUSR1, SIGKILL})});
          break;
        case 5:
          played.acts.push_back({at, By::stop, SIGTERM});
          if (!job.stopper) job.stopper = std::make_unique<Client>(World::get().connect(way_));
          break;
        default: played.acts.push_back({at, By::hang_up, SIGKILL});
      }
    }
    return job;
  }

  // Does it at its time and writes down when that was.
  void act(Running& job, size_t index) {
    const Act planned = job.played.acts[index];
    if (const int64_t left = planned.at - now_ns(); left > 0)
      usleep(static_cast<useconds_t>(left / 1000));
    const int64_t at = now_ns();
    switch (planned.by) {
      case By::us: client_.call("Signal", {{"id", job.id}, {"signal", planned.signal}}); break;
      case By::stranger: kill(job.pid, planned.signal); break;
      case By::stop:
        job.stopper->post("Stop", {{"id", job.id}});
        job.played.acts.push_back({at + kStopTimeout, By::escalation, SIGKILL});
        break;
      case By::hang_up:
        if (job.own) job.own->close();
        break;
      default: break;
    }
    job.played.acts[index].at = at;
  }

  bool is_right(Running& job) {
    const Json verdict = wait(client_, job.id)["verdict"];
    CHECK(client_.call("Remove", {{"id", job.id}}).error == "");
    const std::set<std::string> right = allowed(job.played);
    const std::string said = line_of(verdict);
    if (is_of(right, said, job.played)) return true;
    // The machine stood still: the limit was late, and nobody knows for what else.
    if (job.wall_time > 0 && verdict["cause"] == "wall_time" &&
        verdict["wall_us"].get<int64_t>() * 1000 > job.wall_time + kStopTimeout + kLate) {
      ++stalled_;
      return true;
    }
    std::string story;
    for (const auto& [signal, answer] : job.played.answers)
      story += name_of_signal(signal) + "=" + answer + " ";
    for (const Act& act : job.played.acts)
      story += "\n  " + std::to_string((act.at - job.ready) / kMs) + " ms: by " +
               std::to_string(static_cast<int>(act.by)) + " signal " + std::to_string(act.signal) +
               " code " + std::to_string(act.code);
    std::string wanted;
    for (const std::string& each : right) wanted += "\n  " + each;
    INFO(story << "\nsaid: " << said << "\nright:" << wanted);
    CHECK(false);
    return false;
  }

  const Way way_;
  std::mt19937 random_;
  Client client_;
  int stalled_ = 0;
};

TEST_CASE(
    "U10: of random endings, each has the cause, the fault and the sender that the test knows") {
  NEEDS_ROOT();
  // Each job takes most of a second, so many are played at once.
  constexpr int kAtOnce = 25;
  const int all = std::getenv("CLOISTER_SOAK") ? 1000 : 100;
  const char* given = std::getenv("CLOISTER_SEED");
  const unsigned seed = given ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
  INFO("CLOISTER_SEED=" << seed);
  for (const Way way : {Way::user, Way::rootless}) {
    CAPTURE(name_of(way));
    Harness harness(way, seed);
    int wrong = 0;
    for (int played = 0; played < all; played += kAtOnce) wrong += harness.play(kAtOnce);
    CHECK(wrong == 0);
  }
}

}  // namespace
}  // namespace cloister::system_test
