// What init reads from each descriptor that a client passed, judged alone:
// authorise_fact(), a row for each rule and what is just inside of it.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "judged.hpp"

using namespace cloister;
using namespace cloister::test;

namespace {

constexpr uint32_t kTypes[] = {CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,  CLONE_NEWIPC,
                               CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_NEWUSER, CLONE_NEWTIME};
constexpr const char* kNames[] = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"};

// A job with one descriptor of this use, and what init says of it.
struct Passed {
  Judged job;
  plan::Fact fact{};
  plan::Mode mode = plan::Mode::system;

  explicit Passed(plan::Use use, uint32_t type = S_IFREG) {
    job.descriptors.push_back({use, 0});
    fact.mode = type | 0600;
    fact.domain = plan::kNone;
    fact.namespace_owner = plan::kNone;
    fact.uid = fact.gid = 4242;  // nobody's
  }
  plan::Refusal judge() {
    job.plan->descriptors = job.plan.span(job.descriptors);
    job.block = job.plan.finish();
    return authorise_fact(job.peer, job.rule, plan::View(job.block.data()), fact, mode);
  }
  void allowed() {
    const plan::Refusal refusal = judge();
    CAPTURE(told(refusal));
    CHECK(refusal.kind == RefusalKind::none);
  }
  void refused(const std::string& field, const std::string& rule,
               RefusalKind kind = RefusalKind::denied) {
    const plan::Refusal refusal = judge();
    CAPTURE(told(refusal));
    CHECK(refusal.kind == kind);
    CHECK(std::string(refusal.field) == field);
    CHECK(plan::rule_of(refusal) == rule);
  }
};

Passed passed(uint32_t type) { return Passed(plan::Use::payload, type); }

Passed joined(Namespace which) {
  Passed made(plan::Use::namespace_join);
  made.job.descriptors.clear();
  made.job.join(which, Join::descriptor);
  made.fact.namespace_type = kTypes[static_cast<uint32_t>(which)];
  made.fact.namespace_owner = kAlice;
  made.fact.device = 1;  // not nsfs: nobody's
  made.fact.inode = 1;
  return made;
}

}  // namespace

TEST_CASE("namespace-type: a descriptor leads to a namespace of the kind that is joined") {
  for (uint32_t i = 0; i < plan::kNamespaces; ++i) {
    const auto which = static_cast<Namespace>(i);
    const std::string field = std::string("namespaces.") + kNames[i];
    joined(which).allowed();
    for (const uint32_t type : kTypes) {
      if (type == kTypes[i]) continue;
      Passed other = joined(which);
      other.fact.namespace_type = type;
      other.refused(field, "namespace-type", RefusalKind::invalid);
    }
    Passed none = joined(which);
    none.fact.namespace_type = 0;
    none.refused(field, "namespace-type", RefusalKind::invalid);
  }
}

TEST_CASE("namespace-owner: who owns the user namespace, who is root, or whom root grants") {
  for (uint32_t i = 0; i < plan::kNamespaces; ++i) {
    const auto which = static_cast<Namespace>(i);
    const std::string field = std::string("namespaces.") + kNames[i];
    for (const uint32_t owner : {0u, kAlice + 1, plan::kNone}) {
      Passed other = joined(which);
      other.fact.namespace_owner = owner;
      other.refused(field, "namespace-owner");
      other.job.rule.namespaces_joined = kAllNamespaces & ~bit(which);
      other.refused(field, "namespace-owner");
      other.job.rule.namespaces_joined = bit(which);
      other.allowed();
      other.job.rule.namespaces_joined = 0;
      other.mode = plan::Mode::user;  // the kernel asks there
      other.allowed();
      other.mode = plan::Mode::system;
      other.job.holds(CAP_DAC_OVERRIDE);
      other.refused(field, "namespace-owner");
      other.job.holds(CAP_SYS_ADMIN);
      other.allowed();
    }
  }
}

TEST_CASE("namespaces_host: a descriptor of the host's own namespace is sharing it") {
  for (uint32_t i = 0; i < plan::kNamespaces; ++i) {
    const auto which = static_cast<Namespace>(i);
    CAPTURE(std::string(kNames[i]));
    struct stat own {};
    REQUIRE(::stat((std::string("/proc/self/ns/") + kNames[i]).c_str(), &own) == 0);
    Passed hosts = joined(which);
    hosts.fact.device = own.st_dev;
    hosts.fact.inode = own.st_ino;
    // Ids were judged as those of another.
    if (which == Namespace::user) {
      hosts.refused("namespaces.user", "not-the-hosts", RefusalKind::invalid);
      continue;
    }
    hosts.allowed();
    hosts.job.rule.namespaces_host = kAllNamespaces & ~bit(which);
    hosts.refused(std::string("namespaces.") + kNames[i], "r/namespaces_host");
    hosts.fact.inode = own.st_ino + 1;
    hosts.allowed();
    hosts.fact.inode = own.st_ino;
    hosts.fact.device = own.st_dev + 1;
    hosts.allowed();
    hosts.fact.device = own.st_dev;
    hosts.job.rule.namespaces_host = kAllNamespaces;
    hosts.job.rule.networks = bit(Network::none);
    if (which == Namespace::net)
      hosts.refused("network", "r/network");
    else
      hosts.allowed();
  }
}

