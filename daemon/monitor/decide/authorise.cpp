#include "decide/authorise.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "decide/authorise_mounts.hpp"
#include "decide/capabilities.hpp"
#include "decide/client_ids.hpp"
#include "decide/refusal.hpp"
#include "decide/restraint.hpp"
#include "plan/kernel_files.hpp"
#include "plan/namespaces.hpp"
#include "sys/words.hpp"

namespace cloister::monitor {

using plan::Header;
using plan::Join;
using plan::Namespace;
using plan::Reason;
using plan::Refusal;
using plan::RefusalKind;

namespace {

// What unshare(2) may be asked for beside namespaces.
constexpr uint32_t kUnshare =
    CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_VM;
constexpr int kIoprioRealtime = 1;  // IOPRIO_CLASS_RT, ioprio_set(2)
constexpr int kIoprioShift = 13, kIoprioClasses = 7;
constexpr uint64_t kLongestGoodbyeMs = 60'000;  // of a job that has to end, by its rule
constexpr uint32_t kNobody = 65534;

Reason needs_new(Namespace which) {
  switch (which) {
    case Namespace::mnt: return Reason::needs_new_mnt;
    case Namespace::net: return Reason::needs_new_net;
    case Namespace::uts: return Reason::needs_new_uts;
    case Namespace::user: return Reason::needs_new_user;
    case Namespace::time: return Reason::needs_new_time;
    case Namespace::pid:
    case Namespace::ipc:
    case Namespace::cgroup: break;  // no row asks for one of these
  }
  return Reason::not_a_namespace;
}

// `kind` none: this namespace may be left as the host's.
Refusal sharing_refused(const Rule& rule, Namespace which) {
  if (which == Namespace::net && !rule.allows_network(Network::host))
    return refusal("network", Reason::rule_network, rule.name);
  if (!rule.may_share(which))
    return refusal(describe(which).field, Reason::rule_namespaces_host, rule.name);
  return {};
}

// A descriptor of a namespace that the daemon itself is in.
bool is_the_hosts(const plan::Fact& fact, uint32_t which) {
  static const auto own = [] {
    std::array<struct stat, plan::kNamespaces> all{};
    for (uint32_t i = 0; i < plan::kNamespaces; ++i) {
      const std::string name = plan::kNamespaceWords[i];
      ::stat(("/proc/self/ns/" + name).c_str(), &all[i]);
    }
    return all;
  }();
  return fact.device == own[which].st_dev && fact.inode == own[which].st_ino;
}

bool has_overlay(plan::View plan) {
  const Header& h = plan.header();
  const plan::Mount* const begin = plan.begin(h.mounts);
  return std::any_of(begin, begin + h.mounts.count, [](const plan::Mount& mount) {
    return mount.kind == plan::MountKind::overlay;
  });
}

// They do not change while the daemon runs.
Rlimits daemon_hard_limits() {
  Rlimits limits;
  for (uint32_t i = 0; i < plan::kRlimits; ++i) {
    rlimit own{};
    ::getrlimit(static_cast<__rlimit_resource_t>(i), &own);
    limits[i] = own.rlim_max;
  }
  return limits;
}

}  // namespace

// Each directory, whatever its mode.
bool searches_all(uint64_t capabilities) {
  constexpr uint64_t kEither = uint64_t{1} << CAP_DAC_OVERRIDE | uint64_t{1} << CAP_DAC_READ_SEARCH;
  return (capabilities & kEither) != 0;
}

// One request before the judge; each method is one rule of docs/security.md
// and returns true when the rule is kept.
class Judge {
 public:
  Judge(const Peer& peer, plan::View plan, const Setting& setting)
      : peer_(peer),
        plan_(plan),
        h_(plan.header()),
        setting_(setting),
        approved_(plan, setting.policy.rule_for(peer)),
        rule_(*approved_.rule()) {}

