// One row for each rule of authorise(), just inside and one past each edge, with
// a Plan that an honest front would not have sent.
#include <linux/capability.h>
#include <sched.h>

#include <algorithm>

#include "judged.hpp"
#include "sys/words.hpp"

using namespace cloister;
using namespace cloister::test;

namespace {

constexpr Namespace kEach[] = {Namespace::mnt, Namespace::pid,    Namespace::net,  Namespace::ipc,
                               Namespace::uts, Namespace::cgroup, Namespace::user, Namespace::time};
constexpr const char* kFields[] = {"namespaces.mnt",  "namespaces.pid", "namespaces.net",
                                   "namespaces.ipc",  "namespaces.uts", "namespaces.cgroup",
                                   "namespaces.user", "namespaces.time"};
constexpr Join kNotFresh[] = {Join::host, Join::descriptor, Join::job};

const char* field_of(Namespace which) { return kFields[static_cast<uint32_t>(which)]; }

}  // namespace

TEST_CASE("what the shipped policy grants is approved, and says what init is told") {
  Judged job;
  CHECK(job.decide().kind == RefusalKind::none);
  CHECK(job.order().version == plan::kOrderVersion);
  CHECK(job.order().caller_uid == kAlice);
  CHECK(job.order().caller_gid == kAlice);
  CHECK((job.order().flags & plan::kFreshPid) != 0);
  CHECK((job.order().flags & plan::kBaseline) != 0);
  CHECK((job.order().flags & (plan::kForceNoNewPrivs | plan::kFixedGroups | plan::kFreshUser)) ==
        0);
  CHECK(job.order().leased_id == 0);
  CHECK(job.order().capabilities.bounding == 0);
  CHECK(job.approved->clone_flags() == CLONE_NEWPID);
}

TEST_CASE("consistent: what changes a namespace changes a new one only, of each kind") {
  for (const Join how : kNotFresh) {
    const auto shared = [&](Namespace which, const Spoil& more) {
      return [=](Judged& job) {
        job.jobs_have(0xff).join(which, how);
        more(job);
      };
    };
    is_invalid("a mount", shared(Namespace::mnt, [](Judged& j) { j.mount(MountKind::tmpfs); }),
               "mounts", "needs-new-mnt");
    is_invalid("a host name",
               shared(Namespace::uts, [](Judged& j) { j.plan->hostname = j.plan.text("x"); }),
               "hostname", "needs-new-uts");
    is_invalid("a domain name",
               shared(Namespace::uts, [](Judged& j) { j.plan->domainname = j.plan.text("x"); }),
               "domainname", "needs-new-uts");
    is_invalid("a loopback",
               shared(Namespace::net, [](Judged& j) { j.plan->flags |= plan::kLoopbackUp; }),
               "network", "needs-new-net");
    is_invalid("offsets",
               shared(Namespace::time, [](Judged& j) { j.plan->flags |= plan::kTimeOffsets; }),
               "time_offsets", "needs-new-time");
    is_invalid("a sysctl", shared(Namespace::net, [](Judged& j) { j.sysctl("net/ipv4/x"); }),
               "sysctls", "needs-new-net");
    is_invalid("an outbound network",
               shared(Namespace::net, [](Judged& j) { j.plan->flags |= plan::kOutbound; }),
               "network", "needs-new-net");
    is_invalid("a map of uids",
               shared(Namespace::user,
                      [](Judged& j) {
                        j.uid_map = {{0, kAlice, 1}};
                      }),
               "uid_map", "needs-new-user");
    is_invalid("a map of gids",
               shared(Namespace::user,
                      [](Judged& j) {
                        j.gid_map = {{0, kAlice, 1}};
                      }),
               "gid_map", "needs-new-user");
    for (const auto& [chosen, field] : {std::pair(plan::kSubordinateUids, "uid_map"),
                                        std::pair(plan::kSubordinateGids, "gid_map")})
      is_invalid(
          "a map that is chosen",
          shared(Namespace::user, [chosen = chosen](Judged& j) { j.plan->id_choices = chosen; }),
          field, "needs-new-user");
  }
  is_allowed("all of it in new ones", [](Judged& j) {
    j.fresh(Namespace::uts).fresh(Namespace::net).fresh(Namespace::time).fresh(Namespace::user);
    j.mount(MountKind::tmpfs);
    j.plan->hostname = j.plan->domainname = j.plan.text("x");
    j.plan->flags |= plan::kLoopbackUp | plan::kTimeOffsets;
    j.sysctl("net/ipv4/x");
    j.uid_map = j.gid_map = {{0, kAlice, 1}};
  });
}

