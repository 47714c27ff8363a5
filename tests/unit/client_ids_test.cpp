// S1, S2: the ids and powers of what goes on acting for a client are the
// monitor's to say, and are those that the client may be.
#include <linux/capability.h>

#include <fstream>

#include "judged.hpp"

namespace cloister::test {
namespace {

using Lines = std::vector<plan::IdMap>;

std::string text(const Lines& lines) {
  std::string out;
  for (const plan::IdMap& line : lines) {
    CHECK(line.inside == line.outside);  // each id is itself
    out += std::to_string(line.outside) + '+' + std::to_string(line.count) + ' ';
  }
  return out;
}

void add_overlay(Judged& job) {
  const std::vector<plan::Layer> layers = {
      {plan::LayerRole::lower, static_cast<uint32_t>(job.descriptors.size()), job.plan.text("")}};
  job.descriptors.push_back({plan::Use::mount, 0});
  job.mount(MountKind::overlay).layers = job.plan.span(layers);
}

// "UIDS/ GIDS", and whether it may set file capabilities.
void is(const char* what, const Spoil& spoil, const std::string& ids, bool capabilities) {
  CAPTURE(std::string(what));
  Judged job;
  add_overlay(job);
  spoil(job);
  REQUIRE(told(job.decide()) == told({}));
  const IdMaps& client = job.approved->ids().client;
  CHECK(text(client.uids) + "/ " + text(client.gids) == ids);
  CHECK(((job.order().client_powers >> CAP_SETFCAP & 1) != 0) == capabilities);
  for (const int never : {CAP_SETUID, CAP_SETGID, CAP_MKNOD, CAP_SYS_RESOURCE, CAP_NET_ADMIN,
                          CAP_SYS_PTRACE, CAP_LINUX_IMMUTABLE})
    CHECK((job.order().client_powers >> never & 1) == 0);
}

TEST_CASE("S1: what acts for a client is each id that the client may be, and no other") {
  is(
      "a user: its own ids and groups", [](Judged&) {}, "1000+1 / 77+2 1000+1 ", true);
  is(
      "as another whom policy grants",
      [](Judged& job) {
        job.rule.uids = {{2000, 2000}};
        job.rule.gids = {{2000, 2000}};
        job.plan->identity = {2000, 2000, 2000, 2000, 2000, 2000, {}, 0, 0};
        job.groups = {2000};
      },
      "1000+1 2000+1 / 77+2 1000+1 2000+1 ", true);
  is(
      "as uid 0 whom policy grants: no file capabilities of the host's root",
      [](Judged& job) {
        job.rule.uids = {{0, 0}};
        job.plan->identity.ruid = job.plan->identity.euid = job.plan->identity.suid = 0;
      },
      "0+1 1000+1 / 77+2 1000+1 ", false);
  is(
      "with a user namespace: what it maps, not what is inside",
      [](Judged& job) {
        job.fresh(Namespace::user);
        job.uid_map = {{0, kAlice, 1}};
        job.gid_map = {{0, kTeam, 1}};
        job.plan->identity = {0, 0, 0, 0, 0, 0, {}, 0, 0};
        job.groups.clear();
      },
      "1000+1 / 77+2 1000+1 ", true);
  is(
      "with subordinate ids",
      [](Judged& job) {
        job.subordinate.uids.add(1000, {100000, 65536});
        job.subordinate.uids.add(1000, {165536, 10});
        job.subordinate.gids.add(1000, {200000, 65536});
        job.fresh(Namespace::user);
        job.plan->id_choices = plan::kSubordinateUids | plan::kSubordinateGids;
        job.groups.clear();
      },
      "1000+1 100000+65546 / 77+2 1000+1 200000+65536 ", true);
  is(
      "with a leased id: not who the Plan says",
      [](Judged& job) {
        job.leases.configure({1u << 30, 1 << 17, 65536});
        job.plan->id_choices = plan::kDynamicIds;
        job.plan->identity.ruid = 0;
      },
      "1000+1 1073807360+1 / 77+2 1000+1 1073807360+1 ", true);
  is(
      "root without powers",
      [](Judged& job) {
        job.peer.uid = 0;
        job.plan->identity.ruid = 0;
        job.plan->identity.euid = job.plan->identity.suid = 0;
      },
      "0+1 / 77+2 1000+1 ", false);
}

TEST_CASE("S1: for root that may be anybody each id acts that there is here") {
  for (const char* map : {"/proc/self/uid_map", "/proc/self/gid_map"}) {
    std::ifstream lines(map);
    plan::IdMap line{};
    lines >> line.inside >> line.outside >> line.count;
    if (line.inside != 0 || line.count != 4294967295u) SKIP("this user namespace has not all ids");
  }
  is(
      "root that may be anybody",
      [](Judged& job) { job.holds(CAP_SETUID).holds(CAP_SETGID).holds(CAP_SETFCAP); },
      "0+4294967295 / 0+4294967295 ", true);
  is(
      "root that may set no file capabilities",
      [](Judged& job) { job.holds(CAP_SETUID).holds(CAP_SETGID); }, "0+4294967295 / 0+4294967295 ",
      false);
}

TEST_CASE("S1: more groups than a map has room for are left out, the own ids are not") {
  Judged job;
  add_overlay(job);
  job.groups = {kAlice};
  for (gid_t gid = 100'000; gid < 110'000; gid += 2) job.groups.push_back(gid);
  job.peer.groups = job.groups;
  REQUIRE(told(job.decide()) == told({}));
  const Lines& gids = job.approved->ids().client.gids;
  CHECK(gids.size() > 100);
  CHECK(fits_a_map(gids));
  CHECK(gids[0].outside == kAlice);
}

TEST_CASE("a map has at most 340 lines, and less than a page of text") {
  std::vector<plan::IdMap> lines(plan::kMaxMapLines, plan::IdMap{0, 0, 1});
  CHECK(fits_a_map(lines));
  lines.push_back({0, 0, 1});
  CHECK_FALSE(fits_a_map(lines));
  // "1000000000 1000000000 1000000000\n" is 33 bytes, of which 4096 hold 124.
  lines.assign(124, plan::IdMap{1'000'000'000, 1'000'000'000, 1'000'000'000});
  CHECK(fits_a_map(lines));
  lines.push_back({0, 0, 1});
  CHECK_FALSE(fits_a_map(lines));
}

TEST_CASE("S1: nothing acts for a client where there is no overlay, or init is the client") {
  Judged plain;
  plain.mount(MountKind::tmpfs);
  REQUIRE(told(plain.decide()) == told({}));
  CHECK(plain.approved->ids().client.uids.empty());
  CHECK(plain.order().client_powers == 0);
  Judged user;
  user.mode = plan::Mode::user;
  user.root = false;
  add_overlay(user);
  REQUIRE(told(user.decide()) == told({}));
  CHECK(user.approved->ids().client.uids.empty());
}

}  // namespace
}  // namespace cloister::test