  Decision<Approved> decide() {
    if (consistent() && outbound() && namespaces() && no_new_privs() && identity() &&
        scheduling() && limits() && amounts() && capabilities() && confinement() && id_maps() &&
        restraint() && filters() && mounts() && lifetime())
      return std::move(finish());
    return refusal_;
  }

 private:
  bool refuse(std::string_view field, Reason reason, uint64_t limit = 0, uint64_t requested = 0) {
    refusal_ = refusal(field, reason, rule_.name, limit, requested);
    return false;
  }
  Join join(Namespace which) const { return h_.namespaces[static_cast<uint32_t>(which)].join; }
  bool fresh(Namespace which) const { return join(which) == Join::fresh; }
  bool joined(Namespace which) const {
    return join(which) == Join::descriptor || join(which) == Join::job;
  }
  bool rootless() const { return setting_.mode != plan::Mode::system && !setting_.root; }

  // Init runs as root: what changes a namespace may only change a new one (the rows
  // of plan/schema.hpp). An honest front has refused all of this with a better message.
  bool consistent() {
    for (const plan::Member& member : plan::schema::kHeaderMembers)
      if (member.needs_new && !plan::is_empty(member, &h_) && !fresh(member.where))
        return refuse(member.field, needs_new(member.where));
    for (const plan::Flag& flag : plan::kFlags)
      if (flag.needs_new && (h_.flags & flag.bit) && !fresh(flag.where))
        return refuse(flag.field, needs_new(flag.where));
    // Maps that the monitor chooses have no lines in the Plan.
    if (!fresh(Namespace::user) && (h_.id_choices & plan::kSubordinateUids))
      return refuse("uid_map", Reason::needs_new_user);
    if (!fresh(Namespace::user) && (h_.id_choices & plan::kSubordinateGids))
      return refuse("gid_map", Reason::needs_new_user);
    for (uint32_t i = 0; i < h_.sysctls.count; ++i) {
      const char* const path = plan_.c_str(plan_.at(h_.sysctls, i).path);
      if (std::strncmp(path, "net/ipv4/", 9) != 0 || std::strstr(path, ".."))
        return refuse("sysctls", Reason::needs_new_net);
    }
    if (h_.unshare & ~kUnshare) return refuse("unshare", Reason::not_a_namespace);
    return true;
  }

  // pasta runs as the client, and what it connects to the client could connect to.
  bool outbound() {
    if (!(h_.flags & plan::kOutbound))
      return h_.published.count == 0 || refuse("network", Reason::needs_outbound);
    if (join(Namespace::user) != Join::host && !fresh(Namespace::user))
      return refuse("network", Reason::outbound_not_in_a_joined_user_namespace);
    // pasta lives in the service's network, and sends from there.
    if (peer_.elsewhere & bit(Namespace::net))
      return refuse("network.outbound", Reason::confined_caller);
    if (!rule_.allows_network(Network::outbound))
      return refuse("network.outbound", Reason::rule_network);
    if (setting_.no_pasta != Reason::none) return refuse("network.outbound", setting_.no_pasta);
    const plan::Identity& id = h_.identity;
    const auto is_payload = [&](uint32_t uid) {
      return id.ruid == uid || id.euid == uid || id.suid == uid;
    };
    uint32_t& owner = approved_.order_.network_owner;
    owner = is_payload(0) ? kNobody : 0;
    return !is_payload(owner) || refuse("identity", Reason::owner_of_the_network);
  }