TEST_CASE("consistent: a sysctl is below net/ipv4 and nowhere else") {
  for (const char* path : {"net/ipv4/ip_forward", "net/ipv4/conf/all/x"})
    is_allowed(path, [&](Judged& j) { j.fresh(Namespace::net).sysctl(path); });
  for (const char* path : {"net/ipv4", "net/ipv6/x", "kernel/core_pattern", "/net/ipv4/x",
                           "net/ipv4/../../kernel/core_pattern", "net/ipv4/.."})
    is_invalid(
        path, [&](Judged& j) { j.fresh(Namespace::net).sysctl(path); }, "sysctls", "needs-new-net");
}

TEST_CASE("consistent: not-a-namespace, unshare takes the other flags only") {
  for (const uint32_t flag :
       {CLONE_FS, CLONE_FILES, CLONE_SYSVSEM, CLONE_SIGHAND, CLONE_THREAD, CLONE_VM})
    is_allowed("no namespace", [&](Judged& j) { j.plan->unshare = flag; });
  for (const uint32_t flag : {CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID,
                              CLONE_NEWNET, CLONE_NEWCGROUP, CLONE_NEWTIME, CLONE_PTRACE, 1})
    is_invalid(
        "a namespace", [&](Judged& j) { j.plan->unshare = CLONE_FS | flag; }, "unshare",
        "not-a-namespace");
}

TEST_CASE("outbound: needs-outbound, outbound-not-in-a-joined-user-namespace, and root's word") {
  const auto outbound = [](Judged& j) {
    j.fresh(Namespace::net).plan->flags |= plan::kOutbound;
    j.published.push_back({{127, 0, 0, 1}, plan::kInet, 0, 80, 8080});
  };
  is_allowed("a published port", outbound);
  is_invalid(
      "a port of no outbound network",
      [&](Judged& j) {
        outbound(j);
        j.plan->flags &= ~plan::kOutbound;
      },
      "network", "needs-outbound");
  for (const Join how : {Join::descriptor, Join::job})
    is_invalid(
        "in a joined user namespace",
        [&](Judged& j) {
          outbound(j);
          j.jobs_have(0xff).join(Namespace::user, how);
        },
        "network", "outbound-not-in-a-joined-user-namespace");
  is_allowed("in a new user namespace", [&](Judged& j) {
    outbound(j);
    j.fresh(Namespace::user);
  });
  is_refused(
      "of one who lives in another network",
      [&](Judged& j) {
        outbound(j);
        j.peer.elsewhere = bit(Namespace::net);
      },
      "network.outbound", "confined-caller");
  is_refused(
      "where the rule does not leave it",
      [&](Judged& j) {
        outbound(j);
        j.rule.networks = bit(Network::none) | bit(Network::host);
      },
      "network.outbound", "r/network");
  is_refused(
      "without pasta",
      [&](Judged& j) {
        outbound(j);
        j.no_pasta = plan::Reason::no_pasta;
      },
      "network.outbound", "no-pasta", RefusalKind::unsupported);
}

TEST_CASE("outbound: owner-of-the-network, who owns it is nobody of the payload's") {
  struct Row {
    uint32_t ruid, euid, suid, owner;
  };
  for (const Row& row : {Row{kAlice, kAlice, kAlice, 0}, Row{0, kAlice, kAlice, 65534},
                         Row{kAlice, 0, kAlice, 65534}, Row{kAlice, kAlice, 0, 65534},
                         Row{65534, 65534, 65534, 0}}) {
    Judged j;
    j.fresh(Namespace::net).holds(CAP_SETUID).plan->flags |= plan::kOutbound;
    j.plan->identity.ruid = row.ruid;
    j.plan->identity.euid = row.euid;
    j.plan->identity.suid = row.suid;
    CAPTURE(row.ruid);
    CAPTURE(row.euid);
    CHECK(j.decide().kind == RefusalKind::none);
    CHECK(j.order().network_owner == row.owner);
  }
  for (const Row& row :
       {Row{0, 65534, kAlice, 0}, Row{65534, kAlice, 0, 0}, Row{kAlice, 0, 65534, 0}})
    is_invalid(
        "both",
        [&](Judged& j) {
          j.fresh(Namespace::net).holds(CAP_SETUID).plan->flags |= plan::kOutbound;
          j.plan->identity.ruid = row.ruid;
          j.plan->identity.euid = row.euid;
          j.plan->identity.suid = row.suid;
        },
        "identity", "owner-of-the-network");
}

