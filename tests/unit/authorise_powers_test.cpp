// Capabilities of a job, and ids that its mounts show as others: each rule with
// a Plan made by hand, just inside and one past each edge.
#include <linux/capability.h>
#include <linux/securebits.h>

#include <fstream>

#include "judged.hpp"

using namespace cloister;
using namespace cloister::test;

namespace {

constexpr uint64_t bit_of(int capability) { return uint64_t{1} << capability; }
constexpr uint64_t kKill = bit_of(CAP_KILL), kChown = bit_of(CAP_CHOWN);

using Set = uint64_t plan::Capabilities::*;
constexpr Set kSets[] = {&plan::Capabilities::bounding, &plan::Capabilities::effective,
                         &plan::Capabilities::permitted, &plan::Capabilities::inheritable,
                         &plan::Capabilities::ambient};

// In a box that has mounts, which can be covered.
Spoil asks(Set set, uint64_t mask) {
  return [=](Judged& j) {
    j.mount(MountKind::tmpfs);
    j.plan->capabilities.set = 1;
    j.plan->capabilities.*set = mask;
  };
}

Spoil both(const Spoil& one, const Spoil& other) {
  return [=](Judged& j) {
    one(j);
    other(j);
  };
}

// The host keeps unprivileged users from them, kernel.unprivileged_userns_clone.
bool restricted() {
  long value = -1;
  std::ifstream clone("/proc/sys/kernel/unprivileged_userns_clone");
  if (clone >> value && value == 0) return true;
  std::ifstream armor("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
  return static_cast<bool>(armor >> value) && value == 1;
}

}  // namespace

TEST_CASE("capabilities: not-beyond-own-capabilities, in each of the five sets") {
  const std::string rule = "not-beyond-own-capabilities";
  for (const Set set : kSets) {
    is_refused("what it does not hold", asks(set, kKill), "capabilities", rule);
    is_allowed("what it holds", both(asks(set, kKill), [](Judged& j) { j.holds(CAP_KILL); }));
    is_refused("more than it holds",
               both(asks(set, kKill | kChown), [](Judged& j) { j.holds(CAP_KILL); }),
               "capabilities", rule);
    is_allowed("what root grants",
               both(asks(set, kKill), [](Judged& j) { j.rule.capabilities = kKill; }));
    is_refused("more than root grants",
               both(asks(set, kKill | kChown), [](Judged& j) { j.rule.capabilities = kKill; }),
               "capabilities", rule);
    // Both in permitted and in bounding.
    is_refused("permitted alone",
               both(asks(set, kKill), [](Judged& j) { j.peer.permitted = kKill; }), "capabilities",
               rule);
    is_refused("bounding alone", both(asks(set, kKill), [](Judged& j) { j.peer.bounding = kKill; }),
               "capabilities", rule);
    is_refused("all of nothing", asks(set, plan::kEveryCapability), "capabilities", rule);
    Judged all;
    asks(set, plan::kEveryCapability)(all);
    all.holds(CAP_KILL).rule.capabilities = kChown;
    CHECK(all.decide().kind == RefusalKind::none);
    CHECK(all.order().capabilities.*set == (kKill | kChown));
  }
}

TEST_CASE("capabilities: none by which a job takes what root bounds: priorities, limits") {
  const std::string rule = "not-beyond-own-capabilities";
  const auto bounded = [](int capability, const Spoil& bound) {
    return [=](Judged& j) {
      asks(&plan::Capabilities::effective, bit_of(capability))(j);
      j.holds(capability).rule.capabilities = bit_of(capability);
      bound(j);
    };
  };
  const Spoil nothing = [](Judged&) {}, nice = [](Judged&j) { j.rule.nice = -3; },
              real_time = [](Judged&j) { j.rule.real_time = false; },
              allowed = [](Judged&j) { j.rule.real_time = true; },
              files = [](Judged&j) { j.rule.rlimits[RLIMIT_NOFILE] = 100; };
  for (const Spoil& bound : {nice, real_time})
    is_refused("CAP_SYS_NICE", bounded(CAP_SYS_NICE, bound), "capabilities", rule);
  is_refused("CAP_SYS_RESOURCE", bounded(CAP_SYS_RESOURCE, files), "capabilities", rule);
  for (const Spoil& bound : {nothing, allowed, files})
    is_allowed("CAP_SYS_NICE", bounded(CAP_SYS_NICE, bound));
  for (const Spoil& bound : {nothing, nice, real_time})
    is_allowed("CAP_SYS_RESOURCE", bounded(CAP_SYS_RESOURCE, bound));
  // Those that it keeps.
  Judged kept;
  kept.holds(CAP_SYS_NICE).holds(CAP_KILL).plan->flags |= plan::kKeepCapabilities;
  nice(kept);
  CHECK(kept.decide().kind == RefusalKind::none);
  CHECK(kept.order().capabilities.permitted == kKill);
  CHECK(kept.order().capabilities.bounding == kKill);
}

TEST_CASE("capabilities: none unless asked for, and the caller's own where it keeps them") {
  Judged none;
  none.holds(CAP_KILL);
  CHECK(none.decide().kind == RefusalKind::none);
  for (const Set set : kSets) CHECK(none.order().capabilities.*set == 0);
  Judged kept;
  kept.holds(CAP_KILL).plan->flags |= plan::kKeepCapabilities;
  kept.peer.bounding |= kChown;  // which it may not take up again
  CHECK(kept.decide().kind == RefusalKind::none);
  CHECK(kept.order().capabilities.permitted == kKill);
  CHECK(kept.order().capabilities.effective == kKill);
  CHECK(kept.order().capabilities.bounding == kKill);
}

TEST_CASE("capabilities-need-new-user-namespace, where they would count for more than the job") {
  const std::string rule = "capabilities-need-new-user-namespace";
  for (const Set set : kSets) {
    for (const Join how : {Join::descriptor, Join::job})
      is_refused(
          "in a joined user namespace",
          [&](Judged& j) {
            asks(set, kKill)(j);
            j.holds(CAP_KILL).jobs_have(0xff).join(Namespace::user, how);
          },
          "capabilities", rule);
  }
  is_allowed("none, in a joined user namespace", [](Judged& j) {
    asks(kSets[0], 0)(j);
    j.jobs_have(0xff).join(Namespace::user, Join::job);
  });
  const auto rootless = [](Judged& j) {
    j.mode = plan::Mode::user;
    j.root = false;
  };
  is_refused("rootless", both(asks(kSets[0], kKill), rootless), "capabilities", rule);
  is_allowed("none, rootless", both(asks(kSets[0], 0), rootless));
  is_refused("none, rootless and without a namespace to cut them in",
             both(asks(kSets[0], 0), both(rootless, [](Judged& j) { j.unboxed(); })),
             "capabilities", rule);
  is_allowed(
      "rootless in a user namespace of the job's own",
      both(asks(kSets[0], kKill), both(rootless, [](Judged& j) { j.fresh(Namespace::user); })));
}

TEST_CASE("user-namespaces-are-restricted for whom the host restricts them") {
  const auto inside = both(asks(kSets[2], kKill), [](Judged& j) { j.fresh(Namespace::user); });
  if (restricted())
    is_refused("any", inside, "capabilities", "user-namespaces-are-restricted");
  else
    is_allowed("any", inside);
  is_allowed("none", both(asks(kSets[2], 0), [](Judged& j) { j.fresh(Namespace::user); }));
  is_allowed("with CAP_SYS_ADMIN", both(inside, [](Judged& j) { j.holds(CAP_SYS_ADMIN); }));
  is_allowed("what root grants", both(inside, [](Judged& j) { j.rule.capabilities = kKill; }));
}

TEST_CASE("securebits-need-no-new-privs, or a caller that could set them alone") {
  const auto bits = [](Judged& j) {
    j.unboxed().plan->flags = 0;
    j.plan->capabilities.set = 1;
    j.plan->capabilities.securebits = SECBIT_NOROOT;
  };
  is_refused("without", bits, "capabilities", "securebits-need-no-new-privs");
  is_allowed("with it", both(bits, [](Judged& j) { j.plan->flags = plan::kNoNewPrivs; }));
  is_allowed("of a caller that has it", both(bits, [](Judged& j) { j.peer.no_new_privs = true; }));
  is_allowed("with CAP_SETPCAP", both(bits, [](Judged& j) { j.holds(CAP_SETPCAP); }));
  is_refused("with another", both(bits, [](Judged& j) { j.holds(CAP_SYS_ADMIN); }), "capabilities",
             "securebits-need-no-new-privs");
  is_allowed("which root grants",
             both(bits, [](Judged& j) { j.rule.capabilities = bit_of(CAP_SETPCAP); }));
  is_allowed("none", both(bits, [](Judged& j) { j.plan->capabilities.securebits = 0; }));
}

TEST_CASE("mounts: ids-of-the-job, a range that a mount shows ends where the job's map ends") {
  // Ten ids of the job's, from 5 to 14 inside; one line apart.
  const auto shows = [](uint32_t inside, uint32_t count, bool groups) {
    return [=](Judged& j) {
      j.fresh(Namespace::user).holds(CAP_SETUID).holds(CAP_SETGID);
      j.uid_map = j.gid_map = {{5, 200000, 10}, {100, 300000, 1}};
      plan::Mount& mount = j.mount(MountKind::bind, plan::kMountReadOnly);
      const std::vector<plan::IdMap> line = {{inside, 0, count}};
      (groups ? mount.gid_map : mount.uid_map) = j.plan.span(line);
    };
  };
  for (const bool groups : {false, true}) {
    is_allowed("the whole line", shows(5, 10, groups));
    is_allowed("its first", shows(5, 1, groups));
    is_allowed("its last", shows(14, 1, groups));
    is_allowed("another line", shows(100, 1, groups));
    is_invalid("one more at the end", shows(5, 11, groups), "mounts", "ids-of-the-job");
    is_invalid("the last and one more", shows(14, 2, groups), "mounts", "ids-of-the-job");
    is_invalid("one before", shows(4, 1, groups), "mounts", "ids-of-the-job");
    is_invalid("one behind", shows(15, 1, groups), "mounts", "ids-of-the-job");
    is_invalid("over both lines", shows(5, 96, groups), "mounts", "ids-of-the-job");
    is_invalid("as long as numbers go", shows(14, UINT32_MAX - 14, groups), "mounts",
               "ids-of-the-job");
    is_invalid("behind the other line", shows(100, 2, groups), "mounts", "ids-of-the-job");
  }
}

TEST_CASE("mounts: nodev-for-other-ids, and the list of devices holds for a bind") {
  const auto bind = [](uint32_t flags) {
    return [=](Judged& j) { j.mount(MountKind::bind, flags); };
  };
  const auto lent = [&](uint32_t flags, uint32_t plan::Identity::*which) {
    return [=](Judged& j) {
      j.rule.uids = j.rule.gids = {{kBob, kBob}};
      j.plan->identity.*which = kBob;
      j.mount(MountKind::bind, flags);
    };
  };
  is_allowed("as oneself", bind(0));
  is_refused(
      "under a list",
      [&](Judged& j) {
        j.rule.devices.emplace();
        bind(plan::kMountReadOnly | plan::kMountNoSuid)(j);
      },
      "mounts", "r/devices");
  is_allowed("closed, under a list", [&](Judged& j) {
    j.rule.devices.emplace();
    bind(plan::kMountNoDev)(j);
  });
  for (const auto which : {&plan::Identity::ruid, &plan::Identity::euid, &plan::Identity::suid,
                           &plan::Identity::rgid, &plan::Identity::egid, &plan::Identity::sgid}) {
    is_refused("with an id that was lent", lent(0, which), "mounts", "nodev-for-other-ids");
    is_allowed("closed, with an id that was lent", lent(plan::kMountNoDev, which));
  }
  is_allowed("who makes nodes", [&](Judged& j) {
    lent(0, &plan::Identity::rgid)(j);
    j.holds(CAP_MKNOD);
  });
}

TEST_CASE("mounts: covers-need-mounts, and who rules the host is covered") {
  const auto root = [](uint32_t plan::Identity::*which) {
    return [=](Judged& j) {
      j.rule.uids = {{0, 0}};
      j.plan->identity.*which = 0;
    };
  };
  const auto covered = [](const Spoil& spoil) {
    Judged j;
    spoil(j);
    j.mount(MountKind::bind, plan::kMountNoDev);
    CHECK(j.decide().kind == RefusalKind::none);
    return (j.order().flags & plan::kCoverKernel) != 0;
  };
  CHECK_FALSE(covered([](Judged&) {}));
  for (const auto which : {&plan::Identity::ruid, &plan::Identity::euid, &plan::Identity::suid}) {
    is_refused("nothing to cover", root(which), "mounts", "covers-need-mounts");
    CHECK(covered(root(which)));
  }
  const auto powers = [](Judged& j) {
    j.rule.capabilities = 3;
    j.plan->capabilities = {3, 3, 3, 0, 0, 0, 1};
  };
  is_refused("nothing to cover, with powers", powers, "mounts", "covers-need-mounts");
  is_allowed("powers where the host's mounts are", [&](Judged& j) {
    powers(j);
    j.unboxed();
  });
  is_allowed("powers of its own", [&](Judged& j) {
    powers(j);
    j.peer.permitted |= 3;
  });
  // Who is another could run a set-uid program.
  CHECK(covered([](Judged& j) {
    j.holds(CAP_SETUID).holds(CAP_SYS_ADMIN).plan->flags &= ~plan::kNoNewPrivs;
  }));
  CHECK(covered([](Judged& j) {
    j.rule.capabilities = 1;
    j.plan->capabilities.set = 1;
    j.plan->capabilities.bounding = 1;
  }));
  CHECK_FALSE(covered([](Judged& j) { j.rule.uids = {{0, 0}}; }));
  // In a user namespace that is joined nobody knows who is who.
  for (const bool grant : {true, false})
    CHECK(covered([=](Judged& j) {
            if (grant) j.rule.uids = {{0, 0}};
            j.join(Namespace::user, Join::descriptor);
          }) == grant);
}

TEST_CASE("S11: places are looked up with init's rights for who may search each directory") {
  const auto searches = [](const Spoil& spoil) {
    Judged j;
    spoil(j);
    j.mount(MountKind::tmpfs);
    CHECK(told(j.decide()) == told({}));
    return (j.order().flags & plan::kSearchesAll) != 0;
  };
  const auto given = [](int capability) {
    return [=](Judged& j) {
      const uint64_t bit = bit_of(capability);
      j.rule.capabilities = bit;
      j.plan->capabilities = {bit, bit, bit, 0, 0, 0, 1};
    };
  };
  CHECK_FALSE(searches([](Judged&) {}));
  CHECK_FALSE(searches([](Judged& j) { j.holds(CAP_KILL); }));
  CHECK_FALSE(searches(given(CAP_KILL)));
  for (const int either : {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH}) {
    CHECK(searches([=](Judged& j) { j.holds(either); }));
    CHECK(searches(given(either)));
    // In a user namespace of its own it is for files of that one's ids.
    CHECK_FALSE(searches([=](Judged& j) {
      given(either)(j);
      j.fresh(Namespace::user);
    }));
  }
}

TEST_CASE("mounts: own-uid and own-groups hold for both sides of what a mount shows") {
  const auto shows = [](plan::IdMap line, bool groups) {
    return [=](Judged& j) {
      plan::Mount& mount = j.mount(MountKind::bind, plan::kMountReadOnly);
      const std::vector<plan::IdMap> lines = {line};
      (groups ? mount.gid_map : mount.uid_map) = j.plan.span(lines);
    };
  };
  for (const bool groups : {false, true}) {
    const char* rule = groups ? "own-groups" : "own-uid";
    is_allowed("own as own", shows({kAlice, kAlice, 1}, groups));
    is_refused("another's files as own", shows({kAlice, kBob, 1}, groups), "mounts", rule);
    is_refused("root's files as own", shows({kAlice, 0, 1}, groups), "mounts", rule);
    is_refused("own files as another's", shows({kBob, kAlice, 1}, groups), "mounts", rule);
    is_refused("own, and the next", shows({kAlice, kAlice, 2}, groups), "mounts", rule);
    is_allowed("with the power to be anybody", [&](Judged& j) {
      j.holds(groups ? CAP_SETGID : CAP_SETUID);
      shows({0, 0, 65536}, groups)(j);
    });
    is_refused(
        "with the power over the other kind",
        [&](Judged& j) {
          j.holds(groups ? CAP_SETUID : CAP_SETGID);
          shows({0, 0, 65536}, groups)(j);
        },
        "mounts", rule);
    const auto granted = [&](plan::IdMap line) {
      return [=](Judged& j) {
        (groups ? j.rule.gids : j.rule.uids) = {{2000, 2009}};
        shows(line, groups)(j);
      };
    };
    is_allowed("what root grants", granted({2000, 2000, 10}));
    is_refused("one more", granted({2000, 2000, 11}), "mounts", rule);
    is_refused("one more inside alone", granted({2001, 2000, 10}), "mounts", rule);
    is_refused("one more outside alone", granted({2000, 2001, 10}), "mounts", rule);
  }
  is_allowed("a group of its own", shows({kTeam, kTeam, 1}, true));
  is_refused("the next group", shows({kTeam, kTeam, 2}, true), "mounts", "own-groups");
  // In a user namespace the inner side is the job's own, the outer still the host's.
  is_refused(
      "another's files, in a user namespace",
      [&](Judged& j) {
        j.fresh(Namespace::user).uid_map = {{0, kAlice, 1}};
        shows({0, kBob, 1}, false)(j);
      },
      "mounts", "own-uid");
  is_allowed("own files, in a user namespace", [&](Judged& j) {
    j.fresh(Namespace::user).uid_map = {{0, kAlice, 1}};
    shows({0, kAlice, 1}, false)(j);
  });
}
