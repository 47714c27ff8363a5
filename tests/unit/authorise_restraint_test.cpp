// What the monitor orders against what a job could leave behind or reach, whatever
// a front says.
#include <linux/capability.h>
#include <linux/landlock.h>

#include "judged.hpp"

using namespace cloister;
using namespace cloister::test;
using plan::Restraint;

namespace {

constexpr uint32_t kAbstract = 1, kSignals = 2;
constexpr uint32_t kWriteFile = 1 << 1, kTruncate = 1 << 14;

plan::Order order_of(const char* what, const Spoil& spoil) {
  CAPTURE(std::string(what));
  Judged job;
  spoil(job);
  const plan::Refusal refusal = job.decide();
  CAPTURE(told(refusal));
  REQUIRE(refusal.kind == RefusalKind::none);
  return job.order();
}

void opens(Judged& job, uint32_t mode) {
  plan::Action open{};
  open.op = plan::Op::open;
  open.fd = 7;
  open.mode = mode;
  open.flags = O_WRONLY | O_CREAT;
  open.descriptor = plan::kNone;
  open.path = job.plan.text("/tmp/made");
  job.actions.push_back(open);
}

void dynamic(Judged& job) {
  job.leases.configure({1'900'000'000, 300, 100});
  job.plan->id_choices = plan::kDynamicIds;
}

}  // namespace

TEST_CASE("S3: each box is restrained by what its ids could lend") {
  CHECK(order_of("its own group in a user namespace", [](Judged& j) {
          j.fresh(Namespace::user).gid_map = {{0, kAlice, 1}};
        }).restraint == Restraint::set_uid);
  CHECK(order_of("a user's box", [](Judged&) {}).restraint == Restraint::set_uid);
  CHECK(order_of("no box", [](Judged& j) { j.unboxed(); }).restraint == Restraint::none);
  for (const Namespace which : {Namespace::net, Namespace::uts, Namespace::cgroup, Namespace::time})
    CHECK(order_of("a namespace alone", [=](Judged& j) { j.unboxed().fresh(which); }).restraint ==
          Restraint::set_uid);
  CHECK(order_of("another job's", [](Judged& j) {
          j.jobs_have(0xff).unboxed().join(Namespace::mnt, Join::job);
        }).restraint == Restraint::set_uid);
  CHECK(order_of("a descriptor's", [](Judged& j) {
          j.unboxed().join(Namespace::mnt, Join::descriptor);
        }).restraint == Restraint::set_uid);
  CHECK(order_of("one with powers", [](Judged& j) { j.holds(CAP_SETGID); }).restraint ==
        Restraint::set_ids);
  CHECK(order_of("a granted group", [](Judged& j) {
          j.rule.gids = {{4000, 4000}};
          j.groups.push_back(4000);
        }).restraint == Restraint::set_ids);
  CHECK(order_of("a granted gid", [](Judged& j) {
          j.rule.gids = {{4000, 4000}};
          j.plan->identity.sgid = 4000;
        }).restraint == Restraint::set_ids);
  CHECK(order_of("a granted user", [](Judged& j) {
          j.rule.uids = {{4000, 4000}};
          j.plan->identity.suid = 4000;
        }).restraint == Restraint::set_uid);
  CHECK(order_of("a leased id", dynamic).restraint == Restraint::leased);
  CHECK(order_of("no baseline", [](Judged& j) { j.rule.unfiltered_seccomp = true; }).restraint ==
        Restraint::set_uid);
}

TEST_CASE("S3: set_uid_files is granted by a rule, by power, or by oneself") {
  const auto asking = [](const Spoil& more) {
    return [=](Judged& j) {
      j.plan->flags |= plan::kSetUidFiles;
      more(j);
    };
  };
  is_refused("nobody's word", asking([](Judged&) {}), "set_uid_files",
             "set-uid-files-need-a-grant");
  is_refused("with the baseline granted away",
             asking([](Judged& j) { j.rule.unfiltered_seccomp = true; }), "set_uid_files",
             "set-uid-files-need-a-grant");
  is_refused("power that the peer has lost",
             asking([](Judged& j) { j.holds(CAP_FSETID).peer.permitted = 0; }), "set_uid_files",
             "set-uid-files-need-a-grant");
  const auto granted = asking([](Judged& j) { j.rule.set_uid_files = true; });
  CHECK(order_of("a grant", granted).restraint == Restraint::none);
  CHECK(order_of("CAP_FSETID", asking([](Judged& j) { j.holds(CAP_FSETID); })).restraint ==
        Restraint::none);
  for (const plan::Mode mode : {plan::Mode::user, plan::Mode::private_})
    CHECK(order_of("one's own service", asking([=](Judged& j) { j.mode = mode; })).restraint ==
          Restraint::none);
  CHECK(order_of("a grant that is not asked for", [](Judged& j) {
          j.rule.set_uid_files = true;
        }).restraint == Restraint::set_uid);
  is_refused("a leased id, granted", asking([](Judged& j) {
               dynamic(j);
               j.rule.set_uid_files = true;
             }),
             "set_uid_files", "leased-ids-leave-nothing");
}

TEST_CASE("S3: what the request opens has no such bit either") {
  const auto opening = [](
                           uint32_t mode, const Spoil& more = [](Judged&) {}) {
    return [=](Judged& j) {
      opens(j, mode);
      more(j);
    };
  };
  const char* const rule = "set-uid-files-need-a-grant";
  is_refused("set-uid", opening(04755), "file_actions", rule);
  is_refused("both", opening(06755), "file_actions", rule);
  is_allowed("neither", opening(01777));
  is_allowed("set-gid, of own groups", opening(02755));
  is_refused("set-gid with powers", opening(02755, [](Judged& j) { j.holds(CAP_SETGID); }),
             "file_actions", rule);
  is_refused("set-gid of a leased id", opening(02755, dynamic), "file_actions", rule);
  is_allowed("no box", opening(04755, [](Judged& j) { j.unboxed(); }));
  is_allowed("granted", opening(04755, [](Judged& j) {
               j.rule.set_uid_files = true;
               j.plan->flags |= plan::kSetUidFiles;
             }));
}

TEST_CASE("S4: a leased id changes files of its own mounts alone, as far as the kernel can") {
  const auto confined = [](int abi) {
    return order_of("leased",
                    [=](Judged& j) {
                      dynamic(j);
                      j.landlock_abi = abi;
                    })
        .confined_fs;
  };
  CHECK((confined(2) & (kWriteFile | kTruncate)) == kWriteFile);
  for (const uint64_t each :
       {LANDLOCK_ACCESS_FS_MAKE_CHAR, LANDLOCK_ACCESS_FS_MAKE_DIR, LANDLOCK_ACCESS_FS_MAKE_REG,
        LANDLOCK_ACCESS_FS_MAKE_SOCK, LANDLOCK_ACCESS_FS_MAKE_FIFO, LANDLOCK_ACCESS_FS_MAKE_BLOCK,
        LANDLOCK_ACCESS_FS_MAKE_SYM, LANDLOCK_ACCESS_FS_REFER}) {
    CAPTURE(each);
    CHECK((confined(2) & each) == each);
  }
  CHECK((confined(3) & kTruncate) != 0);
  CHECK(order_of("nobody's lease", [](Judged&) {}).confined_fs == 0);
}

TEST_CASE("S13: each box is scoped, but for what it has joined another job to reach") {
  const auto scoped = [](const Spoil& spoil) { return order_of("scopes", spoil).scoped; };
  CHECK(scoped([](Judged&) {}) == (kAbstract | kSignals));
  CHECK(scoped([](Judged& j) { j.landlock_abi = 6; }) == (kAbstract | kSignals));
  for (const int abi : {-95, 0, 5}) CHECK(scoped([=](Judged& j) { j.landlock_abi = abi; }) == 0);
  CHECK(scoped([](Judged& j) { j.unboxed(); }) == 0);
  CHECK(scoped([](Judged& j) { j.unboxed().fresh(Namespace::uts); }) == (kAbstract | kSignals));
  CHECK(scoped([](Judged& j) { j.jobs_have(0xff).join(Namespace::net, Join::job); }) == kSignals);
  CHECK(scoped([](Judged& j) { j.jobs_have(0xff).join(Namespace::pid, Join::job); }) == kAbstract);
  // What that job shares with the host is the host's.
  CHECK(scoped([](Judged& j) { j.jobs_have(0).join(Namespace::net, Join::job); }) ==
        (kAbstract | kSignals));
  CHECK(scoped([](Judged& j) { j.join(Namespace::net, Join::descriptor); }) ==
        (kAbstract | kSignals));
}