  bool namespaces() {
    for (uint32_t i = 0; i < plan::kNamespaces; ++i) {
      const plan::NamespaceChoice& choice = h_.namespaces[i];
      const auto which = static_cast<Namespace>(i);
      const char* const field = describe(which).field;
      bool fresh = choice.join == Join::fresh, shared = choice.join == Join::host;
      if (choice.join == Join::job) {
        const Joinable of = setting_.joinable(choice.job, peer_);
        if (of.init == 0) return refuse(field, Reason::own_jobs);
        fresh = of.fresh & bit(which);
        shared = !fresh;  // it may be older than the rule
        if (which == Namespace::net && of.outbound && !rule_.allows_network(Network::outbound))
          return refuse("network", Reason::rule_network);
        approved_.job_joins_.push_back({which, of});
      }
      // What a descriptor leads to may be the host's.
      if (!fresh && rule_.requires_new(which))
        return refuse(field, Reason::rule_require_namespaces);
      if (!shared) continue;
      // The service's own would be a way out of the peer's.
      if (peer_.elsewhere & bit(which)) return refuse(field, Reason::confined_caller);
      refusal_ = sharing_refused(rule_, which);
      if (refusal_.kind != RefusalKind::none) return false;
      // Ids and powers in it are judged as those of another.
      if (which == Namespace::user && choice.join == Join::job && !rootless())
        return refuse("namespaces.user", Reason::not_the_hosts);
    }
    return true;
  }

  // In namespaces that root makes, a set-uid program would trust a world of
  // its caller's making. The kernel asks for a user namespace there; so do we,
  // or for no_new_privs.
  bool no_new_privs() {
    if (peer_.no_new_privs) approved_.order_.flags |= plan::kForceNoNewPrivs;
    const bool kept = (h_.flags & plan::kNoNewPrivs) || peer_.no_new_privs;
    if (!kept && rule_.requires_no_new_privs())
      return refuse("no_new_privs", Reason::rule_require_no_new_privs);
    if (kept || peer_.holds(CAP_SYS_ADMIN) || rootless()) return true;
    if (join(Namespace::user) != Join::host) return true;
    for (const plan::NamespaceChoice& choice : h_.namespaces)
      if (choice.join != Join::host)
        return refuse("no_new_privs", Reason::namespaces_need_no_new_privs);
    return true;
  }

  bool may_be_user(uint32_t low, uint32_t high) const {
    return monitor::may_be_user(peer_, rule_, low, high);
  }
  bool may_be_group(uint32_t low, uint32_t high) const {
    return monitor::may_be_group(peer_, rule_, low, high);
  }

  bool identity() {
    // Ids inside a user namespace of its own: bounded by its map, see id_maps().
    if (join(Namespace::user) != Join::host) return true;
    // A leased id is nobody's.
    if (h_.id_choices & plan::kDynamicIds) return true;
    const plan::Identity& id = h_.identity;
    for (uint32_t uid : {id.ruid, id.euid, id.suid})
      if (!may_be_user(uid, uid)) return refuse("identity.uid", Reason::own_uid, peer_.uid, uid);
    for (uint32_t gid : {id.rgid, id.egid, id.sgid})
      if (!may_be_group(gid, gid))
        return refuse("identity.gid", Reason::own_groups, peer_.gid, gid);
    return groups();
  }

  bool groups() {
    const plan::Identity& id = h_.identity;
    const uint32_t* begin = plan_.begin(id.groups);
    const uint32_t* end = begin + id.groups.count;
    for (const uint32_t* gid = begin; gid != end; ++gid)
      if (!may_be_group(*gid, *gid)) return refuse("identity.groups", Reason::own_groups, 0, *gid);
    // A group can also shut people out (mode 0604); nobody sheds one here who
    // could not do so with setgroups(2). As another, granted user one may.
    if (peer_.holds(CAP_SETGID) || id.ruid != peer_.uid) return true;
    for (gid_t own : peer_.groups)
      if (own != peer_.gid && std::find(begin, end, own) == end)
        return refuse("identity.groups", Reason::groups_are_not_shed, own, id.groups.count);
    return true;
  }