TEST_CASE(
    "descriptors: no-namespace-descriptors, no-path-descriptors, directories-are-granted-by-name") {
  for (const uint32_t type : {S_IFREG, S_IFIFO, S_IFSOCK, S_IFLNK}) passed(type).allowed();
  for (const uint32_t type : kTypes) {
    Passed space = passed(S_IFREG);
    space.fact.namespace_type = type;
    space.refused("file_actions", "no-namespace-descriptors");
  }
  Passed directory = passed(S_IFDIR);
  directory.refused("file_actions", "directories-are-granted-by-name");
  directory.job.descriptors[0].directory_granted = 1;
  directory.allowed();
  directory.fact.open_flags = O_PATH;
  directory.allowed();
  for (const uint32_t type : {S_IFREG, S_IFIFO, S_IFSOCK, S_IFLNK, S_IFCHR}) {
    Passed path = passed(type);
    path.fact.open_flags = O_PATH;
    path.refused("file_actions", "no-path-descriptors");
  }
}

TEST_CASE("descriptors: no-block-devices, and no device that the rule does not list") {
  const auto device = [](uint32_t type, unsigned major, unsigned minor) {
    Passed made = passed(type);
    made.fact.rdev = makedev(major, minor);
    return made;
  };
  device(S_IFCHR, 1, 3).allowed();
  device(S_IFCHR, 188, 0).allowed();
  Passed disk = device(S_IFBLK, 8, 0);
  disk.refused("file_actions", "no-block-devices");
  disk.job.holds(CAP_SYS_ADMIN);
  disk.allowed();
  // With a list the list is what holds, for root too.
  struct Row {
    uint32_t type;
    unsigned major, minor;
    bool allowed;
  };
  for (const Row& row :
       {Row{S_IFCHR, 188, 1, true}, Row{S_IFCHR, 188, 0, false}, Row{S_IFCHR, 188, 2, false},
        Row{S_IFBLK, 188, 1, false}, Row{S_IFBLK, 8, 0, true}, Row{S_IFCHR, 8, 0, false},
        Row{S_IFBLK, 1, 3, false},
        // What every box has: admin-guide/devices.txt.
        Row{S_IFCHR, 1, 2, false}, Row{S_IFCHR, 1, 3, true}, Row{S_IFCHR, 1, 4, false},
        Row{S_IFCHR, 1, 5, true}, Row{S_IFCHR, 1, 6, false}, Row{S_IFCHR, 1, 7, true},
        Row{S_IFCHR, 1, 8, true}, Row{S_IFCHR, 1, 9, true}, Row{S_IFCHR, 1, 10, false},
        Row{S_IFCHR, 4, 63, true}, Row{S_IFCHR, 4, 64, false}, Row{S_IFCHR, 5, 2, true},
        Row{S_IFCHR, 5, 3, false}, Row{S_IFCHR, 135, 0, false}, Row{S_IFCHR, 136, 0, true},
        Row{S_IFCHR, 143, 9, true}, Row{S_IFCHR, 144, 0, false}}) {
    CAPTURE(row.major);
    CAPTURE(row.minor);
    Passed one = device(row.type, row.major, row.minor);
    one.job.holds(CAP_SYS_ADMIN).rule.devices =
        std::vector<Device>{{false, makedev(188, 1)}, {true, makedev(8, 0)}};
    if (row.allowed)
      one.allowed();
    else
      one.refused("file_actions", "r/devices");
  }
}

TEST_CASE("descriptors: sockets-are-unix-or-inet") {
  for (const uint32_t domain : {1u, 2u, 10u}) {
    Passed socket = passed(S_IFSOCK);
    socket.fact.domain = domain;
    socket.allowed();
  }
  for (const uint32_t domain : {0u, 3u, 9u, 11u, 16u /* netlink */, 17u /* packet */, 38u, 40u}) {
    CAPTURE(domain);
    Passed socket = passed(S_IFSOCK);
    socket.fact.domain = domain;
    socket.refused("file_actions", "sockets-are-unix-or-inet");
  }
}

TEST_CASE("descriptors: without a mount namespace there is no box to open, with any there is") {
  const auto disk = [](Join mnt) {
    Passed made = passed(S_IFBLK);
    made.job.choice(Namespace::mnt).join = mnt;
    return made;
  };
  disk(Join::host).allowed();
  for (const Join how : {Join::fresh, Join::descriptor, Join::job})
    disk(how).refused("file_actions", "no-block-devices");
}