TEST_CASE("namespaces: own-jobs, and a floor is met by new ones or those of a job that made them") {
  is_refused(
      "a job that is not the peer's", [](Judged& j) { j.join(Namespace::ipc, Join::job); },
      "namespaces.ipc", "own-jobs", RefusalKind::no_such_job);
  for (const Namespace which : kEach) {
    CAPTURE(std::string(field_of(which)));
    const auto under = [&](Join how, uint32_t made) {
      return [=](Judged& j) {
        j.rule.required_namespaces = bit(which);
        j.jobs_have(made).join(which, how);
      };
    };
    is_allowed("new", under(Join::fresh, 0));
    is_allowed("of a job that made it", under(Join::job, bit(which)));
    is_refused("of a job that did not", under(Join::job, kAllNamespaces & ~bit(which)),
               field_of(which), "r/require.namespaces");
    is_refused("by a descriptor", under(Join::descriptor, 0), field_of(which),
               "r/require.namespaces");
    is_refused("the host's", under(Join::host, 0), field_of(which), "r/require.namespaces");
  }
}

TEST_CASE("namespaces: joined-with-own-ids, where others were judged for what is mounted") {
  for (const Join how : {Join::job, Join::descriptor}) {
    const auto joins = [=](const Spoil& spoil) {
      return [=](Judged& j) {
        j.jobs_have(kAllNamespaces).unboxed().join(Namespace::mnt, how);
        spoil(j);
      };
    };
    const auto refused = [&](const char* what, const Spoil& spoil) {
      is_refused(what, joins(spoil), "namespaces.mnt", "joined-with-own-ids");
    };
    is_allowed("as oneself", joins([](Judged&) {}));
    for (const auto which : {&plan::Identity::ruid, &plan::Identity::euid, &plan::Identity::suid})
      refused("as uid 0, by a grant", [=](Judged& j) {
        j.rule.uids = {{0, 0}};
        j.plan->identity.*which = 0;
      });
    refused("with a group by a grant", [](Judged& j) {
      j.rule.gids = {{kOutcasts + 1, kOutcasts + 1}};
      j.groups.push_back(kOutcasts + 1);
    });
    refused("with powers by a grant", [](Judged& j) {
      j.rule.capabilities = 1;
      j.plan->capabilities = {1, 1, 1, 0, 0, 0, 1};
    });
    is_allowed("in a user namespace of its own ids",
               joins([](Judged& j) { j.fresh(Namespace::user); }));
    const auto with_maps = [](plan::IdMap uids, plan::IdMap gids) {
      return [=](Judged& j) {
        j.subordinate.uids.add(1000, {100000, 65536});
        j.subordinate.gids.add(1000, {100000, 65536});
        j.fresh(Namespace::user).uid_map = {uids};
        j.gid_map = {gids};
        j.plan->identity = {0, 0, 0, 0, 0, 0, {}, 0, 0};
        j.groups.clear();
      };
    };
    const plan::IdMap user{0, kAlice, 1}, other{0, 100000, 1};
    is_allowed("as uid 0 of it", joins(with_maps(user, user)));
    refused("with subordinate users", with_maps(other, user));
    refused("with subordinate groups", with_maps(user, other));
    is_allowed("who may be anybody", joins([](Judged& j) {
                 j.holds(CAP_SETUID).holds(CAP_SETGID);
                 j.plan->identity.ruid = 0;
               }));
  }
}

TEST_CASE(
    "namespaces: one that the rule does not leave is not shared, by no choice and by no job") {
  for (const Namespace which : kEach) {
    CAPTURE(std::string(field_of(which)));
    const auto under = [&](Join how, uint32_t made) {
      return [=](Judged& j) {
        j.rule.namespaces_host = kAllNamespaces & ~bit(which);
        j.jobs_have(made).join(which, how);
      };
    };
    is_allowed("new", under(Join::fresh, 0));
    is_allowed("of a job that made it", under(Join::job, bit(which)));
    is_refused("of a job that shares it", under(Join::job, 0), field_of(which),
               "r/namespaces_host");
    is_refused("the host's", under(Join::host, 0), field_of(which), "r/namespaces_host");
  }
  is_refused(
      "the host's network",
      [](Judged& j) { j.rule.networks = bit(Network::none) | bit(Network::outbound); }, "network",
      "r/network");
}