  bool scheduling() {
    const auto& own = peer_.own();
    if (!own) return refuse("peer", Reason::caller_is_gone);
    const bool may_raise = peer_.holds(CAP_SYS_NICE);
    // setrlimit(2): what a limit of its own lets the caller do needs no privilege.
    const auto nice_limit = static_cast<int>(std::min<uint64_t>(own->hard_limits[RLIMIT_NICE], 40));
    const int lowest = rule_.nice.value_or(may_raise ? -20 : std::min(own->nice, 20 - nice_limit));
    if (h_.nice < lowest)
      return refuse("nice", rule_.nice ? Reason::rule_nice : Reason::not_below_own_nice,
                    static_cast<uint64_t>(lowest), static_cast<uint64_t>(h_.nice));
    if (!rule_.real_time.value_or(may_raise)) {
      const Reason reason =
          rule_.real_time ? Reason::rule_real_time : Reason::real_time_needs_CAP_SYS_NICE;
      const bool real_time =
          (h_.scheduler.set & plan::kHasPolicy) && h_.scheduler.policy != SCHED_OTHER &&
          h_.scheduler.policy != SCHED_BATCH && h_.scheduler.policy != SCHED_IDLE;
      const bool within_limit =
          !rule_.real_time &&
          (h_.scheduler.policy == SCHED_FIFO || h_.scheduler.policy == SCHED_RR) &&
          static_cast<uint64_t>(h_.scheduler.priority) <= own->hard_limits[RLIMIT_RTPRIO];
      if ((real_time || h_.scheduler.priority > 0) && !within_limit)
        return refuse("scheduler", reason, 0, static_cast<uint64_t>(h_.scheduler.policy));
      // As the kernel reads it, which init hands it to in any case.
      if ((h_.ioprio >> kIoprioShift & kIoprioClasses) == kIoprioRealtime)
        return refuse("ioprio", reason);
    }
    if (h_.oom_score_adj < own->oom_score_adj && !peer_.holds(CAP_SYS_RESOURCE))
      return refuse("oom_score_adj", Reason::not_below_own,
                    static_cast<uint64_t>(own->oom_score_adj),
                    static_cast<uint64_t>(h_.oom_score_adj));
    return true;
  }

  bool limits() {
    const Rlimits& own = peer_.own()->hard_limits;
    static const Rlimits daemon = daemon_hard_limits();
    for (uint32_t i = 0; i < plan::kRlimits; ++i) {
      const plan::Rlimit& limit = h_.rlimits[i];
      const auto [ceiling, reason] = bound_on(i);
      // Constants of ours give way to what the caller has and we can give.
      approved_.order_.rlimit_hard[i] =
          std::min({own[i], daemon[i], ceiling.value_or(RLIM_INFINITY)});
      const uint64_t highest =
          ceiling.value_or(peer_.holds(CAP_SYS_RESOURCE) ? RLIM_INFINITY : own[i]);
      if (!limit.set || limit.hard <= highest) continue;
      const std::string field = std::string("rlimits.") + sys::name_of(sys::rlimits(), i);
      return refuse(field, reason, highest, limit.hard);
    }
    return true;
  }

  // Of what it may take as a whole.
  bool amounts() {
    for (const plan::LimitMember& member : plan::kLimitMembers) {
      const uint64_t most = rule_.limits.*member.amount, asked = h_.limits.*member.amount;
      if (most == 0 || (asked != 0 && asked <= most)) continue;
      return refuse(std::string("limits.") + member.name, Reason::rule_limits, member.told(most),
                    member.told(asked));
    }
    // One that is asked to stop and has a year for it has reached no limit.
    const bool timed = rule_.limits.wall_time_ms != 0 || rule_.limits.cpu_time_ms != 0;
    if (timed && h_.stop_timeout_ms > kLongestGoodbyeMs)
      return refuse("lifetime.stop_timeout", Reason::rule_stop_timeout, kLongestGoodbyeMs,
                    h_.stop_timeout_ms);
    return true;
  }

