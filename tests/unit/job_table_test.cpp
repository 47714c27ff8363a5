// Who finds which job, what is kept for how long, and what goes first.
#include "life/job_table.hpp"

#include <linux/capability.h>

#include <vector>

#include "kept_jobs.hpp"

namespace cloister::test {
namespace {

using std::chrono::seconds;

constexpr uid_t kAlice = 1000, kBob = 1001;

struct Table {
  std::vector<JobId> forgotten;
  JobTable jobs{[this](JobTable::Entry& entry) { forgotten.push_back(id_of(entry.state().job)); }};
  Peer alice = user(kAlice), bob = user(kBob);

  bool has(const JobId& id) { return find(jobs, id, alice) != nullptr; }
};

TEST_CASE("a job is found by its id and its owner together") {
  Table table;
  const JobId job = add_kept(table.jobs, {.owner = kAlice});
  CHECK(find(table.jobs, job, table.alice));
  CHECK_FALSE(find(table.jobs, job, table.bob));
  JobId other = job;
  other[15] ^= 1;
  CHECK_FALSE(find(table.jobs, other, table.alice));
  SUBCASE("who could kill every process sees every job") {
    table.bob.permitted = uint64_t{1} << CAP_KILL;
    CHECK(find(table.jobs, job, table.bob));
  }
  SUBCASE("one that nobody wants any more is found by nobody") {
    table.jobs.forget(job);
    CHECK_FALSE(find(table.jobs, job, table.alice));
    CHECK(table.forgotten == std::vector<JobId>{job});
    CHECK(table.jobs.all().empty());
    CHECK(table.jobs.of(kAlice).empty());
    CHECK(table.jobs.bytes(kAlice) == 0);
  }
}

TEST_CASE("a job whose init is not reaped is removed at once and forgotten later") {
  Table table;
  plan::JobState state{};
  state.owner = kAlice;
  plan::Builder plan;
  plan->name = plan.text("n");
  const std::string block = plan.finish();
  JobTable::Entry& entry =
      table.jobs.add(state, Labels(plan::View(block.data())), bytes_of_plan(1));
  const JobId id = id_of(state.job);
  table.jobs.forget(id);
  CHECK(entry.removed);
  CHECK_FALSE(table.has(id));
  CHECK(table.forgotten.empty());
  CHECK(table.jobs.all().size() == 1);
  table.jobs.keep(entry, std::make_unique<Kept>(state, sealed(block), Outputs(), seconds(1)));
  CHECK(table.forgotten == std::vector<JobId>{id});
  CHECK(table.jobs.all().empty());
}

TEST_CASE("an idempotency key finds its user's job alone, and goes with it") {
  Table table;
  const JobId job = add_kept(table.jobs, {.owner = kAlice, .key = "once"});
  plan::Builder plan;
  plan->idempotency_key = plan.text("once");
  const std::string block = plan.finish();
  const Labels labels{plan::View(block.data())};
  REQUIRE(table.jobs.known_key(kAlice, labels));
  CHECK(id_of(table.jobs.known_key(kAlice, labels)->state().job) == job);
  CHECK_FALSE(table.jobs.known_key(kBob, labels));
  // Of two with one key the later counts, and the end of the earlier takes nothing from it.
  const JobId later = add_kept(table.jobs, {.owner = kAlice, .key = "once"});
  table.jobs.forget(job);
  REQUIRE(table.jobs.known_key(kAlice, labels));
  CHECK(id_of(table.jobs.known_key(kAlice, labels)->state().job) == later);
  table.jobs.forget(later);
  CHECK_FALSE(table.jobs.known_key(kAlice, labels));
}

TEST_CASE("no more are kept of a user than the bound, the oldest go, another's stay") {
  Table table;
  const JobId others = add_kept(table.jobs, {.owner = kBob}, 3);
  std::vector<JobId> jobs;
  for (int i = 0; i < 3; ++i) jobs.push_back(add_kept(table.jobs, {.owner = kAlice}, 3));
  CHECK(table.forgotten.empty());
  CHECK(table.jobs.kept(kAlice) == 3);
  jobs.push_back(add_kept(table.jobs, {.owner = kAlice}, 3));
  CHECK(table.forgotten == std::vector<JobId>{jobs[0]});
  CHECK(table.jobs.kept(kAlice) == 3);
  CHECK(find(table.jobs, others, table.bob));
}

TEST_CASE("those without their requests go before those that have them") {
  Table table;
  constexpr size_t kRequest = 100'000;
  std::vector<JobId> jobs;
  for (int i = 0; i < 3; ++i)
    jobs.push_back(add_kept(table.jobs, {.owner = kAlice, .request_bytes = kRequest}, 3));
  const uint64_t full = table.jobs.bytes(kAlice);
  CHECK(full >= 3 * kRequest);
  // The oldest gives up its request; it is told from the others as before.
  REQUIRE(table.jobs.make_room(kAlice, 4096, full));
  CHECK(table.forgotten.empty());
  CHECK(table.jobs.bytes(kAlice) < full - kRequest / 2);
  CHECK(table.has(jobs[0]));
  // It is also the first to go.
  add_kept(table.jobs, {.owner = kAlice}, 3);
  CHECK(table.forgotten == std::vector<JobId>{jobs[0]});
}

TEST_CASE("room is made by cutting all, then by forgetting, and not beyond what is needed") {
  Table table;
  std::vector<JobId> jobs;
  for (int i = 0; i < 3; ++i)
    jobs.push_back(add_kept(table.jobs, {.owner = kAlice, .request_bytes = 50'000}));
  const uint64_t before = table.jobs.bytes(kAlice);
  SUBCASE("no bound") {
    CHECK(table.jobs.make_room(kAlice, UINT32_MAX, 0));
    CHECK(table.jobs.bytes(kAlice) == before);
  }
  SUBCASE("it fits as it is") {
    CHECK(table.jobs.make_room(kAlice, 4096, before + 4096));
    CHECK(table.jobs.bytes(kAlice) == before);
  }
  SUBCASE("all is cut, then the oldest goes") {
    CHECK(table.jobs.make_room(kAlice, 4096, 3 * 4096));
    CHECK(table.forgotten == std::vector<JobId>{jobs[0]});
    CHECK(table.jobs.bytes(kAlice) == 2 * 4096);
  }
  SUBCASE("what can never fit costs all that is kept, and is refused") {
    CHECK_FALSE(table.jobs.make_room(kAlice, 4097, 4096));
    CHECK(table.forgotten == jobs);
    CHECK(table.jobs.bytes(kAlice) == 0);
  }
  SUBCASE("another user's are theirs") {
    CHECK(table.jobs.make_room(kBob, before, before));
    CHECK(table.jobs.bytes(kAlice) == before);
  }
}

TEST_CASE("what has been kept for its time is forgotten, and the next is due when it is") {
  Table table;
  const JobId first = add_kept(table.jobs, {.owner = kAlice, .ended = seconds(100)});
  const JobId second = add_kept(table.jobs, {.owner = kAlice, .ended = seconds(160)});
  const JobId others = add_kept(table.jobs, {.owner = kBob, .ended = seconds(130)});
  CHECK(table.jobs.expire(seconds(159), seconds(60)) == seconds(1));
  CHECK(table.forgotten.empty());
  CHECK(table.jobs.expire(seconds(160), seconds(60)) == seconds(30));
  CHECK(table.forgotten == std::vector<JobId>{first});
  CHECK(table.jobs.expire(seconds(190), seconds(60)) == seconds(30));
  CHECK(table.forgotten == std::vector<JobId>{first, others});
  CHECK(table.has(second));
  CHECK_FALSE(table.jobs.expire(seconds(220), seconds(60)));
  CHECK(table.forgotten == std::vector<JobId>{first, others, second});
  CHECK_FALSE(table.jobs.expire(seconds(1000), seconds(60)));
}

TEST_CASE("jobs are listed in the order in which they came, each user's alone") {
  Table table;
  const JobId first = add_kept(table.jobs, {.owner = kAlice});
  const JobId others = add_kept(table.jobs, {.owner = kBob});
  const JobId second = add_kept(table.jobs, {.owner = kAlice});
  const auto ids = [](const JobTable::Serials& serials) {
    std::vector<JobId> all;
    for (const auto& [serial, id] : serials) all.push_back(id);
    return all;
  };
  CHECK(ids(table.jobs.of(kAlice)) == std::vector<JobId>{first, second});
  CHECK(ids(table.jobs.of(kBob)) == std::vector<JobId>{others});
  CHECK(ids(table.jobs.all()) == std::vector<JobId>{first, others, second});
  CHECK(ids(table.jobs.of(1002)).empty());
}

}  // namespace
}  // namespace cloister::test