TEST_CASE("namespaces-need-no-new-privs, of each kind, but for who could make them alone") {
  for (const Namespace which : kEach)
    for (const Join how : {Join::fresh, Join::descriptor, Join::job}) {
      CAPTURE(std::string(field_of(which)));
      const auto alone = [&](Judged& j) {
        j.unboxed().jobs_have(0xff).join(which, how).plan->flags &= ~plan::kNoNewPrivs;
        j.rule.unfiltered_seccomp = true;
      };
      if (which == Namespace::user)
        is_allowed("a user namespace", alone);
      else
        is_refused("without no_new_privs", alone, "no_new_privs", "namespaces-need-no-new-privs");
      is_allowed("with CAP_SYS_ADMIN", [&](Judged& j) {
        alone(j);
        j.holds(CAP_SYS_ADMIN);
      });
      is_allowed("of a caller that has it", [&](Judged& j) {
        alone(j);
        j.peer.no_new_privs = true;
      });
    }
  is_allowed("no namespace", [](Judged& j) { j.unboxed().plan->flags = 0; });
  is_refused(
      "no namespace, and a rule that asks for it",
      [](Judged& j) {
        j.unboxed().plan->flags = 0;
        j.rule.require_no_new_privs = true;
      },
      "no_new_privs", "r/require.no_new_privs");
  Judged kept;
  kept.peer.no_new_privs = true;
  kept.unboxed().plan->flags = 0;
  kept.rule.require_no_new_privs = true;
  CHECK(kept.decide().kind == RefusalKind::none);
  CHECK((kept.order().flags & plan::kForceNoNewPrivs) != 0);
}

TEST_CASE("filters-need-no-new-privs, be it the baseline or the client's own") {
  const plan::Instruction pass{6 /* BPF_RET */, 0, 0, 0x7fff0000};
  const auto own = [&](Judged& j) {
    j.unboxed().plan->flags = 0;
    j.seccomp = {pass};
  };
  const auto baseline = [](Judged& j) {
    j.unboxed().plan->flags = 0;
    j.rule.require_baseline = true;
  };
  for (const Spoil& filter : {Spoil(own), Spoil(baseline)}) {
    const auto with = [&](const Spoil& more) {
      return [=](Judged& j) {
        filter(j);
        more(j);
      };
    };
    is_refused("without", filter, "no_new_privs", "filters-need-no-new-privs");
    is_allowed("with it", with([](Judged& j) { j.plan->flags = plan::kNoNewPrivs; }));
    is_allowed("of a caller that has it", with([](Judged& j) { j.peer.no_new_privs = true; }));
    is_allowed("with CAP_SYS_ADMIN", with([](Judged& j) { j.holds(CAP_SYS_ADMIN); }));
    is_refused("with another capability", with([](Judged& j) { j.holds(CAP_SYS_RESOURCE); }),
               "no_new_privs", "filters-need-no-new-privs");
    is_allowed("in a user namespace", with([](Judged& j) { j.fresh(Namespace::user); }));
  }
  is_allowed("no filter at all", [](Judged& j) { j.unboxed().plan->flags = 0; });
}

TEST_CASE("filters: each box has the baseline, unless root grants another and requires none") {
  for (const bool box : {false, true})
    for (const bool granted : {false, true})
      for (const bool required : {false, true}) {
        Judged j;
        if (!box) j.unboxed();
        j.rule.unfiltered_seccomp = granted;
        j.rule.require_baseline = required;
        CAPTURE(box);
        CAPTURE(granted);
        CAPTURE(required);
        CHECK(j.decide().kind == RefusalKind::none);
        CHECK(((j.order().flags & plan::kBaseline) != 0) == (required || (box && !granted)));
      }
}