  // Of the hard limit: what the job is not to have it is not to give itself either.
  std::pair<std::optional<uint64_t>, Reason> bound_on(uint32_t limit) const {
    if (rule_.rlimits[limit]) return {rule_.rlimits[limit], Reason::rule_rlimits};
    if (limit == RLIMIT_RTPRIO && rule_.real_time == false) return {0, Reason::rule_real_time};
    // setrlimit(2): 20 minus the niceness that it lets one take.
    if (limit == RLIMIT_NICE && rule_.nice)
      return {static_cast<uint64_t>(20 - *rule_.nice), Reason::rule_nice};
    return {std::nullopt, Reason::not_above_own_hard_limit};
  }

  bool lifetime() {
    if (rule_.detach) return true;
    if (h_.on_disconnect == plan::OnDisconnect::keep)
      return refuse("lifetime.on_disconnect", Reason::rule_detach);
    // One that is asked to stop and has a year for it is kept as well.
    if (h_.on_disconnect == plan::OnDisconnect::stop && h_.stop_timeout_ms > kLongestGoodbyeMs)
      return refuse("lifetime.stop_timeout", Reason::rule_detach, kLongestGoodbyeMs,
                    h_.stop_timeout_ms);
    return true;
  }

  // What the caller cannot shed, its jobs do not either; what of it keeps a
  // caller from being served at all is Surroundings::confinement_of().
  bool confinement() {
    plan::Order& order = approved_.order_;
    if (h_.caller_cgroup) {
      if (setting_.cgroup_version != 2) return refuse("cgroup", Reason::caller_needs_cgroup_v2);
      approved_.caller_cgroups_ = peer_.cgroups();
      if (approved_.caller_cgroups_.empty()) return refuse("peer", Reason::caller_is_gone);
    }
    if (peer_.own()->login_uid != setting_.own.login_uid()) {
      order.flags |= plan::kSetLoginUid;
      order.login_uid = peer_.own()->login_uid;
    }
    if (!setting_.own.confines(peer_.label)) return true;
    const std::string word = exec_word(peer_.label);
    if (word.size() >= sizeof order.label) return refuse("peer", Reason::lsm_label);
    order.flags |= plan::kSetLabel;
    word.copy(order.label, sizeof order.label - 1);
    return true;
  }

  bool capabilities() {
    refusal_ =
        authorise_capabilities(peer_, rule_, plan_, rootless(), approved_.order_.capabilities);
    return refusal_.kind == RefusalKind::none;
  }

  bool mounts() {
    if (plan::needs_disk(plan_)) {
      // It belongs to who the host knows, and there init is nobody.
      if (join(Namespace::user) != Join::host && !fresh(Namespace::user))
        return refuse("mounts", Reason::on_disk_not_in_a_joined_user_namespace);
      if (setting_.no_disk != Reason::none) return refuse("mounts", setting_.no_disk);
    }
    plan::Order& order = approved_.order_;
    const bool apart = !rootless() && fresh(Namespace::mnt);
    const bool root = apart && is_hosts_root(peer_, rule_, plan_, approved_.ids_);
    const bool rules = root || (apart && has_host_powers(plan_, order.capabilities));
    if (rules && h_.mounts.count) order.flags |= plan::kCoverKernel;
    const bool lent = rules && !rules_host_itself(peer_) && (root || lends_powers());
    if (!may_join_mounts()) return refuse("namespaces.mnt", Reason::joined_with_own_ids);
    refusal_ = authorise_mounts(peer_, rule_, plan_, approved_.ids_, lent);
    if (refusal_.kind != RefusalKind::none) return false;
    if (searches_all(peer_.permitted) ||
        (join(Namespace::user) == Join::host && searches_all(order.capabilities.effective)))
      order.flags |= plan::kSearchesAll;
    // Without root, and in a user namespace that is joined, init is the client.
    if (has_overlay(plan_) && !rootless() &&
        (join(Namespace::user) == Join::host || fresh(Namespace::user))) {
      approved_.ids_.client = client_ids(peer_, plan_, approved_.ids_);
      order.client_powers = client_powers(peer_, approved_.ids_.client);
    }
    return true;
  }

  // Powers of its own it has on the host as well.
  bool lends_powers() const {
    return (any_of_sets(approved_.order().capabilities) & ~peer_.permitted) != 0;
  }

