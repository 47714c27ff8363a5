// What a user may have under way, at each bound and one past it.
#include "life/quota.hpp"

#include <string>

#include "outcome.hpp"

namespace cloister::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uid_t kAlice = 1000, kBob = 1001;

const Quotas::Clock::time_point kStart{seconds(1000)};

Quota unbounded() {
  Quota quota;
  quota.connections = quota.jobs = quota.fds_in_flight = quota.spawns_per_s = 0;
  return quota;
}

TEST_CASE("jobs up to the bound are launched, and one more when one has ended") {
  Quotas quotas;
  Quota quota = unbounded();
  quota.jobs = 2;
  for (int i = 0; i < 2; ++i) {
    REQUIRE_FALSE(quotas.may_launch(kAlice, quota, 0, kStart));
    quotas.begin(kAlice, 0);
  }
  const auto over = quotas.may_launch(kAlice, quota, 0, kStart);
  REQUIRE(over);
  CHECK(over->reason == plan::Reason::rule_quota_jobs);
  CHECK(over->limit == 2);
  CHECK(over->in_use == 2);
  CHECK(over->retry.count() > 0);
  CHECK(quotas.jobs(kAlice) == 2);
  SUBCASE("another user has a bound of their own") {
    CHECK_FALSE(quotas.may_launch(kBob, quota, 0, kStart));
    CHECK(quotas.jobs(kBob) == 0);
  }
  SUBCASE("an end makes room") {
    quotas.end(kAlice);
    CHECK(quotas.jobs(kAlice) == 1);
    CHECK_FALSE(quotas.may_launch(kAlice, quota, 0, kStart));
  }
  SUBCASE("0 is no bound") {
    quota.jobs = 0;
    CHECK_FALSE(quotas.may_launch(kAlice, quota, 0, kStart));
  }
}

TEST_CASE("descriptors count until they have arrived") {
  Quotas quotas;
  Quota quota = unbounded();
  quota.fds_in_flight = 10;
  REQUIRE_FALSE(quotas.may_launch(kAlice, quota, 6, kStart));
  quotas.begin(kAlice, 6);
  CHECK_FALSE(quotas.may_launch(kAlice, quota, 4, kStart));
  const auto over = quotas.may_launch(kAlice, quota, 5, kStart);
  REQUIRE(over);
  CHECK(over->reason == plan::Reason::rule_quota_fds_in_flight);
  CHECK(over->in_use == 6);
  // The sum is one of 64 bits.
  CHECK(quotas.may_launch(kAlice, quota, UINT32_MAX - 2, kStart));
  quotas.arrived(kAlice, 6);
  CHECK_FALSE(quotas.may_launch(kAlice, quota, 10, kStart));
  CHECK(quotas.may_launch(kAlice, quota, 11, kStart));
}

TEST_CASE("spawns of a second fill a bucket that is refilled as time passes") {
  Quotas quotas;
  Quota quota = unbounded();
  quota.spawns_per_s = 4;
  for (int i = 0; i < 4; ++i) CHECK_FALSE(quotas.may_launch(kAlice, quota, 0, kStart));
  const auto over = quotas.may_launch(kAlice, quota, 0, kStart);
  REQUIRE(over);
  CHECK(over->reason == plan::Reason::rule_quota_spawns_per_s);
  CHECK(over->limit == 4);
  CHECK(over->retry == milliseconds(250));
  CHECK(quotas.may_launch(kAlice, quota, 0, kStart + milliseconds(249)));
  CHECK_FALSE(quotas.may_launch(kAlice, quota, 0, kStart + milliseconds(251)));
  // An hour fills no more than a second does.
  for (int i = 0; i < 4; ++i)
    CHECK_FALSE(quotas.may_launch(kAlice, quota, 0, kStart + seconds(3600)));
  CHECK(quotas.may_launch(kAlice, quota, 0, kStart + seconds(3600)));
}

TEST_CASE("a connection is counted whatever the answer") {
  Quotas quotas;
  Quota quota = unbounded();
  quota.connections = 1;
  CHECK_FALSE(quotas.connect(kAlice, quota));
  const auto over = quotas.connect(kAlice, quota);
  REQUIRE(over);
  CHECK(over->reason == plan::Reason::rule_quota_connections);
  CHECK(over->limit == 1);
  CHECK(over->in_use == 1);
  quotas.disconnect(kAlice);
  CHECK(quotas.connect(kAlice, quota));
  quotas.disconnect(kAlice);
  quotas.disconnect(kAlice);
  CHECK_FALSE(quotas.connect(kAlice, quota));
}

TEST_CASE("who hangs up and comes again finds the bucket as it was") {
  Quotas quotas;
  Quota quota = unbounded();
  quota.spawns_per_s = 1;
  const auto now = Quotas::Clock::now();
  quotas.connect(kAlice, quota);
  REQUIRE_FALSE(quotas.may_launch(kAlice, quota, 0, now));
  quotas.disconnect(kAlice);
  quotas.connect(kAlice, quota);
  CHECK(quotas.may_launch(kAlice, quota, 0, now));
}

}  // namespace
}  // namespace cloister::monitor
