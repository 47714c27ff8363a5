// What the monitor decides about ids when the front is not an honest one.
#include <sys/stat.h>

#include <string>

#include "decide/authorise_ids.hpp"
#include "judged.hpp"
#include "subordinate_lines.hpp"

using namespace cloister;
using namespace cloister::monitor;
using plan::Join;
using plan::MountKind;
using plan::Namespace;
using plan::RefusalKind;
using test::kAlice;

namespace {

constexpr uint32_t kBothMaps = plan::kSubordinateUids | plan::kSubordinateGids;

struct Asking {
  Peer peer;
  Rule rule;
  SubordinateIds subordinate;
  Leases leases;
  plan::Builder plan;
  std::vector<plan::Mount> mounts;
  std::vector<plan::IdMap> uid_map, gid_map;
  bool rootless = false, cgroup = true;
  IdDecision decision;

  Asking() {
    peer.uid = peer.gid = kAlice;
    peer.groups = {kAlice, 77};
    leases.configure({1'900'000'000, 300, 100});
    for (const Namespace which : {Namespace::mnt, Namespace::pid, Namespace::ipc}) fresh(which);
    plan->identity.ruid = plan->identity.rgid = kAlice;
  }
  Asking& fresh(Namespace which, Join join = Join::fresh) {
    plan->namespaces[static_cast<uint32_t>(which)].join = join;
    return *this;
  }
  Asking& in_user_namespace() { return fresh(Namespace::user); }
  Asking& ranges(const std::string& uids, const std::string& gids) {
    add(uids, subordinate.uids);
    add(gids, subordinate.gids);
    return *this;
  }
  static void add(const std::string& text, SubordinateFile& to) {
    const auto nobody = [](const std::string&) { return std::optional<uid_t>(); };
    std::vector<std::string> complaints;
    for (const auto& line : config::parse_subordinate(text, nobody, complaints))
      to.add(line.owner, {line.first, line.count});
    REQUIRE(complaints.empty());
  }
  plan::Mount& mount(MountKind kind, uint32_t flags = 0) {
    plan::Mount made{};
    made.kind = kind;
    made.flags = flags;
    mounts.push_back(made);
    return mounts.back();
  }

  plan::Refusal decide() {
    plan->mounts = plan.span(mounts);
    plan->uid_map = plan.span(uid_map);
    plan->gid_map = plan.span(gid_map);
    block = plan.finish();
    const IdSources sources{&subordinate, rootless ? nullptr : &leases, cgroup};
    return decide_ids(peer, rule, plan::View(block.data()), sources, rootless, decision);
  }

  std::string block;
};

void check_refused(Asking& asking, const std::string& field, const std::string& rule,
                   RefusalKind kind = RefusalKind::denied) {
  const plan::Refusal refusal = asking.decide();
  CHECK(refusal.kind == kind);
  CHECK(refusal.field == field);
  CHECK(plan::rule_of(refusal) == rule);
  CHECK(!asking.decision.lease);
}

using Lines = std::vector<plan::IdMap>;
bool equal(const Lines& map, const Lines& wanted) {
  if (map.size() != wanted.size()) return false;
  for (size_t i = 0; i < map.size(); ++i)
    if (map[i].inside != wanted[i].inside || map[i].outside != wanted[i].outside ||
        map[i].count != wanted[i].count)
      return false;
  return true;
}

}  // namespace

TEST_CASE("a job with leased ids is refused whatever it could leave behind") {
  const std::string rule = "leased-ids-leave-nothing";
  const auto each = [&](const auto& spoil, const char* field) {
    CAPTURE(std::string(field));
    Asking dynamic;
    dynamic.plan->id_choices = plan::kDynamicIds;
    spoil(dynamic);
    check_refused(dynamic, field, rule);
    Asking block;
    block.in_user_namespace().plan->id_choices = kBothMaps;
    spoil(block);
    check_refused(block, field, rule);
  };
  for (const Join join : {Join::host, Join::descriptor, Join::job}) {
    each([&](Asking& a) { a.fresh(Namespace::mnt, join); }, "namespaces.mnt");
    each([&](Asking& a) { a.fresh(Namespace::ipc, join); }, "namespaces.ipc");
    each([&](Asking& a) { a.fresh(Namespace::pid, join).cgroup = false; }, "namespaces.pid");
    each([&](Asking& a) { a.fresh(Namespace::pid, join).plan->caller_cgroup = 1; },
         "namespaces.pid");
  }
  each([](Asking& a) { a.mount(MountKind::bind); }, "mounts");
  each([](Asking& a) { a.mount(MountKind::bind, plan::kMountRecursive | plan::kMountNoSuid); },
       "mounts");
}

TEST_CASE("a job with leased ids may have what is gone with it") {
  for (const uint32_t choice : {plan::kDynamicIds, kBothMaps}) {
    Asking asking;
    asking.plan->id_choices = choice;
    if (choice == kBothMaps) asking.in_user_namespace();
    for (const MountKind kind : {MountKind::tmpfs, MountKind::proc, MountKind::dev,
                                 MountKind::scratch, MountKind::dir, MountKind::symlink})
      asking.mount(kind);
    asking.mount(MountKind::bind, plan::kMountReadOnly);
    CHECK(asking.decide().kind == RefusalKind::none);
    REQUIRE(asking.decision.lease);
    CHECK(asking.decision.lease->count == (choice == kBothMaps ? 100u : 1u));
    CHECK(asking.decision.leased_id == (choice == kBothMaps ? 0u : asking.decision.lease->first));
    CHECK(!asking.decision.fixed_groups);
  }
}

TEST_CASE("a directory that is passed to a job with leased ids is refused, a file is not") {
  Rule rule;
  plan::Fact fact{};
  fact.mode = S_IFDIR | 0755;
  CHECK(authorise_leased_fact(rule, fact).kind == RefusalKind::denied);
  for (const uint32_t type : {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR}) {
    fact.mode = type | 0600;
    CHECK(authorise_leased_fact(rule, fact).kind == RefusalKind::none);
  }
}

TEST_CASE("leases are for who has no ranges, for both maps, and of root's service") {
  Asking one;
  one.in_user_namespace().plan->id_choices = plan::kSubordinateUids;
  check_refused(one, "uid_map", "a-lease-is-for-both-maps");
  Asking inside;
  inside.in_user_namespace().plan->id_choices = plan::kDynamicIds;
  check_refused(inside, "namespaces.user", "leased-ids-are-the-hosts");
  for (const uint32_t choice : {plan::kDynamicIds, kBothMaps}) {
    Asking alone;
    alone.rootless = true;
    alone.plan->id_choices = choice;
    if (choice == kBothMaps) alone.in_user_namespace();
    check_refused(alone, choice == kBothMaps ? "uid_map" : "identity",
                  choice == kBothMaps ? "no-subordinate-ids" : "no-lease",
                  RefusalKind::unsupported);
  }
  Asking own;
  own.in_user_namespace().ranges("1000:200000:10", "1000:300000:20").plan->id_choices = kBothMaps;
  CHECK(own.decide().kind == RefusalKind::none);
  CHECK(!own.decision.lease);
  CHECK(equal(own.decision.job.uids, {{0, 200000, 10}}));
  CHECK(equal(own.decision.job.gids, {{0, 300000, 20}}));
}

TEST_CASE("an exhausted pool is an answer, and names how many there are") {
  Asking asking;
  std::vector<Leases::Held> held;
  while (Leases::Held id = asking.leases.take_id()) held.push_back(id);
  asking.plan->id_choices = plan::kDynamicIds;
  const plan::Refusal refusal = asking.decide();
  CHECK(refusal.kind == RefusalKind::busy);
  CHECK(refusal.limit == 100);
  CHECK(plan::rule_of(refusal) == "lease");
}

TEST_CASE("ranges follow each other, what adjoins is one line, and too many are refused") {
  Asking asking;
  asking.in_user_namespace()
      .ranges("1000:200000:10\n1000:200010:10\n1000:500000:5\n", "1000:300000:20")
      .plan->id_choices = kBothMaps;
  CHECK(asking.decide().kind == RefusalKind::none);
  CHECK(equal(asking.decision.job.uids, {{0, 200000, 20}, {20, 500000, 5}}));
  for (const uint32_t lines : {339u, 340u, 341u}) {
    for (const bool rootless : {false, true}) {
      CAPTURE(lines);
      CAPTURE(rootless);
      std::string many;
      // Of few digits, or the text would be too long before.
      for (uint32_t i = 0; i < lines; ++i) many += "1000:" + std::to_string(2000 + 2 * i) + ":1\n";
      Asking full;
      full.rootless = rootless;
      full.in_user_namespace().ranges(many, "1000:300000:20").plan->id_choices = kBothMaps;
      // Without root one line is for the caller's own id.
      if (lines <= (rootless ? 339u : 340u))
        CHECK(full.decide().kind == RefusalKind::none);
      else
        check_refused(full, "uid_map", "340-lines");
    }
  }
}

TEST_CASE("without root init is born where its own id and the job's have their numbers") {
  Asking asking;
  asking.rootless = true;
  asking.in_user_namespace().ranges("1000:200000:10", "1000:300000:20");
  asking.uid_map = {{0, kAlice, 1}, {1, 200000, 5}};
  asking.gid_map = {{0, 300000, 20}};
  CHECK(asking.decide().kind == RefusalKind::none);
  CHECK(equal(asking.decision.birth.uids, {{kAlice, kAlice, 1}, {200000, 200000, 5}}));
  CHECK(equal(asking.decision.birth.gids, {{kAlice, kAlice, 1}, {300000, 300000, 20}}));
  CHECK(!asking.decision.fixed_groups);
}

TEST_CASE("setgroups is denied unless root has given the group ids") {
  for (const bool rootless : {false, true}) {
    CAPTURE(rootless);
    Asking own;
    own.rootless = rootless;
    own.in_user_namespace().ranges("1000:200000:10", "1000:300000:20");
    own.uid_map = {{0, 200000, 10}};
    CHECK(own.decide().kind == RefusalKind::none);
    CHECK(own.decision.fixed_groups);
    CHECK(equal(own.decision.job.gids, {{kAlice, kAlice, 1}}));

    // A supplementary group is root's to map: newgidmap(1) knows only the own one.
    Asking group;
    group.rootless = rootless;
    group.in_user_namespace();
    group.gid_map = {{0, 77, 1}};
    if (rootless) {
      check_refused(group, "gid_map", "own-groups");
    } else {
      CHECK(group.decide().kind == RefusalKind::none);
      CHECK(group.decision.fixed_groups);
    }
  }
}

TEST_CASE("without root no user namespace is made around one that is joined") {
  for (const Join how : {Join::fresh, Join::descriptor, Join::job}) {
    Asking asking;
    asking.rootless = true;
    asking.fresh(Namespace::user, how);
    CHECK(asking.decide().kind == RefusalKind::none);
    CHECK(asking.decision.birth.uids.empty() == (how != Join::fresh));
  }
}

TEST_CASE("S3: ids are apart when none is the caller's or 0, and no mount shows others as theirs") {
  const std::string ranges = "1000:100000:65536\n";
  const auto apart = [&](const auto& prepare, const std::string& uids) {
    Asking asking;
    asking.in_user_namespace().ranges(uids, ranges);
    asking.plan->id_choices = kBothMaps;
    asking.mount(MountKind::tmpfs);
    prepare(asking);
    REQUIRE(asking.decide().kind == RefusalKind::none);
    return asking.decision.apart;
  };
  const auto nothing = [](Asking&) {};
  CHECK(apart(nothing, ranges));
  CHECK(apart(nothing, ranges + "1000:1001:10\n"));
  CHECK(!apart(nothing, ranges + "1000:1000:10\n"));
  CHECK(!apart(nothing, ranges + "1000:991:10\n"));
  CHECK(apart([](Asking& a) { a.rootless = true; }, ranges));
  // Another's mounts, or the host's, may show files of others as these.
  CHECK(!apart([](Asking& a) { a.mounts.clear(); }, ranges));
  for (const Join join : {Join::host, Join::job, Join::descriptor})
    CHECK(!apart([=](Asking& a) { a.fresh(Namespace::mnt, join); }, ranges));
  // So may another job of a peer whom a rule grants ids, which hands a directory on.
  CHECK(!apart([](Asking& a) { a.rule.uids = {{4000, 4000}}; }, ranges));
  CHECK(!apart([](Asking& a) { a.rule.gids = {{4000, 4000}}; }, ranges));
  // A group that a rule grants stays when the job has ended.
  const auto group = [](uint32_t outside) {
    return [=](Asking& a) {
      a.plan->id_choices = plan::kSubordinateUids;
      a.gid_map = {{0, outside, 1}};
      a.rule.gids = {{777, 777}};
    };
  };
  CHECK(!apart(group(777), ranges));
  // Leased blocks, of a caller without ranges.
  Asking block;
  block.in_user_namespace().plan->id_choices = kBothMaps;
  block.mount(MountKind::tmpfs);
  REQUIRE(block.decide().kind == RefusalKind::none);
  CHECK(block.decision.apart);
  // In the host's user namespace nothing is.
  Asking dynamic;
  dynamic.plan->id_choices = plan::kDynamicIds;
  REQUIRE(dynamic.decide().kind == RefusalKind::none);
  CHECK(!dynamic.decision.apart);

  const auto own = [](uint32_t outside) {
    return [=](Asking& a) {
      a.plan->id_choices = 0;
      a.uid_map = {{0, outside, 1}};
      a.gid_map = {{0, 100000, 1}};
    };
  };
  CHECK(apart(own(100000), ranges));
  CHECK(!apart(own(kAlice), ranges));
  CHECK(!apart([&](Asking& a) { own(4000)(a), a.rule.uids = {{4000, 4000}}; }, ranges));  // granted

  for (const auto& [flags, expected] :
       {std::pair{0u, true}, std::pair{plan::kMountReadOnly, true},
        std::pair{plan::kMountOwnerCaller, false},
        std::pair{plan::kMountOwnerCaller | plan::kMountReadOnly, true}}) {
    CAPTURE(flags);
    CHECK(apart([&, &flags = flags](Asking& a) { a.mount(MountKind::bind, flags); }, ranges) ==
          expected);
  }
  for (const bool read_only : {false, true})
    CHECK(apart(
              [&](Asking& a) {
                const std::vector<plan::IdMap> line = {{0, kAlice, 1}};
                a.mount(MountKind::bind, read_only ? plan::kMountReadOnly : 0).uid_map =
                    a.plan.span(line);
              },
              ranges) == read_only);
}