  // What was mounted for another job was judged for the ids and powers of that one.
  // In a user namespace that is joined too, the peer has what it has there by itself.
  bool may_join_mounts() const {
    if (rootless() || !joined(Namespace::mnt) || joined(Namespace::user)) return true;
    if (rules_host_itself(peer_)) return true;
    return fresh(Namespace::user)
               ? maps_itself_alone()
               : !lends_powers() && has_own_ids(peer_, rule_, plan_, approved_.ids());
  }
  bool maps_itself_alone() const {
    const IdMaps& job = approved_.ids().job;
    const auto own_user = [&](const plan::IdMap& line) {
      return line.count == 1 && line.outside == peer_.uid;
    };
    const auto own_group = [&](const plan::IdMap& line) {
      return line.count == 1 && peer_.in_group(line.outside);
    };
    return std::all_of(job.uids.begin(), job.uids.end(), own_user) &&
           std::all_of(job.gids.begin(), job.gids.end(), own_group);
  }

  // Both sides of a map lie within the client's ids, or root has given them.
  bool id_maps() {
    plan::Order& order = approved_.order_;
    IdDecision& ids = approved_.ids_;
    refusal_ = decide_ids(peer_, rule_, plan_, setting_.ids, rootless(), ids);
    if (refusal_.kind != RefusalKind::none) return false;
    order.leased_id = ids.leased_id;
    if (ids.fixed_groups) order.flags |= plan::kFixedGroups;
    if (ids.birth.uids.empty()) return true;
    order.flags |= plan::kFreshUser;
    order.mapped_uid = peer_.uid;
    order.mapped_gid = peer_.gid;
    approved_.clone_flags_ |= CLONE_NEWUSER;
    return true;
  }

  bool restraint() {
    refusal_ = restrain(peer_, rule_, plan_, setting_, approved_, approved_.order_);
    return refusal_.kind == RefusalKind::none;
  }

  // Every box has the baseline filter, unless root's policy says otherwise. A
  // filter without no_new_privs could bend a set-uid program, seccomp(2).
  bool filters() {
    plan::Order& order = approved_.order_;
    if (rule_.requires_baseline() || (is_box(h_) && !rule_.allows_unfiltered_seccomp()))
      order.flags |= plan::kBaseline;
    const bool ours = (order.flags & plan::kBaseline) || order.restraint != plan::Restraint::none ||
                      order.scoped != 0 || order.confined_fs != 0;
    if (!ours && h_.seccomp.count == 0) return true;
    const bool powerful = peer_.holds(CAP_SYS_ADMIN) || join(Namespace::user) != Join::host ||
                          (order.flags & plan::kFreshUser) != 0;
    if ((h_.flags & plan::kNoNewPrivs) || peer_.no_new_privs || powerful) return true;
    return refuse("no_new_privs", Reason::filters_need_no_new_privs);
  }

  Approved& finish() {
    plan::Order& order = approved_.order_;
    order.version = plan::kOrderVersion;
    order.caller_uid = peer_.uid;
    order.caller_gid = peer_.gid;
    // The pid namespace of a joined user namespace is made inside it, by init.
    if (fresh(Namespace::pid) && !joined(Namespace::user)) {
      order.flags |= plan::kFreshPid;
      approved_.clone_flags_ |= CLONE_NEWPID;
    }
    return approved_;
  }

