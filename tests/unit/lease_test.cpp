// The pool of ids that are leased to jobs.
#include <unistd.h>

#include <set>
#include <vector>

#include "host/lease.hpp"
#include "outcome.hpp"

using namespace cloister::monitor;

namespace {
// Nobody has these.
constexpr Pool kPool{1'900'000'000, 4 * 100, 100};
}  // namespace

TEST_CASE("without a pool nothing is leased") {
  Leases leases;
  CHECK(!leases.has_blocks());
  CHECK(!leases.has_ids());
  CHECK(!leases.take_block());
  CHECK(!leases.take_id());
}

TEST_CASE("each block is leased once, until it is given back") {
  Leases leases;
  leases.configure(kPool);
  CHECK(leases.blocks() == 3);
  std::vector<Leases::Held> held;
  std::set<uint32_t> seen;
  for (int i = 0; i < 3; ++i) {
    held.push_back(leases.take_block());
    REQUIRE(held.back());
    CHECK(held.back()->count == 100);
    CHECK((held.back()->first - kPool.first) % 100 == 0);
    seen.insert(held.back()->first);
  }
  CHECK(seen == std::set<uint32_t>{kPool.first, kPool.first + 100, kPool.first + 200});
  CHECK(!leases.take_block());
  const uint32_t free = held[1]->first;
  Leases::Held second_holder = held[1];
  held[1].reset();
  CHECK(!leases.take_block());
  held.erase(held.begin() + 1);
  second_holder.reset();
  const Leases::Held again = leases.take_block();
  REQUIRE(again);
  CHECK(again->first == free);
}

TEST_CASE("single ids come from the last block, and never two jobs have one") {
  Leases leases;
  leases.configure(kPool);
  std::vector<Leases::Held> held;
  std::set<uint32_t> seen;
  for (int i = 0; i < 100; ++i) {
    held.push_back(leases.take_id());
    REQUIRE(held.back());
    CHECK(held.back()->count == 1);
    CHECK(held.back()->first >= kPool.first + 300);
    CHECK(held.back()->first < kPool.first + 400);
    seen.insert(held.back()->first);
  }
  CHECK(seen.size() == 100);
  CHECK(!leases.take_id());
  CHECK(leases.take_block());
}

TEST_CASE("an id that was given back is not the next one to be leased") {
  Leases leases;
  leases.configure(kPool);
  const uint32_t first = leases.take_id()->first;
  const uint32_t second = leases.take_id()->first;
  CHECK(first != second);
}

TEST_CASE("a pool of one block has single ids only") {
  Leases leases;
  leases.configure({kPool.first, 100, 100});
  CHECK(!leases.has_blocks());
  CHECK(!leases.take_block());
  CHECK(leases.take_id());
}

TEST_CASE("the highest ids that there are can be a pool") {
  Leases leases;
  leases.configure({4294967295u - 200, 200, 100});
  const Leases::Held block = leases.take_block();
  REQUIRE(block);
  CHECK(block->first == 4294967095u);
  std::vector<Leases::Held> held;
  // All of the last block but the one that inits have.
  for (int i = 0; i < 99; ++i) {
    held.push_back(leases.take_id());
    REQUIRE(held.back());
    CHECK(held.back()->first != 4294967293u);
  }
  CHECK(held.back()->first == 4294967294u);
  CHECK(!leases.take_id());
  CHECK(!leases.take_block());
}

TEST_CASE("another pool does not lease again what of the old one is out") {
  Leases leases;
  leases.configure(kPool);
  const Leases::Held block = leases.take_block(), id = leases.take_id();
  leases.configure({kPool.first - 100, 300, 100});
  std::set<uint32_t> seen;
  std::vector<Leases::Held> held;
  while (const Leases::Held next = leases.take_block()) {
    seen.insert(next->first);
    held.push_back(next);
  }
  CHECK(seen == std::set<uint32_t>{kPool.first - 100});
  leases.configure({});
  CHECK(!leases.take_id());
}

TEST_CASE("an id that a process has now is not leased") {
  Leases leases;
  // Our own uid is in it, wherever that is.
  const uint32_t own = ::getuid();
  const uint32_t first = own - own % 10;
  leases.configure({first, 10, 10});
  for (int i = 0; i < 30; ++i) {
    const Leases::Held id = leases.take_id();
    if (id) CHECK(id->first != own);
  }
}
