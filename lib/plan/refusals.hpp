// Every reason for which the monitor refuses something: the rules that always
// hold, and the members of a rule of the administrator's, cloisterd.json(5).
//
// The monitor names a reason by its enumerator, the front renders its name and
// its words, cloister-refusals(7) and a list of all texts are made of the table.
#pragma once

#include <stdint.h>

namespace cloister::plan {

enum class RefusalKind : uint32_t {
  none,
  denied,   // policy
  invalid,  // the Plan was refused; of Reason::flaw, detail = Flaw
  busy,     // limit, requested = in use, detail = ms until it may have room
  no_such_job,
  launch_failed,  // failure
  unsupported,    // field = feature
  shutting_down,
  misconfigured,  // of Peer alone, where it has the rest
};

// Who can change what the refusal speaks of.
enum class Remedy : uint32_t {
  none,
  client,         // with another request
  administrator,  // with cloisterd.json(5) or the set-up of the service
  host,           // with another kernel, or with its settings
};

// X(enumerator, "name", kind, remedy, "what is refused and why", "what to do")
// Both sentences begin small and end without a period: they stand in others.
#define CLOISTER_ALWAYS(X) \
  X(own_uid, "own-uid", denied, client, "the uid is neither the caller's own nor granted to it", \
    "run as the caller, or have the administrator grant the uid (allow.uids)") \
  X(own_groups, "own-groups", denied, client, \
    "the gid is neither one of the caller's own nor granted to it", \
    "use groups of the caller, or have the administrator grant the gid (allow.gids)") \
  X(groups_are_not_shed, "groups-are-not-shed", denied, client, \
    "the list of groups drops one of the caller's groups, and a group can be used to deny its " \
    "members access to files", \
    "name all groups of the caller") \
  X(a_lease_is_for_both_maps, "a-lease-is-for-both-maps", denied, client, \
    "ids are leased for uid_map and gid_map together, and the request asks for one of them only", \
    "set \"subordinate\" for both or for neither") \
  X(leased_ids_leave_nothing, "leased-ids-leave-nothing", denied, client, \
    "leased ids go to another job afterwards, and this job could leave files or objects of " \
    "these ids behind", \
    "ask for new mnt, pid and ipc namespaces; make all binds read-only and pass no directory") \
  X(leased_ids_are_the_hosts, "leased-ids-are-the-hosts", denied, client, \
    "a leased id is an id of the host, and the job has another user namespace", \
    "leave namespaces.user as \"host\"") \
  X(lines_340, "340-lines", denied, client, \
    "an id map has more than 340 lines, which the kernel does not take (user_namespaces(7))", \
    "use fewer lines") \
  X(less_than_a_page, "less-than-a-page", denied, client, \
    "the text of an id map takes a page or more, which the kernel does not take " \
    "(user_namespaces(7))", \
    "use fewer lines") \
  X(set_uid_files_need_a_grant, "set-uid-files-need-a-grant", denied, administrator, \
    "a job with namespaces of its own cannot make set-uid or set-gid files without a grant", \
    "have the administrator grant it (allow.set_uid_files), or use the profile machine, whose " \
    "ids are subordinate ones") \
  X(namespaces_need_no_new_privs, "namespaces-need-no-new-privs", denied, client, \
    "in new namespaces without no_new_privs a set-uid program would trust files that the " \
    "caller made", \
    "set no_new_privs: true, or namespaces.user: \"auto\"") \
  X(filters_need_no_new_privs, "filters-need-no-new-privs", denied, client, \
    "a system call filter could mislead a set-uid program", \
    "set no_new_privs: true, or namespaces.user: \"auto\"") \
  X(not_below_own_nice, "not-below-own-nice", denied, client, \
    "the nice value is below the caller's own and below what its RLIMIT_NICE allows", \
    "raise nice") \
  X(real_time_needs_CAP_SYS_NICE, "real-time-needs-CAP_SYS_NICE", denied, client, \
    "real-time scheduling is for callers with CAP_SYS_NICE or a sufficient RLIMIT_RTPRIO", \
    "ask for another policy, or have the administrator allow it (allow.real_time)") \
  X(not_below_own, "not-below-own", denied, client, "oom_score_adj is below the caller's own", \
    "raise oom_score_adj") \
  X(not_above_own_hard_limit, "not-above-own-hard-limit", denied, client, \
    "the hard limit is above the caller's own", \
    "lower it (`ulimit -H` shows the caller's), or have the administrator allow it " \
    "(allow.rlimits)") \
  X(not_beyond_own_capabilities, "not-beyond-own-capabilities", denied, client, \
    "the caller does not hold all of these capabilities, and no rule grants them", \
    "set namespaces.user: \"new\", where any set is allowed, or have the administrator grant " \
    "them (allow.capabilities)") \
  X(capabilities_need_new_user_namespace, "capabilities-need-new-user-namespace", denied, client, \
    "here a job has capabilities only in a user namespace of its own", \
    "set namespaces.user: \"new\"") \
  X(user_namespaces_are_restricted, "user-namespaces-are-restricted", denied, host, \
    "this host denies unprivileged users capabilities in user namespaces", \
    "leave capabilities out, or have the administrator change the sysctl " \
    "kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns") \
  X(securebits_need_no_new_privs, "securebits-need-no-new-privs", denied, client, \
    "securebits could mislead a set-uid program", "set no_new_privs: true") \
  X(namespace_owner, "namespace-owner", denied, client, \
    "the user namespace that this namespace belongs to is another user's", \
    "join a namespace of the caller's own, or have the administrator allow it " \
    "(allow.namespaces_joined)") \
  X(own_jobs, "own-jobs", no_such_job, client, \
    "only jobs of the same user can join a job's namespaces, and only while it runs", \
    "name a running job of the caller (`cloister ps` lists them)") \
  X(joined_with_own_ids, "joined-with-own-ids", denied, client, \
    "a job that joins this mount namespace must have the caller's own ids and no capabilities " \
    "that the caller lacks", \
    "leave out identity, id maps and capabilities") \
  X(not_the_hosts, "not-the-hosts", invalid, client, "the user namespace to join is the host's", \
    "leave namespaces.user as \"host\"") \
  X(namespace_type, "namespace-type", invalid, client, \
    "the descriptor is not a namespace of the type that it is joined as", \
    "pass a descriptor of /proc/PID/ns of that type") \
  X(needs_new_mnt, "needs-new-mnt", invalid, client, "mounts need a new mount namespace", \
    "set namespaces.mnt: \"new\"") \
  X(needs_new_uts, "needs-new-uts", invalid, client, \
    "host and domain name need a new UTS namespace", "set namespaces.uts: \"new\"") \
  X(needs_new_net, "needs-new-net", invalid, client, \
    "sysctls, loopback and an outbound network need a new network namespace", \
    "set namespaces.net: \"new\"") \
  X(needs_new_time, "needs-new-time", invalid, client, "clock offsets need a new time namespace", \
    "set namespaces.time: \"new\"") \
  X(needs_new_user, "needs-new-user", invalid, client, "id maps need a new user namespace", \
    "set namespaces.user: \"new\"") \
  X(not_a_namespace, "not-a-namespace", invalid, client, \
    "the field unshare does not make namespaces", "ask for them in namespaces") \
  X(needs_outbound, "needs-outbound", invalid, client, \
    "only an outbound network can publish ports", "ask for network: {\"outbound\": {}}") \
  X(outbound_not_in_a_joined_user_namespace, "outbound-not-in-a-joined-user-namespace", invalid, \
    client, \
    "an outbound network belongs to a new user namespace or to the host's, and the job joins " \
    "another", \
    "leave out the join or the outbound network") \
  X(owner_of_the_network, "owner-of-the-network", invalid, client, \
    "a job with both the uids 0 and 65534 would own its outbound network", \
    "leave one of the two out") \
  X(on_disk_not_in_a_joined_user_namespace, "on-disk-not-in-a-joined-user-namespace", invalid, \
    client, "a job that joins a user namespace has no scratch directory on disk", \
    "use a scratch directory in memory") \
  X(a_mount_hides_another, "a-mount-hides-another", invalid, client, \
    "a mount would lie over one that is made before it", \
    "give each mount a place that no later one covers") \
  X(covers_need_mounts, "covers-need-mounts", denied, client, \
    "the job has uid 0 or capabilities on the host that its caller lacks, so files in /proc " \
    "and /sys must be covered, and the request has no mounts", \
    "ask for mounts, or leave out the ids and capabilities beyond the caller's") \
  X(covers_hold_for_descriptors, "covers-hold-for-descriptors", denied, client, \
    "the job has uid 0 or capabilities on the host that its caller lacks, and this descriptor " \
    "would give access to covered files of /proc and /sys", \
    "pass no directory and no file of /proc, /sys or another file system of the kernel") \
  X(nodev_for_other_ids, "nodev-for-other-ids", denied, client, \
    "a bind without nodev would show devices to ids that are not the caller's", \
    "set no nodev: false, or list the devices in devices") \
  X(ids_of_the_job, "ids-of-the-job", invalid, client, \
    "the mount shows files as owned by ids that the job's user namespace does not map", \
    "map them in uid_map and gid_map") \
  X(own_directories, "own-directories", denied, client, \
    "upper and work of an overlay must be the caller's own directories", \
    "name directories of the caller") \
  X(a_directory, "a-directory", invalid, client, \
    "upper and work of an overlay must be directories", "name directories") \
  X(character_devices_only, "character-devices-only", denied, client, \
    "the field devices takes character devices only", "name a character device below /dev") \
  X(own_rights, "own-rights", denied, client, \
    "the mode of the device does not let the caller open it", \
    "name a device that the caller can open") \
  X(directories_are_granted_by_name, "directories-are-granted-by-name", denied, client, \
    "a directory descriptor gives access to files outside of the sandbox", \
    "set \"directory\": true with it, or bind the directory") \
  X(no_path_descriptors, "no-path-descriptors", denied, client, \
    "an O_PATH descriptor gives access to files outside of the sandbox", \
    "open the file for reading or writing") \
  X(no_block_devices, "no-block-devices", denied, administrator, \
    "a block device is not passed into a sandbox", \
    "have the administrator list it (allow.devices)") \
  X(no_namespace_descriptors, "no-namespace-descriptors", denied, client, \
    "a descriptor of a namespace is not passed to a payload", \
    "join the namespace with the field namespaces") \
  X(sockets_are_unix_or_inet, "sockets-are-unix-or-inet", denied, client, \
    "only sockets of AF_UNIX, AF_INET and AF_INET6 are passed into a sandbox", \
    "pass another descriptor") \
  X(no_subordinate_ids, "no-subordinate-ids", unsupported, administrator, \
    "the caller has no ids in /etc/subuid and /etc/subgid, and the service has none to lease", \
    "have the administrator add some (usermod --add-subuids --add-subgids), or set lease") \
  X(no_lease, "no-lease", unsupported, administrator, "the service has no ids to lease", \
    "have the administrator set lease") \
  X(lease, "lease", busy, administrator, "all ids that the service has to lease are in use", \
    "try again") \
  X(no_pasta, "no-pasta", unsupported, administrator, "pasta (package passt) is not installed", \
    "have the administrator install it") \
  X(pasta_is_for_all, "pasta-is-for-all", unsupported, administrator, \
    "pasta is not a program that everybody may run", \
    "have the administrator set its mode to 0755") \
  X(pasta_is_roots, "pasta-is-roots", unsupported, administrator, \
    "users other than root could write pasta", \
    "have the administrator make root its owner, and nobody else able to write it") \
  X(no_sweep, "no-sweep", unsupported, administrator, \
    "cloister-sweep, which removes scratch directories from the disk, is not installed", \
    "have the administrator install cloister anew, or use a scratch directory in memory") \
  X(no_scratch_home, "no-scratch-home", unsupported, administrator, \
    "the service has no home directory to keep scratch directories in", \
    "set scratch in the configuration, or use a scratch directory in memory") \
  X(scratch_unreachable, "scratch-unreachable", unsupported, administrator, \
    "the service's scratch directory cannot be reached", \
    "have the administrator correct scratch in cloisterd.json(5), or use a scratch directory " \
    "in memory") \
  X(scratch_in_memory, "scratch-in-memory", unsupported, administrator, \
    "the service's scratch directory is in memory, and the job wants one on disk", \
    "have the administrator set scratch to a directory on disk") \
  X(scratch_not_writable, "scratch-not-writable", unsupported, administrator, \
    "the service cannot write its scratch directory", \
    "have the administrator correct scratch in cloisterd.json(5), or use a scratch directory " \
    "in memory") \
  X(caller_needs_cgroup_v2, "caller-needs-cgroup-v2", unsupported, host, \
    "cgroup \"caller\" needs a cgroup v2 tree that the service may write", \
    "leave cgroup as \"service\"") \
  X(caller_is_gone, "caller-is-gone", denied, client, \
    "the process that opened this connection has ended", \
    "let the process that connects live until its answer") \
  X(another_users_service, "another-users-service", denied, client, \
    "this service is another user's", "use the system service, or one of the caller's own") \
  X(unmapped_uid, "unmapped-uid", denied, host, \
    "the caller's uid is not mapped in the user namespace of the service", \
    "connect from a user namespace whose ids are mapped in the service's") \
  X(confined_caller, "confined-caller", denied, administrator, \
    "the caller is in other namespaces or another root directory than the service, or in one " \
    "of its jobs, and the new job would escape that confinement", \
    "connect from a process that is not confined, ask for new namespaces of these types, or have " \
    "the administrator set allow_confined_callers") \
  X(seccomp_filter, "seccomp-filter", denied, administrator, \
    "the caller runs under a seccomp filter that its jobs would not have", \
    "connect from a process without this filter, or have the administrator set " \
    "allow_confined_callers") \
  X(lsm_label, "lsm-label", denied, administrator, \
    "the caller's AppArmor profile or SELinux type confines it, and the service would open files " \
    "for it without this confinement", \
    "connect from a process that is not confined, or have the administrator set " \
    "allow_confined_callers") \
  X(max_connections, "max_connections", busy, administrator, \
    "the service has reached its limit of connections of all users", "try again") \
  X(flaw, "flaw", invalid, host, "the plan that was made of the request is not sound", \
    "report this: it is a fault of cloister") \
  X(unknown_signal, "unknown-signal", invalid, client, "the signal or its scope does not exist", \
    "send a signal from 1 to 64") \
  X(no_such_job, "no-such-job", no_such_job, client, \
    "there is no such job, or it is not the caller's", "`cloister ps --all` lists the jobs") \
  X(key_reused, "key-reused", invalid, client, \
    "the idempotency key was used for a different request", "use a new key for a new request") \
  X(shutting_down, "shutting-down", shutting_down, administrator, "the service is shutting down", \
    "try again once it has started") \
  X(waits, "waits", busy, client, "too many calls of Wait are in progress", \
    "end some of them, or wait for one job by its id") \
  X(preparing, "preparing", busy, client, \
    "the job has not started yet, so it takes no signal but SIGKILL and SIGTERM", "try again") \
  X(signals, "signals", busy, client, "the job has not taken the signals sent before", \
    "try again") \
  X(running, "running", busy, client, "the job is still running", \
    "stop it first, or wait for its end")

// The same of members of the administrator's rule that spoke of the caller: a
// client reads "RULE/name".
#define CLOISTER_MEMBERS(X) \
  X(rule_namespaces_host, "namespaces_host", denied, administrator, \
    "the rule does not let jobs share this namespace with the host", \
    "ask for a new one, or have the administrator list it in allow.namespaces_host") \
  X(rule_network, "network", denied, administrator, "the rule does not allow this network", \
    "ask for another, or have the administrator list it in allow.network") \
  X(rule_devices, "devices", denied, administrator, \
    "the rule allows no other devices than those it lists", \
    "leave the device out and set no nodev: false on binds, or have the administrator list the " \
    "device in allow.devices") \
  X(rule_nice, "nice", denied, administrator, "the nice value is below the rule's", \
    "raise nice, or have the administrator lower allow.nice") \
  X(rule_real_time, "real_time", denied, administrator, "the rule allows no real-time scheduling", \
    "ask for another policy, or have the administrator set allow.real_time") \
  X(rule_rlimits, "rlimits", denied, administrator, "the hard limit is above the rule's", \
    "lower it, or have the administrator raise allow.rlimits") \
  X(rule_limits, "limits", denied, administrator, \
    "the rule requires this limit, and allows no value above its own", \
    "set this limit no higher than the rule's, or have the administrator raise allow.limits") \
  X(rule_stop_timeout, "stop_timeout", denied, client, \
    "the rule limits the job's time, and then the job has at most a minute to stop", \
    "set lifetime.stop_timeout to 60s or less") \
  X(rule_detach, "detach", denied, administrator, \
    "the rule requires that a job ends at most a minute after its connection is closed", \
    "use lifetime.on_disconnect: \"kill\", or have the administrator set allow.detach") \
  X(rule_require_namespaces, "require.namespaces", denied, administrator, \
    "the rule requires a new namespace of this type", \
    "ask for a new one, or have the administrator change require.namespaces") \
  X(rule_require_no_new_privs, "require.no_new_privs", denied, administrator, \
    "the rule requires no_new_privs", \
    "set no_new_privs: true, or have the administrator change require.no_new_privs") \
  X(rule_quota_jobs, "quota.jobs", busy, administrator, \
    "the caller has reached the rule's limit of running jobs", \
    "wait for one to end, or have the administrator raise quota.jobs") \
  X(rule_quota_connections, "quota.connections", busy, administrator, \
    "the caller has reached the rule's limit of open connections", \
    "close one, or have the administrator raise quota.connections") \
  X(rule_quota_spawns_per_s, "quota.spawns_per_s", busy, administrator, \
    "the caller launches jobs faster than the rule lets it", \
    "launch them more slowly, or have the administrator raise quota.spawns_per_s") \
  X(rule_quota_request_bytes, "quota.request_bytes", busy, administrator, \
    "the requests of the caller's jobs take as much memory as the rule lets them", \
    "wait for a job to end, or have the administrator raise quota.request_bytes") \
  X(rule_quota_output_bytes, "quota.output_bytes", busy, administrator, \
    "the captured output of the caller's running jobs may take as much space as the rule lets it", \
    "capture less (stdout.capture.max), wait for a job to end, or have the administrator raise " \
    "quota.output_bytes") \
  X(rule_quota_fds_in_flight, "quota.fds_in_flight", busy, administrator, \
    "too many descriptors were passed with jobs of the caller that have not started yet", \
    "pass fewer at a time, or have the administrator raise quota.fds_in_flight")

enum class Reason : uint32_t {
  none,
#define X(id, name, kind, remedy, words, hint) id,
  CLOISTER_ALWAYS(X) CLOISTER_MEMBERS(X)
#undef X
      count_
};

struct ReasonInfo {
  const char* name;
  RefusalKind kind;
  Remedy remedy;
  bool member;  // of the administrator's rule
  const char* words;
  const char* hint;
};

inline constexpr ReasonInfo kReasons[] = {{"", RefusalKind::none, Remedy::none, false, "", ""},
#define X(id, name, kind, remedy, words, hint) \
  {name, RefusalKind::kind, Remedy::remedy, false, words, hint},
                                          CLOISTER_ALWAYS(X)
#undef X
#define X(id, name, kind, remedy, words, hint) \
  {name, RefusalKind::kind, Remedy::remedy, true, words, hint},
                                              CLOISTER_MEMBERS(X)
#undef X
};
static_assert(sizeof kReasons / sizeof kReasons[0] == static_cast<uint32_t>(Reason::count_));

inline constexpr const ReasonInfo& describe(Reason reason) {
  const auto at = static_cast<uint32_t>(reason);
  return kReasons[at < static_cast<uint32_t>(Reason::count_) ? at : 0];
}

}  // namespace cloister::plan