TEST_CASE("identity: own-uid and own-groups hold for each of the three, and each group") {
  for (uint32_t plan::Identity::*id :
       {&plan::Identity::ruid, &plan::Identity::euid, &plan::Identity::suid}) {
    const auto is = [&](uint32_t uid) { return [=](Judged& j) { j.plan->identity.*id = uid; }; };
    const auto granted = [&](uint32_t uid) {
      return [=](Judged& j) {
        j.plan->identity.*id = uid;
        j.rule.uids = {{2000, 2002}};
        // As another, granted user it may leave its groups.
        j.plan->identity.ruid = id == &plan::Identity::ruid ? uid : kAlice;
      };
    };
    is_allowed("own", is(kAlice));
    for (const uint32_t uid : {kAlice - 1, kAlice + 1, 0u, 65534u})
      is_refused("another's", is(uid), "identity.uid", "own-uid");
    is_allowed("the first granted", granted(2000));
    is_allowed("the last granted", granted(2002));
    for (const uint32_t uid : {1999u, 2003u})
      is_refused("past what is granted", granted(uid), "identity.uid", "own-uid");
    const auto wide = [&](uint32_t uid) {
      return [=](Judged& j) {
        granted(uid)(j);
        j.rule.uids = {{2000, UINT32_MAX - 1}};
      };
    };
    is_allowed("granted, the id next to that of inits", wide(plan::kNobodysUid + 1));
    is_refused("that of inits, whatever is granted", wide(plan::kNobodysUid), "identity.uid",
               "own-uid");
    is_allowed("with CAP_SETUID", [&](Judged& j) {
      j.holds(CAP_SETUID);
      is(0)(j);
    });
    is_refused(
        "with CAP_SETGID",
        [&](Judged& j) {
          j.holds(CAP_SETGID);
          is(0)(j);
        },
        "identity.uid", "own-uid");
  }
  for (uint32_t plan::Identity::*id :
       {&plan::Identity::rgid, &plan::Identity::egid, &plan::Identity::sgid}) {
    const auto is = [&](uint32_t gid) { return [=](Judged& j) { j.plan->identity.*id = gid; }; };
    is_allowed("own", is(kAlice));
    is_allowed("one of its groups", is(kTeam));
    for (const uint32_t gid : {kTeam - 1, kOutcasts + 1, 0u})
      is_refused("another's", is(gid), "identity.gid", "own-groups");
    const auto granted = [&](uint32_t gid) {
      return [=](Judged& j) {
        j.rule.gids = {{3000, 3001}};
        j.plan->identity.*id = gid;
      };
    };
    is_allowed("the last granted", granted(3001));
    is_refused("past what is granted", granted(3002), "identity.gid", "own-groups");
    is_allowed("with CAP_SETGID", [&](Judged& j) {
      j.holds(CAP_SETGID);
      is(0)(j);
    });
    is_refused(
        "with CAP_SETUID",
        [&](Judged& j) {
          j.holds(CAP_SETUID);
          is(0)(j);
        },
        "identity.gid", "own-groups");
  }
  for (const uint32_t gid : {0u, kOutcasts + 1})
    is_refused(
        "a group more", [&](Judged& j) { j.groups.push_back(gid); }, "identity.groups",
        "own-groups");
  is_allowed("ids inside a user namespace are its map's",
             [](Judged& j) { j.fresh(Namespace::user).plan->identity.ruid = 0; });
}

TEST_CASE("identity: groups-are-not-shed by who could not shed them alone") {
  const auto without = [](gid_t shed) { return [=](Judged& j) { std::erase(j.groups, shed); }; };
  is_refused("one", without(kOutcasts), "identity.groups", "groups-are-not-shed");
  is_refused("another", without(kTeam), "identity.groups", "groups-are-not-shed");
  is_refused(
      "all", [](Judged& j) { j.groups.clear(); }, "identity.groups", "groups-are-not-shed");
  is_refused(
      "one, with another twice",
      [](Judged& j) {
        j.groups = {kAlice, kTeam, kTeam};
      },
      "identity.groups", "groups-are-not-shed");
  is_allowed("its own group need not be in the list", without(kAlice));
  is_allowed("with CAP_SETGID", [&](Judged& j) {
    without(kOutcasts)(j);
    j.holds(CAP_SETGID);
  });
  is_refused(
      "with CAP_SETUID",
      [&](Judged& j) {
        without(kOutcasts)(j);
        j.holds(CAP_SETUID);
      },
      "identity.groups", "groups-are-not-shed");
  is_allowed("as another user, whom root grants", [&](Judged& j) {
    without(kOutcasts)(j);
    j.rule.uids = {{kBob, kBob}};
    j.plan->identity.ruid = j.plan->identity.euid = j.plan->identity.suid = kBob;
  });
  is_refused(
      "as itself, with only the effective uid another's",
      [&](Judged& j) {
        without(kOutcasts)(j);
        j.rule.uids = {{kBob, kBob}};
        j.plan->identity.euid = j.plan->identity.suid = kBob;
      },
      "identity.groups", "groups-are-not-shed");
}

