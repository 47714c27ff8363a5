// The life of a job: its states, the events of each, and which parts of the job must
// be gone before a state is entered. Nothing here makes a system call.
//
//   preparing ─▶ running ◀─▶ stopped
//       └───────────┴───────────┴──▶ finishing ─▶ ended ─▶ gone
//                                        └──────▶ held ──┘
//
// Two states are missing, because nothing can enter them yet. `frozen` will be added
// beside `stopped` when a request can freeze the payload's cgroup. There is none for a
// job whose monitor has died: the job dies too, and the next service removes its record
// unread. A service that takes such jobs over would enter them in `running` or
// `finishing`, according to their records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>

namespace cloister::monitor {

enum class State : uint8_t {
  preparing,  // init has its Order; the payload has not executed its program yet
  running,
  stopped,    // the payload is stopped, by a signal or a tracer
  finishing,  // nothing of it runs any more; its parts of the host are given back
  ended,      // its end has been told; next, init is reaped and the cgroup removed
  held,       // the same, but init was killed and the kernel does not let it be reaped
  gone,       // nothing is left but its Kept (kept.hpp)
  count_
};

enum class Event : uint8_t {
  // what init says
  started,
  stopped,
  continued,
  record_whole,  // nothing of the payload lives, and the record says how it ended
  // what the kernel says
  payload_ended,
  init_ended,
  network_ended,
  relay_ended,
  // what the monitor does
  init_given_up,     // init was killed and cannot be reaped
  payload_given_up,  // init has ended; the payload was killed and does not die
  scratch_removed,
  told,
  told_without_init,
  all_gone,
  count_
};

inline constexpr const char* kStateNames[] = {"preparing", "running", "stopped", "finishing",
                                              "ended",     "held",    "gone"};
inline constexpr const char* kEventNames[] = {
    "started",         "stopped",       "continued",         "record_whole",  "payload_ended",
    "init_ended",      "network_ended", "relay_ended",       "init_given_up", "payload_given_up",
    "scratch_removed", "told",          "told_without_init", "all_gone"};
static_assert(std::size(kStateNames) == static_cast<size_t>(State::count_));
static_assert(std::size(kEventNames) == static_cast<size_t>(Event::count_));

constexpr const char* name_of(State state) { return kStateNames[static_cast<size_t>(state)]; }
constexpr const char* name_of(Event event) { return kEventNames[static_cast<size_t>(event)]; }

struct Row {
  State in;
  Event event;
  State next;
};

inline constexpr Row kRows[] = {
    {State::preparing, Event::started, State::running},
    // The payload's process was stopped before its exec. Init reports that only when the
    // launch has failed.
    {State::preparing, Event::stopped, State::preparing},
    {State::preparing, Event::continued, State::preparing},
    {State::preparing, Event::record_whole, State::finishing},
    // Init gets a moment to report how it ended.
    {State::preparing, Event::payload_ended, State::preparing},
    {State::preparing, Event::init_ended, State::finishing},
    // The job is killed because of it; the next events report that.
    {State::preparing, Event::network_ended, State::preparing},
    {State::preparing, Event::relay_ended, State::preparing},
    {State::preparing, Event::init_given_up, State::finishing},

    {State::running, Event::stopped, State::stopped},
    // Stopped and continued between two calls of waitid(2) by init, which shows only the
    // last change.
    {State::running, Event::continued, State::running},
    {State::running, Event::record_whole, State::finishing},
    {State::running, Event::payload_ended, State::running},
    {State::running, Event::init_ended, State::finishing},
    {State::running, Event::network_ended, State::running},
    {State::running, Event::relay_ended, State::running},
    {State::running, Event::init_given_up, State::finishing},

    // Likewise, continued and stopped.
    {State::stopped, Event::stopped, State::stopped},
    {State::stopped, Event::continued, State::running},
    {State::stopped, Event::record_whole, State::finishing},
    {State::stopped, Event::payload_ended, State::stopped},
    {State::stopped, Event::init_ended, State::finishing},
    {State::stopped, Event::network_ended, State::stopped},
    {State::stopped, Event::relay_ended, State::stopped},
    {State::stopped, Event::init_given_up, State::finishing},

    // Reports that init sent before it ended may be read after its end was seen.
    {State::finishing, Event::started, State::finishing},
    {State::finishing, Event::stopped, State::finishing},
    {State::finishing, Event::continued, State::finishing},
    {State::finishing, Event::record_whole, State::finishing},
    {State::finishing, Event::payload_ended, State::finishing},
    {State::finishing, Event::init_ended, State::finishing},
    {State::finishing, Event::network_ended, State::finishing},
    {State::finishing, Event::relay_ended, State::finishing},
    {State::finishing, Event::payload_given_up, State::finishing},
    {State::finishing, Event::scratch_removed, State::finishing},
    {State::finishing, Event::told, State::ended},
    {State::finishing, Event::told_without_init, State::held},

    // Nobody listens to init or to the payload's pidfd any more.
    {State::ended, Event::init_ended, State::ended},
    {State::ended, Event::all_gone, State::gone},
    {State::held, Event::init_ended, State::held},
    {State::held, Event::all_gone, State::gone},
};

// std::nullopt if the event cannot happen in this state: if it did, that is a defect.
constexpr std::optional<State> next(State in, Event event) {
  for (const Row& row : kRows)
    if (row.in == in && row.event == event) return row.next;
  return {};
}

// The payload may be there, or may come.
constexpr bool is_alive(State state) { return state < State::finishing; }
// Its end has not been told.
constexpr bool is_running(State state) { return state <= State::finishing; }

// The parts of the host that a job has, in the order in which they are given back.
enum class Part : uint8_t { payload, relay, network, scratch, init, orphans, leaves, count_ };

struct MustGo {
  const char* name;
  State before;  // must be gone when this state is entered; `ended` stands for `held` too
};
inline constexpr MustGo kParts[] = {
    {"payload", State::ended},            // no verdict while it runs
    {"relay", State::ended},              // what it wrote can be read to its end
    {"network process", State::ended},    // its ports are free again
    {"scratch directory", State::ended},  // its disk space is free again
    {"init", State::gone},                // reaped
    {"orphans", State::gone},             // of an init or network process that was killed
    {"cgroup", State::gone},              // with its leaves; then leased ids are free
};
static_assert(std::size(kParts) == static_cast<size_t>(Part::count_));

constexpr const char* name_of(Part part) { return kParts[static_cast<size_t>(part)].name; }

// Which parts a job has now.
class Parts {
 public:
  constexpr void add(Part part) { has_ |= bit(part); }
  constexpr void gone(Part part) { has_ &= ~bit(part); }
  constexpr bool has(Part part) const { return (has_ & bit(part)) != 0; }
  // The first part that is still there.
  constexpr std::optional<Part> first() const {
    for (uint8_t i = 0; i < static_cast<uint8_t>(Part::count_); ++i)
      if (has(Part{i})) return Part{i};
    return {};
  }
  // The same, but only if that part must be gone when `state` is entered.
  constexpr std::optional<Part> first_before(State state) const {
    const std::optional<Part> part = first();
    return part && kParts[static_cast<size_t>(*part)].before <= state ? part : std::nullopt;
  }

 private:
  static constexpr uint32_t bit(Part part) { return uint32_t{1} << static_cast<uint32_t>(part); }
  uint32_t has_ = 0;
};

}  // namespace cloister::monitor