TEST_CASE("S9: where a rule lists devices, no directory and no mount namespace brings others") {
  const auto list = [](Passed& one) {
    one.job.holds(CAP_SYS_ADMIN).rule.devices = std::vector<Device>{{false, makedev(188, 1)}};
  };
  for (const plan::Use use : {plan::Use::payload, plan::Use::cwd}) {
    Passed directory(use, S_IFDIR);
    directory.job.descriptors[0].directory_granted = 1;
    directory.allowed();
    list(directory);
    directory.refused(use == plan::Use::cwd ? "cwd" : "file_actions", "r/devices");
  }
  Passed mounts = joined(Namespace::mnt), names = joined(Namespace::uts);
  mounts.allowed();
  list(mounts);
  mounts.refused("namespaces.mnt", "r/devices");
  list(names);
  names.allowed();
  // A new mount namespace without mounts is a copy of the host's.
  const auto copy = [](Judged& job) { job.fresh(Namespace::mnt).rule.devices.emplace(); };
  is_refused("a copy of the host's mounts", copy, "mounts", "r/devices");
}

TEST_CASE("devices: character-devices-only, and own-rights by the mode of the node") {
  const auto node = [](uint32_t mode, uid_t uid, gid_t gid) {
    Passed made(plan::Use::device);
    made.fact.mode = mode;
    made.fact.uid = uid;
    made.fact.gid = gid;
    made.fact.rdev = makedev(188, 1);
    return made;
  };
  for (const uint32_t type : {S_IFREG, S_IFBLK, S_IFDIR, S_IFSOCK})
    node(type | 0666, kAlice, kAlice).refused("devices", "character-devices-only");
  struct Row {
    uint32_t mode;
    uid_t uid;
    gid_t gid;
    bool allowed;
  };
  for (const Row& row :
       {Row{0666, 0, 0, true}, Row{0660, 0, 0, false}, Row{0004, 0, 0, true},
        Row{0002, 0, 0, false}, Row{0400, kAlice, 0, true}, Row{0200, kAlice, 0, false},
        Row{0400, kBob, 0, false}, Row{0040, 0, kTeam, true}, Row{0040, 0, kAlice, true},
        Row{0040, 0, kTeam - 1, false}, Row{0020, 0, kTeam, false}, Row{0440, 0, 0, false}}) {
    CAPTURE(row.mode);
    Passed one = node(S_IFCHR | row.mode, row.uid, row.gid);
    if (row.allowed)
      one.allowed();
    else
      one.refused("devices", "own-rights");
    // Whom the mode does not hold back.
    one.job.holds(CAP_DAC_OVERRIDE);
    one.allowed();
    one.job.rule.devices = std::vector<Device>{{false, makedev(188, 2)}};
    one.refused("devices", "r/devices");
    one.job.rule.devices = std::vector<Device>{{false, makedev(188, 1)}};
    one.allowed();
  }
  // There init has no more than the caller.
  Passed own = node(S_IFCHR | 0600, 0, 0);
  own.mode = plan::Mode::user;
  own.allowed();
}

TEST_CASE("overlays: a-directory, and own-directories are what is written to") {
  const auto layer = [](uint32_t mode, uid_t uid) {
    Passed made(plan::Use::writable_layer);
    made.fact.mode = mode;
    made.fact.uid = uid;
    return made;
  };
  layer(S_IFDIR | 0700, kAlice).allowed();
  for (const uint32_t type : {S_IFREG, S_IFCHR, S_IFLNK})
    layer(type | 0777, kAlice).refused("mounts", "a-directory", RefusalKind::invalid);
  for (const uid_t other : {uid_t{0}, kBob, kAlice - 1}) {
    Passed others = layer(S_IFDIR | 0777, other);
    others.refused("mounts", "own-directories");
    others.job.holds(CAP_SYS_ADMIN);
    others.refused("mounts", "own-directories");
    others.job.holds(CAP_DAC_OVERRIDE);
    others.allowed();
  }
  Passed own = layer(S_IFDIR | 0700, 0);
  own.mode = plan::Mode::user;
  own.allowed();
}

TEST_CASE("descriptors: what only init opens through needs no rule of a descriptor") {
  for (const plan::Use use : {plan::Use::executable, plan::Use::mount, plan::Use::content}) {
    Passed one(use, S_IFBLK);
    one.fact.namespace_type = CLONE_NEWNET;
    one.allowed();
    CHECK_FALSE(plan::needs_fact(one.job.plan.header(), one.job.descriptors[0]));
  }
}

TEST_CASE("descriptors: each use that a rule speaks of is one that init reports") {
  Judged boxed;
  for (const plan::Use use : {plan::Use::payload, plan::Use::cwd, plan::Use::namespace_join,
                              plan::Use::writable_layer, plan::Use::device})
    CHECK(plan::needs_fact(boxed.plan.header(), {use, 0}));
  for (const Join how : {Join::descriptor, Join::job}) {
    boxed.choice(Namespace::mnt).join = how;
    CHECK(plan::needs_fact(boxed.plan.header(), {plan::Use::payload, 0}));
  }
  boxed.choice(Namespace::mnt).join = Join::host;
  boxed.choice(Namespace::net).join = Join::fresh;  // a socket of another one may be passed
  CHECK(plan::needs_fact(boxed.plan.header(), {plan::Use::payload, 0}));
  boxed.choice(Namespace::net).join = Join::host;
  CHECK_FALSE(plan::needs_fact(boxed.plan.header(), {plan::Use::payload, 0}));
  CHECK_FALSE(plan::needs_fact(boxed.plan.header(), {plan::Use::cwd, 0}));
}