TEST_CASE("caller-is-gone is said of a peer whose process has ended") {
  Caller caller;
  Judged job(caller);
  caller.end();
  const plan::Refusal refusal = job.decide();
  CHECK(refusal.kind == RefusalKind::denied);
  CHECK(std::string(refusal.field) == "peer");
  CHECK(plan::rule_of(refusal) == "caller-is-gone");
}

TEST_CASE("lifetime: a job outlives its connection where the rule lets it") {
  const auto on_disconnect = [](plan::OnDisconnect what, uint64_t ms, bool detach) {
    return [=](Judged& j) {
      j.rule.detach = detach;
      j.plan->on_disconnect = what;
      j.plan->stop_timeout_ms = ms;
    };
  };
  using plan::OnDisconnect;
  is_allowed("kept", on_disconnect(OnDisconnect::keep, 0, true));
  is_refused("kept, against the rule", on_disconnect(OnDisconnect::keep, 0, false),
             "lifetime.on_disconnect", "r/detach");
  is_allowed("a minute to stop", on_disconnect(OnDisconnect::stop, 60'000, false));
  is_refused("more than a minute", on_disconnect(OnDisconnect::stop, 60'001, false),
             "lifetime.stop_timeout", "r/detach");
  is_allowed("a year, with leave", on_disconnect(OnDisconnect::stop, plan::kMaxTimeoutMs, true));
  is_allowed("killed at once", on_disconnect(OnDisconnect::kill, plan::kMaxTimeoutMs, false));
}

TEST_CASE("confinement: cgroup, login uid and label of the caller go with its job") {
  for (const int version : {0, 1})
    is_refused(
        "without a v2 tree",
        [&](Judged& j) {
          j.plan->caller_cgroup = 1;
          j.cgroup_version = version;
        },
        "cgroup", "caller-needs-cgroup-v2", RefusalKind::unsupported);
  Judged below;
  below.plan->caller_cgroup = 1;
  CHECK(below.decide().kind == RefusalKind::none);
  CHECK(below.approved->caller_cgroups() == below.peer.cgroups());

  Judged labelled;
  labelled.peer.label = "held (enforce)";
  CHECK(labelled.decide().kind == RefusalKind::none);
  CHECK((labelled.order().flags & plan::kSetLabel) != 0);
  CHECK(std::string(labelled.order().label) == "exec held");
  const auto of_size = [](size_t size) {
    return [=](Judged& j) { j.peer.label = std::string(size - 5, 'x') + " (enforce)"; };
  };
  is_allowed("the longest label", of_size(plan::kMaxLabel - 1));
  is_refused("one byte more", of_size(plan::kMaxLabel), "peer", "lsm-label");
  Judged free;
  free.peer.label = "unconfined";
  CHECK(free.decide().kind == RefusalKind::none);
  CHECK((free.order().flags & plan::kSetLabel) == 0);
}

TEST_CASE("mounts: on-disk-not-in-a-joined-user-namespace, and where there is a store") {
  const auto on_disk = [](Judged& j) { j.mount(MountKind::scratch, plan::kMountOnDisk); };
  is_allowed("on the host", on_disk);
  is_allowed("in a new user namespace", [&](Judged& j) {
    on_disk(j);
    j.fresh(Namespace::user);
  });
  for (const Join how : {Join::descriptor, Join::job})
    is_invalid(
        "in a joined one",
        [&](Judged& j) {
          on_disk(j);
          j.jobs_have(0xff).join(Namespace::user, how);
        },
        "mounts", "on-disk-not-in-a-joined-user-namespace");
  is_refused(
      "without a store",
      [&](Judged& j) {
        on_disk(j);
        j.no_disk = plan::Reason::no_scratch_home;
      },
      "mounts", "no-scratch-home", RefusalKind::unsupported);
  is_allowed("in memory without a store", [&](Judged& j) {
    j.mount(MountKind::scratch);
    j.no_disk = plan::Reason::no_scratch_home;
  });
}