  const Peer& peer_;
  plan::View plan_;
  const Header& h_;
  const Setting& setting_;
  Approved approved_;
  const Rule& rule_;
  Refusal refusal_{};
};

Decision<Approved> authorise(const Peer& peer, plan::View plan, const Setting& setting) {
  return Judge(peer, plan, setting).decide();
}

Refusal authorise_fact(const Peer& peer, const Rule& rule, plan::View plan, const plan::Fact& fact,
                       plan::Mode mode, bool covered) {
  const Header& h = plan.header();
  const plan::Descriptor& descriptor = plan.at(h.descriptors, fact.index);
  const bool root = peer.holds(CAP_SYS_ADMIN);

  if (descriptor.use == plan::Use::namespace_join) {
    for (uint32_t i = 0; i < plan::kNamespaces; ++i) {
      const plan::NamespaceChoice& choice = h.namespaces[i];
      if (choice.join != Join::descriptor || choice.descriptor != fact.index) continue;
      const auto which = static_cast<Namespace>(i);
      const char* const field = describe(which).field;
      if (fact.namespace_type != describe(which).flag)
        return refusal(field, Reason::namespace_type, rule.name);
      // Holding a descriptor proves nothing: a bound nsfs file is readable by
      // all. In user mode the kernel itself asks for the powers.
      if (mode == plan::Mode::system && !root && fact.namespace_owner != peer.uid &&
          !rule.grants_join(which))
        return refusal(field, Reason::namespace_owner, rule.name, peer.uid, fact.namespace_owner);
      // Ids and powers in it were judged as those of another.
      if (which == Namespace::user && is_the_hosts(fact, i))
        return refusal(field, Reason::not_the_hosts, rule.name);
      if (is_the_hosts(fact, i)) return sharing_refused(rule, which);
      // Where its owner has led it is not to be seen.
      if (which == Namespace::net && !rule.allows_any_network() && !rule.grants_join(which))
        return refusal("network", Reason::rule_network, rule.name);
      // What devices are there its owner has chosen.
      if (which == Namespace::mnt && rule.devices && !rule.grants_join(which))
        return refusal(field, Reason::rule_devices, rule.name);
    }
    return {};
  }
  if (descriptor.use == plan::Use::device) return authorise_device(peer, rule, fact, mode);
  if (descriptor.use == plan::Use::writable_layer) return authorise_layer(peer, rule, fact, mode);
  if (descriptor.use != plan::Use::payload && descriptor.use != plan::Use::cwd) return {};

  // A socket stays in the network that it was made in.
  const bool internet = fact.domain == AF_INET || fact.domain == AF_INET6;
  if (internet && !rule.allows_network(Network::host))
    return refusal("file_actions", Reason::rule_network, rule.name, 0, fact.index);
  // Without a mount namespace there is no box that a descriptor could open.
  if (h.namespaces[static_cast<uint32_t>(Namespace::mnt)].join == Join::host) return {};
  const bool cwd = descriptor.use == plan::Use::cwd;
  const auto denied = [&](Reason reason) {
    return refusal(cwd ? "cwd" : "file_actions", reason, rule.name, 0, fact.index);
  };
  // From a directory the way leads up and out of the box, and /proc/self/fd opens
  // a file once more, for writing, where it lies: past every cover.
  const bool lent = covered && !rules_host_itself(peer);
  if (lent && (S_ISDIR(fact.mode) || plan::is_kernel_file_system(fact.filesystem)))
    return denied(Reason::covers_hold_for_descriptors);
  if (S_ISDIR(fact.mode) && rule.devices) return denied(Reason::rule_devices);
  if (cwd) return {};
  if (fact.namespace_type != 0) return denied(Reason::no_namespace_descriptors);
  if (S_ISDIR(fact.mode) && !descriptor.directory_granted)
    return denied(Reason::directories_are_granted_by_name);
  if ((fact.open_flags & O_PATH) && !S_ISDIR(fact.mode)) return denied(Reason::no_path_descriptors);
  const bool block = S_ISBLK(fact.mode);
  if ((block || S_ISCHR(fact.mode)) && !rule.allows_device({block, fact.rdev})) {
    if (rule.devices) return denied(Reason::rule_devices);
    if (!root) return denied(Reason::no_block_devices);
  }
  if (fact.domain != plan::kNone && fact.domain != AF_UNIX && !internet)
    return denied(Reason::sockets_are_unix_or_inet);
  return {};
}

}  // namespace cloister::monitor
