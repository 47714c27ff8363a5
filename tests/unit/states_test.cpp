// The life of a job, state by state and event by event: what is written here is
// what the table may say, and nothing else.
#include "life/states.hpp"

#include <set>
#include <string>
#include <utility>

#include "outcome.hpp"

namespace cloister::monitor {
namespace {

constexpr size_t kStates = static_cast<size_t>(State::count_);
constexpr size_t kEvents = static_cast<size_t>(Event::count_);

// One line a state, one column an event, in the order of their enums: the first
// letter of the next state, or a dot where the event is a defect.
constexpr const char* kExpected[kStates] = {
    // started, stopped, continued; record_whole, payload_ended, init_ended,
    // network_ended, relay_ended; init_given_up, payload_given_up, scratch_removed;
    // told, told_without_init, all_gone
    "rpp fpfpp f.. ...",  // preparing
    ".sr frfrr f.. ...",  // running
    ".sr fsfss f.. ...",  // stopped
    "fff fffff .ff eh.",  // finishing
    "... ..e.. ... ..g",  // ended
    "... ..h.. ... ..g",  // held
    "... ..... ... ...",  // gone
};

std::string row_of(State in) {
  std::string row;
  for (size_t event = 0; event < kEvents; ++event) {
    if (event == 3 || event == 8 || event == 11) row += ' ';
    const auto to = next(in, static_cast<Event>(event));
    row += to ? *name_of(*to) : '.';
  }
  return row;
}

TEST_CASE("every event in every state leads where the table of the test says") {
  for (size_t state = 0; state < kStates; ++state) {
    CAPTURE(std::string(kStateNames[state]));
    CHECK(row_of(static_cast<State>(state)) == kExpected[state]);
  }
}

TEST_CASE("no pair of a state and an event has two rows") {
  std::set<std::pair<State, Event>> seen;
  for (const Row& row : kRows) {
    CAPTURE(std::string(name_of(row.in)));
    CAPTURE(std::string(name_of(row.event)));
    CHECK(seen.insert({row.in, row.event}).second);
  }
}

TEST_CASE("a life never goes back, but from stopped to running") {
  for (const Row& row : kRows) {
    CAPTURE(std::string(name_of(row.in)));
    CAPTURE(std::string(name_of(row.event)));
    const bool back = row.next < row.in;
    CHECK(back == (row.in == State::stopped && row.next == State::running));
  }
}

TEST_CASE("every state but the first is entered by some event, and gone is left by none") {
  for (size_t state = 1; state < kStates; ++state) {
    bool entered = false;
    for (const Row& row : kRows)
      entered |= row.next == static_cast<State>(state) && row.in != row.next;
    CAPTURE(std::string(kStateNames[state]));
    CHECK(entered);
  }
  for (const Row& row : kRows) CHECK(row.in != State::gone);
}

TEST_CASE("a job is alive until it finishes, and runs until its end is told") {
  for (const State state : {State::preparing, State::running, State::stopped}) {
    CHECK(is_alive(state));
    CHECK(is_running(state));
  }
  CHECK_FALSE(is_alive(State::finishing));
  CHECK(is_running(State::finishing));
  for (const State state : {State::ended, State::held, State::gone}) {
    CHECK_FALSE(is_alive(state));
    CHECK_FALSE(is_running(state));
  }
}

TEST_CASE("parts go in their order, those of the verdict before the others") {
  Parts parts;
  CHECK_FALSE(parts.first());
  for (const Part part : {Part::leaves, Part::init, Part::scratch, Part::network, Part::payload})
    parts.add(part);
  for (const Part part : {Part::payload, Part::network, Part::scratch}) {
    CHECK(parts.first() == part);
    CHECK(parts.first_before(State::ended) == part);
    parts.gone(part);
    CHECK_FALSE(parts.has(part));
  }
  CHECK_FALSE(parts.first_before(State::ended));
  CHECK(parts.first_before(State::gone) == Part::init);
  // Init was killed: what it had came to us.
  parts.add(Part::orphans);
  parts.gone(Part::init);
  CHECK(parts.first() == Part::orphans);
  parts.gone(Part::orphans);
  CHECK(parts.first() == Part::leaves);
  parts.gone(Part::leaves);
  CHECK_FALSE(parts.first());
}

TEST_CASE("the parts of a verdict stand before all others in the table") {
  bool others = false;
  for (const MustGo& part : kParts) {
    const bool of_verdict = part.before == State::ended;
    CHECK_FALSE((of_verdict && others));
    others |= !of_verdict;
  }
  CHECK(others);
}

}  // namespace
}  // namespace cloister::monitor
