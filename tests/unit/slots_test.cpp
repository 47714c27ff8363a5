// Which init a job gets: one that waits, or one that is made for it.
#include "life/slots.hpp"

#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "fake_init.hpp"
#include "outcome.hpp"
#include "sys/hex.hpp"

namespace cloister::monitor {
namespace {

struct Shop {
  Cgroups cgroups{CgroupChoice::none};
  std::vector<std::unique_ptr<test::FakeInit>> born;
  bool fails = false;
  Slots slots;

  explicit Shop(std::vector<Birth> spares, int records = -1)
      : slots(
            cgroups, [this](const Spawn& request) { return start(request); }, records,
            std::move(spares)) {}

  Child start(const Spawn& request) {
    if (fails) {
      errno = EAGAIN;
      return {};
    }
    born.push_back(std::make_unique<test::FakeInit>(request));
    return born.back()->child();
  }
};

std::vector<Birth> plain_and_box() { return {{}, {.namespaces = CLONE_NEWPID}}; }

TEST_CASE("each spare is made once, and used once") {
  Shop shop(plain_and_box());
  shop.slots.replenish();
  REQUIRE(shop.born.size() == 2);
  shop.slots.replenish();
  CHECK(shop.born.size() == 2);
  Slot first, second;
  CHECK(shop.slots.take({.namespaces = CLONE_NEWPID}, first).error == 0);
  CHECK(shop.born.size() == 2);
  CHECK(first.init.pid > 0);
  CHECK(first.record);
  CHECK(first.control);
  CHECK(first.passed);
  CHECK(shop.slots.take({.namespaces = CLONE_NEWPID}, second).error == 0);
  REQUIRE(shop.born.size() == 3);
  CHECK(shop.born[2]->namespaces == CLONE_NEWPID);
  CHECK(first.job != second.job);
  shop.slots.replenish();
  CHECK(shop.born.size() == 4);
}

TEST_CASE("only a box that waits is told to make its namespaces ahead") {
  Shop shop(plain_and_box());
  shop.slots.replenish();
  for (const auto& init : shop.born) {
    const auto order = init->told<plan::Order>();
    CHECK(order.has_value() == (init->namespaces == CLONE_NEWPID));
    if (order) CHECK(order->flags == plan::kAhead);
  }
}

TEST_CASE("a birth that no spare has is made when it is asked for") {
  Shop shop(plain_and_box());
  shop.slots.replenish();
  const std::string caller = "0::/caller\n";
  const std::vector<gid_t> groups = {7};
  const auto makes_one = [&](const Birth& birth) {
    const size_t before = shop.born.size();
    Slot slot;
    CHECK(shop.slots.take(birth, slot).error == 0);
    CHECK(shop.born.size() == before + 1);
  };
  makes_one({.namespaces = CLONE_NEWUSER, .ambient = true});
  CHECK(shop.born.back()->ambient);
  makes_one({.ambient = true});
  makes_one({.groups = groups, .set_groups = true});
  CHECK(shop.born.back()->set_groups);
  makes_one({.namespaces = CLONE_NEWPID, .caller_cgroups = &caller});
}

TEST_CASE("a spare that ended while it waited is not handed out") {
  Shop shop(plain_and_box());
  shop.slots.replenish();
  shop.born[0]->end();
  Slot slot;
  CHECK(shop.slots.take({}, slot).error == 0);
  CHECK(shop.born.size() == 3);
}

TEST_CASE("without an init there is no slot, and the failure is of the clone") {
  Shop shop(plain_and_box());
  shop.fails = true;
  shop.slots.replenish();
  Slot slot;
  const plan::Failure failure = shop.slots.take({}, slot);
  CHECK(failure.step == plan::Step::clone);
  CHECK(failure.error == EAGAIN);
  CHECK(slot.init.pid < 0);
  CHECK_FALSE(slot.record);
}

TEST_CASE("a record lies under the job's name until it is erased") {
  char path[] = "/tmp/cloister-slots-XXXXXX";
  REQUIRE(::mkdtemp(path));
  const sys::UniqueFd records(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(records);
  const auto is_there = [&](const Slot& slot) {
    struct stat info {};
    return ::fstatat(records.borrow(), sys::hex(slot.job).c_str(), &info, 0) == 0 &&
           info.st_size == plan::kRecordBytes;
  };
  {
    Shop shop({{}}, records.borrow());
    Slot slot;
    REQUIRE(shop.slots.take({}, slot).error == 0);
    CHECK(is_there(slot));
    shop.slots.erase_record(slot.job);
    CHECK_FALSE(is_there(slot));
    shop.slots.replenish();
  }
  // The spares went with their records: nothing is left in it.
  CHECK(::rmdir(path) == 0);
}

}  // namespace
}  // namespace cloister::monitor
